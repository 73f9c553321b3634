"""Write your own exit policy.

    python -m examples.own_exit [BASE COLLABORATOR]

An exit policy is a frozen value with `start` and `observe`. After every step it gets the `Evidence` (which rank the
chosen piece had in each model's candidates) and says by a `Verdict` who is out, or that the base goes on alone. Its
state is a value too: nothing is remembered elsewhere, so answers can be resumed and policies tested without any model.
It must not read a clock, draw random numbers or do I/O. This one leaves as soon as the base alone would have chosen
the last ``enough`` pieces. It goes over any aggregation; the trace names it, but `tokencollab replay` cannot carry it
out.
"""

import asyncio
import sys
from dataclasses import dataclass

from tokencollab import Collaboration, Evidence, Verdict


@dataclass(frozen=True)
class InARow:
    """The base leaves after ``enough`` of its own first choices in a row; the state is how many there were."""

    enough: int
    needs_decisive: bool = False  # `Evidence.decisive` is not read

    def start(self, base: str) -> int:
        """None yet."""
        return 0

    def observe(self, state: int, evidence: Evidence) -> tuple[int, Verdict]:
        """One more, or none again."""
        state = state + 1 if dict(evidence.ranks)[evidence.base] == 0 else 0
        return state, Verdict(alone=state >= self.enough)


async def main(base: str = "arith-bytes", collaborator: str = "arith-pairs") -> None:
    """One answer, and where the base left."""
    async with Collaboration(base, [collaborator], "bytewise", exit_policy=InARow(12)) as team:
        answer = await team.generate("20+24*2+0-25*13")
    print(answer.text)
    print(f"base alone after step {answer.exit_step}; cost {answer.cost} for {answer.tokens} pieces")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

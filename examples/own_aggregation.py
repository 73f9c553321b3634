"""Write your own aggregation.

    python -m examples.own_aggregation [BASE COLLABORATOR ...]
    tokencollab generate "20+24*2" --base arith-bytes --with arith-pairs \
        --method examples.own_aggregation:Trimmed --trim 0.2

An aggregation is a frozen dataclass with `score`. Its fields are its parameters: type, default, range and help stand
there once, and Python, the command line, the prompt, `eval --methods` and sweeps read them. A package makes it known
by its own name, ``trimmed``, by an entry point of the group ``tokencollab.aggregations``.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from tokencollab import Aggregation, Ballot, Collaboration, Piece, parameter, parse_method, register


@dataclass(frozen=True)
class Trimmed(Aggregation):
    """The mean of the members' probabilities of a piece, without the most extreme; absent counts 0."""

    name = "trimmed"
    help = "trimmed mean of probabilities: one member that is far off cannot decide"

    trim: float = parameter(0.25, help="share of members left out at either end", low=0, high=0.49)

    def score(self, ballots: Sequence[Ballot]) -> list[tuple[Piece, float, float]]:
        """Score and, for ties, the summed probability of every piece."""
        votes: dict[Piece, list[float]] = {}
        for ballot in ballots:  # sorted by model, so that sums do not depend on who answered first
            for candidate in ballot.kept:
                votes.setdefault(candidate.piece, []).append(exp(candidate.logprob))
        out = int(self.trim * len(ballots))
        scored = []
        for piece, given in votes.items():
            kept = sorted(given + [0.0] * (len(ballots) - len(given)))[out : len(ballots) - out]
            scored.append((piece, sum(kept) / len(kept), sum(given)))
        return scored


async def main(base: str = "arith-bytes", *collaborators: str) -> None:
    """One answer."""
    register(Trimmed)
    method = parse_method("trimmed", trim=0.1)
    async with Collaboration(base, collaborators or ["arith-pairs"], method) as team:
        answer = await team.generate("20+24*2")
    print(answer.text)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

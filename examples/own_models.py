"""Try a method without any weights: models that are functions of the text.

    python -m examples.own_models

One model spells in single letters, the other in whole words; under UniTE the word model is scored by its own logits,
the letter model by the first letter. The trace is printed as JSON lines.
"""

import asyncio
import sys
from collections.abc import Mapping

from tokencollab import EOS, Collaboration, Piece
from tokencollab.testing import ScriptedEngine, scripted_runtime

TEXT = b"two models, one text"


def letters(text: bytes) -> Mapping[Piece, float]:
    """The next letter."""
    return {TEXT[len(text) : len(text) + 1] or EOS: 8.0, b"?": 2.0}


def words(text: bytes) -> Mapping[Piece, float]:
    """The rest of the word."""
    rest = TEXT[len(text) :]
    return {rest[: rest.find(b" ", 1)] if b" " in rest[1:] else rest or EOS: 9.0, b"!": 3.0}


async def main() -> None:
    """Writes the text and its trace."""
    runtime = scripted_runtime(ScriptedEngine("letters", letters), ScriptedEngine("words", words))
    async with Collaboration("letters", ["words"], "unite", runtime=runtime) as team:
        answer = await team.generate("Say it.", trace=sys.stderr)
    print(answer.text, "|", answer.tokens, "pieces")


if __name__ == "__main__":
    asyncio.run(main())

"""Embed a collaboration in an asyncio program.

    python -m examples.embed [BASE COLLABORATOR]

Two models answer one question together; the tokens are printed as they are committed, a piece that the base did not
have first in [brackets]. Then a second question is answered as a whole.
"""

import asyncio
import sys

from tokencollab import Collaboration


async def main(base: str = "smollm2-135m-instruct", collaborator: str = "gemma-3-270m") -> None:
    """Streams one answer, then asks for another."""
    async with Collaboration(base=base, collaborators=[collaborator]) as team:
        name = team.models[0].name
        async for token in team.stream("Why is the sky blue?", max_tokens=32):
            print(token.text if token.ranks.get(name) == 0 else f"[{token.text}]", end="", flush=True)
        print()
        conversation = [{"role": "user", "content": "Name one planet."}]
        answer = await team.generate(conversation, max_tokens=16)
        print(answer.text)
        print(f"{answer.tokens} pieces, {answer.cost} candidate sets, agreed in {answer.agreed} of {answer.together}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""The figures of one answer, told while it is written."""

import asyncio
from collections.abc import AsyncGenerator

from tokencollab.actors.answer import Token
from tokencollab.actors.coordinator import Coordinator
from tokencollab.actors.metrics import ANSWERS, COST, EXITS, TOKEN_SECONDS, TOKENS, record


async def measured(
    tokens: AsyncGenerator[Token, None], coordinator: Coordinator, method: str
) -> AsyncGenerator[Token, None]:
    """The tokens as they are, and the figures of the answer."""
    before: float | None = None
    finish = "failed"
    try:
        async for token in tokens:
            if token.piece != b"":
                record(TOKENS, 1, method)
                if before is not None and coordinator.last_commit is not None:
                    record(TOKEN_SECONDS, coordinator.last_commit - before, method)
                before = coordinator.last_commit
            yield token
        finish = coordinator.finish_reason
    except (GeneratorExit, asyncio.CancelledError):
        finish = "cancelled"
        raise
    finally:
        await tokens.aclose()
        record(COST, coordinator.tally.cost, method)
        record(ANSWERS, 1, method, finish)
        if coordinator.tally.exit_step is not None:
            record(EXITS, 1, method)

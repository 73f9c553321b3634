"""The answers that a program has under way: they hear who joins and leaves, and each comes to an end."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

from tokencollab.actors.answer import Token
from tokencollab.actors.coordinator import Coordinator
from tokencollab.actors.supervisor import Supervisor
from tokencollab.policies.capabilities import lacking
from tokencollab.policies.methods import Method


class OpenAnswers:
    """Belongs to the event loop in which it is made."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        # With the method, which new models that can do it join; None where the members were named.
        self._open: dict[Coordinator, tuple[AsyncGenerator[Token, None], Method | None]] = {}
        self._ends: set[asyncio.Task[None]] = set()  # of answers that nobody refers to any more

    def add(self, coordinator: Coordinator, tokens: AsyncGenerator[Token, None], joining: Method | None) -> None:
        """An answer has begun. It is kept until its end: a generator that is collected ends in no order."""
        self._open[coordinator] = tokens, joining

    def discard(self, coordinator: Coordinator) -> None:
        self._open.pop(coordinator, None)

    def join(self, member: Supervisor, trusted: bool) -> None:
        """``trusted``: it is not another owner's."""
        for coordinator, (_, joining) in self._open.items():
            if joining is None or lacking(joining, member.info.capabilities):
                continue
            if trusted or not joining.scoring.trusts_scale:
                coordinator.join(member)

    def leave(self, name: str) -> None:
        for coordinator in self._open:
            coordinator.leave(name)

    def forget(self, coordinator: Coordinator) -> None:
        """Ends an answer whose reader has left without a word. Called in any thread, where its stream is collected."""

        def begin() -> None:
            if coordinator in self._open:
                end = asyncio.ensure_future(self._end(coordinator))
                self._ends.add(end)
                end.add_done_callback(self._ends.discard)

        with suppress(RuntimeError):  # the loop is closed, and everything with it
            self._loop.call_soon_threadsafe(begin)

    async def close(self) -> None:
        """Ends every answer."""
        while self._open:
            await self._end(next(iter(self._open)))
        await asyncio.gather(*self._ends, return_exceptions=True)

    async def _end(self, coordinator: Coordinator) -> None:
        tokens, _ = self._open.pop(coordinator)
        coordinator.cancel()
        with suppress(RuntimeError):  # somebody is waiting for its next token, and hears of the end there
            await tokens.aclose()
        await coordinator.free()

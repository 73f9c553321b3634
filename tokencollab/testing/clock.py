"""An event loop that never waits: its time jumps to the next timer, and who would wait for ever is caught."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Deadlock(Exception):
    """Every task waits, and no timer will ever wake one of them."""


class _Selector(selectors.SelectSelector):
    """Never blocks: what the loop would wait for its next timer, the clock is put forward."""

    def __init__(self, put_forward: Callable[[float], None]) -> None:
        super().__init__()
        self._put_forward = put_forward

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            raise Deadlock("every task waits, and no timer is set")
        self._put_forward(timeout)
        return []


class FakeClock(asyncio.SelectorEventLoop):
    """The loop. For programs without threads and sockets: whoever waits for those waits for ever."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Selector(self._put_forward))

    def time(self) -> float:
        return self._now

    def _put_forward(self, seconds: float) -> None:
        self._now += seconds


def run_on_fake_clock(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, without ever waiting.

    Raises:
        Deadlock: nothing could ever happen again.
    """
    with asyncio.Runner(loop_factory=FakeClock) as runner:
        return runner.run(main)

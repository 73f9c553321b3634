"""Ending what takes long by Ctrl-C or SIGTERM, so that what is done by then is kept."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Stop:
    """The signal that ended the block early, None where none did; the exit code is then 128 + ``by``."""

    by: signal.Signals | None = None


@contextmanager
def stopped_by_signal() -> Iterator[Stop]:
    """The first SIGINT or SIGTERM cancels the task of this block, which then ends here, without an exception.

    A second one does what it does anywhere: whoever asks again means it.
    """
    loop, task, stop = asyncio.get_running_loop(), asyncio.current_task(), Stop()
    assert task is not None

    def release() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    def hear(by: signal.Signals) -> None:
        stop.by = by
        release()
        task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, hear, number)
    try:
        yield stop
    except asyncio.CancelledError:
        if stop.by is None:
            raise
        task.uncancel()
    finally:
        release()

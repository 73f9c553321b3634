"""Many answers at a time: a pool of workers, how far it is, and how it waits for room at full models."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import TypeVar

from tokencollab.errors import PlatformFull

FEWEST, ENOUGH = 2, 10
"""Finished answers from which on the time left is told: one by one, and with many at once."""

Work = TypeVar("Work")
Result = TypeVar("Result")

SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
"""Seconds until full models are asked again; each pause is twice the one before."""
PATIENCE = 1200.0
"""Seconds for which a prompt of a batch waits for room: more than the lease of sessions whose owner is gone."""


@dataclass
class Progress:
    """Figures of a run, kept up to date while it goes on."""

    total: int  # answers that there are to be
    before: int = 0  # of these, how many were there when the run began
    done: int = 0  # answered in this run
    failed: int = 0  # that have no answer, in this run
    tokens: int = 0  # pieces committed so far, those of answers under way included
    cost: float = 0  # candidate sets of the finished answers; under response-level methods weighted by prices
    lost: int = 0  # how often a model was lost, in the finished answers
    at_once: int = 1  # answers under way together
    started: float = field(default_factory=monotonic)

    def restart(self, at_once: int = 1) -> None:
        """Counts the time from now on: the models are ready."""
        self.started, self.at_once = monotonic(), at_once

    @property
    def finished(self) -> int:
        """Of ``total``, those of earlier runs included."""
        return self.before + self.done + self.failed

    @property
    def seconds(self) -> float:
        """Since the first question was put."""
        return monotonic() - self.started

    @property
    def seconds_left(self) -> float | None:
        """What the rest takes at the speed of this run so far; None while too few are finished to tell.

        Of many that are under way together the first to be finished says how long one takes, not how many there are in
        a second: ten are waited for.
        """
        here = self.done + self.failed
        known = here >= min(max(self.at_once, FEWEST), ENOUGH)
        return self.seconds / here * (self.total - self.finished) if known else None


async def run_pool(work: Sequence[Work], do: Callable[[Work], Awaitable[None]], concurrency: int) -> None:
    """Calls ``do`` for each of ``work`` in order, ``concurrency`` at a time.

    The first error cancels what is under way, and is raised when that has ended.
    """
    waiting = iter(work)

    async def worker() -> None:
        for item in waiting:
            await do(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(work))):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def when_there_is_room(
    attempt: Callable[[], Awaitable[Result]],
    *,
    worth_waiting: Callable[[], bool] = lambda: True,
    longest_pause: float = LONGEST_PAUSE,
    patience: float = inf,
) -> Result:
    """What ``attempt`` returns, which is made again as long as it finds the models full.

    Raises PlatformFull: the models are full, and it is not ``worth_waiting``, or ``patience`` seconds are over.
    """
    now = asyncio.get_running_loop().time
    pause, until = SHORTEST_PAUSE, now() + patience
    while True:
        try:
            return await attempt()
        except PlatformFull as error:
            if not worth_waiting():
                raise
            if now() >= until:
                raise PlatformFull(f"no room within {patience:g} s: {error}") from error
        await asyncio.sleep(min(pause, max(0.0, until - now())))
        pause = min(2 * pause, longest_pause)

"""The pool of workers, the time left, and waiting for room."""

import asyncio
from itertools import pairwise

import pytest

from tokencollab import PlatformFull, pool
from tokencollab.pool import Progress, run_pool, when_there_is_room
from tokencollab.testing import run_on_fake_clock


def test_the_time_left_counts_from_the_start_of_this_run(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(pool, "monotonic", lambda: now)
    progress = Progress(100, before=50)
    progress.restart()
    assert progress.seconds_left is None
    now, progress.done, progress.failed = 120.0, 8, 2
    assert progress.seconds_left == pytest.approx(80.0)


@pytest.mark.parametrize(("at_once", "from_on"), [(1, 2), (4, 4), (64, 10)])
def test_the_time_left_is_told_from_enough_answers_on(at_once: int, from_on: int) -> None:
    progress = Progress(100)
    progress.restart(at_once)
    told = []
    for progress.done in range(1, 21):
        told.append(progress.seconds_left is not None)
    assert told == [done >= from_on for done in range(1, 21)]


async def test_work_is_done_in_order_and_so_much_of_it_together() -> None:
    begun: list[int] = []
    under_way = most = 0

    async def do(number: int) -> None:
        nonlocal under_way, most
        begun.append(number)
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    await run_pool(range(20), do, 3)
    assert (begun, most) == (list(range(20)), 3)
    await run_pool([], do, 3)


async def test_the_first_error_ends_the_pool_and_comes_by_itself() -> None:
    ended: list[int] = []

    async def do(number: int) -> None:
        try:
            await asyncio.sleep(0 if number == 2 else 60)
            raise LookupError(number)
        finally:
            ended.append(number)

    with pytest.raises(LookupError):
        await run_pool(range(10), do, 3)
    assert sorted(ended) == [0, 1, 2]


def test_pauses_grow_up_to_the_longest_and_end_where_waiting_is_of_no_use() -> None:
    times: list[float] = []

    async def attempt() -> str:
        times.append(asyncio.get_running_loop().time())
        if len(times) % 6:
            raise PlatformFull("full")
        return "room"

    async def wait() -> None:
        assert await when_there_is_room(attempt, longest_pause=0.5) == "room"
        with pytest.raises(PlatformFull):
            await when_there_is_room(attempt, worth_waiting=lambda: len(times) < 9)

    run_on_fake_clock(wait())
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses[:5] == pytest.approx([0.1, 0.2, 0.4, 0.5, 0.5])
    assert len(times) == 9


def test_room_is_waited_for_no_longer_than_told() -> None:
    async def attempt() -> None:
        raise PlatformFull("full")

    async def wait() -> float:
        with pytest.raises(PlatformFull, match="no room within 86 s: full"):
            await when_there_is_room(attempt, patience=86)
        return asyncio.get_running_loop().time()

    assert run_on_fake_clock(wait()) == pytest.approx(86)

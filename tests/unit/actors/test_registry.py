"""Who is there, what has changed, heartbeats that stop: on a clock that never waits."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from tokencollab import ModelInfo
from tokencollab.actors.platform.registry import Address, ModelFigures, Registry
from tokencollab.testing import run_on_fake_clock

T = TypeVar("T")
INFO = ModelInfo("m", "Scripted", 0, 0, 100, "float64", "scripted", False)
HERE = Address("actor", "node", "socket")


def on_fake_clock(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        async def main() -> None:
            await test()

        run_on_fake_clock(main())

    run.__name__ = test.__name__
    return run


def now() -> float:
    return asyncio.get_running_loop().time()


@on_fake_clock
async def test_a_change_is_heard_of_at_once_and_silence_after_the_time_given() -> None:
    registry = Registry(version=7)
    assert await registry.changes(3, 100) == (7, ())  # another registry's version
    assert now() == 0
    assert await registry.changes(7, 100) == (7, ())
    assert now() == 100
    listeners = [asyncio.create_task(registry.changes(7, 100)) for _ in range(3)]
    await asyncio.sleep(1)
    registry.announce("a")
    for listener in listeners:
        version, (entry,) = await listener
        assert (version, entry.name, entry.health, entry.info) == (8, "a", "starting", None)
    assert now() == 101


@on_fake_clock
async def test_only_what_changes_who_is_there_and_how_has_a_version() -> None:
    registry = Registry()
    registry.join("a", 1, INFO, HERE)
    joined = registry.version
    registry.join("a", 1, INFO, HERE)
    registry.set_health("a", "up")
    registry.heartbeat("a", 1, ModelFigures(3, 100, 1000))
    registry.leave("b")
    registry.set_health("b", "down")
    registry.heartbeat("b", 1, ModelFigures())
    assert registry.version == joined
    registry.set_health("a", "down")
    assert registry.version == joined + 1
    registry.join("a", 2, INFO, HERE, restarts=1)
    assert registry.version == joined + 2
    registry.leave("a")
    assert registry.version == joined + 3
    assert registry.entries == ()


@on_fake_clock
async def test_tokens_per_second_are_those_of_the_last_ten_seconds_of_this_life() -> None:
    registry = Registry()
    registry.join("a", 1, INFO, HERE)
    for second in range(60):
        registry.heartbeat("a", 1, ModelFigures(1, 50 * min(second, 30), 0))
        rate = registry["a"].tokens_per_second
        expected = 50 if second <= 30 else max(0, 50 * (40 - second) / 10)
        assert rate == pytest.approx(expected if second else 0)
        await asyncio.sleep(1)
    registry.join("a", 2, INFO, HERE, restarts=1)
    assert registry["a"].figures == ModelFigures()
    registry.heartbeat("a", 1, ModelFigures(9, 9, 9))  # of the life before
    assert registry["a"].figures == ModelFigures()
    registry.heartbeat("a", 2, ModelFigures(1, 7, 0))
    assert (registry["a"].figures.tokens, registry["a"].tokens_per_second) == (7, 0)


@on_fake_clock
async def test_a_model_whose_heartbeats_stop_is_down_and_somebody_hears_of_it() -> None:
    silent: list[tuple[str, float]] = []
    registry = Registry(ttl=5, silent=lambda name: silent.append((name, now())))
    for name in ("beats", "stops", "never", "leaves", "out"):
        registry.join(name, 1, INFO, HERE)
    registry.leave("leaves")
    registry.set_health("out", "out")
    for second in range(1, 12):
        await asyncio.sleep(1)
        registry.heartbeat("beats", 1, ModelFigures())
        if second <= 3:
            registry.heartbeat("stops", 1, ModelFigures())
    assert silent == [("never", 5), ("stops", 8)]
    assert {entry.name: entry.health for entry in registry.entries} == {
        **{"beats": "up", "stops": "down", "never": "down", "out": "out"}
    }
    registry.heartbeat("stops", 1, ModelFigures(1, 1, 1))  # too late: whoever looks after it says when it is up again
    assert [entry.health for entry in registry.entries if entry.name == "stops"] == ["down"]
    registry.join("stops", 2, INFO, HERE)
    assert [entry.health for entry in registry.entries if entry.name == "stops"] == ["up"]
    await asyncio.sleep(6)
    assert sorted(silent[2:]) == [("beats", 16), ("stops", 16)]

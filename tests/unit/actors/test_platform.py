"""A platform that looks after shared models: one restart however many complain, on a clock that never waits."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from tokencollab import EngineOptions, ModelFailed, ModelInfo, ModelRefused, UnknownModel
from tokencollab.actors.platform.registry import Address, ModelFigures
from tokencollab.actors.platform.service import Platform, SharedSpec
from tokencollab.actors.runtimes.base import ModelLink, ModelSpec
from tokencollab.actors.supervisor import FaultPolicy
from tokencollab.errors import ModelGone
from tokencollab.protocol.messages import Closed, GenerateSolo, Reply, Request
from tokencollab.testing import run_on_fake_clock

PATIENCE = FaultPolicy(floor=2, ceiling=20, restarts=3, healthy=10, backoff=1, longest_backoff=4)


class Link:
    """A shared model in one of its lives."""

    def __init__(self, name: str, life: int) -> None:
        self.info = ModelInfo(name, "Scripted", 0, 0, 100, "float64", "scripted", False)
        self.life = life
        self.address = Address(f"{name} {life}", "node", "socket")
        self.state = "up"
        self.signs = 0

    async def _sign(self) -> None:
        self.signs += 1
        if self.state == "gone":
            raise ModelGone("gone")
        if self.state == "hangs":
            await asyncio.sleep(10**9)

    async def figures(self) -> ModelFigures:
        await self._sign()
        return ModelFigures(1, self.signs, 100)

    async def alive(self) -> None:
        await self._sign()

    async def ask(self, request: Request) -> Reply:
        await self._sign()
        return Closed(request.session)

    def write(self, request: GenerateSolo) -> None:
        raise NotImplementedError


class Models:
    """A runtime of such links; ``seconds`` that a start takes, or an error that it ends with."""

    def __init__(self) -> None:
        self.links: dict[str, list[Link]] = {}
        self.seconds: dict[str, float | Exception] = {}
        self.stopped: list[str] = []

    async def start(self, specs: Sequence[ModelSpec]) -> list[ModelLink]:
        return [await self._start(spec) for spec in specs]

    async def restart(self, spec: ModelSpec) -> ModelLink:
        return await self._start(spec)

    async def _start(self, spec: ModelSpec) -> ModelLink:
        seconds = self.seconds.get(spec.name, 3.0)
        if isinstance(seconds, Exception):
            raise seconds
        await asyncio.sleep(seconds)
        lives = self.links.setdefault(spec.name, [])
        lives.append(Link(spec.name, len(lives) + 1))
        return lives[-1]  # type: ignore[return-value]

    async def stop(self, name: str) -> None:
        self.stopped.append(name)

    async def close(self) -> None:
        pass


def spec(name: str) -> SharedSpec:
    return SharedSpec(name, name, EngineOptions())


def on_platform(test: Callable[[Platform, Models], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        async def main() -> None:
            models = Models()
            platform = Platform(models, PATIENCE)
            await test(platform, models)
            await platform.close()
            assert asyncio.all_tasks() == {asyncio.current_task()}

        run_on_fake_clock(main())

    run.__name__ = test.__name__
    return run


def now() -> float:
    return asyncio.get_running_loop().time()


@on_platform
async def test_models_start_side_by_side_once_and_have_figures_then(platform: Platform, models: Models) -> None:
    assert platform.up([spec("a"), spec("b")]) == ["a", "b"]
    assert platform.up([spec("a")]) == []
    assert [entry.health for entry in platform.registry.entries] == ["starting", "starting"]
    a, b = await asyncio.gather(platform.look_after("a"), platform.look_after("b"))
    assert (now(), a.health, b.health, a.life) == (3, "up", "up", 1)
    assert platform.up([spec("b")]) == []
    await asyncio.sleep(5)
    assert platform.registry["a"].figures.sessions == 1
    assert platform.registry["a"].tokens_per_second == pytest.approx(1)
    assert len(models.links["a"]) == 1


@on_platform
async def test_a_dead_model_is_restarted_once_however_many_complain(platform: Platform, models: Models) -> None:
    platform.up([spec("a")])
    life = (await platform.look_after("a")).life
    await asyncio.sleep(0.5)
    models.links["a"][0].state = "gone"
    began = now()
    entries = await asyncio.gather(*(platform.look_after("a", life) for _ in range(20)))
    assert {(entry.life, entry.health, entry.restarts) for entry in entries} == {(2, "up", 1)}
    assert now() - began == pytest.approx(1 + 3)  # back-off and start; nobody waited for the next heartbeat
    late = await platform.look_after("a", life)  # somebody who finds out later: it has been done
    assert late.life == 2
    await asyncio.sleep(30)
    assert (len(models.links["a"]), platform.registry["a"].health) == (2, "up")


@pytest.mark.parametrize("state", ["gone", "hangs"])
def test_the_platform_notices_by_itself(state: str) -> None:
    @on_platform
    async def run(platform: Platform, models: Models) -> None:
        platform.up([spec("a")])
        await platform.look_after("a")
        await asyncio.sleep(10.5)
        models.links["a"][0].state = state
        version = platform.registry.version
        seen: list[tuple[int, str]] = []
        while not seen or seen[-1][0] != 2:
            version, (entry,) = await platform.registry.changes(version, 100)
            seen.append((entry.life, entry.health))
        assert seen == [(1, "down"), (2, "up")]
        # a heartbeat every second, two seconds for it and two for the probe (hangs only), back-off, start
        assert now() - 13.5 <= 1 + 2 * PATIENCE.floor + 1 + 3
        await asyncio.sleep(30)
        assert len(models.links["a"]) == 2

    run()


@on_platform
async def test_a_complaint_about_a_model_that_lives_changes_nothing(platform: Platform, models: Models) -> None:
    platform.up([spec("a")])
    entry = await platform.look_after("a")
    again = await platform.look_after("a", entry.life)
    assert (again.life, again.health, again.restarts) == (1, "up", 0)
    await asyncio.sleep(5)
    assert platform.registry["a"].figures.tokens > 3  # heartbeats go on


@on_platform
async def test_a_model_that_never_comes_back_is_out_until_it_is_started_anew(
    platform: Platform, models: Models
) -> None:
    platform.up([spec("a")])
    entry = await platform.look_after("a")
    models.seconds["a"] = ModelRefused("its file is gone")
    models.links["a"][0].state = "gone"
    with pytest.raises(ModelFailed, match="`platform up` starts it anew"):
        await platform.look_after("a", entry.life)
    await asyncio.sleep(10)
    assert platform.registry["a"].health == "out"
    models.seconds["a"] = 1.0
    assert platform.up([spec("a")]) == ["a"]
    assert (await platform.look_after("a")).health == "up"


@on_platform
async def test_a_model_that_cannot_be_started_is_not_there_and_the_reason_is_told(
    platform: Platform, models: Models
) -> None:
    models.seconds["a"] = ModelRefused("its tokenizer changes text")
    platform.up([spec("a"), spec("b")])
    with pytest.raises(ModelRefused, match="changes text"):
        await platform.look_after("a")
    assert (await platform.look_after("b")).health == "up"
    assert [entry.name for entry in platform.registry.entries] == ["b"]
    with pytest.raises(UnknownModel, match="no model 'c'; there is b"):
        await platform.look_after("c")


@on_platform
async def test_down_ends_what_runs_starts_or_is_being_restarted(platform: Platform, models: Models) -> None:
    platform.up([spec("a"), spec("b")])
    entry = await platform.look_after("a")
    models.links["a"][0].state = "gone"
    waiting = asyncio.create_task(platform.look_after("a", entry.life))
    platform.up([spec("c")])
    await asyncio.sleep(0.5)
    assert await platform.down(["a", "b", "c", "d"]) == ["a", "b", "c"]
    assert {"a", "b", "c"} <= set(models.stopped)
    with pytest.raises(ModelFailed):
        await waiting
    assert platform.registry.entries == ()
    await asyncio.sleep(100)
    assert {name: len(lives) for name, lives in models.links.items()} == {"a": 1, "b": 1}


@on_platform
async def test_models_of_a_registry_that_has_ended_are_taken_over(platform: Platform, models: Models) -> None:
    old = Link("a", 5)

    async def find(wanted: ModelSpec) -> ModelLink:
        await asyncio.sleep(1)
        return old  # type: ignore[return-value]

    platform.up([spec("a")], find)
    assert platform.registry["a"].health == "starting"
    entry = await platform.look_after("a", 5)  # a client that has waited for the registry
    assert (entry.life, entry.health) == (5, "up")
    assert models.links == {}
    old.state = "gone"
    assert (await platform.look_after("a", 5)).life == 1

"""The Ray runtime gives what the in-process runtime gives, and outlives its models."""

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tokencollab import EOS, Answer, Collaboration, Member, ModelRefused, ModelUnavailable, Piece, UsageError
from tokencollab.actors.runtimes.base import ModelSpec
from tokencollab.actors.runtimes.ray_actors import RayModel, RayRuntime
from tokencollab.actors.runtimes.threads import LocalRuntime
from tokencollab.engines.base import Engine
from tokencollab.engines.options import EngineOptions
from tokencollab.testing import ScriptedEngine

pytestmark = [pytest.mark.ray, pytest.mark.slow]

TEXT = "Zoë says 你好 🙂 to everybody, and everybody says hello to Zoë!".encode()


def load(spec: ModelSpec) -> Engine:
    """Models that write `TEXT` in pieces of one and of three bytes."""
    width = {"one": 1, "three": 3}[spec.name]

    def script(done: bytes) -> Mapping[Piece, float]:
        piece: Piece = TEXT[len(done) : len(done) + width] or EOS
        return {piece: 9.0, b"~": 5.0, b"!?": 4.0, (b"?" if piece is EOS else EOS): 1.0}

    return ScriptedEngine(spec.name, script)


async def answer(runtime: Any, method: str, **arguments: Any) -> Answer:
    async with Collaboration("one", ["three"], method, runtime=runtime) as team:
        return await team.generate("?", **arguments)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Any:
    """One cluster for the module; the runtimes find it and leave it alone."""
    import ray

    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


@pytest.mark.parametrize("method", ["duetnet", "unite", "dpara-5", "base"])
async def test_ray_and_in_process_give_the_same(method: str) -> None:
    make: list[Callable[[], Any]] = [lambda: LocalRuntime(load), lambda: RayRuntime(load)]
    here, there = [await answer(runtime(), method, max_tokens=40, seed=3) for runtime in make]
    assert here.pieces == there.pieces
    assert (here.text, here.cost, here.exit_step) == (there.text, there.cost, there.exit_step)


def load_unsure(spec: ModelSpec) -> ScriptedEngine:
    """Byte by byte; unsure of every seventh byte."""

    def script(done: bytes) -> Mapping[Piece, float]:
        piece: Piece = TEXT[len(done) : len(done) + 1] or EOS
        return {piece: 9.0 if len(done) % 7 else 3.0, b"~": 2.0}

    return ScriptedEngine(spec.name, script)


async def test_a_base_that_asks_where_it_is_unsure_goes_on_in_its_session() -> None:
    """What it takes back within a word is the same on Ray, where a stream that is cut off would end the session."""
    make: list[Callable[[], Any]] = [lambda: LocalRuntime(load_unsure), lambda: RayRuntime(load_unsure)]
    here, there = [await answer(runtime(), "consult", max_tokens=200) for runtime in make]
    assert here.text.encode() == there.text.encode() == TEXT
    assert (here.pieces, here.cost, here.forwarded) == (there.pieces, there.cost, there.forwarded)
    assert 0 < here.together < here.tokens
    assert not there.lost


async def test_a_killed_actor_is_lost_and_the_answer_goes_on(cluster: Any) -> None:
    runtime = RayRuntime(load)
    async with Collaboration("one", ["three"], "duetnet", runtime=runtime) as team:
        stream = team.stream("?")
        async for token in stream:
            if token.step == 5:
                cluster.kill(runtime._models["three"][0])
        assert stream.answer.text.encode() == TEXT
        assert stream.answer.lost == {"three": 1}


async def test_leaving_a_stream_of_the_base_alone_stops_the_model() -> None:
    runtime = RayRuntime(lambda spec: ScriptedEngine(spec.name, lambda done: {b"a": 2.0, EOS: 1.0}))
    async with Collaboration("one", runtime=runtime) as team:
        stream = team.stream("?", max_tokens=100_000)
        await anext(stream)
        await stream.aclose()
        again = await asyncio.wait_for(team.generate("?", max_tokens=5), 30)
        assert again.text == "aaaaa"


def test_a_model_that_cannot_be_loaded_is_refused_in_one_line(cluster: Any, tmp_path: Any) -> None:
    from tokencollab import ModelRefused

    async def run() -> None:
        async with Collaboration(str(tmp_path), runtime=RayRuntime()):
            pass

    with pytest.raises(ModelRefused, match="cannot be loaded"):
        asyncio.run(run())


@pytest.mark.parametrize(("address", "said"), [("", "Ray does not start: "), ("10.0.0.1:1", "RAY_ADDRESS=10.0.0.1:1 ")])
async def test_a_ray_that_cannot_be_had_is_said_in_one_line(
    address: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> None:
        raise Exception("The current node timed out during startup.\nMore of that.")

    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr("tokencollab.actors.runtimes.ray_actors.check_cluster", lambda: None)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", fail)
    with pytest.raises(ModelUnavailable, match=f"{said}.*timed out during startup.$"):
        await answer(RayRuntime(load), "duetnet")


async def test_a_dead_cluster_is_one_line_and_ray_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("it would try for minutes"))
    with pytest.raises(UsageError, match="no Ray cluster answers at RAY_ADDRESS=127"):
        await answer(RayRuntime(load), "duetnet")


def panics(spec: ModelSpec) -> Any:
    raise SystemExit(3)


async def test_what_the_thread_of_an_actor_dies_of_is_one_line() -> None:
    with pytest.raises(ModelRefused, match=r"one could not be loaded: SystemExit: 3$"):
        await answer(RayRuntime(panics), "duetnet")


async def test_without_the_socket_ray_calls_carry_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    direct = await answer(RayRuntime(load), "upara-3", max_tokens=20)
    runtime = RayRuntime(load)
    async with Collaboration("one", ["three"], "upara-3", runtime=runtime) as team:
        for _, link, _ in runtime._models.values():
            assert link is not None
            assert link.channel is not None
            link.channel = None
        assert (await team.generate("?", max_tokens=20)).pieces == direct.pieces


async def test_the_socket_lies_where_only_its_owner_can_enter_and_is_gone_afterwards() -> None:
    runtime = RayRuntime(load)
    async with Collaboration("one", runtime=runtime) as team:
        await team.generate("?", max_tokens=3)
        ((_, _, path),) = runtime._models.values()
        folder = os.path.dirname(path)
        assert os.stat(folder).st_mode & 0o077 == 0
    assert os.path.basename(folder) not in os.listdir(os.path.dirname(folder))


def test_a_notebook_asks_an_actor_for_its_candidates() -> None:
    import ray

    actor = ray.remote(RayModel).remote(ModelSpec("one", "one", EngineOptions()), load)
    found = ray.get(actor.next_candidates.remote("Zoë says", k=2))
    assert repr(found).startswith("<' ' 97.5%, ")
    assert [one.best.piece for one in ray.get(actor.next_candidates.remote("Zoë", 1, [0, 1]))] == [b"Z", b"o"]
    ray.kill(actor)


def test_a_member_is_an_actor_of_its_own(tiny_model: Callable[..., Path]) -> None:
    import ray

    actor = Member(str(tiny_model("bytes")), threads=1).actor()
    found = ray.get(actor.next_candidates.remote("The sky is", k=5))
    assert len(found.candidates) == 5
    assert ray.get(actor.next_candidates.remote([{"role": "user", "content": "?"}], k=1)) != found
    with pytest.raises(UsageError, match="k must be from 1 to"):
        ray.get(actor.next_candidates.remote("The sky is", k=0))
    ray.kill(actor)

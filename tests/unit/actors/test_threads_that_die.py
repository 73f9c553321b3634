"""Whatever the thread of a model dies of, whoever waits for it hears of that, and the program lives."""

import asyncio
import gc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from tokencollab import Collaboration, ModelFailed, ModelUnavailable, Piece, UsageError
from tokencollab.actors.model import ModelActor
from tokencollab.actors.runtimes.threads import LocalRuntime
from tokencollab.actors.supervisor import FaultPolicy
from tokencollab.engines import entry_points
from tokencollab.engines.base import Engine
from tokencollab.errors import ModelGone, named
from tokencollab.protocol.messages import Close, NextCandidates, Open, Opened
from tokencollab.testing import ScriptedEngine


class PanicException(BaseException):
    """As pyo3 raises for a panic of a Rust library: no `Exception`."""


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class MutePanic(BaseException):
    def __str__(self) -> str:
        raise SystemExit(9)


CAUSES = [
    PanicException("index out of bounds"),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    asyncio.CancelledError(),
    StopIteration(),
    MemoryError(),
    RecursionError(),
    Mute(),
    MutePanic(),
]
WHERE = ["load", "info", "open", "next_candidates", "close", "kv_bytes"]


def script(text: bytes) -> Mapping[Piece, float]:
    return {b"a": 9.0, b"b": 8.0, None: -9.0}


class Dies(ScriptedEngine):
    """Raises in one of its methods, as often as it is called or once."""

    def __init__(self, name: str, where: str, cause: BaseException) -> None:
        super().__init__(name, script)
        self.where, self.cause = where, cause

    def _die(self, where: str) -> None:
        if self.where == where:
            raise self.cause

    def open(self, request: Open) -> Any:
        self._die("open")
        return super().open(request)

    def next_candidates(self, requests: Sequence[Any]) -> Any:
        self._die("next_candidates")
        return super().next_candidates(requests)

    def close(self, session: str) -> None:
        self._die("close")
        super().close(session)


def load(where: str, cause: BaseException) -> Callable[[], Engine]:
    def begin() -> Engine:
        if where == "load":
            raise cause
        return Dies("m", where, cause)

    return begin


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: type(cause).__name__)
async def test_ready_tells_what_a_thread_died_of_while_it_loaded(cause: BaseException) -> None:
    actor = ModelActor(load("load", cause))
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is, it is an Exception and can be shown
        await asyncio.wait_for(actor.ready(), 10)
    assert type(cause).__name__ in named(caught.value) or isinstance(cause, StopIteration)
    str(caught.value)
    with pytest.raises(ModelGone):
        await asyncio.wait_for(actor.ask(Open("s", ())), 10)
    await actor.stop()


@pytest.mark.parametrize("where", ["open", "next_candidates", "close"])
@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: type(cause).__name__)
async def test_every_caller_hears_of_it(cause: BaseException, where: str) -> None:
    actor = ModelActor(load(where, cause))
    await actor.ready()
    outcomes: list[object] = []
    for request in (Open("s", ()), NextCandidates("s", 0, b"", 3), Close("s"), Open("t", ())):
        try:
            outcomes.append(await asyncio.wait_for(actor.ask(request), 10))
        except Exception as error:
            outcomes.append(named(error))
    failures = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert failures
    assert not any(failure.startswith("TimeoutError") for failure in failures)
    if where != "close":
        actor.check()  # the others go on
        assert isinstance(outcomes[0], Opened) == (where != "open")
    await actor.stop()


@pytest.mark.parametrize("where", ["open", "next_candidates", "close"])
@pytest.mark.parametrize("cause", CAUSES[:2] + CAUSES[-2:], ids=lambda cause: type(cause).__name__)
async def test_a_panic_costs_the_model_and_not_the_answer(cause: BaseException, where: str) -> None:
    engines = {"base": ScriptedEngine("base", script), "m": Dies("m", where, cause)}
    runtime = LocalRuntime(lambda spec: engines[spec.name])
    policy = FaultPolicy(restarts=1, backoff=0)
    async with Collaboration("base", ["m"], "unite", runtime=runtime, fault_policy=policy) as team:
        answer = await asyncio.wait_for(team.generate("?", max_tokens=5), 20)
    assert answer.text == "aaaaa"
    assert bool(answer.lost) == (where != "close")


@pytest.mark.parametrize("cause", CAUSES[:3] + CAUSES[-2:], ids=lambda cause: type(cause).__name__)
async def test_a_model_that_panics_while_it_loads_is_unavailable(cause: BaseException) -> None:
    def begin(spec: Any) -> Engine:
        raise cause

    with pytest.raises(ModelUnavailable, match=f"base could not be loaded: {type(cause).__name__}") as caught:
        async with Collaboration("base", runtime=LocalRuntime(begin)):
            pass
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


async def test_an_actor_that_nobody_waits_for_dies_quietly() -> None:
    wrong: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: wrong.append(context))
    actor = ModelActor(load("load", PanicException()))
    await asyncio.to_thread(actor._thread.join)
    await asyncio.sleep(0)
    del actor
    gc.collect()
    await asyncio.sleep(0)
    assert not wrong


async def test_a_request_to_a_thread_that_ends_at_this_moment_is_not_forgotten() -> None:
    """The thread has emptied its inbox for the last time, and still lives."""
    actor = ModelActor(load("", PanicException()))
    await actor.ready()
    actor._ended = True
    with pytest.raises(ModelGone):
        await asyncio.wait_for(actor.ask(Open("s", ())), 10)
    await actor.stop()


@pytest.mark.parametrize("cause", [SystemExit(3), PanicException("x"), Mute()], ids=lambda cause: type(cause).__name__)
def test_an_entry_point_that_ends_the_program_when_it_is_imported_is_refused(
    cause: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Point:
        value = "bad:engine"

        def load(self) -> object:
            raise cause

    monkeypatch.setattr(entry_points, "entry_points", lambda **_: [Point()])
    with pytest.raises(UsageError, match=r"the engine bad-one .* cannot be imported"):
        entry_points.engine_type.__wrapped__("bad-one")


def test_ctrl_c_keeps_its_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    from tokencollab.actors.runtimes.threads import unavailable

    with pytest.raises(KeyboardInterrupt), unavailable("in the main thread"):
        raise KeyboardInterrupt
    with pytest.raises(ModelFailed), unavailable("ours stay"):
        raise ModelFailed("as it is")

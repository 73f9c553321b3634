"""A model actor and its many sessions: bounded, fair, and none harmed by another."""

import asyncio
import os
import queue
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import pytest

from tokencollab import ChatMessage, Piece
from tokencollab.actors import model as module
from tokencollab.actors.model import ModelActor
from tokencollab.engines.base import Engine, EngineReply, EngineRequest
from tokencollab.errors import ModelGone
from tokencollab.protocol.messages import (
    CandidatesReply,
    Close,
    GenerateSolo,
    NextCandidates,
    Open,
    Opened,
    Refused,
    Sampling,
    SessionLost,
    SoloPiece,
)
from tokencollab.testing import ScriptedEngine

QUESTION = (ChatMessage("user", "?"),)
GREEDY = Sampling(10, None, (1, 1), 1.0, 0)


def forever(text: bytes) -> Mapping[Piece, float]:
    return {b"a": 3.0, b"b": 2.0, None: 1.0}


class Held(ScriptedEngine):
    """Answers nothing until it is let go, so that requests come together; ``broken`` sessions raise."""

    def __init__(self, script: Callable[[bytes], Mapping[Piece, float]] = forever) -> None:
        super().__init__("m", script)
        self.broken: set[str] = set()

    def next_candidates(self, requests: Sequence[EngineRequest]) -> list[EngineReply | None]:
        self.calls.append(list(requests))
        if any(request.session in self.broken for request in requests):
            raise ZeroDivisionError("broken")
        return [self._answer(request) for request in requests]

    @property
    def served(self) -> list[list[str]]:
        return [[request.session for request in call] for call in self.calls]


async def opened(actor: ModelActor, *sessions: str) -> None:
    for session in sessions:
        assert isinstance(await actor.ask(Open(session, QUESTION)), Opened)


async def test_a_full_model_says_so_at_once_and_has_room_again_when_a_session_ends() -> None:
    actor = ModelActor(Held, max_sessions=2)
    await opened(actor, "one", "two", "two")  # a session opened again is no further session
    reply = await actor.ask(Open("three", QUESTION))
    assert isinstance(reply, Refused)
    assert (reply.kind, reply.session) == ("PlatformFull", "three")
    assert "m has as many sessions open as it may have" in reply.reason
    await actor.ask(Close("one"))
    await opened(actor, "three")
    await actor.stop()


async def test_a_queue_that_is_full_refuses_requests_at_once() -> None:
    engine = Held()
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()
    answer = engine.next_candidates

    def slow(requests: Sequence[EngineRequest]) -> list[EngineReply | None]:
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()
        return answer(requests)

    engine.next_candidates = slow  # type: ignore[method-assign]
    actor = ModelActor(lambda: engine, max_sessions=1)
    await opened(actor, "one")
    asking = [asyncio.create_task(actor.ask(NextCandidates("one", 0, b"", 1))) for _ in range(8)]
    await asyncio.sleep(0)
    gate.set()
    replies = [type(reply).__name__ for reply in await asyncio.gather(*asking)]
    assert replies.count("Refused") >= 3
    assert replies.count("CandidatesReply") >= 4
    await actor.stop()


async def test_a_session_that_was_left_is_given_up_after_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(module, "monotonic", lambda: clock[0])
    engine = Held()
    actor = ModelActor(lambda: engine, max_sessions=2)
    await opened(actor, "left", "busy")
    for clock[0] in (600.0, 1200.0):
        await actor.ask(NextCandidates("busy", 0, b"", 1))
    await opened(actor, "new")
    assert set(engine.texts) == {"busy", "new"}
    await actor.stop()


async def test_no_session_waits_longer_than_the_others_have_passes() -> None:
    engine = Held()
    actor = ModelActor(lambda: engine, max_batch=2)
    names = [f"s{number}" for number in range(5)]
    await opened(actor, *names)

    async def write(session: str) -> int:
        request = GenerateSolo(session, 0, b"", 1, 40, False, GREEDY)
        return len([reply async for reply in actor.write(request) if isinstance(reply, SoloPiece)])

    assert await asyncio.gather(*map(write, names)) == [40] * 5
    assert max(map(len, engine.served)) == 2
    together = [names_ for names_ in engine.served if len(names_) == 2]
    for start in range(len(together) - 5):
        window = [session for pair in together[start : start + 5] for session in pair]
        counts = [window.count(session) for session in set(window)]
        if len(counts) == 5:
            assert max(counts) - min(counts) <= 1
    await actor.stop()


async def test_a_request_that_breaks_the_engine_harms_no_other_session() -> None:
    engine = Held()
    actor = ModelActor(lambda: engine)
    names = ["good", "bad", "fine"]
    await opened(actor, *names)
    engine.broken.add("bad")

    async def ask(session: str) -> str:
        for _ in range(3):
            try:
                reply = await actor.ask(NextCandidates(session, 0, b"", 1))
            except ZeroDivisionError:
                return "failed"
            if isinstance(reply, CandidatesReply):
                return "answered"
            assert isinstance(reply, SessionLost)
            await opened(actor, session)
        return "never"

    assert await asyncio.gather(*map(ask, names)) == ["answered", "failed", "answered"]
    engine.broken.clear()
    assert await asyncio.gather(*map(ask, names)) == ["answered"] * 3
    await actor.stop()


async def test_a_thread_that_ends_leaves_nobody_waiting() -> None:
    class Broken(Held):
        def close(self, session: str) -> None:
            raise ZeroDivisionError("broken beyond repair")

    actor = ModelActor(Broken)
    await opened(actor, "one")
    asking = [asyncio.create_task(actor.ask(request)) for request in (Close("one"), NextCandidates("one", 0, b"", 1))]
    outcomes = await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), 10)
    assert any(isinstance(outcome, ModelGone) for outcome in outcomes)
    await actor.stop()
    with pytest.raises(ModelGone):
        await actor.ask(Close("one"))


async def test_a_model_whose_code_lets_an_iterator_run_out_leaves_nobody_waiting() -> None:
    def load() -> Engine:
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(ModelActor(load).ready(), 10)
    actor = ModelActor(lambda: Held(lambda text: next(iter(()))))
    await opened(actor, "s")
    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(actor.ask(NextCandidates("s", 0, b"", 1)), 10)
    await actor.stop()


async def test_ctrl_c_is_heard_however_much_a_model_has_sent_to_a_loop_that_is_busy() -> None:
    enough = threading.Event()

    def script(text: bytes) -> Mapping[Piece, float]:
        if len(text) == 5_000:
            enough.set()
        return forever(text)

    actor = ModelActor(lambda: ScriptedEngine("m", script))
    await opened(actor, "s")
    heard = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, heard.set)
    try:
        stream = actor.write(GenerateSolo("s", 0, b"", 1, 10_000, False, GREEDY))
        await anext(stream)
        assert enough.wait(60)  # the loop stands still meanwhile
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(heard.wait(), 60)
        written = 1 + len([reply async for reply in stream])
        assert written == 10_000
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)
        await actor.stop()


async def test_the_inbox_is_never_waited_on_longer_than_said() -> None:
    """`queue.SimpleQueue` is, once in some thousand short waits on a busy machine; nothing then wakes the model."""
    actor = ModelActor(Held)
    await actor.ready()
    await actor.stop()
    inbox = actor._inbox

    def wait_often() -> None:
        for _ in range(50_000):
            inbox.put(None)
            inbox.get()
            with suppress(queue.Empty):
                inbox.get(timeout=1e-7)

    thread = threading.Thread(target=wait_often, daemon=True)
    thread.start()
    await asyncio.to_thread(thread.join, 30)
    assert not thread.is_alive()

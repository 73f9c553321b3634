"""Prompts are prepared beside the thread of the engine: no session waits for another's."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from tokencollab import ChatMessage
from tokencollab.actors.model import ModelActor
from tokencollab.actors.runtimes.ray_actors import RayLink
from tokencollab.errors import ModelFailed, ModelGone, ModelRefused
from tokencollab.protocol import codec
from tokencollab.protocol import messages as m
from tokencollab.protocol.messages import CandidatesReply, Close, Closed, NextCandidates, Open, Opened, Refused
from tokencollab.testing import ScriptedEngine

QUESTION = (ChatMessage("user", "?"),)


class Panic(BaseException):
    """As of a Rust library."""


class Preparing(ScriptedEngine):
    """Prepares the prompts of the sessions in ``held`` when it is told to, in any order; ``errors`` are raised."""

    def __init__(self) -> None:
        super().__init__("m", lambda text: {b"a": 3.0, None: 1.0})
        self.held: dict[str, threading.Event] = {}
        self.errors: dict[str, BaseException] = {}
        self.prepared: list[str] = []
        self.threads: set[int] = set()
        self.opened_in: set[int] = set()

    def prepare(self, request: Open) -> Callable[[], Opened | Refused]:
        self.threads.add(threading.get_ident())
        if request.session in self.held:
            assert self.held[request.session].wait(20)
        if request.session in self.errors:
            raise self.errors[request.session]
        self.prepared.append(request.session)
        return lambda: self.open(request)

    def open(self, request: Open) -> Opened | Refused:
        self.opened_in.add(threading.get_ident())
        return super().open(request)

    def hold(self, session: str) -> threading.Event:
        self.held[session] = threading.Event()
        return self.held[session]


async def until(happened: Callable[[], bool]) -> None:
    """Waits for what another thread does."""
    for _ in range(20_000):
        if happened():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never happens")


async def test_others_open_ask_and_close_while_a_prompt_is_prepared() -> None:
    engine = Preparing()
    held = engine.hold("long")
    actor = ModelActor(lambda: engine)
    long = asyncio.create_task(actor.ask(Open("long", QUESTION)))
    for _ in range(3):
        assert isinstance(await actor.ask(Open("short", QUESTION)), Opened)
        assert isinstance(await actor.ask(NextCandidates("short", 0, b"", 1)), CandidatesReply)
        await actor.ask(Close("short"))
    assert not long.done()
    held.set()
    assert isinstance(await long, Opened)
    assert isinstance(await actor.ask(NextCandidates("long", 0, b"a", 1)), CandidatesReply)
    assert not engine.threads & engine.opened_in
    assert len(engine.opened_in) == 1  # the engine belongs to its thread
    await actor.stop()


async def test_a_session_that_is_closed_or_opened_again_in_the_meantime() -> None:
    engine = Preparing()
    held = engine.hold("s")
    actor = ModelActor(lambda: engine, max_sessions=1)
    first = asyncio.create_task(actor.ask(Open("s", QUESTION)))
    second = asyncio.create_task(actor.ask(Open("s", (ChatMessage("user", "another"),))))
    assert await first == Closed("s")
    full = await actor.ask(Open("t", QUESTION))
    assert isinstance(full, Refused)
    assert full.kind == "PlatformFull"
    held.set()
    assert await second == Opened("s", 7, (1 << 20) - 7)
    held.clear()
    third = asyncio.create_task(actor.ask(Open("s", QUESTION)))
    await asyncio.sleep(0)  # asked before it is closed
    assert await actor.ask(Close("s")) == Closed("s")
    assert await third == Closed("s")
    held.set()
    await until(lambda: len(engine.prepared) == 3)
    assert isinstance(await actor.ask(Open("t", QUESTION)), Opened)  # it left nothing behind
    assert "s" not in engine.texts
    await actor.stop()


@pytest.mark.parametrize(
    ("error", "heard"),
    [(ZeroDivisionError("x"), ZeroDivisionError), (ModelRefused("x"), ModelRefused), (Panic("x"), ModelFailed)],
)
async def test_what_goes_wrong_is_told_to_its_session_alone(error: BaseException, heard: type[Exception]) -> None:
    engine = Preparing()
    engine.errors["bad"] = error
    actor = ModelActor(lambda: engine)
    for _ in range(2):
        with pytest.raises(heard, match="x"):
            await actor.ask(Open("bad", QUESTION))
        assert isinstance(await actor.ask(Open("good", QUESTION)), Opened)
    await actor.stop()


async def test_a_model_that_stops_tells_those_who_wait_for_their_prompts() -> None:
    engine = Preparing()
    held = [engine.hold(name) for name in "abcdef"]  # more than are prepared at a time
    actor = ModelActor(lambda: engine)
    waiting = [asyncio.create_task(actor.ask(Open(name, QUESTION))) for name in "abcdef"]
    await until(lambda: len(engine.threads) == 4)
    actor.abandon()
    for task in waiting:
        with pytest.raises(ModelGone):
            await task
    for event in held:
        event.set()
    await actor.stop()
    assert len(engine.prepared) <= 4  # what had not begun is not begun
    assert not [thread for thread in threading.enumerate() if thread.name == "tokencollab-prompt"]


async def test_a_conversation_that_no_frame_holds_is_refused_without_a_word_to_the_model() -> None:
    info = m.ModelInfo("m", "", 0, 0, 1 << 30, "", "", False)
    link = RayLink(None, info, None)  # which has nobody to ask
    many = tuple(ChatMessage("user", "x") for _ in range(codec.MAX_MESSAGES + 1))
    for turns, reason in (
        ((ChatMessage("user", "x" * codec.MAX_FRAME_BYTES),), "does not fit into the 8388608 bytes"),
        (many, "the conversation has 4097 messages; models in other processes take 4096"),
    ):
        refused = await link.ask(Open("s", turns))
        assert isinstance(refused, Refused)
        assert (refused.session, refused.kind) == ("s", "PromptTooLong")
        assert reason in refused.reason
    assert codec.decode(codec.encode(Open("s", many[1:]))) == Open("s", many[1:])

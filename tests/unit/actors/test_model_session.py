"""What one answer keeps of a member is linear in the text, whatever the member says of itself."""

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from math import log
from typing import Any

import pytest

from tokencollab import Collaboration
from tokencollab.actors.model_session import ModelSession, ReceivedEvent, SharedText
from tokencollab.actors.runtimes.base import ModelLink, ModelSpec
from tokencollab.actors.runtimes.threads import LocalRuntime
from tokencollab.errors import MalformedAnswer, ModelRefused
from tokencollab.policies import events as e
from tokencollab.protocol import codec
from tokencollab.protocol import messages as m
from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.spelling import Spelling
from tokencollab.testing import ScriptedEngine

SAMPLING = m.Sampling(10, None, (1, 1), 1.0, 0)


def many(count: int) -> CandidateSet:
    listed = tuple(Candidate(b"%d" % i, 0.0, -log(count)) for i in range(count))
    return CandidateSet(listed, log(count))


class Member:
    """What a session sees of a supervisor."""

    name = "m"

    def __init__(self, *replies: m.Reply) -> None:
        self.replies = list(replies)
        self.requests: list[m.Request] = []
        self.strikes = 0

    async def call(self, request: m.Request, tokens: float) -> m.Reply:
        self.requests.append(request)
        self.tokens = tokens
        return self.replies.pop(0)

    async def write(self, request: m.GenerateSolo, tokens: float) -> AsyncIterator[m.Reply]:
        for reply in self.replies:
            yield reply

    def malformed(self) -> None:
        self.strikes += 1


async def opened(*replies: m.Reply, prompt_tokens: int = 5) -> tuple[ModelSession, Member, SharedText]:
    text = SharedText()
    member = Member(m.Opened("s", prompt_tokens, 100), *replies)
    session = ModelSession(member, m.Open("s", (m.ChatMessage("user", "hello?"),)), text, SAMPLING)  # type: ignore[arg-type]
    await session.open()
    return session, member, text


async def heard(reply: m.Reply, k: int = 10) -> ReceivedEvent:
    session, _, _ = await opened(reply)
    return await session.ask(e.RequestCandidates("m", 1, 0, k))


@pytest.mark.parametrize("count", [1, 16, 17, 1024])
async def test_of_more_candidates_than_were_asked_the_best_are_kept(count: int) -> None:
    received = await heard(m.CandidatesReply("s", 0, many(count), 1))
    assert isinstance(received.event, e.CandidatesArrived)
    assert received.event.candidates.candidates == many(count).candidates[:16]
    assert received.event.candidates.log_normaliser == log(count)


async def test_candidates_that_were_not_asked_are_refused() -> None:
    session, member, _ = await opened(m.CandidatesReply("s", 0, many(2), 1, None, (many(2),) * 1000))
    with pytest.raises(MalformedAnswer):
        await session.ask(e.RequestCandidates("m", 1, 0, 10))
    assert member.strikes == 1


async def test_what_a_member_computed_is_at_most_what_it_could_have() -> None:
    huge = m.CandidatesReply("s", 0, many(2), (1 << 53) - 1)
    session, member, _ = await opened(huge, huge, prompt_tokens=(1 << 53) - 1)
    assert (await session.ask(e.RequestCandidates("m", 1, 0, 10))).forwarded == 0  # the prompt is left out
    assert (await session.ask(e.RequestCandidates("m", 2, 0, 10))).forwarded < 64 * ((1 << 16) + 200)
    assert member.tokens < (1 << 16) + 200  # from which its deadlines follow
    modest = m.CandidatesReply("s", 0, many(2), 7)
    session, _, _ = await opened(modest, modest)
    await session.ask(e.RequestCandidates("m", 1, 0, 10))
    assert (await session.ask(e.RequestCandidates("m", 2, 0, 10))).forwarded == 7


async def test_a_base_writes_no_more_pieces_than_it_may_and_lists_no_more_than_it_is_asked() -> None:
    pieces: list[m.Reply] = [m.SoloPiece("s", number, b"x", many(1000), 1) for number in range(5)]
    session, member, _ = await opened(*pieces)
    run = e.RunSolo("m", 1, 0, 1, 3, True)
    written: list[e.Event] = []

    async def write() -> None:
        async for received in session.write(run, report=True):
            written.append(received.event)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(MalformedAnswer):
        await write()
    assert len(written) == 3
    assert all(
        isinstance(one, e.SoloStep) and one.candidates == CandidateSet(many(1000).candidates[:16], log(1000))
        for one in written
    )
    member.replies = pieces[:3]
    quiet = [received.event async for received in session.write(run, report=False)]
    assert [one.candidates for one in quiet if isinstance(one, e.SoloStep)] == [None] * 3  # it was not asked for them


async def test_a_spelling_that_is_said_anew_again_and_again_is_dropped_at_some_time() -> None:
    """What all replies bring together is linear in them: 256 tokens each, and two for each byte of the text."""
    length, rounds = 2000, 300
    whole = Spelling(0, bytes(8 * length), b"")
    session, member, text = await opened()
    text.append(b"x" * length)
    brought = 0
    for number in range(rounds):
        member.replies.append(m.CandidatesReply("s", length, many(2), 1, whole))
        received = await session.ask(e.RequestCandidates("m", number, length, 10))
        if received.spelling is not None:
            brought += length
    assert 0 < brought <= 256 * rounds + 2 * length
    assert brought > 200 * rounds


async def test_a_spelling_that_grows_with_the_text_is_kept_and_given_back() -> None:
    session, member, text = await opened()
    tokens = b""
    for number in range(1000):
        text.append(b"ab")
        new = number.to_bytes(8, "little")
        member.replies.append(m.CandidatesReply("s", 2 * (number + 1), many(2), 1, Spelling(number, new, b"now")))
        tokens += new
        received = await session.ask(e.RequestCandidates("m", number, 2 * (number + 1), 10))
        assert received.spelling == Spelling(number, new, b"now")
    member.replies.append(m.Opened("s", 5, 100))
    await session.open()
    request = member.requests[-1]
    assert isinstance(request, m.Open)
    assert (request.spelling, len(request.text)) == (Spelling(0, tokens, b"now"), 2000)


async def test_a_refusal_is_heard_as_its_beginning() -> None:
    session, member, _ = await opened()
    member.replies.append(m.Refused("s", "ModelRefused", "no " * 1_000_000))
    with pytest.raises(ModelRefused) as caught:
        await session.ask(e.RequestCandidates("m", 1, 0, 10))
    assert len(str(caught.value)) == 1000


# ---------------------------------------------------------------- a whole answer with a member that floods

Flood = Callable[[Any, int], m.Reply]
FLOODS: dict[str, Flood] = {
    "spellings": lambda reply, n: replace(reply, spelling=Spelling(n * 200_000, bytes(1_600_000), b"")),
    "whole spellings": lambda reply, n: replace(
        reply, spelling=Spelling(0, bytes(8 * (reply.offset + 60)), bytes(8192))
    ),
    "states": lambda reply, n: replace(reply, spelling=Spelling(0, b"", bytes(1_600_000))),
    "candidates": lambda reply, n: replace(reply, candidates=many(1024)),
    "long pieces": lambda reply, n: replace(
        reply,
        candidates=CandidateSet(tuple(Candidate(bytes([i]) * 4096, 0.0, -log(200)) for i in range(200)), log(200)),
    ),
    "earlier": lambda reply, n: replace(reply, earlier=(many(20),) * 20),
    "figures": lambda reply, n: replace(reply, forwarded=(1 << 53) - 1),
}


class Flooding:
    def __init__(self, link: ModelLink, flood: Flood) -> None:
        self._link, self._flood, self._count = link, flood, 0
        self.info = link.info

    async def ask(self, request: m.Request) -> m.Reply:
        reply = await self._link.ask(request)
        if isinstance(reply, m.CandidatesReply):
            reply = self._flood(reply, self._count)
            self._count += 1
        there: Any = codec.decode(codec.encode(reply))
        return there  # type: ignore[no-any-return]

    def write(self, request: m.GenerateSolo) -> AsyncIterator[m.Reply]:
        return self._link.write(request)

    async def alive(self) -> None:
        await self._link.alive()


class FloodingRuntime(LocalRuntime):
    def __init__(self, flood: Flood) -> None:
        super().__init__(lambda spec: ScriptedEngine(spec.name, lambda text: {b"%d" % (len(text) % 7): 9.0, b"~": 5.0}))
        self._flood = flood

    async def start(self, specs: Any) -> list[ModelLink]:
        found: list[ModelLink] = []
        for spec, link in zip(specs, await super().start(specs), strict=True):
            assert isinstance(spec, ModelSpec)
            found.append(Flooding(link, self._flood) if spec.name == "flood" else link)
        return found


@pytest.mark.parametrize("name", FLOODS)
async def test_a_member_that_floods_costs_no_memory(name: str) -> None:
    async with Collaboration("a", ["b", "flood"], "gac", runtime=FloodingRuntime(FLOODS[name])) as team:
        stream = team.stream("?", max_tokens=16)
        tokens = aiter(stream)
        await anext(tokens)
        tracemalloc.start()
        async for _ in tokens:
            pass
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert held < 300_000
    assert stream.answer.text == "".join(str(i % 7) for i in range(16))
    assert sum(stream.answer.forwarded.values()) < 16 * 64 * ((1 << 16) + 200)


class FarAhead(Flooding):
    """A base that writes as fast as it is read."""

    written = 0

    async def write(self, request: m.GenerateSolo) -> AsyncIterator[m.Reply]:
        for number in range(request.max_steps):
            FarAhead.written += 1
            await asyncio.sleep(0)
            yield m.SoloPiece(request.session, request.start + len(request.data) + number, b"x", None, 1)


class FarAheadRuntime(FloodingRuntime):
    async def start(self, specs: Any) -> list[ModelLink]:
        return [FarAhead(link, self._flood) for link in await super().start(specs)]


async def test_a_base_alone_waits_for_a_reader_that_takes_its_time() -> None:
    FarAhead.written = 0
    async with Collaboration("a", (), "base", runtime=FarAheadRuntime(FLOODS["figures"])) as team:
        tokens = aiter(team.stream("?", max_tokens=2000))
        for taken in (1, 500):
            for _ in range(taken):
                await anext(tokens)
            before = -1
            while FarAhead.written != before:  # until it stands still
                before = FarAhead.written
                for _ in range(50):
                    await asyncio.sleep(0)
            assert taken < FarAhead.written < taken + 270
        assert len([token async for token in tokens]) == 2000 - 501
    assert FarAhead.written == 2000

"""Frames that nobody would send on purpose, by a seed: for the tests, and for ``make fuzz N=100000``."""

import asyncio
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from time import perf_counter
from typing import Any

import msgpack

from tests.property.actors.lying import fuzz_lies, fuzz_sockets
from tokencollab import EOS, Piece
from tokencollab.actors.model import ModelActor
from tokencollab.actors.runtimes.ray_actors import RayModel
from tokencollab.errors import MalformedAnswer
from tokencollab.protocol import codec
from tokencollab.protocol import messages as m
from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.spelling import Spelling
from tokencollab.testing import ScriptedEngine

LISTED = CandidateSet(tuple(Candidate(bytes([97 + i]), 20.0 - i, -0.5 - i) for i in range(8)), 20.5)
SPELLING = Spelling(0, bytes(16), b"s")
SAMPLING = m.Sampling(4, 0.9, (1, 2), 1.0, 7)
REQUESTS: list[codec.Message] = [
    m.Open("s", (m.ChatMessage("system", "Be brief."), m.ChatMessage("user", "Zoë?")), b"", None),
    m.Open("t", (m.ChatMessage("user", "?"),), b"abc", SPELLING),
    m.NextCandidates("s", 0, b"ab", 10),
    m.NextCandidates("s", 0, b"abcd", 10, (1, 3, 4)),
    m.ScorePieces("s", 0, b"ab", (b"a", None, b"bc")),
    m.ByteMarginals("s", 0, b"ab", b"c"),
    m.GenerateSolo("s", 0, b"ab", 1, 6, True, SAMPLING),
    m.GenerateSolo("s", 0, b"ab", 1, 6, True, SAMPLING, 0.5),
    m.GenerateSolo("s", 0, b"ab", 1, 6, False, m.Sampling(10, None, (1, 1), 1.0, 7, "top_k", True)),
    m.Close("s"),
]
REPLIES: list[codec.Message] = [
    m.Opened("s", 12, 1 << 20),
    m.CandidatesReply("s", 2, LISTED, 1, SPELLING),
    m.CandidatesReply("s", 2, LISTED, 1, SPELLING, (LISTED, LISTED)),
    m.ScoresReply("s", 2, (1.0, -3.5), 1, None),
    m.MarginalsReply("s", 2, 0.25, 0.25, (0.5, *[0.0] * 255), 1, None),
    m.SoloPiece("s", 2, b"ab", LISTED, 1, SPELLING),
    m.SoloPiece("s", 2, EOS, None, 1, None),
    m.Unsure("s", 2, LISTED, 3, 1, SPELLING),
    m.SessionLost("s"),
    m.ContextExhausted("s", 2),
    m.Closed("s"),
    m.Refused("s", "PromptTooLong", "too long"),
]
TASKS: list[codec.Message] = [
    m.Task("0" * 32, (m.ChatMessage("user", "?"),), "a", ("b",), "{}", 8, ("\n",), 7, True),
    m.Task("f" * 32, (m.ChatMessage("user", "?"),), "a", None, "{}", 8, (), 7, False),
    m.TaskToken(
        "a", b"a", 1, (("a", 0), ("b", None)), (1.0, 0.0, None, 0.0, 0.0, 0.5, 1.0), False, ("c",), (), ("{}",)
    ),
    m.TaskToken("", EOS, 2, (("a", 0),), None, True, (), ()),
    m.TaskEnded("{}", ("told",)),
]
REQUEST_FRAMES = [codec.encode(message) for message in REQUESTS]
FRAMES = REQUEST_FRAMES + [codec.encode(message) for message in REPLIES + TASKS]

CLAIMS = [
    head + size for head in (b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9") for size in (b"\xff" * 4, b"\0\x7f\0\0")
]
NUMBERS = [b"\xcb" + bits for bits in (b"\x7f\xf8" + bytes(6), b"\x7f\xf0" + bytes(6), b"\xff\xf0" + bytes(6))]
VALUES = [*CLAIMS, *NUMBERS, b"\xc0", b"\xc3", b"\x80", b"\x90", b"\xc4\x00", b"\xa0", b"\xcf" + b"\xff" * 8, b"\xff"]

MAX_PEAK = 16 << 20
"""Bytes that a small frame may make the decoder allocate."""


def mutated(random: Random, frame: bytes) -> bytes:
    """The frame with one to four things wrong."""
    data = bytearray(frame)
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        at = random.randrange(len(data) + 1)
        match random.randrange(14):
            case 0 | 1 if data:
                data[at % len(data)] = random.randrange(256)
            case 2:
                data[at:at] = random.randbytes(random.randint(1, 4))
            case 3:
                del data[at : at + random.randint(1, 8)]
            case 4:
                del data[at:]
            case 5:
                data[at:at] = random.choice(VALUES) * random.choice([1, 1, 1, 40])
            case 6:
                value = random.choice(VALUES)
                data[at : at + len(value)] = value
            case 7:
                other = random.choice(FRAMES)
                data[at:] = other[random.randrange(len(other)) :]
            case 8:
                data[at:at] = data[random.randrange(len(data) + 1) :][:64]
            case _:
                _change_value(random, data)
    return bytes(data)


def _change_value(random: Random, data: bytearray) -> None:
    """Another value in place of one, in a frame that stays well-formed."""
    try:
        content = msgpack.unpackb(bytes(data), max_array_len=1024)
        place = content
        while isinstance(inner := place[at := random.randrange(len(place))], list) and inner and random.random() < 0.8:
            place = inner
        place[at] = random.choice(
            [None, True, -1, 0, 1 << 60, 0.0, 1e308, -5.0, "s", "ask", b"", b"x" * 5000, [], [[]]]
        )
        data[:] = msgpack.packb(content)
    except Exception:
        data.append(0)


def frames(seed: int, count: int, sources: list[bytes]) -> Iterator[bytes]:
    """``count`` mutated frames, a few of them mere noise."""
    random = Random(seed)  # noqa: S311 - chance for tests
    for _ in range(count):
        if random.random() < 0.02:
            yield random.randbytes(random.randrange(200))
        else:
            yield mutated(random, random.choice(sources))


@dataclass
class Found:
    """What became of the frames.

    Attributes:
        frames: how many there were.
        valid: those that were messages, or got replies other than a refusal.
        peak: bytes allocated for one.
        longest: characters of a refusal.
        slowest: seconds for one.
    """

    frames: int = 0
    valid: int = 0
    peak: int = 0
    longest: int = 0
    slowest: float = 0.0


def fuzz_decoder(seed: int, count: int) -> Found:
    """Every frame is refused, or is a message that goes there and back, without much memory."""
    found = Found()
    tracemalloc.start()
    try:
        for frame in frames(seed, count, FRAMES):
            tracemalloc.reset_peak()
            before, began = tracemalloc.get_traced_memory()[0], perf_counter()
            try:
                message = codec.decode(frame)
            except MalformedAnswer as error:
                found.longest = max(found.longest, len(str(error)))
            else:
                found.valid += 1
                assert codec.decode(codec.encode(message)) == message
            found.slowest = max(found.slowest, perf_counter() - began)
            found.peak = max(found.peak, tracemalloc.get_traced_memory()[1] - before)
            found.frames += 1
    finally:
        tracemalloc.stop()
    assert found.peak < MAX_PEAK, found
    assert found.longest < 20_000, found
    return found


def script(text: bytes) -> Mapping[Piece, float]:
    """Anything, and EOS now and then."""
    return {piece: float((len(text) * 7 + index * 5) % 11) for index, piece in enumerate([b"a", b"bc", b"\xe6", EOS])}


def edge_of(engine: ScriptedEngine) -> RayModel:
    """A model actor as it stands at Ray's edge, without Ray."""
    edge = RayModel(None, None)  # type: ignore[arg-type]
    edge._actor = ModelActor(lambda: engine)
    return edge


async def answer(replies: Callable[[bytes], Any], frame: bytes, most: int = 3) -> list[bytes]:
    """Its first replies; it must not take long."""
    stream = replies(frame)
    found: list[bytes] = []
    try:
        async with asyncio.timeout(20):
            async for reply in stream:
                found.append(reply)
                if len(found) == most:
                    break
    finally:
        await stream.aclose()
    return found


async def check_alive(replies: Callable[[bytes], Any]) -> None:
    """The model still serves a session as it should."""
    session = "in between"
    conversation = (m.ChatMessage("user", "?"),)
    (opened,) = await answer(replies, codec.encode(m.Open(session, conversation, b"", None)))
    assert isinstance(codec.decode(opened), m.Opened)
    (reply,) = await answer(replies, codec.encode(m.NextCandidates(session, 0, b"a", 4)))
    assert isinstance(codec.decode(reply), m.CandidatesReply)
    written = await answer(replies, codec.encode(m.GenerateSolo(session, 1, b"", 1, 2, False, SAMPLING)))
    assert all(isinstance(codec.decode(one), m.SoloPiece) for one in written)
    await answer(replies, codec.encode(m.Close(session)))


async def fuzz_model(seed: int, count: int) -> Found:
    """Every frame gets replies that are messages, and the model lives on."""
    found = Found()
    engine = ScriptedEngine("model", script)
    edge = edge_of(engine)
    opened: set[str] = set()
    replies = partial(edge._replies, opened=opened)
    for frame in frames(seed, count, REQUEST_FRAMES):
        began = perf_counter()
        for reply in await answer(replies, frame):
            found.valid += not isinstance(codec.decode(reply), m.Refused)
        found.slowest = max(found.slowest, perf_counter() - began)
        found.frames += 1
        if found.frames % 500 == 0:
            await edge._left(opened)
            opened.clear()
            assert not engine.texts, "sessions are left"
            await check_alive(replies)
            engine.calls.clear()
    await edge._left(opened)
    await check_alive(replies)
    assert edge._actor is not None
    await edge._actor.stop()
    return found


if __name__ == "__main__":
    total = int(sys.argv[1])
    print(f"decoder: {fuzz_decoder(1, total)}")
    print(f"model actor: {asyncio.run(fuzz_model(2, total))}")
    print(f"lies: {fuzz_lies(3, total)}")
    print(f"sockets: {asyncio.run(fuzz_sockets(4, total // 20))} hostile servers, and as many hostile clients")

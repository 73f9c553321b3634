"""A member that lies in well formed frames, by a seed: for the tests, and for ``make fuzz N=100000``.

Three honest members write an answer with one that lies. Whatever it says, the text is that of the honest ones, the
answer ends, and it leaves no session and little memory behind.
"""

import asyncio
import os
import shutil
import struct
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import log
from pathlib import Path
from random import Random
from typing import Any

import msgpack
import psutil

from tokencollab import Collaboration, Piece
from tokencollab.actors.runtimes.base import ModelLink, ModelSpec
from tokencollab.actors.runtimes.sockets import Channel, serve
from tokencollab.actors.solo_generation import Writing
from tokencollab.actors.supervisor import FaultPolicy
from tokencollab.errors import ModelGone
from tokencollab.protocol import codec
from tokencollab.protocol import messages as m
from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.spelling import Spelling
from tokencollab.testing import ScriptedEngine, run_on_fake_clock

TEXT = b"what honest members write"
METHODS = ("gac", "unite", "dp", "bytewise", "consult", "confipara-u", "upara-6", "confipara-b")
MOST = (1 << 53) - 1
MAX_GROWN = 256 << 20
"""Bytes by which the process may grow, however many answers there are: a few of the largest frames, decoded."""

Frame = bytes
Lie = Callable[[Random, m.Reply], "Frame | m.Reply"]


def honest(text: bytes) -> Mapping[Piece, float]:
    right: Piece = TEXT[len(text) : len(text) + 2] or None
    others: dict[Piece, float] = {bytes([65 + i, 97 + i]): 3.0 for i in range(12)}
    return {None: 1.0, b"~": 3.0, **others, right: 9.0}


def set_of(pieces: Sequence[Piece], masses: Sequence[float], shift: float = 0.0) -> CandidateSet:
    return CandidateSet(
        tuple(Candidate(p, log(mass) + shift, log(mass)) for p, mass in zip(pieces, masses, strict=True)), shift
    )


def votes(random: Random) -> CandidateSet:
    """Candidates, some of which are a part of a distribution."""
    count = random.choice([1, 2, 10, 16, 60, 1024])
    stem = random.choice([b"Z", TEXT[:1], b"\xff", b"Z" * random.choice([100, 4000])])
    pieces: list[Piece] = [stem + b"%d" % i for i in range(count)]
    if random.random() < 0.2:
        pieces[0] = None
    mass = random.choice([1.0, 0.5, 0.99 / count, 1 / count, 1.005 / count, 1.02 / count, 1e-9])
    shift = random.choice([0.0, 20.0, -5000.0, 1e30, 1.7e308])
    sent = set_of(pieces, [mass] * count, shift)
    if random.random() < 0.2:
        sent = replace(sent, log_normaliser=random.choice([-1e300, 0.0, sent.log_normaliser + 1]))
    return sent


def marginals(random: Random) -> dict[str, Any]:
    """Masses, some of which are of one distribution."""
    whole = random.choice([1.0, 1.0, 1.0, 1.005, 1.02, 2.0, 258.0])
    exact, end = random.choice([(0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (0.0, 1.0), (0.999, 0.0)])
    rest = max(0.0, whole - exact - end)
    spread = random.choice([1, 2, 256])
    following = [0.0] * 256
    for _ in range(spread):
        following[random.choice([90, TEXT[0], random.randrange(256)])] += rest / spread
    return {"exact": exact, "end": end, "following": tuple(min(1.0, mass) for mass in following)}


def spelling(random: Random, offset: int) -> Spelling:
    size = random.choice([0, 1, offset, offset + 64, offset + 65, 10_000, 200_000])
    kept = random.choice([0, 0, 1, offset, 1 << 40, MOST])
    return Spelling(kept, bytes(8 * size), bytes(random.choice([0, 9, 8192, 8193, 500_000])))


def changed(random: Random, frame: bytes) -> bytes:
    """The frame with another value somewhere, still a frame."""
    content = msgpack.unpackb(frame)
    place = content
    while isinstance(inner := place[at := random.randrange(len(place))], list) and inner:
        place = inner
    place[at] = random.choice(
        [-1, 0, MOST, 1 << 60, 0.0, 1e308, -5.0, float("nan"), None, True, "s" * 600, b"x" * 5000]
    )
    return bytes(msgpack.packb(content))


def vote(random: Random, reply: m.Reply) -> m.Reply:
    match reply:
        case m.CandidatesReply() | m.Unsure():
            return replace(reply, candidates=votes(random))
        case m.ScoresReply():
            extreme = random.choice([1e300, -1e300, 0.0, 30.0, 1.7e308])
            return replace(reply, logits=tuple(random.choice([extreme, -extreme]) for _ in reply.logits))
        case m.MarginalsReply():
            return replace(reply, **marginals(random))
        case _:
            return reply


def figure(random: Random, reply: Any) -> m.Reply:
    huge = random.choice([MOST, 1 << 40, 0])
    if isinstance(reply, m.Opened):
        return m.Opened(reply.session, huge, huge)
    told: m.Reply = replace(reply, forwarded=huge) if hasattr(reply, "forwarded") else reply
    return told


def spell(random: Random, reply: Any) -> m.Reply:
    told: m.Reply = replace(reply, spelling=spelling(random, reply.offset)) if hasattr(reply, "spelling") else reply
    return told


def many_offsets(random: Random, reply: m.Reply) -> m.Reply:
    return replace(reply, earlier=(votes(random),) * 20) if isinstance(reply, m.CandidatesReply) else reply


def to_nobody(random: Random, reply: Any) -> m.Reply:
    if random.random() < 0.5 and hasattr(reply, "offset"):
        told: m.Reply = replace(reply, offset=random.choice([0, 1, MOST]))
    else:
        told = replace(reply, session=random.choice(["", "nobody", "s" * 512]))
    return told


def another(random: Random, reply: m.Reply) -> m.Reply:
    session = reply.session
    replies: list[m.Reply] = [
        m.SessionLost(session),
        m.Closed(session),
        m.Refused(session, "ModelFailed", "\x1b]52;c;AA\x07" * 90),
        m.Refused(session, "SystemExit", "x" * 1000),
        m.SoloPiece(session, 0, b"Z", None, 0),
        m.LogprobsReply(session, 4, (4,), (0.0,), 1),
    ]
    return random.choice(replies)


LIES: dict[str, Lie] = {
    "vote": vote,
    "figure": figure,
    "spelling": spell,
    "offsets": many_offsets,
    "nobody": to_nobody,
    "another": another,
    "changed": lambda random, reply: changed(random, codec.encode(reply)),
}


@dataclass
class Told:
    """What became of the lies.

    Attributes:
        frames: how many there were.
        answers: in how many answers.
        counted: those after which the member still took part.
        grown: bytes by which the process has grown, at most.
    """

    frames: int = 0
    answers: int = 0
    counted: int = 0
    grown: int = 0
    kinds: dict[str, int] = field(default_factory=dict)


class Lying:
    """A link to a member that lies more or less often, as it arrives over the wire."""

    def __init__(self, name: str, told: Told, random: Random, liar: bool) -> None:
        self.engine = ScriptedEngine(name, honest)
        self.info = self.engine.info
        self._told, self._random = told, random
        self._kinds = random.sample(sorted(LIES), random.choice([1, 1, 2, len(LIES)])) if liar else []
        self._often = random.choice([1.0, 0.3])

    async def ask(self, request: m.Request) -> m.Reply:
        await asyncio.sleep(0)
        match request:
            case m.Open():
                reply: m.Reply = self.engine.open(request)
            case m.Close():
                self.engine.close(request.session)
                return m.Closed(request.session)
            case m.GenerateSolo():
                raise AssertionError("it is not the base")
            case _:
                (answered,) = self.engine.next_candidates([request])
                assert answered is not None
                reply = answered.reply
        return self._sent(reply)

    def _sent(self, reply: m.Reply) -> m.Reply:
        sent: Any = reply
        if self._kinds and self._random.random() < self._often:
            kind = self._random.choice(self._kinds)
            self._told.frames += 1
            self._told.kinds[kind] = self._told.kinds.get(kind, 0) + 1
            sent = LIES[kind](self._random, reply)
        frame = sent if isinstance(sent, bytes) else codec.encode(sent)
        decoded: Any = codec.decode(frame)
        if not isinstance(decoded, m.Reply):
            raise ModelGone("no reply")
        return decoded

    async def write(self, request: m.GenerateSolo) -> AsyncIterator[m.Reply]:
        writing = Writing(request)
        question: Any = writing.first
        while question is not None:
            await asyncio.sleep(0)
            (answered,) = self.engine.next_candidates([question])
            assert answered is not None
            replies, question = writing.heard(answered)
            for reply in replies:
                yield reply

    async def alive(self) -> None:
        await asyncio.sleep(0)


class Runtime:
    def __init__(self, told: Told, random: Random) -> None:
        self._told, self._random = told, random
        self.links: dict[str, Lying] = {}

    async def start(self, specs: Sequence[ModelSpec]) -> list[ModelLink]:
        return [await self.restart(spec) for spec in specs]

    async def restart(self, spec: ModelSpec) -> ModelLink:
        link = self.links[spec.name] = Lying(spec.name, self._told, self._random, spec.name == "liar")
        return link

    async def stop(self, name: str) -> None:
        self.links.pop(name, None)

    async def close(self) -> None:
        self.links.clear()


async def one_answer(seed: int, told: Told) -> None:
    random = Random(seed)  # noqa: S311 - chance for tests
    runtime = Runtime(told, random)
    method = random.choice(METHODS)
    members = ["b", "c", "liar"]
    random.shuffle(members)
    async with Collaboration(
        "a", members, method, runtime=runtime, fault_policy=FaultPolicy(floor=2, ceiling=5)
    ) as team:
        answer = await team.generate("q", max_tokens=40, seed=seed)
        assert answer.text.encode() == TEXT, (seed, method, answer)
        assert answer.finish_reason == "end", (seed, method, answer)
        assert max(answer.forwarded.values(), default=0) < 1 << 40
        told.counted += answer.lost.get("liar", 0) == 0
        await asyncio.sleep(60)
        for name, link in runtime.links.items():
            assert name == "liar" or not link.engine.texts, (seed, "a session is left")
            link.engine.calls.clear()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, (seed, left)


def fuzz_lies(seed: int, count: int) -> Told:
    """Answers with a liar until it has sent ``count`` frames."""
    told = Told()
    run_on_fake_clock(one_answer(seed, told))  # what is imported and cached is not counted
    process = psutil.Process()
    before = process.memory_info().rss
    while told.frames < count:
        seed += 1
        run_on_fake_clock(one_answer(seed, told))
        told.answers += 1
        told.grown = max(told.grown, process.memory_info().rss - before)
    assert told.grown < MAX_GROWN, told
    return told


# ---------------------------------------------------------------- over a socket


def noise(random: Random) -> bytes:
    """What a hostile process may send: frames of calls that there are and are not, many small ones, odd heads."""
    closed = codec.encode(m.Closed("s"))
    parts = []
    for _ in range(random.randint(1, 6)):
        call = random.choice([1, 1, 2, 7, (1 << 32) - 1])
        frame = random.choice([closed, b"", b"\xc1", closed * 40, bytes(100_000)])
        parts.append(
            random.choice(
                [
                    struct.pack("!II", len(frame), call) + frame,
                    (struct.pack("!II", len(closed), call) + closed) * 1000,
                    struct.pack("!II", 0, call) * 1000,
                    struct.pack("!II", 0xFFFF_FFFF, call) * random.choice([1, 1000]),
                    struct.pack("!II", random.choice([1 << 31, 5000]), call) + closed,
                    random.randbytes(random.randint(1, 300)),
                ]
            )
        )
    return b"".join(parts)


async def one_connection(random: Random, folder: Path, number: int) -> None:
    """A hostile server is left with a clear error, and a hostile client disturbs no other."""

    async def hostile(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readexactly(9)
            writer.write(noise(random))
            await writer.drain()
        writer.close()

    path = str(folder / f"{number}")
    server = await asyncio.start_unix_server(hostile, path)
    channel = await Channel.connect(path)
    calls = [collect(channel.call(b"x")), collect(channel.call(b"y"))]
    async with asyncio.timeout(20):
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, list | ConnectionError), outcome
        await channel.close()
    server.close()


async def collect(replies: AsyncIterator[bytes]) -> list[bytes]:
    return [reply async for reply in replies]


async def fuzz_sockets(seed: int, count: int) -> int:
    """``count`` hostile servers, and as many hostile clients of a server that serves another client all the while."""

    async def echo(frame: bytes, opened: set[str]) -> AsyncIterator[bytes]:
        for _ in range(3):
            await asyncio.sleep(0)
            yield frame

    async def left(opened: set[str]) -> None:
        pass

    random = Random(seed)  # noqa: S311 - chance for tests
    server, path = await serve(echo, left)
    good = await Channel.connect(path)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            await one_connection(random, Path(folder), number)
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(noise(random))
            async with asyncio.timeout(20):
                assert await collect(good.call(b"good")) == [b"good"] * 3
            writer.close()
    await good.close()
    server.close()
    shutil.rmtree(os.path.dirname(path))
    return count

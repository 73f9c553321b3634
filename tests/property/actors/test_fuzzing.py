"""Hostile and broken frames and sockets: no crash, no hang, no memory beyond a limit, and nobody else suffers."""

import asyncio
import os
import shutil
import struct
import tracemalloc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import msgpack
import pytest

from tests.property.actors.fuzzing import (
    FRAMES,
    answer,
    check_alive,
    edge_of,
    frames,
    fuzz_decoder,
    fuzz_model,
    script,
)
from tests.property.actors.lying import LIES, fuzz_lies, fuzz_sockets
from tokencollab import EOS, Answer, Collaboration
from tokencollab.actors.runtimes import ray_actors
from tokencollab.actors.runtimes.base import ModelLink, ModelSpec
from tokencollab.actors.runtimes.sockets import Channel, serve
from tokencollab.actors.runtimes.threads import LocalRuntime
from tokencollab.errors import MalformedAnswer, ModelGone, ProtocolError
from tokencollab.protocol import codec
from tokencollab.protocol import messages as m
from tokencollab.testing import ScriptedEngine

MIB = 1 << 20


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_the_decoder(count: int) -> None:
    found = fuzz_decoder(1, count)
    assert found.frames == count
    assert count / 100 < found.valid < count / 2, "mutations reach what is behind the first check"


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
async def test_the_model_actor(count: int) -> None:
    found = await fuzz_model(2, count)
    assert found.frames == count
    assert found.valid > count / 100


@pytest.mark.parametrize("count", [150, pytest.param(5_000, marks=pytest.mark.slow)])
def test_a_member_that_lies_in_well_formed_frames(count: int) -> None:
    told = fuzz_lies(3, count)
    assert told.frames >= count
    assert set(told.kinds) == set(LIES)
    assert 0 < told.counted < told.answers, "some lies are counted as votes, some are refused"


@pytest.mark.parametrize("count", [15, pytest.param(500, marks=pytest.mark.slow)])
async def test_hostile_servers_and_clients(count: int) -> None:
    assert await fuzz_sockets(4, count) == count


def large(data: bytes) -> bytes:
    return data[: codec.MAX_FRAME_BYTES]


BOMBS = {
    "a list of lists": large(b"\xdd\x00\x7f\xff\x00" + b"\x90" * codec.MAX_FRAME_BYTES),
    "a list of numbers": large(b"\xdd\x00\x7f\xff\x00" + b"\xe0" * codec.MAX_FRAME_BYTES),
    "many lists of lists": large(b"\xdc\x10\x00" + (b"\xdc\x10\x00" + b"\x90" * 4096) * 40),
    "claims within claims": large((b"\xdd\x00\x00\xff\xff" * 1000).ljust(codec.MAX_FRAME_BYTES, b"\x00")),
    "claims in a small frame": b"\xdc\x04\x00" * 20_000,
    "depth": large(b"\x91" * codec.MAX_FRAME_BYTES),
    "a text that claims more": b"\x93\x01\xa5close\xdb\x7f\xff\xff\xff",
    "bytes that claim more": b"\x93\x01\xa5close\xc6\x7f\xff\xff\xff",
    "a map": b"\x92\x01\xdf\x7f\xff\xff\xff",
    "a version": msgpack.packb(["x" * (8 * MIB - 30), "close", "s"]),
    "a kind": msgpack.packb([1, "x" * (8 * MIB - 30), "s"]),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_frame_cannot_claim_memory(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(MalformedAnswer) as caught:
            codec.decode(BOMBS[name])
        assert tracemalloc.get_traced_memory()[1] < 8 * codec.MAX_FRAME_BYTES
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "message",
    [
        m.Open("s", (m.ChatMessage("user", "日本語 " * 500_000),), b"x" * 1000, None),
        m.Open("s", (m.ChatMessage("user", "?"),) * 4000, bytes(100_000), None),
        m.ScorePieces("s", 0, b"", tuple(number.to_bytes(2, "big") for number in range(4096))),
        m.LogprobsReply("s", 9, tuple(range(50_000)), (-0.5,) * 50_000, 1),
    ],
    ids=lambda message: type(message).__name__,
)
def test_large_messages_come_through(message: codec.Message) -> None:
    frame = codec.encode(message)
    assert codec.decode(frame) == message
    for broken in (frame[:-1], frame + b"\x00"):
        with pytest.raises(MalformedAnswer):
            codec.decode(broken)


@pytest.mark.parametrize(
    "sampling",
    [
        m.Sampling(4, 0.9, (2, 2), 0.0, 7),
        m.Sampling(4, 0.9, (2, 2), -1.0, 7),
        m.Sampling(4, 0.9, (0, 0), 1.0, 7),
        m.Sampling(0, -1.0, (5, 1), 1.0, 7),
        m.Sampling(1 << 52, 1e300, (1, 1 << 52), 5e-324, 7),
    ],
)
async def test_sampling_that_cannot_be_does_not_end_the_model(sampling: m.Sampling) -> None:
    edge = edge_of(ScriptedEngine("model", script))
    replies = partial(edge._replies, opened=set())
    await answer(replies, codec.encode(m.Open("s", (m.ChatMessage("user", "?"),), b"", None)))
    await answer(replies, codec.encode(m.GenerateSolo("s", 0, b"", 1, 5, True, sampling)))
    await check_alive(replies)
    assert edge._actor is not None
    await edge._actor.stop()


# ---------------------------------------------------------------- the socket


@asynccontextmanager
async def served() -> AsyncIterator[str]:
    """The path of a model's socket."""
    edge = edge_of(ScriptedEngine("model", script))
    server, path = await serve(edge._replies, edge._left)
    try:
        yield path
    finally:
        server.close()
        assert edge._actor is not None
        await edge._actor.stop()
        shutil.rmtree(os.path.dirname(path))


def head(length: int, call: int = 1) -> bytes:
    return struct.pack("!II", length, call)


async def test_whatever_comes_over_a_socket_others_are_served() -> None:
    random = Random(3)  # noqa: S311
    async with served() as path:
        good = await Channel.connect(path)
        for number, frame in enumerate(frames(4, 300, FRAMES)):
            reader, writer = await asyncio.open_unix_connection(path)
            match number % 6:
                case 0:
                    writer.write(random.randbytes(random.randrange(1, 3000)))
                case 1:
                    writer.write(head(len(frame)) + frame)
                case 2:
                    writer.write(head(len(frame) + 1) + frame)  # and never the last byte
                case 3:
                    writer.write(head(random.randrange(codec.MAX_FRAME_BYTES, 1 << 32)) + frame)
                case 4:
                    for byte in head(len(frame)) + frame:
                        writer.write(bytes([byte]))
                        await asyncio.sleep(0)
                case _:
                    writer.write((head(len(frame), number) + frame) * 20)
            if number % 3:
                writer.write_eof()
                async with asyncio.timeout(20):
                    await reader.read()  # until the other side has closed too
            if number % 10 == 0:
                await check_alive(good.call)
            writer.close()
        await check_alive(good.call)
        await good.close()


async def test_who_does_not_read_is_not_written_to_for_ever() -> None:
    sent = 0

    async def chatter(frame: bytes, opened: set[str]) -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(10_000):
            sent += 1
            yield bytes(10_000)

    async def left(opened: set[str]) -> None:
        pass

    server, path = await serve(chatter, left)
    _, writer = await asyncio.open_unix_connection(path, limit=1000)
    writer.write(head(1) + b"x")
    before = -1
    while sent != before:  # until it stands still
        before = sent
        for _ in range(100):
            await asyncio.sleep(0)
    assert 0 < sent < 1000
    writer.close()
    server.close()
    shutil.rmtree(os.path.dirname(path))


async def hostile_link(replies: bytes, folder: Path) -> tuple[ray_actors.RayLink, asyncio.Server, Channel]:
    """A link to a model that answers every call with these bytes."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                length, _ = struct.unpack("!II", await reader.readexactly(8))
                await reader.readexactly(length)
                writer.write(replies)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_unix_server(connection, folder / "model")
    channel = await Channel.connect(str(folder / "model"))
    return ray_actors.RayLink(None, ScriptedEngine("model", script).info, channel), server, channel


@pytest.mark.parametrize("seed", range(8))
async def test_a_hostile_models_bytes_become_clean_errors(seed: int, tmp_path: Path) -> None:
    random = Random(seed)  # noqa: S311
    closed = codec.encode(m.Closed("s"))
    noise = [
        b"\xff" + random.randbytes(200),
        head(len(closed)) + closed + head(len(closed)) + closed + head(0),
        head(0),
        head(1 << 31),
        head(len(closed)) + closed[:-1] + b"\xc1" + head(0),
        (head(len(closed)) + closed) * 100_000,
        head(len(FRAMES[0])) + FRAMES[0] + head(0),
        head(0, 7) * 1000 + random.randbytes(100),
    ][seed]
    link, server, channel = await hostile_link(noise, tmp_path)
    with pytest.raises((ProtocolError, ModelGone)):
        async with asyncio.timeout(20):
            await link.ask(m.Close("s"))
    await channel.close()
    server.close()


# ---------------------------------------------------------------- a hostile model in an answer


def reply_frame(*values: Any) -> bytes:
    return bytes(msgpack.packb([1, *values]))


def candidates(session: str, offset: int, *listed: Any, normaliser: float = 10.0) -> bytes:
    return reply_frame("candidates", session, offset, [normaliser, list(listed)], 1, None)


GOOD = (b"a", 9.0, -1.0)
NAN, INF = float("nan"), float("inf")
NONSENSE: dict[str, Callable[[str, int], bytes]] = {
    "nan logit": lambda s, o: candidates(s, o, (b"a", NAN, -1.0)),
    "nan log-probability": lambda s, o: candidates(s, o, (b"a", 9.0, NAN)),
    "infinite logit": lambda s, o: candidates(s, o, (b"a", INF, -1.0)),
    "infinite log-probability": lambda s, o: candidates(s, o, GOOD, (b"b", 8.0, -INF)),
    "infinite normaliser": lambda s, o: candidates(s, o, GOOD, normaliser=INF),
    "unsorted": lambda s, o: candidates(s, o, (b"b", 8.0, -2.0), GOOD),
    "repeated": lambda s, o: candidates(s, o, GOOD, GOOD),
    "EOS twice": lambda s, o: candidates(s, o, (None, 9.0, -1.0), (None, 8.0, -2.0)),
    "above one": lambda s, o: candidates(s, o, (b"a", 9.0, 2.0)),
    "an empty piece": lambda s, o: candidates(s, o, (b"", 9.0, -1.0)),
    "10 MB": lambda s, o: candidates(s, o, (bytes(10_000_000), 9.0, -1.0)),
    "7 MB": lambda s, o: candidates(s, o, (bytes(7_000_000), 9.0, -1.0)),
    "nothing": candidates,
    "too many": lambda s, o: candidates(s, o, *[(bytes([i // 256, i % 256]), 0.0, -9.0) for i in range(1025)]),
    "text": lambda s, o: candidates(s, o, ("a", 9.0, -1.0)),
    "version": lambda s, o: bytes(msgpack.packb([2, "candidates", s, o, [10.0, [list(GOOD)]], 1, None])),
    "a request": lambda s, o: codec.encode(m.NextCandidates(s, o, b"", 1)),
    "another reply": lambda s, o: codec.encode(m.ScoresReply(s, o, (1.0,), 1, None)),
    "another session": lambda s, o: candidates(s + "?", o, GOOD),
    "another position": lambda s, o: candidates(s, o + 1, GOOD),
    "a long refusal": lambda s, o: reply_frame("refused", s, "ModelFailed", "x" * 1_000_000),
    "a strange refusal": lambda s, o: reply_frame("refused", s, "SystemExit", "x"),
    "random bytes": lambda s, o: Random(o).randbytes(300),  # noqa: S311
    "no bytes": lambda s, o: b"",
}


class Hostile:
    """A link to a model that answers its n-th question with nonsense, through the check of frames on arrival."""

    def __init__(self, link: ModelLink, name: str, at: int) -> None:
        self._link, self._name, self._left = link, name, at
        self.info = link.info

    async def ask(self, request: m.Request) -> m.Reply:
        reply = await self._link.ask(request)
        frame = codec.encode(reply)
        if isinstance(reply, m.CandidatesReply):
            self._left -= 1
            if self._left == 0:
                frame = NONSENSE[self._name](reply.session, reply.offset)
        checked: m.Reply = ray_actors._decoded(frame, m.Reply, "a reply")
        return checked

    def write(self, request: m.GenerateSolo) -> AsyncIterator[m.Reply]:
        return self._link.write(request)

    async def alive(self) -> None:
        await self._link.alive()


class HostileRuntime(LocalRuntime):
    """The second model is hostile."""

    def __init__(self, name: str) -> None:
        text = b"abcdefghijkl"

        def spell(done: bytes) -> dict[bytes | None, float]:
            return {text[len(done) : len(done) + 1] or EOS: 9.0, b"~": 5.0}

        super().__init__(lambda spec: ScriptedEngine(spec.name, spell))
        self._name = name

    async def start(self, specs: Sequence[ModelSpec]) -> list[ModelLink]:
        first, second = await super().start(specs)
        return [first, Hostile(second, self._name, at=4)]


@pytest.mark.parametrize("name", NONSENSE)
async def test_nonsense_costs_a_model_one_step_and_never_the_session(name: str) -> None:
    async with Collaboration("one", ["two"], "duetnet", runtime=HostileRuntime(name)) as team:
        answer: Answer = await asyncio.wait_for(team.generate("?"), 30)
    assert answer.text == "abcdefghijkl"
    assert answer.finish_reason == "end"
    assert answer.lost == {"two": 1}

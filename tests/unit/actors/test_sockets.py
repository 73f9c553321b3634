"""Frames over a socket: side by side, in order, and a clear end when the other side is gone."""

import asyncio
import os
import shutil
import struct
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tokencollab.actors.runtimes import sockets
from tokencollab.actors.runtimes.sockets import GRANT, WINDOW, Channel, serve
from tokencollab.protocol.codec import MAX_FRAME_BYTES


async def nobody(opened: set[str]) -> None:
    """Nothing is to be done when a connection ends."""


async def echo(frame: bytes, opened: set[str]) -> AsyncIterator[bytes]:
    """As many frames as the first byte says, the later calls first."""
    for index in range(frame[0]):
        await asyncio.sleep(0.02 / frame[0])
        yield frame + bytes([index + 1])


async def collect(channel: Channel, frame: bytes) -> list[bytes]:
    return [reply async for reply in channel.call(frame)]


async def test_calls_run_side_by_side_and_each_gets_its_own_replies() -> None:
    server, path = await serve(echo, nobody)
    channel = await Channel.connect(path)
    frames = [bytes([n]) + b"x" * n * 100 for n in range(1, 6)]
    answers = await asyncio.gather(*(collect(channel, frame) for frame in frames))
    assert answers == [[frame + bytes([i + 1]) for i in range(frame[0])] for frame in frames]
    await channel.close()
    server.close()
    shutil.rmtree(os.path.dirname(path))


async def test_a_caller_who_leaves_early_disturbs_nobody() -> None:
    server, path = await serve(echo, nobody)
    channel = await Channel.connect(path)
    stream = channel.call(b"\x05")
    assert await anext(stream) == b"\x05\x01"
    await stream.aclose()  # type: ignore[attr-defined]
    assert await collect(channel, b"\x02") == [b"\x02\x01", b"\x02\x02"]
    await channel.close()
    server.close()
    shutil.rmtree(os.path.dirname(path))


async def test_an_end_that_is_gone_is_told_to_every_caller() -> None:
    async def fail(frame: bytes, opened: set[str]) -> AsyncIterator[bytes]:
        yield frame
        raise RuntimeError("broken")

    server, path = await serve(fail, nobody)
    channel = await Channel.connect(path)
    for _ in range(2):
        with pytest.raises(ConnectionError, match="gone"):
            await asyncio.wait_for(collect(channel, b"x"), 5)
    await channel.close()
    server.close()
    shutil.rmtree(os.path.dirname(path))


async def test_a_frame_that_is_too_long_is_refused_unread() -> None:
    server, path = await serve(echo, nobody)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(struct.pack("!II", 1 << 31, 1))
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    server.close()
    shutil.rmtree(os.path.dirname(path))


async def test_what_a_connection_had_opened_is_known_when_it_ends() -> None:
    left: asyncio.Queue[set[str]] = asyncio.Queue()

    async def opening(frame: bytes, opened: set[str]) -> AsyncIterator[bytes]:
        opened.add(frame.decode())
        yield frame

    server, path = await serve(opening, left.put)
    first, second = [await Channel.connect(path) for _ in range(2)]
    for channel, name in ((first, b"a"), (second, b"b"), (first, b"c")):
        await collect(channel, name)
    await first.close()
    assert await asyncio.wait_for(left.get(), 5) == {"a", "c"}
    await second.close()
    assert await asyncio.wait_for(left.get(), 5) == {"b"}
    server.close()
    shutil.rmtree(os.path.dirname(path))


async def stands_still(count: Callable[[], int]) -> int:
    """``count()`` when it no longer changes."""
    before = -1
    while count() != before:
        before = count()
        for _ in range(50):
            await asyncio.sleep(0)
    return before


async def test_a_reader_that_takes_nothing_holds_a_window_of_replies_and_others_go_on() -> None:
    sent = left = 0

    async def chatter(frame: bytes, opened: set[str]) -> AsyncIterator[bytes]:
        nonlocal sent, left
        if frame == b"short":
            yield b"reply"
            return
        try:
            while sent < 40_000:
                sent += 1
                yield b"x" * 1000
        finally:
            left += 1

    server, path = await serve(chatter, nobody)
    channel = await Channel.connect(path)
    slow = channel.call(b"long")
    await anext(slow)
    window = WINDOW // 1064 + 1
    assert await stands_still(lambda: sent) in (window, window + 1)
    assert await collect(channel, b"short") == [b"reply"]
    for _ in range(3 * window):  # it goes on as it is read
        assert len(await anext(slow)) == 1000
    assert 3 * window <= await stands_still(lambda: sent) <= 5 * window
    await slow.aclose()  # type: ignore[attr-defined]
    await stands_still(lambda: sent)
    assert left == 1  # and the model hears that nobody reads it any more
    assert await collect(channel, b"short") == [b"reply"]
    await channel.close()
    server.close()
    shutil.rmtree(os.path.dirname(path))


async def test_a_stream_comes_whole_however_large_its_frames_are() -> None:
    async def long(frame: bytes, opened: set[str]) -> AsyncIterator[bytes]:
        for size in (1, GRANT, WINDOW, MAX_FRAME_BYTES, 1, 3 * WINDOW, 100_000):
            yield b"x" * size

    server, path = await serve(long, nobody)
    channel = await Channel.connect(path)
    sizes = [len(reply) for reply in await asyncio.wait_for(collect(channel, b"go"), 20)]
    assert sizes == [1, GRANT, WINDOW, MAX_FRAME_BYTES, 1, 3 * WINDOW, 100_000]
    await channel.close()
    server.close()
    shutil.rmtree(os.path.dirname(path))


async def test_a_server_that_sends_more_than_is_taken_is_left(tmp_path: Path) -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.readexactly(9)
            while True:
                writer.write(struct.pack("!II", 100_000, 1) + bytes(100_000))
                await writer.drain()

    server = await asyncio.start_unix_server(flood, tmp_path / "model")
    channel = await Channel.connect(str(tmp_path / "model"))
    stream = channel.call(b"x")
    await anext(stream)
    (replies,) = channel._calls.values()
    await asyncio.wait_for(asyncio.shield(channel._listening), 20)
    assert replies.held < WINDOW + MAX_FRAME_BYTES + 200_000
    with pytest.raises(ConnectionError, match="gone"):
        async for _ in stream:
            pass
    await channel.close()
    server.close()


@pytest.mark.parametrize("what", ["calls", "bytes"])
async def test_the_calls_of_a_connection_are_limited(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "MOST_CALLS", 50)
    monkeypatch.setattr(sockets, "MOST_BYTES", 10_000)
    begun = most = 0
    go_on = asyncio.Event()

    async def slow(frame: bytes, opened: set[str]) -> AsyncIterator[bytes]:
        nonlocal begun, most
        begun += 1
        most = max(most, begun)
        await go_on.wait()
        yield b"reply"
        begun -= 1

    server, path = await serve(slow, nobody)
    reader, writer = await asyncio.open_unix_connection(path)
    size = 10 if what == "calls" else 3000
    for number in range(1000 if what == "calls" else 40):
        writer.write(struct.pack("!II", size, number) + bytes(size))
    await stands_still(lambda: begun)
    if what == "calls":  # the connection is ended
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        assert reader.at_eof() or reader.exception()
        assert most <= 50
    else:  # the others wait for their turn
        assert begun == 3
        go_on.set()
        for _ in range(40):
            assert await asyncio.wait_for(reader.readexactly(13 + 8), 5)
        assert most == 3
    writer.close()
    server.close()
    shutil.rmtree(os.path.dirname(path))


async def test_folders_of_dead_processes_are_swept_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    async def nothing(frame: bytes, opened: set[str]) -> AsyncIterator[bytes]:
        for _ in range(0):
            yield frame

    async def left(opened: set[str]) -> None:
        pass

    living, path = await serve(nothing, left)
    dead, old = await serve(nothing, left)
    for name in ("tokencollab-empty", "tokencollab-file", "somebody-else"):
        (tmp_path / name).mkdir()
    (tmp_path / "tokencollab-file" / "model").write_text("no socket")
    os.symlink(os.path.dirname(old), tmp_path / "tokencollab-link")
    dead.close()
    await dead.wait_closed()
    another, new = await serve(nothing, left)
    here = set(os.listdir(tmp_path))
    folders = {os.path.basename(os.path.dirname(each)) for each in (path, new)}
    assert here == folders | {"tokencollab-empty", "tokencollab-file", "tokencollab-link", "somebody-else"}
    channel = await Channel.connect(path)  # it still listens
    await channel.close()
    for server in (living, another):
        server.close()

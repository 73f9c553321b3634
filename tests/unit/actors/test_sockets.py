"""Frames over a socket: side by side, in order, and a clear end when the other side is gone."""

import asyncio
import os
import shutil
import struct
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tokencollab.actors.runtimes.sockets import Channel, serve


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

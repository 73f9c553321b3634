"""Frames over a Unix socket: the short way between a coordinator and a model actor on the same machine.

A Ray call costs 1 to 3 ms, most of it bookkeeping that a token does not need. So Ray places the actors, starts and ends
them; the tokens between two processes of one machine take this socket. It lies in a folder that only its owner can
enter. Every message is ``length, call, frame``; a call is answered by one or more frames and then an empty one.
"""

import asyncio
import os
import shutil
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TypeAlias

from tokencollab.actors.log import log
from tokencollab.errors import ProtocolError
from tokencollab.protocol.codec import MAX_FRAME_BYTES

_PREFIX, _SOCKET = "tokencollab-", "model"
_HEAD = struct.Struct("!II")  # length of the frame, number of the call


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    length, call = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    if length > MAX_FRAME_BYTES:
        raise ProtocolError(f"a frame of {length} bytes, at most {MAX_FRAME_BYTES} are allowed")
    return call, await reader.readexactly(length)


AnswerFrames: TypeAlias = Callable[[bytes, set[str]], AsyncIterator[bytes]]
"""From a frame, and what its connection has opened so far (kept by the function), to the frames of the answer."""


async def serve(answer: AnswerFrames, left: Callable[[set[str]], Awaitable[None]]) -> tuple[asyncio.Server, str]:
    """A server that answers calls on a new socket, and the socket's path. Calls run side by side.

    ``left`` is called at the end of every connection with what it had opened.
    """

    async def one_call(call: int, frame: bytes, opened: set[str], writer: asyncio.StreamWriter) -> None:
        try:
            async for reply in answer(frame, opened):
                writer.write(_HEAD.pack(len(reply), call) + reply)
                await writer.drain()  # a caller who does not read is not written to
            writer.write(_HEAD.pack(0, call))
        except Exception as error:  # the caller sees the connection end, and counts the model as lost
            log.warning("connection given up", reason=f"{type(error).__name__}: {error}")
            writer.close()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks: set[asyncio.Task[None]] = set()
        opened: set[str] = set()
        try:
            while True:
                call, frame = await _read(reader)
                task = asyncio.create_task(one_call(call, frame, opened, writer))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        except (asyncio.IncompleteReadError, ConnectionError, ProtocolError):
            pass
        finally:
            for task in tasks:
                task.cancel()
            writer.close()
            await left(opened)

    sweep()
    # Under its own name only when the socket listens: who sweeps must not find one that is not ready yet.
    making = tempfile.mkdtemp(prefix=f".{_PREFIX}")
    server = await asyncio.start_unix_server(connection, os.path.join(making, _SOCKET))
    folder = os.path.join(os.path.dirname(making), os.path.basename(making)[1:])
    os.rename(making, folder)
    return server, os.path.join(folder, _SOCKET)


def sweep() -> None:
    """Removes the folders of processes that were killed: nobody listens at the socket any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid() or not (folder / _SOCKET).is_socket():
                continue
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
                caller.setblocking(False)
                caller.connect(str(folder / _SOCKET))
        except ConnectionRefusedError:
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # it has just gone, is another user's, or is too busy to listen
            pass


class Channel:
    """The caller's end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._calls: dict[int, asyncio.Queue[bytes | None]] = {}  # None: the connection is gone
        self._numbers = count(1)
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def connect(cls, path: str) -> "Channel":
        """A connection to the socket at ``path``. Raises OSError: no process answers at the address."""
        return cls(*await asyncio.open_unix_connection(path))

    async def call(self, frame: bytes) -> AsyncIterator[bytes]:
        """The replies to one call. Raises ConnectionError: the other end is gone."""
        number = next(self._numbers)
        replies: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._calls[number] = replies
        try:
            if self._listening.done():
                raise ConnectionError("the model's process is gone")
            self._writer.write(_HEAD.pack(len(frame), number) + frame)
            while True:
                reply = await replies.get()
                if reply is None:
                    raise ConnectionError("the model's process is gone")
                if not reply:
                    return
                yield reply
        finally:
            del self._calls[number]

    async def close(self) -> None:
        self._listening.cancel()
        self._writer.close()
        with suppress(asyncio.CancelledError, ConnectionError):
            await self._listening

    async def _listen(self) -> None:
        try:
            while True:
                number, frame = await _read(self._reader)
                if number in self._calls:  # else its caller has left
                    self._calls[number].put_nowait(frame)
        except (asyncio.IncompleteReadError, ConnectionError, ProtocolError):
            pass
        finally:
            for replies in self._calls.values():
                replies.put_nowait(None)

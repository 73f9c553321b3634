"""Frames over a Unix socket: the short way between a coordinator and a model actor on the same machine.

A Ray call costs 1 to 3 ms, most of it bookkeeping that a token does not need. So Ray places the actors, starts and ends
them; the tokens between two processes of one machine take this socket. It lies in a folder that only its owner can
enter. Every message is ``length, call, frame``; a call is answered by one or more frames and then an empty one.

Neither side can fill the other's memory. The replies of a call that its caller has not taken yet are at most `WINDOW`
bytes and one frame: the caller says with an empty frame that it has taken another `GRANT` bytes. The calls of a
connection, and the bytes of those that have no reply yet, are limited (`MOST_CALLS`, `MOST_BYTES`).
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
from typing import Final, TypeAlias

from tokencollab.actors.log import Log
from tokencollab.errors import ProtocolError
from tokencollab.protocol.codec import MAX_FRAME_BYTES

log = Log(__name__)

WINDOW: Final = 1 << 20
"""Bytes of replies to one call that are sent before the caller has taken the first."""

GRANT: Final = WINDOW // 2

MOST_CALLS: Final = 1 << 14
"""Calls under way; a connection with more is ended."""

MOST_BYTES: Final = 8 * MAX_FRAME_BYTES
"""Of calls without a reply; no further one is read before some have theirs."""

_PREFIX, _SOCKET = "tokencollab-", "model"
_HEAD = struct.Struct("!II")  # length of the frame, number of the call
_LEFT = 0xFFFF_FFFF  # in place of a length: the caller has left the call
_PER_FRAME = 64  # bytes that a frame costs beside its own


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes | None]:
    """The number of a call and a frame; None: the caller has left it."""
    length, call = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    if length == _LEFT:
        return call, None
    if length > MAX_FRAME_BYTES:
        raise ProtocolError(f"a frame of {length} bytes, at most {MAX_FRAME_BYTES} are allowed")
    return call, await reader.readexactly(length)


AnswerFrames: TypeAlias = Callable[[bytes, set[str]], AsyncIterator[bytes]]
"""From a frame, and what its connection has opened so far (kept by the function), to the frames of the answer."""


class _Call:
    """A call under way at the server."""

    task: asyncio.Task[None]

    def __init__(self, frame: bytes) -> None:
        self.waits = len(frame)  # bytes that it holds until its first reply
        self.sent = 0  # bytes that the caller has not taken
        self.room = asyncio.Event()


async def serve(answer: AnswerFrames, left: Callable[[set[str]], Awaitable[None]]) -> tuple[asyncio.Server, str]:
    """A server that answers calls on a new socket, and the socket's path. Calls run side by side.

    ``left`` is called at the end of every connection with what it had opened.
    """

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _Connection(answer, reader, writer).serve(left)

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


class _Connection:
    """The server's end of a connection."""

    def __init__(self, answer: AnswerFrames, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._answer = answer
        self._reader, self._writer = reader, writer
        self._opened: set[str] = set()
        self._calls: dict[int, _Call] = {}  # by number; of two with one number the later
        self._tasks: set[asyncio.Task[None]] = set()
        self._waits = 0  # bytes of calls without a reply
        self._fewer = asyncio.Event()

    async def serve(self, left: Callable[[set[str]], Awaitable[None]]) -> None:
        try:
            while True:
                number, frame = await _read(self._reader)
                if frame:
                    await self._begin(number, frame)
                elif (call := self._calls.get(number)) is None:
                    pass  # it has ended
                elif frame is None:
                    call.task.cancel()
                else:
                    call.sent = max(0, call.sent - GRANT)
                    call.room.set()
        except (asyncio.IncompleteReadError, ConnectionError, ProtocolError):
            pass
        finally:
            for task in self._tasks:
                task.cancel()
            self._writer.close()
            await left(self._opened)

    async def _begin(self, number: int, frame: bytes) -> None:
        if len(self._tasks) >= MOST_CALLS:
            raise ProtocolError(f"more than {MOST_CALLS} calls at the same time")
        while self._waits > MOST_BYTES - len(frame):
            self._fewer.clear()
            await self._fewer.wait()
        call = self._calls[number] = _Call(frame)
        self._waits += call.waits
        call.task = asyncio.create_task(self._reply(number, call, frame))
        self._tasks.add(call.task)
        call.task.add_done_callback(self._tasks.discard)

    async def _reply(self, number: int, call: _Call, frame: bytes) -> None:
        writer = self._writer
        try:
            async for reply in self._answer(frame, self._opened):
                self._replied(call)
                if writer.is_closing():
                    return
                writer.write(_HEAD.pack(len(reply), number) + reply)
                await writer.drain()  # a caller who does not read is not written to
                call.sent += _PER_FRAME + len(reply)
                while call.sent > WINDOW:
                    call.room.clear()
                    await call.room.wait()
            if not writer.is_closing():
                writer.write(_HEAD.pack(0, number))
        except ConnectionError:
            pass  # the caller is gone
        except Exception as error:  # the caller sees the connection end, and counts the model as lost
            log.warning("connection given up", reason=f"{type(error).__name__}: {error}")
            writer.close()
        finally:
            self._replied(call)
            if self._calls.get(number) is call:
                del self._calls[number]

    def _replied(self, call: _Call) -> None:
        self._waits -= call.waits
        call.waits = 0
        self._fewer.set()


class _Replies:
    """The replies to a call that its caller has not taken yet."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[bytes | None] = asyncio.Queue()  # None: the connection is gone
        self.held = 0  # bytes
        self.taken = 0  # bytes since the last grant


class Channel:
    """The caller's end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._calls: dict[int, _Replies] = {}
        self._numbers = count(1)
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def connect(cls, path: str) -> "Channel":
        """A connection to the socket at ``path``. Raises OSError: no process answers at the address."""
        return cls(*await asyncio.open_unix_connection(path))

    async def call(self, frame: bytes) -> AsyncIterator[bytes]:
        """The replies to one call. Raises ConnectionError: the other end is gone."""
        number = next(self._numbers)
        replies = self._calls[number] = _Replies()
        ended = False
        try:
            if self._listening.done():
                ended = True
                raise ConnectionError("the model's process is gone")
            self._writer.write(_HEAD.pack(len(frame), number) + frame)
            while True:
                reply = await replies.frames.get()
                ended = not reply
                if reply is None:
                    raise ConnectionError("the model's process is gone")
                if not reply:
                    return
                self._take(number, replies, len(reply))
                yield reply
        finally:
            del self._calls[number]
            if not ended and not self._writer.is_closing():
                self._writer.write(_HEAD.pack(_LEFT, number))

    def _take(self, number: int, replies: _Replies, length: int) -> None:
        replies.held -= _PER_FRAME + length
        replies.taken += _PER_FRAME + length
        while replies.taken >= GRANT:
            replies.taken -= GRANT
            if not self._writer.is_closing():
                self._writer.write(_HEAD.pack(0, number))

    async def close(self) -> None:
        self._listening.cancel()
        self._writer.close()
        with suppress(asyncio.CancelledError, ConnectionError):
            await self._listening

    async def _listen(self) -> None:
        try:
            while True:
                number, frame = await _read(self._reader)
                if frame is None:
                    raise ProtocolError("not a reply")
                if (replies := self._calls.get(number)) is None:  # its caller has left
                    continue
                replies.held += _PER_FRAME + len(frame)
                if replies.held > WINDOW + MAX_FRAME_BYTES + 2 * _PER_FRAME:
                    raise ProtocolError("more replies than are taken")
                replies.frames.put_nowait(frame)
        except (asyncio.IncompleteReadError, ConnectionError, ProtocolError):
            pass
        finally:
            for replies in self._calls.values():
                replies.frames.put_nowait(None)
            self._writer.close()

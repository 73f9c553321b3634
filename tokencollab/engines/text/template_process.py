"""The processes in which chat templates are rendered (`templates`): one per model, made by one process per program.

The one that makes them has imported what they need, so that each starts in a moment and shares that memory. Nothing is
unpickled, and none outlives this program: each ends when its socket is closed, at its limit of time if it is busy. One
without work for a minute ends too; the next conversation has another.
"""

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.spawn import get_executable
from time import monotonic
from typing import Any, Final

from tokencollab.engines.text import templates
from tokencollab.errors import ModelFailed, ModelRefused
from tokencollab.protocol.messages import ChatMessage

CPU_SECONDS: Final = 3
"""Processor time for one conversation. The longest that fits into a frame takes a tenth of it."""
_SECONDS: Final = 60.0  # that an answer may take on a machine with other work; its processor time is limited too
_BYTES: Final = 4  # of a character, at most


class _Maker:
    """The process that makes the others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._owner = 0

    def start(self) -> None:
        """Starts the process, if it does not run. It imports for half a second, meanwhile this returns."""
        with self._lock:
            self._start()

    def _start(self) -> socket.socket:
        running = self._process is not None and self._owner == os.getpid() and self._process.poll() is None
        if self._control is not None and running:
            return self._control
        self._control, theirs = socket.socketpair()
        paths = os.pathsep.join(filter(None, sys.path))
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  (our own file)
                [get_executable(), "-P", templates.__file__],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": paths},
                start_new_session=True,  # Ctrl-C is for this program
            )
        self._owner = os.getpid()
        return self._control

    def connect(self) -> socket.socket:
        """The socket of a new process. Raises OSError: there is none."""
        with self._lock:
            ours, theirs = socket.socketpair()
            with theirs:
                try:
                    socket.send_fds(self._start(), [b"+"], [theirs.fileno()])
                except OSError:
                    ours.close()
                    raise
        return ours

    def stop(self) -> None:
        with self._lock:
            if self._control is None or self._process is None or self._owner != os.getpid():
                return
            self._control.close()
            self._control = None
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(1)


_maker = _Maker()
start_ahead = _maker.start
"""Lets the import begin that the first conversation would wait for."""
atexit.register(_maker.stop)


class TemplateProcess:
    """Renders the conversations of one model, one at a time. Calls may come from any thread."""

    def __init__(self, template: str, arguments: Mapping[str, Any], *, seconds: int = CPU_SECONDS) -> None:
        """``arguments``: what the template is given beside the conversation, as plain data.

        ``seconds`` of processor time, and up to one more, may be spent on a conversation.
        """
        self._template = template
        self._seconds = seconds
        self._arguments = dict(arguments)
        self._lock = threading.Lock()
        self._stream: socket.socket | None = None
        self._pid = 0
        self._used = 0.0
        self._endless: dict[str, Any] | None = None  # the last conversation that took too long

    def render(self, messages: Sequence[ChatMessage], limit: int) -> str | int:
        """The prompt; its length where it has more than ``limit`` characters.

        Raises:
            ModelRefused: the template cannot render this conversation, or not within the limits of time and memory.
            ModelFailed: there is no process to render it.
        """
        turns = [(turn.role, turn.content) for turn in messages]
        match self._ask({"arguments": self._arguments, "turns": turns, "limit": limit}, _BYTES * limit + 1024):
            case {"text": str(text)}:
                return text
            case {"long": int(length)}:
                return length
        raise ModelFailed("the process that renders its chat template answers something else")

    def names(self) -> list[str]:
        """What the template uses and does not define. Raises as `render`."""
        match self._ask({}, 1 << 20):
            case {"names": [*names]}:
                return list(map(str, names))
        raise ModelFailed("the process that renders its chat template answers something else")

    def close(self) -> None:
        """Ends the process."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _ask(self, request: dict[str, Any], limit: int) -> Any:
        with self._lock:
            answer = self._answer(request | {"template": self._template, "seconds": self._seconds}, limit)
        if "refused" in answer:
            raise ModelRefused(str(answer["refused"]))
        return answer

    def _answer(self, request: dict[str, Any], limit: int) -> Any:
        late = ModelRefused(
            f"its chat template does not render a conversation within {self._seconds} seconds and "
            f"{templates.MEMORY >> 20} MiB"
        )
        if request == self._endless:  # asked again by who gave it up; all that wait would take as long, one by one
            raise late
        if monotonic() - self._used > templates.IDLE / 2:  # it may have ended, or end at this moment
            self.close()
        stream = self._stream or self._connect()
        self._used = monotonic()
        try:
            templates.write(stream, request)
            return templates.read(stream, limit)
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self.close()
        except (EOFError, OSError, ValueError):
            self.close()
        if monotonic() - self._used >= self._seconds:  # else the process was killed, or took too much memory
            self._endless = request
        raise late

    def _connect(self) -> socket.socket:
        for attempt in (1, 2):
            try:
                stream = _maker.connect()
                stream.settimeout(_SECONDS)
                self._pid = templates.read(stream, 64)
            except (OSError, EOFError) as error:
                if attempt == 2:
                    raise ModelFailed("the process that renders chat templates does not start") from error
            else:
                self._stream = stream
                return stream
        raise AssertionError

"""Run another program quietly, watch it, and never leave it behind."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class ProcessResult:
    code: int
    out: str
    err: str

    @property
    def last_error(self) -> str:
        """The last line of standard error that is not empty, or a word on the exit code."""
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        return lines[-1] if lines else f"exit code {self.code}"


def run_watched(
    command: Sequence[str], tick: Callable[[str], None], environment: Mapping[str, str] | None = None
) -> ProcessResult:
    """Run `command` to its end, calling `tick(standard output so far)` five times a second.

    Ctrl-C, or an exception of `tick`, ends the program and all that it started, then goes on upwards.

    Raises:
        OSError: the program cannot be started.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(  # noqa: S603  (the callers build the command; no shell reads it)
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, **(environment or {})},
            start_new_session=True,  # a group of its own, so that all of it can be ended
        )
        try:
            while True:
                try:
                    code = process.wait(POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    tick(_read(out.fileno()))
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        return ProcessResult(code, _read(out.fileno()), _read(err.fileno()))


def _read(descriptor: int) -> str:
    """All that was written so far; the writer shares the file's position, so it must not be moved."""
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode("utf-8", errors="replace")

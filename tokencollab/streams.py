"""Standard input, output and error of the command line, made so that nothing but the answer can fail."""

import io
import os
import sys
from typing import Any, TextIO


class CannotWrite(OSError):
    """Standard output does not take the answer."""


class _Raw(io.FileIO):
    """A standard stream below its buffer, which fails once at most: what cannot be written after that is dropped."""

    def __init__(self, number: int, fails: bool) -> None:
        super().__init__(number, "wb", closefd=False)
        self._fails = fails

    def write(self, data: Any, /) -> int:
        """Writes ``data``, or drops it.

        Raises:
            BrokenPipeError: nobody reads any more.
            CannotWrite: another failure, such as a full disk.
        """
        try:
            return super().write(data)
        except OSError as error:
            if self._fails:
                self._fails = False  # the buffer tries again when it is closed
                if isinstance(error, BrokenPipeError):
                    raise
                raise CannotWrite(error.errno, error.strerror) from None
        return memoryview(data).nbytes


def prepare_streams() -> None:
    """Once at the start of a program.

    A stream that is closed is empty, or takes what it gets and keeps nothing. Messages on standard error that cannot
    be written are dropped: they must not cost the answer. A failing standard output raises `CannotWrite` once. A
    character that the terminal's encoding does not have is shown by its number. Streams that somebody has put in
    place of Python's own stay as they are.
    """
    for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is None:  # else the next file that is opened takes the number, and gets what is meant for the stream
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the program runs
    if sys.stdout is sys.__stdout__:
        sys.stdout = _writer(1, sys.stdout, fails=True)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _writer(2, sys.stderr, fails=False)


def _writer(number: int, before: TextIO | None, *, fails: bool) -> TextIO:
    """In place of the stream ``before``, as which it encodes and buffers."""
    if before is not None:
        before.flush()
    raw = _Raw(number, fails)
    errors = getattr(before, "errors", "strict")
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(before, "encoding", "utf-8"),
        errors="backslashreplace" if errors in ("strict", "surrogateescape") else errors,
        line_buffering=number == 2 or raw.isatty(),
        write_through=getattr(before, "write_through", False),
    )

"""Standard input, output and error of the command line, made so that nothing but the answer can fail."""

import io
import os
import sys
from typing import TextIO

from tokencollab.errors import CannotWrite


class _Stream(io.TextIOWrapper):
    """Standard output or error, which fails once at most: what is written after that is dropped.

    The raw stream stays Python's own. One in Python would lose count of what it had written when Ctrl-C comes in
    between, and write it twice.
    """

    fails = False

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._failed(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        """From now on, and with what the buffers still have, nothing is kept."""
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)
        if self.fails and isinstance(error, BrokenPipeError):
            raise error
        if self.fails:
            raise CannotWrite(f"the answer cannot be written: {error.strerror}") from None


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
        sys.stdout = _writer(1, sys.stdout)
        sys.stdout.fails = True
    if sys.stderr is sys.__stderr__:
        sys.stderr = _writer(2, sys.stderr)


def _writer(number: int, before: TextIO | None) -> _Stream:
    """In place of the stream ``before``, as which it encodes and buffers."""
    if before is not None:
        before.flush()
    raw = io.FileIO(number, "wb", closefd=False)
    errors = getattr(before, "errors", "strict")
    return _Stream(
        io.BufferedWriter(raw),
        encoding=getattr(before, "encoding", "utf-8"),
        errors="backslashreplace" if errors in ("strict", "surrogateescape") else errors,
        line_buffering=number == 2 or raw.isatty(),
        write_through=getattr(before, "write_through", False),
    )

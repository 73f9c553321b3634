"""A checksum for each line of a file of JSON lines, kept as the last key of the line's object.

``{"a":1}`` is written as ``{"a":1,"crc32":"xxxxxxxx"}``: the CRC-32 (zlib's) of the line's bytes before that key and
its comma, in 8 hexadecimal digits. In a chained file (traces, journals) it is computed on from the checksum of the line
before, so that a line that was taken out or moved is noticed as well. It finds accidents and careless edits; whoever
changes a file on purpose can compute it again.
"""

import re
from collections.abc import Iterable
from typing import Final
from zlib import crc32

from tokencollab.errors import TraceError

CHECKSUM: Final = "crc32"
_TAIL: Final = re.compile(rb',?"crc32":"([0-9a-f]{8})"\}\Z')
_LENGTH: Final = len(b',"crc32":"00000000"}')


def add_checksum(line: bytes, before: int = 0) -> tuple[bytes, int]:
    """``line``, which is a JSON object, with its checksum in place of one that it has; and the checksum.

    ``before``: the checksum of the line before, in a chained file.
    """
    line = line.rstrip()
    tail = _tail(line)
    body = line[: tail.start()] if tail else line[:-1].rstrip()
    checksum = crc32(body, before)
    return b'%s%s"crc32":"%08x"}' % (body, b"" if body == b"{" else b",", checksum), checksum


def has_checksum(line: bytes) -> bool:
    return _tail(line) is not None


def check_line(line: bytes, before: int = 0) -> int | None:
    """The checksum of ``line``; None: it has none.

    Raises TraceError: it does not match.
    """
    if (tail := _tail(line)) is None:
        return None
    checksum = int(tail[1], 16)
    if crc32(line[: tail.start()], before) != checksum:
        raise TraceError("it was changed since it was written (its checksum does not match)")
    return checksum


def check_lines(lines: Iterable[bytes], *, chained: bool) -> int | None:
    """The checksum of the last line; None: no line has one.

    Raises TraceError: one does not match, or some lines have one and others do not; with the number of the line.
    """
    last = 0
    bare: int | None = None  # the first line without one
    any_has = False
    for number, line in enumerate(lines, start=1):
        try:
            found = check_line(line, last if chained else 0)
        except TraceError as error:
            before = ", or a line before it was taken out or changed" if chained and number > 1 else ""
            raise TraceError(f"line {number}: {error}{before}") from None
        if found is None:
            bare = bare or number
        else:
            last, any_has = found, True
        if any_has and bare:
            raise TraceError(f"line {bare}: it was changed since it was written (it has no checksum, others have)")
    return last if any_has else None


def _tail(line: bytes) -> re.Match[bytes] | None:
    return _TAIL.search(line, max(0, len(line) - _LENGTH))

"""Append-only files of JSON lines: one writer, and whole after whatever ended the last one.

Journals, the answers of a batch and the items of an evaluation are such files; what a line means is theirs. The lock is
`flock` on the file itself: the operating system releases it when the process dies, it needs no second file, and it also
holds between two openings in one process. On resuming, a last line that was cut short is removed; one that lacks only
its line end gets it. Each line has a checksum (`protocol.checksums`), which is verified when the file is read; a file
of an earlier version, without them, stays without.
"""

import asyncio
import codecs
import fcntl
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import Any

from tokencollab.errors import CannotWrite, TraceError, UsageError
from tokencollab.files import PRIVATE_FILE, sync_folder
from tokencollab.protocol.checksums import add_checksum, check_lines


class RecordFile:
    """An open file of records, locked until `close`.

    Resuming is ``RecordFile(path, resume=True)``, whatever checks of ``lines`` the owner has, then `keep`. Until `keep`
    the file is as it was found.
    """

    def __init__(self, path: Path, *, resume: bool, sync: bool = True, chained: bool = False) -> None:
        """Opens, locks and reads the file.

        Args:
            path: the file; its folder must be there.
            resume: go on with a file that is there. Without it such a file is refused.
            sync: `append` returns when the line is on the disk. Otherwise the line is in the hands of the operating
                system: a killed process loses nothing, a loss of power may.
            chained: whether checksums go on from line to line.

        Raises UsageError: the file is there (not ``resume``), has another writer, or cannot be opened.
        """
        self.path = path
        self._sync = sync
        self._chained = chained
        self._writing = Lock()
        try:
            self.created, self._file = _open(path, resume)
            try:
                _lock(self._file, path)
                if self.created and sync:
                    sync_folder(path.parent)
                with open(self._file, "rb", closefd=False) as stream:
                    self._found = stream.read()
            except BaseException:
                os.close(self._file)
                raise
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from None
        self.lines = whole_lines(self._found)  # that were found, without their ends
        self.size = len(self._found)
        self._last: int | None = 0  # the checksum of the last line; None: the file has no checksums

    @property
    def checksums(self) -> bool:
        """Whether the lines have checksums; False for a file of an earlier version, once `keep` has found that."""
        return self._last is not None

    def keep(self, lines: Sequence[bytes]) -> None:
        """Makes ``lines`` the content of the file, in one step. They are those of `lines` that are to stay.

        Raises UsageError: a line was changed since it was written, or the file cannot be written; it is left as it was.
        """
        last = verified(self.path, self.lines, chained=self._chained) if self.lines else 0
        if last is not None:
            last = check_lines(lines, chained=self._chained) or 0
        content = b"".join(line + b"\n" for line in lines)
        found, self._found, self.lines = self._found, b"", []
        try:
            if found.startswith(content):
                os.ftruncate(self._file, len(content))
            elif content.startswith(found):
                _write(self._file, content[len(found) :])
            else:
                self._replace(content)
            os.fsync(self._file)
        except OSError as error:
            raise UsageError(f"{self.path} cannot be used: {error.strerror}") from None
        self.size = len(content)
        self._last = last

    def append(self, line: bytes) -> None:
        """Appends ``line``, a JSON object without line end, with its checksum. May be called from several threads.

        Raises CannotWrite: the disk is full, or the like; the file is left as it was.
        """
        with self._writing:
            last = self._last
            if last is not None:
                line, last = add_checksum(line, last if self._chained else 0)
            data = line + b"\n"
            try:
                _write(self._file, data)
                if self._sync:
                    os.fsync(self._file)
            except OSError as error:
                with suppress(OSError):
                    os.ftruncate(self._file, self.size)
                raise CannotWrite(f"{self.path} cannot be written: {error.strerror}") from None
            self.size += len(data)
            self._last = last

    def close(self) -> None:
        """Closes the file; one that was created and got no line is removed. May be called twice."""
        if self._file < 0:
            return
        if self.created and not self.size:
            with suppress(OSError):
                self.path.unlink()
        os.close(self._file)
        self._file = -1

    def _replace(self, content: bytes) -> None:
        """Puts a file with other content in the place of this one, locked before anybody else can see it."""
        place = self.path.resolve()  # of a link the file that it names; the link stays
        beside = place.parent / f".{token_hex(8)}.part"
        fresh = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, PRIVATE_FILE)
        try:
            _lock(fresh, beside)
            os.fchmod(fresh, os.fstat(self._file).st_mode & 0o777)
            _write(fresh, content)
            os.fsync(fresh)
            os.replace(beside, place)
        except BaseException:
            os.close(fresh)
            beside.unlink(missing_ok=True)
            raise
        os.close(self._file)
        self._file = fresh
        sync_folder(place.parent)


def in_use(path: Path) -> bool:
    """Whether a process has the file of records at ``path`` open, or had it until a moment ago."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def whole_lines(data: bytes) -> list[bytes]:
    """The lines of ``data`` without their ends; a last line that was cut short is left out.

    No beginning of a JSON object is one itself, so a last line without its end is whole if it is an object.
    """
    *lines, last = data.removeprefix(codecs.BOM_UTF8).split(b"\n")
    try:
        whole = isinstance(json.loads(last), dict)
    except (ValueError, RecursionError):
        whole = False
    return [*lines, last] if whole else lines


def verified(path: Path, lines: Sequence[bytes], *, chained: bool = False) -> int | None:
    """The last checksum of the ``lines`` of the file at ``path``; None: they have none.

    Raises UsageError: a line was changed since it was written; with the file and the line.
    """
    try:
        return check_lines(lines, chained=chained)
    except TraceError as error:
        remedy = "" if chained else "; take the line out and --resume"
        raise UsageError(f"{path}, {error}{remedy}") from None


def without_checksums(path: str | os.PathLike[str]) -> str:
    """The notice about a file that is read unverified."""
    return f"{os.fspath(path)} has no checksums: if it was changed, that is not noticed"


def compare_settings(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Compares what a run was begun with and what is asked for. Both are as read from JSON.

    Raises UsageError: a setting differs.
    """
    for key in (*now, *before):
        if before.get(key) != now.get(key):
            was, asked = (json.dumps(values.get(key), ensure_ascii=False) for values in (before, now))
            values = f": {key} was {was} and is now {asked}" if len(was + asked) < 2000 else ""
            raise UsageError(f"{path} cannot be resumed with another {key}{values}")


async def in_thread(call: Callable[[], None]) -> None:
    """Runs ``call`` outside the event loop: waiting for a disk must not hold up tokens.

    Where this is cancelled, the call is finished first, so that no file is closed under it.
    """
    running = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await running
        raise


def _open(path: Path, resume: bool) -> tuple[bool, int]:
    """Whether the file is new, and the file."""
    flags = os.O_RDWR | os.O_APPEND
    try:
        return True, os.open(path, flags | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    except FileExistsError:
        if not path.is_file():
            raise UsageError(f"{path} is no file that records can be appended to") from None
        if not resume:
            raise UsageError(f"{path} exists; continue it with --resume, or give another --out") from None
        return False, os.open(path, flags)


def _lock(file: int, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = os.path.samestat(os.fstat(file), os.stat(path))  # else replaced or removed since it was opened
    except (BlockingIOError, FileNotFoundError):
        ours = False
    if not ours:
        raise UsageError(f"{path} is in use: another run, in this or another process, is writing it")


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]

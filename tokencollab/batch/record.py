"""The answers file: JSON Lines, one writer, only ever appended to, and whole after whatever ended the last run.

It holds answers and nothing else, so that jq and pandas read it as it is. With what settings it was begun is in a
second file beside it, ``NAME.run.json``.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import Any, Self

from tokencollab.batch.prompts import Id, PromptLine
from tokencollab.files import sync_folder, write_whole
from tokencollab.protocol.errors import TokencollabError, UsageError


class CannotWrite(TokencollabError):
    """The answers file takes no more; what was written stays whole."""


class AnswerFile:
    """The open file. Each line: ``id``, ``line``, what the prompt line carried, and ``answer`` or ``error``.

    Attributes:
        answered: numbers of the prompt lines that the file has an answer for.
        failed: numbers of those that it has an error for.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        lines: Iterable[PromptLine],
        *,
        resume: bool = False,
        retry_failed: bool = False,
    ) -> None:
        """Opens and locks the file, and repairs its end.

        Args:
            path: where the answers go.
            settings: all that the answers follow from, JSON-ready; a resumed run must have the same.
            lines: the questions.
            resume: go on with a file that is there. Without it such a file is refused.
            retry_failed: on resuming, take the errors out, so that their lines are asked again.

        Raises:
            UsageError: the file is there (not ``resume``), is being written by another run, is of other settings or
                prompts, is damaged, or cannot be opened.
        """
        self.path = path
        self.answered: set[int] = set()
        self.failed: set[int] = set()
        self._settings_path = path.with_name(path.name + ".run.json")
        settings = json.loads(json.dumps(settings))
        self._created, self._file = _open(path, resume)
        self._old_file: int | None = None
        self._end = 0
        try:
            self._lock(self._file)
            content = _read(self._file) if not self._created else b""
            if content:
                self._compare(settings)
                kept, whole = self._read_lines(content, {line.number: line.id for line in lines}, retry_failed)
                if len(kept) < whole:
                    self._replace(b"".join(kept))
                else:
                    self._repair(content, b"".join(kept))
            else:
                write_whole(self._settings_path, json.dumps(settings, indent=1) + "\n")
        except OSError as error:
            self.close()
            raise UsageError(f"{path} cannot be used: {error.strerror}") from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def answer(self, line: PromptLine, answer: Mapping[str, Any]) -> None:
        """Appends an answer; it is on the disk when this returns.

        Raises:
            CannotWrite: the disk is full, or the like. The file is left as it was.
        """
        self._append(line, "answer", answer)
        self.answered.add(line.number)

    def error(self, line: PromptLine, reason: str) -> None:
        """Appends why there is no answer, in the same way."""
        self._append(line, "error", reason)
        self.failed.add(line.number)

    def close(self) -> None:
        """Gives the file free. One that was begun and got nothing is removed, so that the same command works again."""
        if self._file < 0:
            return
        if self._created and self._end == 0:
            with suppress(OSError):
                self.path.unlink()
                self._settings_path.unlink()
        for file in (self._file, self._old_file):
            if file is not None:
                os.close(file)
        self._file, self._old_file = -1, None

    def _append(self, line: PromptLine, kind: str, what: Any) -> None:
        record = {"id": line.id, "line": line.number, **line.carried, kind: what}
        data = json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        try:
            _write(self._file, data)
            os.fsync(self._file)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, self._end)
            raise CannotWrite(
                f"{self.path} cannot be written: {error.strerror}; it has {len(self.answered)} answers, and --resume "
                "goes on from there"
            ) from None
        self._end += len(data)

    def _lock(self, file: int) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._created = False  # it is somebody else's
            raise UsageError(f"another run is writing {self.path}") from None

    def _compare(self, settings: Mapping[str, Any]) -> None:
        try:
            before = json.loads(self._settings_path.read_bytes())
        except FileNotFoundError:
            raise UsageError(
                f"{self.path} cannot be resumed: {self._settings_path.name}, which says how it was begun, is not there"
            ) from None
        except ValueError:
            before = None
        if not isinstance(before, dict):
            raise UsageError(f"{self.path} cannot be resumed: {self._settings_path.name} is damaged")
        for key in [*settings, *before]:
            if key == "prompts_sha256" and before.get(key) != settings.get(key):
                raise UsageError(f"{self.path} cannot be resumed: the prompts have changed since it was begun")
            if before.get(key) != settings.get(key):
                was, now = (json.dumps(values.get(key), ensure_ascii=False) for values in (before, settings))
                raise UsageError(f"{self.path} cannot be resumed: {key} was {was} and is now {now}")

    def _read_lines(self, content: bytes, ids: Mapping[int, Id], retry: bool) -> tuple[list[bytes], int]:
        """The lines to keep, and how many whole ones there are. A last line that was torn is none."""
        lines = content.split(b"\n")
        torn = lines.pop()
        if torn and _record(torn) is not None:  # whole but for its end
            lines.append(torn)
        kept = []
        for number, raw in enumerate(lines, 1):
            record = _record(raw)
            line = None if record is None else record.get("line")
            if record is None or not isinstance(line, int) or line not in ids or record.get("id") != ids[line]:
                raise UsageError(f"{self.path} cannot be resumed: its line {number} is no answer to these prompts")
            if line in self.answered or line in self.failed:
                raise UsageError(f"{self.path} cannot be resumed: its line {number} answers prompt line {line} again")
            if "error" not in record:
                self.answered.add(line)
            elif retry:
                continue
            else:
                self.failed.add(line)
            kept.append(raw + b"\n")
        return kept, len(lines)

    def _repair(self, content: bytes, whole: bytes) -> None:
        """Takes off what a write that was cut short left behind, or gives the last line its end."""
        self._end = len(whole)
        if len(content) > len(whole):
            os.ftruncate(self._file, len(whole))
        elif len(content) < len(whole):
            _write(self._file, whole[len(content) :])
        else:
            return
        os.fsync(self._file)

    def _replace(self, content: bytes) -> None:
        """Puts a file with other content in the place of this one, locked before anybody else can see it."""
        place = self.path.resolve()  # of a link the file that it names; the link stays
        beside = place.with_name(f".{place.name}.{token_hex(4)}")
        fresh = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
        try:
            self._old_file, self._file = self._file, fresh
            self._lock(fresh)
            os.fchmod(fresh, os.fstat(self._old_file).st_mode & 0o777)
            _write(fresh, content)
            os.fsync(fresh)
            os.replace(beside, place)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        sync_folder(place.parent)
        self._end = len(content)


def _open(path: Path, resume: bool) -> tuple[bool, int]:
    """Whether the file is new, and the file."""
    flags = os.O_RDWR | os.O_APPEND
    try:
        try:
            file = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            if not path.is_file():
                raise UsageError(f"{path} is no file that answers could go to") from None
            if not resume:
                raise UsageError(
                    f"{path} is there already: --resume goes on with it, another --out begins anew"
                ) from None
            return False, os.open(path, flags)
        sync_folder(path.parent)
        return True, file
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def _read(file: int) -> bytes:
    with open(file, "rb", closefd=False) as stream:
        return stream.read()


def _record(raw: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and ("answer" in record or "error" in record) else None


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]

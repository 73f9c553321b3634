"""The answers file: JSON Lines, one writer, only ever appended to, and whole after whatever ended the last run.

It holds answers and nothing else, so that jq and pandas read it in one line; the last key of each line is its checksum.
With what settings it was begun is in a second file beside it, ``NAME.run.json``. Both are for their owner alone.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tokencollab.batch.prompts import Id, PromptLine
from tokencollab.errors import CannotWrite, UsageError
from tokencollab.files import read_object, write_whole
from tokencollab.protocol.json_text import NotJson, read_json
from tokencollab.records import RecordFile, compare_settings


class AnswerFile:
    """The open file. Each line: ``id``, ``line``, what the prompt line carried, and ``answer`` or ``error``.

    Attributes:
        answered: numbers of the prompt lines that the file has an answer for.
        failed: numbers of those that it has an error for.
        checksums: whether its lines have checksums; False for a file that an earlier version began.
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

        ``settings`` are all that the answers follow from; a resumed run must have the same. Without ``resume`` a file
        that is there is refused. ``retry_failed`` takes the errors out, so that their lines are asked again.

        Raises:
            UsageError: the file is there (not ``resume``), is being written by another run, is of other settings or
                prompts, was changed since it was written, or cannot be opened.
        """
        self.path = path
        self.answered: set[int] = set()
        self.failed: set[int] = set()
        self._settings_path = path.with_name(path.name + ".run.json")
        settings = json.loads(json.dumps(settings))
        self._records = RecordFile(path, resume=resume)
        try:
            if self._records.size:
                self._compare(settings)
                self._records.keep(self._check_lines({line.number: line.id for line in lines}, retry_failed))
            else:
                write_whole(self._settings_path, json.dumps(settings, indent=1) + "\n")
            self.checksums = self._records.checksums
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def answer(self, line: PromptLine, answer: Mapping[str, Any]) -> None:
        """Appends an answer; it is on the disk when this returns.

        Raises:
            CannotWrite: the disk is full, or the like. The file is left as it was.
        """
        self._append(line, "answer", answer)
        self.answered.add(line.number)

    def error(self, line: PromptLine, reason: str) -> None:
        self._append(line, "error", reason)
        self.failed.add(line.number)

    def close(self) -> None:
        """Gives the file free. One that was begun and got nothing is removed, so that the same command works again."""
        if self._records.created and not self._records.size:
            with suppress(OSError):
                self._settings_path.unlink()
        self._records.close()

    def _append(self, line: PromptLine, kind: str, what: Any) -> None:
        record = {"id": line.id, "line": line.number, **line.carried, kind: what}
        try:
            self._records.append(json.dumps(record, ensure_ascii=False, allow_nan=False).encode())
        except CannotWrite as error:
            raise CannotWrite(
                f"{error}; it has {len(self.answered)} answers, and --resume goes on from there"
            ) from None

    def _compare(self, settings: Mapping[str, Any]) -> None:
        if not self._settings_path.is_file():
            raise UsageError(
                f"{self.path} cannot be resumed: {self._settings_path.name}, which says how it was begun, is not there"
            )
        before = read_object(self._settings_path, f"{self.path} cannot be resumed: {self._settings_path.name}")
        if before.get("prompts_sha256") != settings.get("prompts_sha256"):
            raise UsageError(f"{self.path} cannot be resumed: the prompts have changed since it was begun")
        compare_settings(self.path, before, settings)

    def _check_lines(self, ids: Mapping[int, Id], retry: bool) -> list[bytes]:
        kept = []
        for number, raw in enumerate(self._records.lines, 1):
            record = _record(raw)
            line = None if record is None else record.get("line")
            if record is None or type(line) is not int or line not in ids or record.get("id") != ids[line]:
                raise UsageError(f"{self.path} cannot be resumed: its line {number} is no answer to these prompts")
            if line in self.answered or line in self.failed:
                raise UsageError(f"{self.path} cannot be resumed: its line {number} answers prompt line {line} again")
            if "error" not in record:
                self.answered.add(line)
            elif retry:
                continue
            else:
                self.failed.add(line)
            kept.append(raw)
        return kept


def _record(raw: bytes) -> dict[str, Any] | None:
    try:
        record = read_json(raw)
    except NotJson:
        return None
    return record if isinstance(record, dict) and ("answer" in record or "error" in record) else None

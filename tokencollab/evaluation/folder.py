"""The folder of a run: ``run.json`` (what was asked, on what), ``items.jsonl`` (every answer), ``summary.json``.

``items.jsonl`` only grows, one synced line per answer, so that a run may be stopped anyhow at any moment and resumed.
One process writes at a time. Its lines and ``run.json`` have checksums, so that a file that was changed is noticed. All
of it is for its owner alone.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

import msgspec

from tokencollab.errors import UsageError
from tokencollab.files import make_private_folder, reading, write_whole
from tokencollab.protocol.checksums import CHECKSUM, add_checksum, check_line, has_checksum
from tokencollab.protocol.json_text import NotJson, read_json
from tokencollab.records import RecordFile, compare_settings, in_thread, verified, whole_lines

FORMAT = 1
_ITEMS = "items.jsonl"
Record = dict[str, Any]


class RunFolder:
    """A run's folder, locked while it is open.

    ``checksums``: whether its answers have them; False for a folder that an earlier version began.
    """

    def __init__(self, path: Path, plan: Mapping[str, Any], resume: bool) -> None:
        """Opens the folder; with ``resume`` it may have a run already, which goes on.

        Raises:
            UsageError: it is there and ``resume`` is False; it was made with another plan; another process writes to
                it; it cannot be written.
        """
        self.path = path
        try:
            names = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
            there = bool(names - {_ITEMS, ".lock"})  # of a run that was killed before it began, and of earlier versions
            if there and not resume:
                raise UsageError(f"{path} exists; continue it with --resume, or give another --out")
            if there and "run.json" not in names:
                raise UsageError(f"{path} has files but no run; give another --out")
            make_private_folder(path)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from None
        self._items = RecordFile(path / _ITEMS, resume=True)
        try:
            if self._items.size and not there:
                raise UsageError(f"{path} has files but no run; give another --out")
            self.run: dict[str, Any] = {"format": FORMAT, "plan": dict(plan), "runs": []}
            if there:
                self.run = read_run(path)
                compare_settings(path, self.run["plan"], json.loads(json.dumps(plan)))
            self._items.keep(self._items.lines)
            self.checksums = self._items.checksums
        except BaseException:
            self._items.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._items.close()

    def begin(self, about: Mapping[str, Any]) -> None:
        """Notes a start: when, on what machine, with what versions."""
        self.run["runs"].append(dict(about))
        write_json(self.path / "run.json", self.run, checksum=True)

    async def append(self, record: Record) -> None:
        """Returns when the answer is on disk.

        Raises:
            CannotWrite: the disk is full, or the like.
        """
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
        await in_thread(partial(self._items.append, line))


def new_folder(above: Path, dataset: str, last: bool) -> Path:
    """A folder for a run over ``dataset``: of NAME, NAME-2, ... the first that is free, or the ``last`` that is not."""
    name = (
        re.sub(r"[^\w.-]+", "-", Path(dataset).stem if "/" in dataset or "." in dataset else dataset).strip("-.")
        or "run"
    )
    number = 1
    while (above / _numbered(name, number)).exists():
        number += 1
    return above / _numbered(name, max(1, number - last))


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def read_run(path: Path) -> dict[str, Any]:
    """``run.json`` of a folder.

    Raises:
        UsageError: it is no folder of a run, of a later version of this program, or was changed.
    """
    file = path / "run.json"
    with reading(file):
        if not file.exists():
            raise UsageError(f"{path} is no folder of `tokencollab eval`: it has no run.json")
        data = file.read_bytes()
        check_line(data.rstrip())
        run = read_json(data)
        made, plan, starts = run["format"], run["plan"], run["runs"]
        if made != FORMAT:
            raise UsageError(f"{path} was made by another version of this program (format {made}, not {FORMAT})")
        if not (isinstance(plan, dict) and isinstance(starts, list) and all(isinstance(one, dict) for one in starts)):
            raise UsageError(f"{file} is damaged, or another program wrote it")
        run.pop(CHECKSUM, None)
    return dict(run)


def read_records(path: Path) -> Iterator[Record]:
    """The answers of a folder; a torn last line is left out.

    Raises:
        UsageError: a line in the middle is damaged, or was changed.
    """
    file = path / _ITEMS
    with reading(file):
        lines = whole_lines(file.read_bytes()) if file.exists() else []
    verified(file, lines)
    for number, line in enumerate(lines, start=1):
        try:
            record = read_json(line)
            msgspec.convert(record, _AnswerLine)
        except (NotJson, msgspec.ValidationError) as error:
            raise UsageError(f"{file}, line {number}: damaged ({error}); take the line out and --resume") from None
        record.pop(CHECKSUM, None)
        yield record


class _AnswerLine(msgspec.Struct):
    """The types of an answer's record (`runner.record_of`); earlier versions wrote fewer keys."""

    method: str
    item: str
    right: bool
    text: str | msgspec.UnsetType = msgspec.UNSET
    answer: str | None = None
    cost: float | msgspec.UnsetType = msgspec.UNSET
    tokens: float | msgspec.UnsetType = msgspec.UNSET
    aligned: float | msgspec.UnsetType = msgspec.UNSET
    exit_step: int | None = None
    finish_reason: str | None = None
    first_token_ms: float | None = None
    ms_per_token: float | None = None
    forwarded: dict[str, float] = {}
    t0: list[float] | None = None
    response: dict[str, Any] | None = None


def are_verified(path: Path) -> bool:
    """Whether the answers of a folder have checksums; those of earlier versions have none."""
    file = path / _ITEMS
    with reading(file):
        if not file.exists():
            return True
        with file.open("rb") as lines:
            first = whole_lines(lines.readline())
    return not first or has_checksum(first[0])


def write_json(path: Path, value: object, checksum: bool = False) -> None:
    """Writes an object to a file, whole or not at all; `UsageError`: it cannot be written."""
    text = json.dumps(value, ensure_ascii=False, indent=1)
    write_whole(path, (add_checksum(text.encode())[0].decode() if checksum else text) + "\n")

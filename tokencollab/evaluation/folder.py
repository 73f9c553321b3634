"""The folder of a run: ``run.json`` (what was asked, on what), ``items.jsonl`` (every answer), ``summary.json``.

``items.jsonl`` only grows, one synced line per answer, so that a run may be stopped anyhow at any moment and resumed.
One process writes at a time.
"""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

from tokencollab.errors import UsageError
from tokencollab.files import write_whole
from tokencollab.records import RecordFile, compare_settings, in_thread, whole_lines

FORMAT = 1
_ITEMS = "items.jsonl"
Record = dict[str, Any]


class RunFolder:
    """A run's folder, locked while it is open."""

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
            path.mkdir(parents=True, exist_ok=True)
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
        write_json(self.path / "run.json", self.run)

    async def append(self, record: Record) -> None:
        """Returns when the answer is on disk.

        Raises:
            CannotWrite: the disk is full, or the like.
        """
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
        await in_thread(partial(self._items.append, line))


def read_run(path: Path) -> dict[str, Any]:
    """``run.json`` of a folder.

    Raises:
        UsageError: it is no folder of a run, or of a later version of this program.
    """
    try:
        run = json.loads((path / "run.json").read_text(encoding="utf-8"))
        made = run["format"]
    except FileNotFoundError:
        raise UsageError(f"{path} is no folder of `tokencollab eval`: it has no run.json") from None
    except (OSError, ValueError, TypeError, KeyError):
        raise UsageError(f"{path / 'run.json'} cannot be read; it is damaged, or another program wrote it") from None
    if made != FORMAT:
        raise UsageError(f"{path} was made by another version of this program (format {made}, not {FORMAT})")
    return dict(run)


def read_records(path: Path) -> Iterator[Record]:
    """The answers of a folder; a torn last line is left out.

    Raises:
        UsageError: a line in the middle is damaged.
    """
    try:
        data = (path / _ITEMS).read_bytes()
    except FileNotFoundError:
        return
    for number, line in enumerate(whole_lines(data), start=1):
        try:
            record = json.loads(line)
            record["method"], record["item"], record["right"]
        except (ValueError, TypeError, KeyError):
            raise UsageError(f"{path / _ITEMS}, line {number}: damaged; take the line out and --resume") from None
        yield record


def write_json(path: Path, value: object) -> None:
    """Writes a file whole or not at all; `UsageError`: it cannot be written."""
    write_whole(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")

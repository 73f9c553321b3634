"""The folder of a run: ``run.json`` (what was asked, on what), ``items.jsonl`` (every answer), ``summary.json``.

``items.jsonl`` only grows, one synced line per answer, so that a run may be stopped anyhow at any moment and resumed.
One process writes at a time.
"""

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from tokencollab.files import write_whole
from tokencollab.protocol.errors import UsageError

FORMAT = 1
Record = dict[str, Any]


class RunFolder:
    """A run's folder, locked while it is open::

    with RunFolder.create(path, plan) as folder:
        await folder.append(record)
    """

    def __init__(self, path: Path, plan: Mapping[str, Any], resume: bool) -> None:
        """Opens the folder; with ``resume`` it may have a run already, which goes on.

        Raises:
            UsageError: it is there and ``resume`` is False; it was made with another plan; another process writes to
                it; it cannot be written.
        """
        self.path = path
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        try:
            there = path.is_dir() and any(entry.name != ".lock" for entry in path.iterdir())
            if there and not resume:
                raise UsageError(f"{path} is there already; go on with it by --resume, or give another --out")
            if there and not (path / "run.json").is_file():
                raise UsageError(f"{path} has files but no run; give another --out")
            path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path / ".lock")
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UsageError(f"another process is writing to {path}; wait for it, or give another --out") from None
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from None
        try:
            self._begin(plan, there)
            self._items = (path / "items.jsonl").open("ab")
        except BaseException:
            self._lock.release()
            raise

    def _begin(self, plan: Mapping[str, Any], there: bool) -> None:
        self.run: dict[str, Any] = {"format": FORMAT, "plan": dict(plan), "runs": []}
        if not there:
            return
        self.run = read_run(self.path)
        before, now = self.run["plan"], json.loads(json.dumps(plan))
        for key in (*now, *(key for key in before if key not in now)):
            if before.get(key) != now.get(key):
                raise UsageError(
                    f"{self.path} was made with another {key}; resume with the same settings, or give another --out"
                )
        cut_torn_line(self.path / "items.jsonl")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._items.close()
        self._lock.release()

    def begin(self, about: Mapping[str, Any]) -> None:
        """Notes a start: when, on what machine, with what versions."""
        self.run["runs"].append(dict(about))
        write_json(self.path / "run.json", self.run)

    def records(self) -> Iterator[Record]:
        """Every answer so far."""
        return read_records(self.path)

    async def append(self, record: Record) -> None:
        """Returns when the answer is on disk. Answers that wait at the same time share one sync."""
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((line, written))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await written

    async def settle(self) -> None:
        """Waits until all that was appended is on disk."""
        if self._writer is not None:
            await self._writer

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            outcome: OSError | None = None
            try:
                await asyncio.to_thread(self._sync, b"".join(line for line, _ in batch))
            except OSError as error:
                outcome = error
            for _, written in batch:
                if written.done():
                    continue
                if outcome is None:
                    written.set_result(None)
                else:
                    written.set_exception(UsageError(f"{self.path} cannot be written: {outcome.strerror}"))

    def _sync(self, data: bytes) -> None:
        self._items.write(data)
        self._items.flush()
        os.fsync(self._items.fileno())


def cut_torn_line(path: Path) -> None:
    """Takes away a last line that was being written when its process died."""
    if not path.is_file():
        return
    with path.open("rb+") as file:
        data = file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            file.truncate(whole)
            os.fsync(file.fileno())


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
        raise UsageError(f"{path / 'run.json'} cannot be read; it is damaged or not of this program") from None
    if made != FORMAT:
        raise UsageError(f"{path} was made by another version of this program (format {made}, not {FORMAT})")
    return dict(run)


def read_records(path: Path) -> Iterator[Record]:
    """The answers of a folder; a torn last line is left out.

    Raises:
        UsageError: a line in the middle is damaged.
    """
    try:
        data = (path / "items.jsonl").read_bytes()
    except FileNotFoundError:
        return
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        try:
            record = json.loads(line)
            record["method"], record["item"], record["right"]
        except (ValueError, TypeError, KeyError):
            raise UsageError(
                f"{path / 'items.jsonl'}, line {number}: damaged; take the line out and --resume"
            ) from None
        yield record


def write_json(path: Path, value: object) -> None:
    """Writes a file whole or not at all.

    Raises:
        UsageError: it cannot be written.
    """
    write_whole(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")

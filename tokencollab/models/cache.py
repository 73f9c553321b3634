"""The cache folder: converted models, made once, visible only when whole.

    <cache>/models/<key>/       a converted model; `tokencollab.json` in it is written last
    <cache>/partial/<key>.*/    work under way; nothing reads it, and the next attempt removes it
    <cache>/locks/<key>.lock    held while <key> is made or removed

A folder becomes visible by one rename. Sizes in `tokencollab.json` give away a file that was cut off later.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from tokencollab.errors import ModelUnavailable
from tokencollab.files import read_object
from tokencollab.models.verify import check_folder

MARKER = "tokencollab.json"
# Of the converted folder; one of another format is made anew. Raised whenever `convert` writes something else:
# 2: all end tokens that the file names.
_FORMAT = 2


@dataclass(frozen=True, slots=True)
class Marker:
    """What a converted folder says of itself."""

    name: str
    source: str
    sha256: str  # of the GGUF file
    licence: str | None
    files: dict[str, int] = field(default_factory=dict)  # name -> bytes
    versions: dict[str, str] = field(default_factory=dict)  # of the packages that converted it
    format: int = _FORMAT


@dataclass(frozen=True, slots=True)
class ModelCache:
    root: Path

    def folder(self, key: str) -> Path:
        return self.root / "models" / key

    def keys(self, prefix: str) -> list[str]:
        return sorted(path.name for path in (self.root / "models").glob(f"{prefix}*"))

    def installed(self, key: str) -> Marker | None:
        """The marker of a folder that is whole, else None."""
        folder = self.folder(key)
        try:
            marker = msgspec.convert(read_object(folder / MARKER), Marker)
            whole = all((folder / name).stat().st_size == size for name, size in marker.files.items())
        except Exception:  # whatever the file says, or is: the folder is made anew
            return None
        return marker if whole and marker.format == _FORMAT else None

    def size(self, key: str) -> int:
        """Bytes on disk; 0 if there is nothing."""
        return sum(path.lstat().st_size for path in self.folder(key).glob("*"))

    def publish(self, key: str, made: Path, marker: Marker) -> None:
        """Check the folder `made`, mark it, and rename it into place. The caller holds the lock of `key`.

        Raises:
            ModelRefused: the folder is not a complete model.
        """
        check_folder(made)
        for path in made.iterdir():
            path.chmod(0o644)  # safetensors makes its files private; the folders above decide
            with path.open("rb") as file:
                os.fsync(file.fileno())  # the rename must not reach the disk before the weights do
        sizes = {path.name: path.stat().st_size for path in sorted(made.iterdir())}
        versions = {package: version(package) for package in ("transformers", "gguf", "torch")}
        marker = replace(marker, files=sizes, versions=versions)
        (made / MARKER).write_text(json.dumps(asdict(marker), indent=2) + "\n", encoding="utf-8")
        final = self.folder(key)
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():  # damaged, or of an older format: `installed` did not accept it
            shutil.rmtree(final)
        made.rename(final)

    def remove(self, key: str) -> int:
        """Delete `key`; the bytes that became free. The caller holds the lock of `key`."""
        size = self.size(key)
        if size:
            with self.scratch(key) as scratch:
                self.folder(key).rename(scratch / "removed")  # gone for every process in one step, then deleted
        return size

    @contextmanager
    def scratch(self, key: str) -> Iterator[Path]:
        """A new folder for work under way, removed at the end; so is what earlier attempts left.

        The caller holds the lock of `key`.
        """
        partial = self.root / "partial"
        partial.mkdir(parents=True, exist_ok=True)
        for left in partial.glob(f"{key}.*"):
            shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=partial))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def locked(self, key: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the lock of `key` against other processes and threads; `waiting()` twice a second until then.

        Raises:
            ModelUnavailable: the cache cannot be written, now or later inside the block.
        """
        try:
            (self.root / "locks").mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / "locks" / f"{key}.lock")
            while True:
                try:
                    lock.acquire(timeout=0.5)
                    break
                except Timeout:
                    waiting()
            try:
                yield
            finally:
                lock.release()
        except OSError as error:
            raise ModelUnavailable(
                f"{key} cannot be kept in {self.root}: {error.strerror or error}; "
                "TOKENCOLLAB_CACHE may name another folder"
            ) from error

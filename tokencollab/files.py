"""Files: read behind one guard, written whole or not at all, for their owner alone; and the cache folder."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

from platformdirs import user_cache_path

from tokencollab.errors import TokencollabError, UsageError
from tokencollab.protocol.json_text import NotJson, read_json

_LONGEST_NAME = 255  # bytes, in every file system in use
PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
"""Modes of what may hold conversations. A file that is there keeps its mode."""


@contextmanager
def reading(path: Path, what: str = "", error: type[TokencollabError] = UsageError) -> Iterator[None]:
    """A block that reads the file at ``path``: whatever goes wrong in it is one line with the file's name.

    ``what``: the file as messages call it. A file may hold anything, and what reads it (this program or a library) may
    raise anything, so everything is caught.

    Raises:
        TokencollabError: that of the block if it is one, else ``error``.
    """
    what = what or str(path)
    try:
        yield
    except TokencollabError as found:
        if str(path) in str(found) or what in str(found):
            raise
        raise type(found)(f"{what}: {found}") from found
    except OSError as found:
        raise error(f"{what} cannot be read: {found.strerror or found}") from found
    except NotJson as found:
        raise error(f"{what} is damaged: {found}") from found
    except UnicodeError as found:
        raise error(f"{what} cannot be read: it is not UTF-8 text") from found
    except RecursionError as found:
        raise error(f"{what} is nested too deep") from found
    except Exception as found:
        raise error(f"{what} is damaged ({type(found).__name__}: {str(found)[:200]})") from found


def read_text(path: Path, what: str = "") -> str:
    """The text of a file without a byte order mark. Raises UsageError: it cannot be read, or is not UTF-8."""
    with reading(path, what):
        return path.read_text(encoding="utf-8-sig")


def read_object(path: Path, what: str = "", error: type[TokencollabError] = UsageError) -> dict[str, Any]:
    """The JSON object that a file holds. Raises ``error``: it cannot be read, or holds something else."""
    with reading(path, what, error):
        try:
            value = read_json(path.read_bytes())
        except NotJson as found:
            raise NotJson(f"it is not a JSON object ({found})") from None
        if not isinstance(value, dict):
            raise NotJson("it is not a JSON object")
    return value


def write_whole(path: Path, text: str) -> None:
    """Writes ``text`` to a file; what was there before is kept until all of it is on the disk.

    Raises UsageError: it cannot be written.
    """
    data = text.encode(errors="backslashreplace")  # a lone surrogate, as JSON writes it
    beside = path.parent / f".{token_hex(8)}.part"
    try:
        try:
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE), "wb") as file:
                if path.exists():
                    os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def make_private_folder(folder: Path) -> None:
    """Makes ``folder`` and those above it that are missing, for this user alone. Raises OSError: it cannot be made."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        if folder.parent == folder:
            break
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(PRIVATE_FOLDER, exist_ok=True)


def cache_folder() -> Path:
    """Where models are kept: $TOKENCOLLAB_CACHE, or this user's cache folder.

    Raises UsageError: no folder has the name.
    """
    chosen = os.environ.get("TOKENCOLLAB_CACHE")
    if not chosen:
        return user_cache_path("tokencollab")
    try:
        return typed_path(chosen).absolute()
    except UsageError as error:
        raise UsageError(f"TOKENCOLLAB_CACHE: {error}") from None


def typed_path(name: str | os.PathLike[str]) -> Path:
    """The path that somebody gave, who may begin it with ``~``. Raises UsageError: no file can have this name."""
    text = os.fspath(name)
    reason = "no file has the name"
    try:
        path = Path(text).expanduser()
        if any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts):  # also in folders that are not there
            raise OSError(errno.ENAMETOOLONG, "")
        os.lstat(path)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:  # what else there is to say of it, says who opens it
            return path
        reason = "no file has so long a name as"
    except (RuntimeError, ValueError):  # nobody has this home; a lone surrogate, NUL
        pass
    else:
        return path
    raise UsageError(f"{reason} {text!r}")


def sync_folder(folder: Path) -> None:
    """Brings to the disk which files ``folder`` has. Raises OSError: it cannot be read, or the disk fails."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

"""Files that are written whole or not at all, and the folder of those that can be made again."""

import os
from pathlib import Path
from secrets import token_hex

from platformdirs import user_cache_path

from tokencollab.errors import UsageError


def write_whole(path: Path, text: str) -> None:
    """Writes ``text`` to a file; what was there before is kept until all of it is on the disk.

    Raises UsageError: it cannot be written.
    """
    data = text.encode(errors="backslashreplace")  # a lone surrogate, as JSON writes it
    beside = path.with_name(f".{path.name}.{token_hex(4)}")
    try:
        try:
            with beside.open("xb") as file:
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


def read_text(path: Path, what: str) -> str:
    """The text of a file, which the message calls ``what``. Raises UsageError: it cannot be read, or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"
    raise UsageError(f"{what} cannot be read: {reason}")


def cache_folder() -> Path:
    """Where models are kept: $TOKENCOLLAB_CACHE, or this user's cache folder."""
    chosen = os.environ.get("TOKENCOLLAB_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else user_cache_path("tokencollab")


def typed_path(name: str) -> Path:
    """The path that somebody typed, who may begin it with ``~``. Raises UsageError: no file can have this name."""
    try:
        path = Path(name).expanduser()
        os.fsencode(path)
    except (RuntimeError, UnicodeEncodeError):  # nobody has this home; a lone surrogate
        path = None
    if path is None or "\0" in name:
        raise UsageError(f"no file has the name {name!r}")
    return path


def sync_folder(folder: Path) -> None:
    """Brings to the disk which files ``folder`` has. Raises OSError: it cannot be read, or the disk fails."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

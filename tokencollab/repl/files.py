"""Files that a user names: read whole, and written whole or not at all."""

import os
from pathlib import Path

from tokencollab.protocol.errors import UsageError


def read_whole(name: str) -> str:
    """The text of a file.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return Path(name).expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{name} cannot be read: it is not UTF-8 text") from None


def write_whole(name: str, text: str) -> None:
    """Writes ``text`` to a file; what was there before is kept until all of it is written.

    Raises:
        UsageError: it cannot be written.
    """
    path = Path(name).expanduser()
    made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            with made.open("x", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            made.replace(path)
        except BaseException:
            made.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"{name} cannot be written: {error.strerror}") from None

"""Files that a user names: read whole, and written whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

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
    try:
        with NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(file.name)
                raise
    except OSError as error:
        raise UsageError(f"{name} cannot be written: {error.strerror}") from None

"""The log: structlog, made harmless. A log that cannot be written (its stream is closed, the disk is full) must not end
what it only tells of, and what it quotes of a model or a file is one line of text, never a command to a terminal."""

from contextlib import suppress
from functools import partial

import structlog

from tokencollab.protocol.text import one_line


class _Log:
    """The methods of a structlog logger that are used here."""

    def __init__(self) -> None:
        self._logger = structlog.get_logger("tokencollab")
        self.debug, self.info, self.warning, self.error = (
            partial(self._say, level) for level in ("debug", "info", "warning", "error")
        )

    def _say(self, level: str, event: str, **fields: object) -> None:
        with suppress(Exception):
            getattr(self._logger, level)(one_line(event), **{name: _shown(value) for name, value in fields.items()})


def _shown(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float) else one_line(str(value))


log = _Log()

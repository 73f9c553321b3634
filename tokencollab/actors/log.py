"""The log: structlog, made harmless. A log that cannot be written (its stream is closed, the disk is full) must not end
what it only tells of."""

from contextlib import suppress
from functools import partial

import structlog


class _Log:
    """The methods of a structlog logger that are used here."""

    def __init__(self) -> None:
        self._logger = structlog.get_logger("tokencollab")
        self.debug, self.info, self.warning, self.error = (
            partial(self._say, level) for level in ("debug", "info", "warning", "error")
        )

    def _say(self, level: str, event: str, **fields: object) -> None:
        with suppress(Exception):
            getattr(self._logger, level)(event, **fields)


log = _Log()

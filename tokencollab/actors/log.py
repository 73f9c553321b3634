"""The log: structlog, made harmless. A log that cannot be written (its stream is closed, the disk is full) must not end
what it only tells of."""

from contextlib import suppress

import structlog


class _Log:
    """The methods of a structlog logger that are used here."""

    def __init__(self) -> None:
        self._logger = structlog.get_logger("tokencollab")

    def debug(self, event: str, **fields: object) -> None:
        with suppress(Exception):
            self._logger.debug(event, **fields)

    def info(self, event: str, **fields: object) -> None:
        with suppress(Exception):
            self._logger.info(event, **fields)

    def warning(self, event: str, **fields: object) -> None:
        with suppress(Exception):
            self._logger.warning(event, **fields)

    def error(self, event: str, **fields: object) -> None:
        with suppress(Exception):
            self._logger.error(event, **fields)


log = _Log()

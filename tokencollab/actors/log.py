"""The log: records of the standard library's `logging`, made harmless.

A record that a handler cannot take must not end what it only tells of, and what it quotes of a model or a file is one
line of text, never a command to a terminal. docs/logging.md says how to see records, and how to write them as JSON.
"""

import logging
import sys
from contextlib import suppress
from functools import partial
from typing import Final

from tokencollab.protocol.text import one_line

_ROOT: Final = logging.getLogger("tokencollab")
_ROOT.addHandler(logging.NullHandler())  # a library says nothing that nobody asked for


class Log:
    """The log of a module: an event in a few words, and its figures by name.

    A record's message has both (``model down: model=a, reason=...``), for handlers that know nothing else; each is an
    attribute of the record too (``record.event``, ``record.model``).
    """

    def __init__(self, name: str) -> None:
        """``name``: that of the module."""
        self._logger = logging.getLogger(name)
        self.debug, self.info, self.warning, self.error = (
            partial(self._say, level) for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
        )

    def _say(self, level: int, event: str, **fields: object) -> None:
        with suppress(Exception):
            if self._logger.isEnabledFor(level):
                event, shown = one_line(event), {name: _shown(value) for name, value in fields.items()}
                text = ", ".join(f"{name}={value}" for name, value in shown.items())
                said = f"{event}: {text}" if text else event
                self._logger.log(level, "%s", said, extra={"event": event, **shown}, stacklevel=2)


class _StandardError(logging.StreamHandler):  # type: ignore[type-arg]
    """What `log_to_stderr` puts there."""

    def format(self, record: logging.LogRecord) -> str:
        if self.formatter is None:  # for those programs alone that have something to say
            colours = self.stream is not None and self.stream.isatty()
            self.setFormatter(_formatter(colours))
        return super().format(record)


def _formatter(colours: bool) -> logging.Formatter:
    import structlog  # noqa: PLC0415 - a tenth of a second

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.dev.ConsoleRenderer(colors=colours),
        ],
    )


def log_to_stderr(level: int = logging.WARNING) -> None:
    """Writes events of ``level`` and above on standard error: for programs of this package, and processes of Ray."""
    stop_logging_to_stderr()
    _ROOT.addHandler(_StandardError(sys.stderr))
    _ROOT.setLevel(level)
    _ROOT.propagate = False


def stop_logging_to_stderr() -> None:
    """Undoes `log_to_stderr`."""
    for handler in [handler for handler in _ROOT.handlers if isinstance(handler, _StandardError)]:
        _ROOT.removeHandler(handler)
        _ROOT.setLevel(logging.NOTSET)
        _ROOT.propagate = True


def _shown(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float) else one_line(str(value))

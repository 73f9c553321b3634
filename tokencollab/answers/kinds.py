"""The kinds of answer, by name."""

import re
from functools import lru_cache
from typing import Final

from tokencollab.errors import UsageError

KINDS: Final = ("number", "choice", "choice:N", "boolean", "date", "date:dmy", "math", "regex:PATTERN", "text")
"""The kinds of answer. ``choice:N`` are the first N letters, ``date:dmy`` has the day before the month where that is
not clear (month first otherwise), ``math`` is LaTeX, ``regex:PATTERN`` the last match of a pattern, or its group."""


def check_kind(kind: str) -> str:
    """``kind``, if it is one.

    Raises:
        UsageError: no such kind, or a pattern that does not compile.
    """
    parse_kind(kind)
    return kind


@lru_cache(maxsize=256)
def parse_kind(kind: str) -> tuple[str, str]:
    """Name and parameter of a kind. Raises UsageError as `check_kind`."""
    name, _, parameter = kind.partition(":")
    match name:
        case "number" | "boolean" | "text" | "math" if ":" not in kind:
            return name, ""
        case "choice" if ":" not in kind or (re.fullmatch("[0-9]{1,2}", parameter) and 2 <= int(parameter) <= 26):
            return name, parameter
        case "date" if kind in ("date", "date:dmy"):
            return name, parameter
        case "regex" if parameter:
            compiled(parameter)
            return name, parameter
    raise UsageError(f"unknown kind of answer {kind!r}; there are {', '.join(KINDS)}")


@lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UsageError(f"the pattern {pattern!r} cannot be read: {error}") from None

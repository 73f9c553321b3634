"""Values that somebody else gives: whether a text is one, and how a message shows a number."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

_LARGEST_SHOWN: Final = 1 << 52


def half_character(text: str) -> int | None:
    """Where ``text`` has half a character (a lone surrogate), which no file and no model can take; None: nowhere."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def is_huge(value: object) -> bool:
    """Whether ``value`` is a whole number beyond every limit. Python writes none of 5,000 digits."""
    return isinstance(value, int) and abs(value) > _LARGEST_SHOWN


def shown(value: object) -> str:
    """``value`` as an error message shows it."""
    return "one of more than 15 digits" if is_huge(value) else repr(value)


def perhaps(name: str, known: Iterable[str]) -> str:
    """What to add to a message of an unknown ``name``: the nearest one of those ``known``, if any is near."""
    near = get_close_matches(name.lower(), known, n=1)
    return f", perhaps {near[0]} is meant" if near else ""

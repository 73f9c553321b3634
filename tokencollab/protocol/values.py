"""Values that somebody else gives: whether a text is one, and how a message shows a number."""

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

"""Texts as a hostile model, file or name may have them, and what of them must reach nobody as a command."""

import unicodedata
from typing import Final

HOSTILE: Final = (
    "\x1b]52;c;QUFB\x07clipboard",
    "\x1b[2J\x1b[Hcleared",
    "\x1b]0;title\x1b\\",
    "\x1bPdevice\x1b\\",
    "\x9b31mred",
    "\x90q\x9c\x9d8;;http://h\x9clink",
    "bell\x07\x08\x7f",
    "100 %\rover",
    "feed\x0b\x0c\x1c\x85",
    "\u202etxt.exe\u202c\u202d\u202a",
    "\u2066isolated\u2067\u2068\u2069",
    "mark\u200e\u200f\u061c",
    "shape\u206a\u206f",
    "line\u2028separated\u2029",
    "hidden\ufff9a\ufffab\ufffb",
    "none\ufffe\uffff",
    "$\\frac{a}$ ${x",
    "<img src=x onerror=alert(1)>&amp;]]>--><!--",
    "a|b`c`*d*__e__~~f~~[g](http://h)![i](http://j)[k]: http://l",
    "line\n\n# heading\n* item\n| cell |\n%s {} [bold]red[/bold] :smile:",
    "_" + "long" * 75,
)
"""At least one of every kind; the last three break what is made of them rather than the terminal."""

_OTHERS: Final = (
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u206a\u206f\ufff9\ufffa\ufffb\ufffe\uffff"
)


def commands_in(text: str, allowed: str = "\n") -> set[str]:
    """The characters of ``text`` that may be a command: by Unicode's own tables, not by the function under test."""
    kinds = ("Cc", "Zl", "Zp", "Cs")
    return {c for c in text if c not in allowed and (unicodedata.category(c) in kinds or c in _OTHERS)}

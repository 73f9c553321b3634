"""Dates in text, as YYYY-MM-DD."""

import re
from collections.abc import Iterator
from datetime import date
from typing import Final

from tokencollab.answers.markup import strip_markup

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH: Final = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DAY: Final = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_FORMS: Final = tuple(
    re.compile(rf"(?<![\w/.-]){form}(?![\w/-])", re.IGNORECASE)
    for form in (
        r"(?P<year>\d{4})(?P<mark>[-/.])(?P<m>\d{1,2})(?P=mark)(?P<day>\d{1,2})",
        r"(?P<a>\d{1,2})(?P<mark>[-/.])(?P<b>\d{1,2})(?P=mark)(?P<year>\d{4})",
        rf"{_MONTH}\s+{_DAY}\s*,?\s+(?P<year>\d{{4}})",
        rf"{_DAY}\s+(?:of\s+)?{_MONTH}\s*,?\s+(?P<year>\d{{4}})",
    )
)
_CJK: Final = re.compile(r"(?P<year>\d{4})\s*年\s*(?P<m>\d{1,2})\s*月\s*(?P<day>\d{1,2})\s*[日号]?")


def read_date(content: str, first: bool, day_first: bool) -> str | None:
    """The first date of a statement."""
    text = strip_markup(content)
    for start, found in _find(text, day_first):
        return None if first and re.search(r"\w\W*\w", text[:start]) else found
    return None


def last_date(text: str, day_first: bool) -> str | None:
    """The last date of a text that states none."""
    dates = [found for _, found in _find(strip_markup(text), day_first)]
    return dates[-1] if dates else None


def is_date(text: str) -> bool:
    """Whether a text is a date and nothing else."""
    bare = strip_markup(text).strip().rstrip(".")
    return any(form.fullmatch(bare) for form in (*_FORMS, _CJK)) and last_date(bare, day_first=False) is not None


def _find(text: str, day_first: bool) -> Iterator[tuple[int, str]]:
    hits = [found for form in (*_FORMS, _CJK) for found in form.finditer(text)]
    for found in sorted(hits, key=lambda hit: hit.start()):
        parts = found.groupdict()
        if parts.get("a") is not None:
            a, b = int(parts["a"]), int(parts["b"])
            # 25.12. is the day first wherever dots are used; 13 is no month anywhere.
            swap = day_first or parts["mark"] == "." or a > 12
            month, day = (b, a) if swap and b <= 12 else (a, b)
        else:
            name = parts.get("month")
            month = _MONTHS.index(name[:3].lower()) + 1 if name else int(parts["m"])
            day = int(parts["day"])
        try:
            yield found.start(), date(int(parts["year"]), month, day).isoformat()
        except ValueError:
            continue

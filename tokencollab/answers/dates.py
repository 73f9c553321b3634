"""Dates in text, as YYYY-MM-DD."""

import re
from collections.abc import Iterator
from datetime import date
from typing import Final

from tokencollab.answers.markup import strip_markup
from tokencollab.answers.scales import LETTER

_NAMES: Final = (  # of each month, as whole words: en, de, fr, es, pt, it, nl, ru, uk, pl, tr, id, sw, th
    "jan january januar jänner janvier enero janeiro gennaio januari января январь січня stycznia ocak มกราคม",
    "feb february februar février fevrier febrero fevereiro febbraio februari февраля февраль лютого lutego şubat "
    "กุมภาพันธ์",
    "mar march märz maerz mars marzo março marco maart марта март березня marca mart maret machi มีนาคม",
    "apr april avril abril aprile апреля апрель квітня kwietnia nisan aprili เมษายน",
    "may mai mayo maio maggio mei мая май травня maja mayıs พฤษภาคม",
    "jun june juni juin junio junho giugno июня июнь червня czerwca haziran มิถุนายน",
    "jul july juli juillet julio julho luglio июля июль липня lipca temmuz julai กรกฎาคม",
    "aug august août aout agosto augustus августа август серпня sierpnia ağustos agustus agosti สิงหาคม",
    "sep sept september septembre septiembre setiembre setembro settembre сентября сентябрь вересня września eylül "
    "septemba กันยายน",
    "oct october oktober octobre octubre outubro ottobre октября октябрь жовтня października ekim oktoba ตุลาคม",
    "nov november novembre noviembre novembro ноября ноябрь листопада listopada kasım novemba พฤศจิกายน",
    "dec december dezember décembre decembre diciembre dezembro dicembre декабря декабрь грудня grudnia aralık "
    "desember desemba ธันวาคม",
)
_MONTHS: Final = {name.casefold(): number for number, names in enumerate(_NAMES, 1) for name in names.split()}
_MONTH: Final = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\.?"
_DAY: Final = r"(?P<day>\d{1,2})(?:st|nd|rd|th|er|º|ª|\.)?"
_YEAR: Final = r"(?P<year>\d{4})"
_FORMS: Final = tuple(
    re.compile(rf"(?<!{LETTER})(?<![/.-]){form}(?!{LETTER}|[/-]\w|\.\d)", re.IGNORECASE)
    for form in (
        rf"{_YEAR}(?P<mark>[-/.])(?P<m>\d{{1,2}})(?P=mark)(?P<day>\d{{1,2}})(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z?)?",
        rf"(?P<a>\d{{1,2}})(?P<mark>[-/.])(?P<b>\d{{1,2}})(?P=mark){_YEAR}",
        rf"{_MONTH}\s+(?:the\s+)?{_DAY}\s*,?\s+{_YEAR}",
        rf"{_DAY}(?:\s+(?:of\s+|de\s+)?|-){_MONTH}(?:\s*,?\s+(?:de\s+|del\s+)?|-){_YEAR}",
        rf"{_YEAR}\s*[年년]\s*(?P<m>\d{{1,2}})\s*[月월]\s*(?P<day>\d{{1,2}})\s*[日号號일]?",
        rf"(?:ngày\s+)?(?P<day>\d{{1,2}})\s+tháng\s+(?P<m>\d{{1,2}}),?\s+(?:năm\s+)?{_YEAR}",
    )
)
_AROUND: Final = re.compile(
    r"(?:on|the|le|am|el|den|(?:mon|tues|wednes|thurs|fri|satur|sun)day|г|года|[\s,.()$\"'])*", re.IGNORECASE
)


def read_date(content: str, first: bool, day_first: bool) -> str | None:
    """The first date of a statement."""
    text = strip_markup(content)
    for start, _, found in _find(text, day_first):
        return None if first and re.search(r"\w\W*\w", text[:start]) else found
    return None


def last_date(text: str, day_first: bool) -> str | None:
    """The last date of a text that states none."""
    dates = [found for *_, found in _find(strip_markup(text), day_first)]
    return dates[-1] if dates else None


def is_date(text: str) -> bool:
    """Whether ``text`` is a date and nothing else."""
    text = strip_markup(text)
    return any(
        _AROUND.fullmatch(text[:start]) and _AROUND.fullmatch(text[end:]) for start, end, _ in _find(text, False)
    )


def _find(text: str, day_first: bool) -> Iterator[tuple[int, int, str]]:
    hits = [found for form in _FORMS for found in form.finditer(text)]
    for found in sorted(hits, key=lambda hit: hit.start()):
        parts = found.groupdict()
        if parts.get("a") is not None:
            a, b = int(parts["a"]), int(parts["b"])
            # 25.12. is the day first wherever dots are used; 13 is no month anywhere.
            swap = day_first or parts["mark"] == "." or a > 12
            month, day = (b, a) if swap and b <= 12 else (a, b)
        else:
            name = parts.get("month")
            month = _MONTHS.get(name.casefold(), 0) if name else int(parts["m"])  # 0: no month, as İ is no i
            day = int(parts["day"])
        try:
            yield found.start(), found.end(), date(int(parts["year"]), month, day).isoformat()
        except ValueError:
            continue

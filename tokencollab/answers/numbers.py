"""Numbers in text, exactly: separators, fractions, mixed numbers, percents, powers of ten, units behind them."""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from tokencollab.answers.markup import strip_markup

_MAX_DIGITS: Final = 400  # of one number; longer ones are no answer to anything

_DIGITS: Final = (
    r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,]*,\d)"  # 1,234.5
    r"|\d{1,3}(?:[ '_]\d{3})+(?:[.,]\d+)?(?![ '_]?\d)"  # 1 234,5
    r"|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?(?!\d)"  # 12,34,567
    r"|\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?(?!\d)|\d{1,3}\.\d{3},\d{1,2}(?![\d,])"  # 1.234.567,5
    r"|\d+,\d+(?![\d,])"  # 3,14
    r"|\d*\.\d+|\d+"
)
_NUMBER: Final = re.compile(
    rf"(?<![\w.])(?P<sign>(?<![\d)\]}}%])[-+]\s?(?:[$€£¥]\s?)?)?(?P<whole>{_DIGITS})"
    r"(?:[eE](?P<exponent>[-+]?\d+)(?!\w)|\s*[×x*·]\s*10\s*\^?\s*\{?\s*(?P<power>[-+]?\d+)\s*\}?)?"
    rf"(?:\s(?P<upper>\d{{1,9}})/(?P<mixed>\d{{1,9}})(?![\d/])|\s*/\s*(?P<lower>-?(?:{_DIGITS}))(?![\d/]))?"
    r"(?:\s*(?P<scale>thousand|million|billion|trillion)\b)?",
    re.IGNORECASE,
)
_SCALES: Final = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_BRACKETED: Final = re.compile(r"\((-?\s?[\d.,]+)\)(?=\s*/)|(?<=/)\s*\((-?[\d.,]+)\)")
_NOT_ALONE: Final = re.compile(r"\s*(?:[\^π√!]|\\sqrt|:\d|/\d|\*\*\d)")
"""What follows makes the number a part of something else: a power, a multiple of π, a time, a date."""
_REASON: Final = re.compile(r"[,;]\s|\s\(|\s(?:because|since|as|so|when|where|which|for|if|denn|weil|car)\s|，|；")


def find_numbers(text: str) -> Iterator[tuple[int, int, Fraction]]:
    """The numbers of ``text`` (already undressed) with where they begin and end."""
    for found in _NUMBER.finditer(text):
        start, end = found.span()
        if _NOT_ALONE.match(text, end) or re.search(r"\d[:/]$|[\^√]\s?\{?$", text[max(0, start - 3) : start]):
            continue
        value = _value(found)
        if value is not None:
            yield start, end, value


def read_number(content: str, first: bool = False) -> str | None:
    """The number that a statement gives: of a chain of equations its last side; of several the first."""
    text = _without_brackets(content)
    numbers = list(find_numbers(text))
    if not numbers:
        return None
    start, end, value = numbers[0]
    if first and re.search(r"\w", _name_and_unit(text[:start])):
        return None
    cut = _REASON.search(text, end)
    equation = text[: cut.start()] if cut else text
    if (sides := re.split(r"[=≈]", equation))[1:]:
        behind = list(find_numbers(sides[-1]))
        if behind:
            value = behind[0][2]
    return write_number(value)


def last_number(text: str) -> str | None:
    """The last number of a text that states no answer."""
    numbers = list(find_numbers(_without_brackets(text)))
    return write_number(numbers[-1][2]) if numbers else None


def _without_brackets(text: str) -> str:
    return _BRACKETED.sub(lambda found: found[1] or found[2], strip_markup(text))


def write_number(value: Fraction) -> str:
    """The canonical form: an integer, a finite decimal, or else a fraction in lowest terms."""
    rest, shift = value.denominator, 0
    for prime in (2, 5):
        power = 0
        while rest % prime == 0:
            rest //= prime
            power += 1
        shift = max(shift, power)
    if rest != 1 or shift > 30:
        return f"{value.numerator}/{value.denominator}"
    if not shift:
        return str(value.numerator)
    digits = str(abs(value.numerator) * 10**shift // value.denominator).rjust(shift + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-shift]}.{digits[-shift:]}"


def _name_and_unit(before: str) -> str:
    """What stands before a number without what may: a name and an equals sign, "about", a currency."""
    if len(before) > 200:
        return before
    before = re.sub(r"^\s*(?:about|approximately|roughly|exactly|only|USD|US|EUR|Rs\.?)\b", "", before, flags=re.I)
    return re.sub(r"^\s*(?:\w{1,20}|[^=\n]*[\d\s+*/×·().-]+)\s*[=≈]\s*", "", before)


def _value(found: re.Match[str]) -> Fraction | None:
    whole = _digits(found["whole"])
    if whole is None:
        return None
    if found["mixed"]:
        if not int(found["mixed"]):
            return None
        whole += Fraction(int(found["upper"]), int(found["mixed"]))
    if found["lower"]:
        lower = _digits(found["lower"].removeprefix("-"))
        if not lower:
            return None
        whole /= -lower if found["lower"].startswith("-") else lower
    power = found["exponent"] or found["power"] or "0"
    if len(power) > 9:  # far beyond the limit, and perhaps too long for int()
        return None
    exponent = int(power)
    exponent += _SCALES.get((found["scale"] or "").lower(), 0)
    if abs(exponent) > _MAX_DIGITS:
        return None
    whole *= Fraction(10) ** exponent
    return -whole if (found["sign"] or "").startswith("-") else whole


def _digits(text: str) -> Fraction | None:
    if len(text) > _MAX_DIGITS:
        return None
    text = re.sub(r"[ '_]", "", text)
    commas, dots = text.count(","), text.count(".")
    if dots > 1 or (commas and dots and text.rindex(",") > text.rindex(".")):  # 1.234.567,5
        text = text.replace(".", "").replace(",", ".")
    elif re.fullmatch(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?", text):
        text = text.replace(",", "")
    else:
        text = text.replace(",", ".")  # 3,14 and 0,125
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None

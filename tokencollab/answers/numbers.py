"""Numbers in text, exactly: separators, fractions, mixed numbers, percents, powers of ten, scales, units behind them.

Another number than is meant is worse than none: where a text leaves it open (a product that is not worked out, a range,
a list, a letter that may be a scale or a unit), nothing is read.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from tokencollab.answers.final import IN_DOUBT
from tokencollab.answers.markup import strip_markup
from tokencollab.answers.scales import DOUBTFUL, SCALE, UNSPACED, power_of

_MAX_DIGITS: Final = 400  # of one number; longer ones are no answer to anything

_DIGITS: Final = (
    r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,]*,\d)"  # 1,234.5
    r"|\d{1,3}(?:[ '_]\d{3})+(?:[.,]\d+)?(?![ '_]?\d)"  # 1 234,5
    r"(?!\s+(?:dollar|euro|pound|rupee)s?\s+(?:bill|note|coin)s?\b)"  # but 5 100 dollar bills
    r"|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?(?!\d)"  # 12,34,567
    r"|\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?(?!\d)|\d{1,3}\.\d{3},\d{1,2}(?![\d,])"  # 1.234.567,5
    r"|(?<!\d,)\d+,\d+(?![\d,])"  # 3,14
    r"|\d*\.\d+|\d+"
)
_CURRENCY: Final = "$€£¥₹₩"
_NUMBER: Final = re.compile(
    rf"(?<![^\W{UNSPACED}])(?<!\.)(?P<minus>(?<![\d)\]}}%])[-+]\s?)?(?P<currency>[{_CURRENCY}]\s?)?(?P<whole>{_DIGITS})"
    r"(?:[eE](?P<exponent>[-+]?\d+)(?!\w)|\s*[×x*·]\s*10\s*(?:\^|\*\*)\s*\{?\s*(?P<power>[-+]?\d+)\s*\}?)?"
    rf"(?:\s(?P<upper>\d{{1,9}})/(?P<mixed>\d{{1,9}})(?![\d/])|\s*/\s*(?P<lower>-?(?:{_DIGITS}))(?![\d/]))?",
    re.IGNORECASE,
)
_SCALE: Final = re.compile(SCALE, re.IGNORECASE)
_BRACKETED: Final = re.compile(r"\((-?\s?[\d.,]+)\)(?=\s*/)|(?<=/)\s*\((-?[\d.,]+)\)")
_NOT_ALONE: Final = re.compile(
    r"\s*(?:[\^π√]|\\sqrt|:\d|/\d|\*\*\s*[\d(]|[×x*·]\s*10\s*\^|!\s*[=*/×·^\d(+-]|[点點時时]\d|年\d{1,2}月|月\d{1,2}[日号號])",
    re.IGNORECASE,
)
"""What follows makes the number a part of something else: a power, a factorial, a multiple of π, a time, a date."""
_INSIDE: Final = re.compile(r"[\d!][:/]$|[\^√]\s?\{?$|\d\s?\*\*\s?$|\d[点點時时月]$")
"""What stands before it does: the number is an exponent, a minute or a day."""
_REASON: Final = re.compile(
    r"[,;]\s|\s\(|\s(?:because|since|as|so|when|where|which|for|if|denn|weil|car|porque|parce)\s|，|；|[（]"
)
_OPERATOR: Final = re.compile(r"\s*(?:[*×·÷+–—-]|x(?=\s*[\d(]))\s*[($]?\s*\d")
"""Behind a number: it is a term, or the beginning of a range."""
_MORE: Final = re.compile(
    r"\s*(?:[,;]\s*|(?:,?\s*\b(?:or|and|und|oder|et|ou|y|o|и|или|to)\s+)|[、或和と])[($€£¥-]?\d", re.I
)
"""Behind a number: another one, of a list or an alternative."""
_FURTHER: Final = re.compile(r"\s*(?:(?:and|und|et|y|e|и)\s+)?(\d+(?:\.\d+)?)")
_MINUS_BEFORE: Final = re.compile(
    r"(?:[=≈≥≤<>(\[{,:：+*/×·-]|\b(?:is|to|of|at|by|be|was|equals?|about|minus|negative|ist|est|es|são|é|ni)|[是为為は])\s*$",
    re.IGNORECASE,
)


def find_numbers(text: str) -> Iterator[tuple[int, int, Fraction | None]]:
    """The numbers of ``text`` (already without markup) with where they begin and end.

    None in place of the value: a number stands there, and which is in doubt.
    """
    end = 0
    for found in _NUMBER.finditer(text):
        start = found.start()
        if start < end:  # it was a part of the one before: 3万5千
            continue
        end = found.end()
        if _NOT_ALONE.match(text, end) or _INSIDE.search(text[max(0, start - 4) : start]):
            continue
        value = _value(found)
        if value is None:
            continue
        scaled, end = _scaled(text, found, value)
        if scaled is not None and (found["minus"] or "").startswith("-") and _is_minus(found["minus"], text, start):
            scaled = -scaled
        yield start, end, scaled


def read_number(content: str, first: bool = False) -> str | None:
    """The number that a statement gives: of a chain of equations its last side, of several the first.

    `IN_DOUBT`: it gives one, and which is not clear.
    """
    text = _without_brackets(content)
    numbers = list(find_numbers(text))
    if not numbers:
        return None
    start, end, value = numbers[0]
    if first and re.search(r"\w", _name_and_unit(text[:start])):
        return None
    cut = _REASON.search(text, end)
    equation = text[: cut.start()] if cut else text
    if (sides := re.split(r"[=≈]", equation))[1:] and (behind := list(find_numbers(sides[-1]))):
        _, end, value = behind[0]
        text = sides[-1]
    if value is None or _OPERATOR.match(text, end) or _MORE.match(text, end):
        return IN_DOUBT
    return write_number(value)


def last_number(text: str) -> str | None:
    """The last number of a text that states no answer; None where it is a factor, or the text is a list."""
    text = _without_brackets(text)
    numbers = list(find_numbers(text))
    if not numbers:
        return None
    start, _, value = numbers[-1]
    if (
        value is None
        or re.search(r"\d\s*\)?\s*[*×·÷]\s*\(?\s*$", text[:start])
        or (len(numbers) > 1 and _is_list(text, numbers))
    ):
        return None
    return write_number(value)


def _is_list(text: str, numbers: list[tuple[int, int, Fraction | None]]) -> bool:
    """Whether nothing but separators stands around the numbers."""
    ends = [0, *(end for _, end, _ in numbers)]
    starts = [*(start for start, _, _ in numbers), len(text)]
    return all(re.fullmatch(r"[\s,;、(){}.\[\]]*", text[end:start]) for end, start in zip(ends, starts, strict=True))


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
    if len(power) > 9 or abs(int(power)) > _MAX_DIGITS:  # longer ones may be too long for int()
        return None
    return whole * Fraction(10) ** int(power)


def _scaled(text: str, found: re.Match[str], value: Fraction) -> tuple[Fraction | None, int]:
    """``value`` with the scale behind it, also in parts (3万5千, 2 million 500 thousand), and where it ends."""
    end = found.end()
    if DOUBTFUL.match(text, end):
        return None, end
    scale = _SCALE.match(text, end)
    if scale is None:
        return value, end
    power = power_of(scale, bool(found["currency"]) or text[scale.end() : scale.end() + 2].strip()[:1] in ("$", "€"))
    if power is None:
        return None, scale.end()
    if power == 0:
        return value, end
    end, total = scale.end(), value * Fraction(10) ** power
    while (further := _FURTHER.match(text, end)) is not None:
        scale = _SCALE.match(text, further.end())
        part = Fraction(further[1])
        smaller = power_of(scale, False) if scale else 0
        if (
            smaller is None
            or smaller >= power
            or part * 10**smaller >= 10**power
            or (not scale and len(further[1]) < power)
        ):
            return None, further.end()
        total += part * 10**smaller
        power, end = smaller, scale.end() if scale else further.end()
    return total, end


def _is_minus(sign: str, text: str, start: int) -> bool:
    """Whether a dash is a sign, and not a list's mark or a dash of prose."""
    if not sign[1:]:
        return True
    head, newline, line = text[:start].rpartition("\n")
    if line.strip():
        return _MINUS_BEFORE.search(line) is not None
    return not newline or not head.strip()


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

"""Numbers in text, exactly: separators, fractions, mixed numbers, percents, powers of ten, scales, units behind them.

A different number is worse than none. Numbers that are joined into one expression (2*7, 5-7, 3 hours 20 minutes) and
numbers that are a part of more (2π, 5!, √16) are found, and have no value.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Final

from tokencollab.answers.final import IN_DOUBT
from tokencollab.answers.markup import strip_markup
from tokencollab.answers.scales import LETTER, NO_SPACES, PREFIXED, ends_in_east_scale, read_scale

_MAX_DIGITS: Final = 400  # of one number; longer ones are no answer to anything

_DIGITS: Final = (
    r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,]*,\d)"  # 1,234.5
    r"|\d{1,3}(?:[ '_]\d{3})+(?:[.,]\d+)?(?![ '_]?\d)"  # 1 234,5
    r"|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?(?!\d)"  # 12,34,567
    r"|\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?(?!\d)|\d{1,3}\.\d{3},\d{1,2}(?![\d,])"  # 1.234.567,5
    r"|\d+,\d+(?![\d,])"  # 3,14
    r"|\d*\.\d+|\d+"
)
_CODES: Final = ("USD", "EUR", "GBP", "INR", "RMB", "CNY", "JPY", "AUD", "CAD", "CHF", "SGD", "Rs.", "Rs", "RM", "Rp")
_BEHIND_CODE: Final = "|".join(rf"(?<=(?<!{LETTER}){re.escape(code)})" for code in _CODES)
_TEN: Final = r"(?:\^|\*\*)\s*[{(]?\s*"
_NUMBER: Final = re.compile(
    rf"(?:(?<!{LETTER})(?<!\.)|(?<=\.\.)|(?:{_BEHIND_CODE})(?=\d))"
    rf"(?:10{_TEN}(?P<ten>[-+]?\d+)\s*[}})]?(?![\d.]\d)"
    rf"|(?P<whole>{_DIGITS})"
    rf"(?:[eE](?P<exponent>[-+]?\d+)(?!{LETTER})|\s*[×x*·⋅]\s*10{_TEN}(?P<power>[-+]?\d+)\s*[}})]?(?![\d.]\d))?)"
    rf"(?:\s(?P<upper>\d{{1,9}})/(?P<mixed>\d{{1,9}})(?![\d/])|\s*/\s*(?P<lower>-?(?:{_DIGITS}))(?![\d/]))?"
)
_BRACKETED: Final = re.compile(r"\((-?\s?[\d.,]+)\)(?=\s*/)|(?<=/)\s*\((-?[\d.,]+)\)")

_SIGN: Final = re.compile(r"(?P<mark>[-+–])(?P<gap>\s?)(?:(?:[$€£¥₹]|US\$)\s?)?$")
_SIGN_WORD: Final = re.compile(
    r"(?:\b(?:minus|negative|moins|menos|meno|минус|мінус|eksi|âm)\s|负|負|零下|マイナス|마이너스\s?|영하\s?|ลบ\s?)\s*$",
    re.IGNORECASE,
)
_SAYS: Final = re.compile(
    r"(?:[=≈:(\[{<,;|]|\b(?:is|are|was|be|equals|es|ist|est|sind|é|è)|[是为為は])\s*$", re.IGNORECASE
)

_GAP: Final = r"[^\S\n]*"
_UNIT: Final = r"(?:%|[^\W\d_]{1,12})"
_MONEY: Final = r"(?:US\$|[$€£¥₹])?"
_OPERATORS: Final = r"(?:\*{1,2}|[×·⋅∙÷^+±&/–—-]|(?<![^\W\d_])x(?![^\W\d_]))"
_CONJUNCTIONS: Final = (
    r"(?:or|and|to|through|times|plus|minus|divided by|multiplied by|versus|vs\.?|oder|und|bis|mal|geteilt durch|"
    r"ou|et|à|fois|moins|sur|o|u|y|e|a|por|más|menos|per|più|meno|или|и|до|на|і|або|lub|do|ve|veya|và|hoặc|đến|"
    r"dan|atau|na|au|hadi|और|या|से|এবং|বা|থেকে)"
)
_EAST_CONJUNCTIONS: Final = (
    r"(?:或者?|和|与|與|至|到|乘以?|加上?|减去?|減|除以|か|または|と|から|또는|혹은|과|와|에서|부터|หรือ|และ|ถึง|กับ)"
)
_PARTS: Final = (  # of a length, a time, a sum: 3 hours 20 minutes
    r"(?:hours?|hrs?|h|min(?:ute)?s?|days?|weeks?|months?|years?|feet|foot|ft|yards?|miles?|km|m|cm|kg|lbs?|pounds?|"
    r"gallons?|quarts?|dollars?|euros?|Stunden?|Tage?|heures?|jours?|horas?|días?|dias?|euros|час(?:а|ов)?|ชั่วโมง|กิโลเมตร|"
    rf"[{NO_SPACES}]{{1,2}})"
)
_JOINED: Final = re.compile(
    rf"(?:[,.:;،/']|{_GAP}|{_GAP}(?:分之|分の|분의){_GAP}"  # 1,2,3  1.2.3  3:30
    rf"|{_GAP}!*[)\]}}]?{_GAP}{_UNIT}?{_GAP}[)\]}}]?{_GAP}{_OPERATORS}{_GAP}[-+(\[{{]*{_GAP}{_MONEY}{_GAP}"
    rf"|(?:[)\]]{_GAP})?\(-?"  # 2(3), (2)(3)
    rf"|{_GAP}(?:{_UNIT}{_GAP})?(?<![^\W\d_]){_CONJUNCTIONS}(?![^\W\d_]){_GAP}-?{_MONEY}"
    rf"|{_GAP}[{NO_SPACES}]{{0,2}}{_GAP}{_EAST_CONJUNCTIONS}{_GAP}-?{_MONEY}"
    rf"|{_GAP}(?:%|percent|per cent)?{_GAP}(?:of|out of|in|by|over|(?:less|fewer|more) than|von|из|de|di)"
    rf"[^\S\n]+{_MONEY}"
    rf"|{_GAP}{_PARTS}{_GAP}(?:,|(?:and|und|et|y|e|и)(?!\w))?{_GAP})"
)
_OF_PARTS: Final = re.compile(r"\s?(?:分之|分の|분의)\s?")  # 3分の1 is a third

_NOT_ALONE: Final = re.compile(
    rf"\s*(?:[\^π√∛±]|\\sqrt|\*\*)|[.:/]\d|_\{{?\w|[xyzni](?!{LETTER})"  # a power, a multiple of π, a time, a variable
    rf"|(?!(?:c|d|k|m)?m[23](?!{LETTER})|(?:ft|in|yd)[23](?!{LETTER}))(?:(?![{NO_SPACES}])[^\W\d_]){{1,8}}\d"
    # 3e8x, 0x1F and 12ab4 are no numbers; 25 m2 is one
    r"|\s?-?(?:halves|thirds|fourths|fifths|sixths|sevenths|eighths|ninths|tenths?|hundredths?|thousandths?|millionths?)\b"
    r"|\s(?:squared|cubed|to the (?:\w+ )?power)\b"
    r"|\s(?:degrees?\s)?below zero\b|\sunter null\b|\ssous zéro\b|\sbajo cero\b"
    rf"|\s*(?:{_UNIT}\s*)?(?:and|und|et|y|e|с)\s(?:an?\s|one\s|une?\s|un\s)?(?:half|quarter|third|halb|demie?|media|medio|"
    r"meia|meio|mezzo|mezza|половин\w+)\b|(?:ein)?einhalb\b"
    rf"|[{NO_SPACES}]{{0,2}}半(?![径導价額])|\s?[가-힣]{{0,2}}\s?반(?![가-힣])|{_GAP}[{NO_SPACES}]{{0,8}}ครึ่ง",
    re.IGNORECASE,
)
_BANG: Final = re.compile(r"\s?!+")
_BANG_ENDS: Final = re.compile(r"[\"'”’»)\]]*(?:\s*$|\s*\n|\s+[^\sa-z\d=+*/×·÷^(\[-])")
_BEFORE: Final = re.compile(
    r"(?:[\^√∛±≤≥≠]|\\sqrt|\b(?:sqrt|log|ln|lg|sin|cos|tan|exp)(?:_\{?\w+\}?)?)\s*[({\[]?\s*$|[:/]$|_\{?$"
    r"|\w\s+[<>]=?\s+$|\b(?:twice|thrice|double|triple|half of|root of|half)\s+$",
    re.IGNORECASE,
)
_RAISED_UNIT: Final = re.compile(r"[^\W\d_]\^\{?$")  # m^2
_GROUPED: Final = re.compile(r"(\d{1,3}) \d{3}$")
_NOUN_BEHIND: Final = re.compile(
    # 5 100 dollar bills are five, 5 100 dollars are many
    r"[ -](?:dollar|pound|cent|euro|yen|rupee|gram|lit(?:er|re)|met(?:er|re)|foot|inch|mile|hour|minute|second|day|"
    r"week|month|year|page|watt|piece|ml|kg|mg|g|lb|oz|cm|mm|km|l)\b[ -]"
    r"(?!(?:per|an?|each|of|in|for|and|or|to|is|are|was|by|on|at|with|from|total|more|less)\b)[A-Za-z]"
)
_REASON: Final = re.compile(
    r"[,;]\s|\s\(|\s(?:because|since|as|so|when|where|which|for|if|denn|weil|car|porque|потому|因为|ので)\s|；"
)
_AND: Final = r"(?:(?:and|or|und|oder|et|ou|y|o|e|и|или)\b|[和或])"
_LIST: Final = re.compile(
    rf"(?:\s*(?:[,;]\s*{_AND}?|{_AND})\s*[-+]?[$€£]?\d[\d.,]*%?)+\W*$"  # what follows the first number of 1, 2 and 3
)
_ASSIGNED: Final = re.compile(
    r"\s*[A-Za-z]\w?\s*=.*(?:[,;]|\b(?:or|and|oder|und|ou|et|o|y)\b|[或和])\s*[A-Za-z]\w?\s*="
)
_SOLUTIONS: Final = re.compile(r"(?<!\w)([A-Za-z])\s*=[^=]*(?:\bor\b|\band\b|\boder\b|\bund\b|\bou\b|或|和)\s*\1\s*=")
_SPELLED: Final = re.compile(
    # Number words are not read, but they are the answer: no other number of the text is.
    r"\W*(?:(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|"
    r"seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?![^\W_])(?! of\b)"
    r"|[零〇一二三四五六七八九十百千万两]{1,8}(?:[个個元人只天年岁歳円]|\W|$))",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number of a text and where it stands; ``value`` None: it is there, and which number it is cannot be told."""

    start: int
    end: int
    value: Fraction | None


@dataclass(frozen=True, slots=True)
class _Literal:
    """One number as it is written. ``begin``: without its sign. ``power``: of its scale."""

    start: int
    begin: int
    end: int
    value: Fraction | None
    power: int


def find_numbers(text: str, prose: bool = True) -> Iterator[Quantity]:
    """The numbers of ``text`` (without markup), those that are joined as one.

    ``prose``: in a formula k and M are variables and ``!`` is a factorial.
    """
    run: list[_Literal] = []
    for literal in _literals(text, prose):
        if run and _JOINED.fullmatch(text, run[-1].end, literal.begin):
            run.append(literal)
            continue
        if run:
            yield _quantity(text, run)
        run = [literal]
    if run:
        yield _quantity(text, run)


def _literals(text: str, prose: bool) -> Iterator[_Literal]:
    for found in _NUMBER.finditer(text):
        begin, end = found.span()
        before = text[max(0, begin - 40) : begin]
        if _RAISED_UNIT.search(before):
            continue
        start, negative, clear = _sign(text, begin)
        value = _value(found)
        end, power = read_scale(text, begin, end, prose)
        if (grouped := _GROUPED.match(found[0])) and _NOUN_BEHIND.match(text, end):
            value = Fraction(grouped[1])
        if (
            not clear
            or value is None
            or power is None
            or _BEFORE.search(before)
            or PREFIXED.search(before)
            or _is_more(text, start, end, prose)
        ):
            yield _Literal(start, begin, end, None, 0)
        else:
            value *= Fraction(10) ** power
            yield _Literal(start, begin, end, -value if negative else value, power)


def _is_more(text: str, start: int, end: int, prose: bool) -> bool:
    """Whether what follows makes the number a part of something else."""
    if _NOT_ALONE.match(text, end):
        return True
    bang = _BANG.match(text, end)
    if bang is None:
        return False
    # "It is 5!", "5 !" and "5!!" exclaim, "5! = 120" and a bare "5!" may be factorials; in a formula all are.
    alone = bang[0] == "!" and not text[:start].strip()
    return not prose or alone or not _BANG_ENDS.match(text, bang.end())


def _sign(text: str, begin: int) -> tuple[int, bool, bool]:
    """Where the number begins with its sign, whether it is negative, and whether that is clear."""
    found = _SIGN.search(text, max(0, begin - 8), begin)
    if found is None:
        word = _SIGN_WORD.search(text, max(0, begin - 14), begin)
        return (word.start(), True, True) if word else (begin, False, True)
    start = found.start()
    line = text[max(0, start - 12, text.rfind("\n", 0, start) + 1) : start]
    sign, clear = (_dash if found["gap"] else _touching)(text, begin, line, found["mark"])
    return (start, found["mark"] != "+", clear) if sign else (begin, False, clear)


def _touching(text: str, begin: int, line: str, mark: str) -> tuple[bool, bool]:
    """Whether a mark that touches its number is a sign, and whether that is clear."""
    if not line or line[-1].isspace():
        return True, True
    if mark == "–":
        return False, True  # between two words
    if re.search(rf"(?:{LETTER}|[-)\]}}%])$", line):
        return False, False  # F-16, or an operator
    return True, True


def _dash(text: str, begin: int, line: str, mark: str) -> tuple[bool, bool]:
    """Whether a mark with a space behind it is a sign, and whether that is clear."""
    if line.strip():
        return mark != "–" and _SAYS.search(line) is not None, True
    if text.rfind("\n", 0, begin) >= 0 or text.find("\n", begin, len(text.rstrip())) >= 0:
        return False, True  # an item of a list
    return True, not re.search(r"[^\W\d_]{2,}\s+\S|[^\W\d_]{4,}", text[begin:])


def _quantity(text: str, run: list[_Literal]) -> Quantity:
    start, end = run[0].start, run[-1].end
    if len(run) == 1:
        return Quantity(start, end, run[0].value)
    values = [literal.value for literal in run if literal.value is not None]
    if len(values) < len(run):
        return Quantity(start, end, None)
    gaps = [text[left.end : right.begin] for left, right in pairwise(run)]
    if len(run) == 2 and _OF_PARTS.fullmatch(gaps[0]) and values[0]:
        return Quantity(start, end, values[1] / values[0])
    total = values[0]
    for left, right, gap, value in zip(run, run[1:], gaps, values[1:], strict=False):
        # 3万5000, 2 million 500 thousand: each part is smaller than the scale before it. 3万5 may be 35,000.
        east = ends_in_east_scale(text[left.begin : left.end]) and right.end - right.begin > 1
        smaller = left.power and 0 < value < 10**left.power and (right.power or east)
        if gap.strip() or not smaller:
            return Quantity(start, end, None)
        total += value
    return Quantity(start, end, total)


def read_number(content: str, first: bool = False) -> str | None:
    """The number that a statement gives: of a chain of equations its last side; of several the first.

    `IN_DOUBT`: it gives one, and it cannot be told which.
    """
    text = _without_brackets(content)
    number = next(find_numbers(text), None)
    if number is None or (first and re.search(r"\w", _name_and_unit(text[: number.start]))):
        return IN_DOUBT if _SPELLED.match(text) else None
    if _LIST.match(text, number.end) or _ASSIGNED.match(text):
        return IN_DOUBT
    value = number.value
    cut = _REASON.search(text, number.end)
    equation = text[: cut.start()] if cut else text
    if (sides := re.split(r"(?<![<>!])=|≈", equation))[1:] and (behind := next(find_numbers(sides[-1]), None)):
        value = behind.value
    return IN_DOUBT if value is None else write_number(value)


def last_number(text: str) -> str | None:
    """The last number of a text that states no answer."""
    text = _without_brackets(text)
    number = None
    for number in find_numbers(text):  # noqa: B007 - the last one
        pass
    if number is None or number.value is None:
        return None
    line = text[text.rfind("\n", 0, number.start) + 1 :]
    head = next(find_numbers(line), number)
    listed = not line[: head.start].strip(" ([{") and _LIST.match(line, head.end)
    return None if listed or _SOLUTIONS.search(line) else write_number(number.value)


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
    """Without sign and scale."""
    whole = _digits(found["whole"] or "1")
    if whole is None:
        return None
    if found["mixed"]:
        if not int(found["upper"]) < int(found["mixed"]):  # 3 5/2 is no mixed number
            return None
        whole += Fraction(int(found["upper"]), int(found["mixed"]))
    if found["lower"]:
        lower = _digits(found["lower"].removeprefix("-"))
        if not lower:
            return None
        whole /= -lower if found["lower"].startswith("-") else lower
    power = found["ten"] or found["exponent"] or found["power"] or "0"
    if len(power) > 9 or abs(int(power)) > _MAX_DIGITS:  # perhaps too long for int()
        return None
    return whole * Fraction(10) ** int(power)


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

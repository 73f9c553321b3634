"""LaTeX answers: numbers as numbers, everything else in one spelling. No algebra: x+1 and 1+x are two answers."""

import re
from typing import Final

from tokencollab.answers.markup import strip_markup
from tokencollab.answers.numbers import find_numbers, write_number

_CLOSING: Final = {"(": ")", "[": "]"}


def read_math(content: str) -> str | None:
    """The canonical form of an expression; None where nothing is left of it."""
    text = content.strip()
    if found := re.findall(r"(?<!\\)\$([^$]+)(?<!\\)\$", text):
        text = found[-1]
    text = strip_markup(text).strip().strip("$").rstrip(".").strip()
    if not text:
        return None
    number = _number(text)
    if number is not None:
        return number
    text = re.sub(r"^[A-Za-z]\w?\s*(?:=|\\in\b|∈)\s*", "", text)
    return _parts(text) or None


def last_math(text: str) -> str | None:
    """The last formula between dollars, or the whole text where it is one line."""
    if found := re.findall(r"(?<!\\)\$([^$]+)(?<!\\)\$", text):
        return read_math(found[-1])
    lines = [line for line in text.splitlines() if line.strip()]
    return read_math(lines[0]) if len(lines) == 1 else None


def _number(text: str) -> str | None:
    """The text as a number, where that is all it is (with a unit)."""
    numbers = list(find_numbers(text, prose=False))
    if len(numbers) != 1 or (value := numbers[0].value) is None:
        return None
    before, after = text[: numbers[0].start].strip(), text[numbers[0].end :].strip()
    if re.fullmatch(r"[$€£¥]?|[A-Za-z]\w?\s*=", before) and re.fullmatch(
        r"%|[$€£¥]?|[A-Za-z .]{2,}(?:[\^]\{?\d\}?)?", after
    ):
        return write_number(value)
    return None


def _parts(text: str) -> str:
    """A tuple or interval part by part, so that (0.5, 3) and (1/2,3) are the same."""
    text = text.strip()
    if text[:1] in _CLOSING and text[-1:] in ")]" and (parts := _split(text[1:-1])) is not None and len(parts) > 1:
        return text[0] + ",".join(_number(part) or _spelling(part) for part in parts) + text[-1]
    if (parts := _split(text)) is not None and len(parts) > 1:
        return ",".join(_number(part) or _spelling(part) for part in parts)
    if single := re.fullmatch(r"\(?\s*([A-Za-z])\s*\)?", text):
        return single[1]
    return _spelling(text)


def _split(text: str) -> list[str] | None:
    """At the commas outside brackets; None: the brackets do not match."""
    depth, parts, start = 0, [], 0
    for index, char in enumerate(text):
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
            if depth < 0:
                return None
        elif char == "," and not depth:
            parts.append(text[start:index])
            start = index + 1
    return [*parts, text[start:]] if not depth else None


def _spelling(text: str) -> str:
    text = re.sub(r"\s*(?:\*\*)\s*", "^", text)
    text = re.sub(r"\s*[×·⋅*]\s*", "*", text)
    text = re.sub(r"(?<=\d)\s+(?=\d)", "\0", text)  # 1 2 is not 12
    text = re.sub(r"\s+", "", text).replace("\0", " ")
    text = re.sub(r"(?<!\d)\*|\*(?![\d.])", "", text)  # 2*x is 2x, and 2*3 is not 23
    text = re.sub(r"\\sqrt(\w)(?!\w)", r"\\sqrt{\1}", text)
    text = re.sub(r"([_^])\{(\w)\}", r"\1\2", text)
    return text.replace("\\le", "≤").replace("≤q", "≤").replace("\\ge", "≥").replace("≥q", "≥")

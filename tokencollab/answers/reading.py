"""`extract`, `canonical` and `same`: one kind of answer at a time."""

from collections.abc import Sequence
from typing import Final

from tokencollab.answers.booleans import last_boolean, read_boolean
from tokencollab.answers.choices import conclusions, last_choice, read_choice
from tokencollab.answers.dates import last_date, read_date
from tokencollab.answers.final import IN_DOUBT, sentences, statements, without_conditionals
from tokencollab.answers.kinds import compiled, parse_kind
from tokencollab.answers.markup import normal_text, strip_markup
from tokencollab.answers.math import last_math, read_math
from tokencollab.answers.numbers import last_number, read_number
from tokencollab.answers.turns import answer_parts

_VALUES: Final = ("number", "date", "math", "text")
"""Kinds whose values stand in the reasoning too."""


def extract(text: str, kind: str, options: Sequence[str] = ()) -> str | None:
    """The answer that ``text`` gives, in canonical form; None: none can be read.

    The last statement of an answer counts ("The answer is 66.", "answer 66", ``#### 66``, ``\\boxed{66}``); where its
    value cannot be read, the one before. A text without any is read as such: its last number or date, its choice,
    the last sentence that begins with yes or no, its last line.

    Args:
        text: a model's answer.
        kind: one of `KINDS`.
        options: the texts of a multiple choice; an answer that spells one of them is its letter.

    Raises:
        UsageError: no such kind.
    """
    name, parameter = parse_kind(kind)
    if name == "regex":
        found = None
        for found in compiled(parameter).finditer(text):  # noqa: B007 - the last one
            pass
        value = found and (found[1] if found.re.groups else found[0])
        return " ".join(value.split()) or None if value else None
    in_words = name in ("choice", "boolean", "text")
    for part in [kept for whole in answer_parts(text) for kept in without_conditionals(whole, in_words)]:
        value = _read_part(name, parameter, part, options)
        if value is not None:
            return value or None
    return None


def _read_part(name: str, parameter: str, text: str, options: Sequence[str]) -> str | None:
    """The last statement of ``text``; one under a condition only where there is no other."""
    concluded = list(conclusions(text, _letters(parameter, options))) if name == "choice" else []
    read = [
        (statement, value)
        for statement in statements(text)
        if (value := _read(name, parameter, statement.content, statement.first, options)) is not None
    ]
    under = [(statement, value) for statement, value in read if statement.condition]
    for statement, value in read:
        if statement.condition:
            continue
        later = [found for found in concluded if found.start >= statement.end and found.final]
        if later:
            return later[-1].letter
        if name in _VALUES and any(other != value and step.step and step.end > statement.end for step, other in under):
            return IN_DOUBT
        return value
    if concluded:
        return concluded[-1].letter
    stated = under[0][1] if under else None
    if name in _VALUES and stated is not None:  # what else it says may be on the way there
        return stated
    value = _read_unstated(name, parameter, text, options)
    return stated if value is None else value


def canonical(answer: str, kind: str, options: Sequence[str] = ()) -> str | None:
    """The one form in which equal answers are equal texts; None: not an answer of this kind.

    ``answer`` is an answer without a text around it, such as a data set's key. Percents and units count as markup: 50%
    is 50. Numbers are exact: 0.33 is not 1/3.

    Raises:
        UsageError: no such kind.
    """
    name, parameter = parse_kind(kind)
    if name == "regex":
        return " ".join(answer.split()) or None
    value = _read(name, parameter, answer, False, options)
    return extract(answer, kind, options) if value is None else value or None


def same(first: str, second: str, kind: str) -> bool:
    """Whether two answers are the same one; what is no answer of the kind is the same as nothing."""
    value = canonical(first, kind)
    return value is not None and value == canonical(second, kind)


def _read(name: str, parameter: str, content: str, first: bool, options: Sequence[str]) -> str | None:
    match name:
        case "number":
            return read_number(content, first)
        case "choice":
            return read_choice(content, first, _letters(parameter, options), options)
        case "boolean":
            return read_boolean(content, first)
        case "date":
            return read_date(content, first, parameter == "dmy")
        case "math":
            return read_math(content)
        case _:
            return normal_text(content) or None


def _read_unstated(name: str, parameter: str, text: str, options: Sequence[str]) -> str | None:
    match name:
        case "number":
            return last_number(text)
        case "choice":
            return last_choice(text, _letters(parameter, options), options)
        case "boolean":
            return last_boolean(text)
        case "date":
            return last_date(text, parameter == "dmy")
        case "math":
            return last_math(text)
        case _:
            lines = sentences(strip_markup(text))
            return normal_text(lines[-1]) or None if lines else None


def _letters(parameter: str, options: Sequence[str]) -> int:
    return int(parameter) if parameter else len(options) or 26

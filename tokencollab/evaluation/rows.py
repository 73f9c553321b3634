"""How items are read from rows, as people write them.

A row is an object with the keys ``question`` and ``answer``, and if need be ``choices`` (options), ``context`` (a
passage) and ``id``; ``--map question=prompt`` says that one has another name. Other keys are left alone. Of an answer
with ``####`` (GSM8K's form) what stands behind it counts. Without an id an item is called by its line.

The answer of a multiple choice is an option's letter, its index from 0, or its text. Which of these a set uses is seen
from all its rows: a form counts if every row can be read in it. Where several count and differ (the options "1" and
"0", and the answer 1) the row is refused; nothing is guessed.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import takewhile
from math import isfinite
from typing import Any, Final

from tokencollab.errors import UsageError
from tokencollab.evaluation.items import LETTERS, Item, check_answer
from tokencollab.protocol.json_text import NotJson, read_json
from tokencollab.protocol.values import half_character, is_huge

KEYS: Final = ("id", "question", "answer", "choices", "context")
_OTHER_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "question": ("prompt", "input", "query", "problem", "instruction", "text"),
    "answer": ("label", "target", "output", "expected", "gold", "solution", "completion", "reference", "response"),
    "choices": ("options",),
    "context": ("passage",),
}
"""What people call them, for the hint in an error. They are not read by these names: a row may have several."""

_ENOUGH: Final = 20
"""Rows of indices, after which it is strange that none is 0."""

Rows = Iterable[tuple[str, object]]
"""Rows, each with its place: "line 3"."""


def read_map(text: str) -> dict[str, str]:
    """``question=prompt,choices=A+B+C`` as our key -> the row's.

    Raises:
        UsageError: it is not of this form.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        key, equals, name = (word.strip() for word in part.partition("="))
        if not equals or key not in KEYS or key in found:
            raise UsageError(
                f"--map {text!r} is not of the form question=KEY,answer=KEY with each of {', '.join(KEYS)} once at most"
            )
        found[key] = name
    return found


def read_rows(
    rows: Rows,
    source: str,
    mapping: Mapping[str, str] | None = None,
    *,
    checked: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> list[Item]:
    """Rows as items.

    Args:
        rows: with their places.
        source: what messages call the set.
        mapping: of `read_map`.
        checked: whether an answer must be one that can be read; a grader of the caller's may compare anything.
        say: hears what looks strange but may be right.

    Raises:
        UsageError: an invalid row, or an id that occurs twice; with the place, the key and what to do.
    """
    keys = _Keys({key: key for key in KEYS} | dict(mapping or {}))
    places: dict[str, str] = {}
    drafts: list[tuple[str, _Draft]] = []
    for place, row in rows:
        try:
            draft = _draft(row, place.rpartition(" ")[2], keys, checked)
        except ValueError as error:
            raise UsageError(f"{source}, {place}: {error}") from None
        if draft.item.id in places:
            raise UsageError(
                f"{source}, {place}: {keys.names['id'] or 'id'} {draft.item.id!r} occurs twice, also in "
                f"{places[draft.item.id]}; give each row its own, or none to any (--map id=)"
            )
        places[draft.item.id] = place
        drafts.append((place, draft))
    if not drafts:
        raise UsageError(f"{source} has no items")
    forms = _forms_of_all([draft.readings for _, draft in drafts if draft.readings])
    items = []
    for place, draft in drafts:
        try:
            item = _settled(draft, forms, keys)
            if checked:
                _check(item, keys)
        except ValueError as error:
            raise UsageError(f"{source}, {place}: {error}") from None
        items.append(item)
    indices = [draft.readings["index"] for _, draft in drafts if draft.readings and forms == {"index"}]
    if len(indices) >= _ENOUGH and 0 not in indices:
        say(f"{source}: of {len(indices)} answers none is 0; they are taken as indices from 0 (the first option)")
    return items


@dataclass(frozen=True, slots=True)
class _Draft:
    """An item whose answer is not settled. ``readings``: form -> index of the option; empty for an open answer."""

    item: Item
    readings: Mapping[str, int]


class _Keys:
    """Finds values in rows, and says under what name they were looked for."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def get(self, row: Mapping[str, Any], key: str) -> Any:
        """The value, None where there is none; a list of several columns (``A+B+C``) without empty ones at its end."""
        name = self.names[key]
        if name in row or "+" not in name:
            value = row.get(name)
            return None if isinstance(value, str) and not value.strip() else value
        parts = name.split("+")
        if missing := [part for part in parts if part not in row]:
            raise ValueError(f"there is no key {missing[0]!r}, which --map names; there are {_listed(row)}")
        values = [row[part] for part in parts]
        while values and values[-1] in (None, ""):
            values.pop()
        return values

    def missing(self, row: Mapping[str, Any], key: str) -> ValueError:
        """The error for a row without a value for ``key``."""
        name = self.names[key]
        if name in row:
            return ValueError(f"{name} is empty")
        mend = (self.hint(row, key) if name == key else None) or f"{key}=KEY"
        return ValueError(f"there is no key {name!r}; there are {_listed(row)}: say which one it is by --map {mend}")

    def refuse_unread(self, row: Mapping[str, Any], key: str, what: str) -> None:
        """Raises `ValueError` where a row has ``key`` under a common name alone, of which nobody spoke."""
        if self.names[key] == key and (hint := self.hint(row, key)):
            raise ValueError(f"it has {what} that would not be shown; add --map {hint}, or --map {key}= for none")

    def hint(self, row: Mapping[str, Any], key: str) -> str | None:
        """The value of ``--map`` that finds ``key`` under a common name, and the others too; None: it has none."""
        found = {ours: name for ours, name in self.names.items() if ours != name}
        for ours, names in _OTHER_NAMES.items():
            there = [name for name in names if name in row]
            if ours == "choices" and {"A", "B"} <= row.keys():
                there.append("+".join(takewhile(row.__contains__, LETTERS)))
            if there and ours not in row and ours not in found:
                found[ours] = there[0]
        return ",".join(f"{ours}={name}" for ours, name in found.items()) if found.get(key) else None


def _listed(row: Mapping[str, Any]) -> str:
    names = [repr(name) for name in row]
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "") or "none"


def _draft(row: object, number: str, keys: _Keys, checked: bool) -> _Draft:
    if isinstance(row, Item):
        return _Draft(row, {} if row.choices is None else _readings(row.answer, row.choices, "answer"))
    if not isinstance(row, Mapping):
        raise ValueError('it is no object; write {"question": ..., "answer": ...}')
    question, answer = (keys.get(row, key) for key in ("question", "answer"))
    choices, context = _choices(row, keys), keys.get(row, "context")
    if question is None:
        raise keys.missing(row, "question")
    if not isinstance(question, str):
        raise ValueError(f"{keys.names['question']} must be a text, not {_shown(question)}; write it in quotes")
    if answer is None and checked:
        raise keys.missing(row, "answer")
    keys.refuse_unread(row, "context", "a passage")
    if not (context is None or isinstance(context, str)):
        raise ValueError(f"{keys.names['context']} must be a text or null, not {_shown(context)}")
    text = "" if answer is None else _text_of(answer, bool_as=("no", "yes"))
    if text is None:
        raise ValueError(
            f"{keys.names['answer']} must be a text, a number, true or false, not {_shown(answer)}; give one answer"
        )
    item = Item(
        _id(row, number, keys), question, text if choices else text.rpartition("####")[2].strip(), choices, context, row
    )
    if half_character("".join([item.id, question, text, *(choices or ()), context or ""])) is not None:
        raise ValueError("contains a lone surrogate")
    return _Draft(item, {} if choices is None or answer is None else _readings(answer, choices, keys.names["answer"]))


def _id(row: Mapping[str, Any], number: str, keys: _Keys) -> str:
    value = keys.get(row, "id")
    if value is None:
        return number
    if isinstance(value, bool) or not isinstance(value, str | int) or is_huge(value):
        raise ValueError(f"{keys.names['id']} must be a text or a whole number, not {_shown(value)}; or leave it out")
    return str(value)


def _choices(row: Mapping[str, Any], keys: _Keys) -> tuple[str, ...] | None:
    name, value = keys.names["choices"], keys.get(row, "choices")
    if value is None:
        keys.refuse_unread(row, "choices", "options")
        return None
    if isinstance(value, str):  # a cell of a table
        try:
            value = read_json(value)
        except NotJson:
            value = None
    texts = [_text_of(option, bool_as=("false", "true")) for option in value] if isinstance(value, list) else []
    if not 2 <= len(texts) <= len(LETTERS) or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(
            f'{name} must be a list of 2 to 26 texts or numbers, such as ["red", "blue"], or null; columns with one '
            "option each are named by --map choices=A+B+C"
        )
    return tuple(text for text in texts if text is not None)


def _text_of(value: object, bool_as: tuple[str, str]) -> str | None:
    """A text, a number or a truth value as a text; None: it is something else. 4.0 is 4."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return bool_as[value]
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, float | Decimal) or not isfinite(value):
        return None
    text = format(Decimal(repr(value)) if isinstance(value, float) else value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _readings(answer: object, choices: Sequence[str], name: str) -> dict[str, int]:
    """What the answer of a multiple choice, under the key ``name``, may mean: form -> index of the option."""
    found: dict[str, int] = {}
    said = [text.strip() for text in (_text_of(answer, ("false", "true")), _text_of(answer, ("no", "yes"))) if text]
    if isinstance(answer, str) and (letter := re.fullmatch(r"\(?([A-Za-z])[.)]?", answer.strip())):
        found["letter"] = LETTERS.index(letter[1].upper())
    if not isinstance(answer, bool) and said and re.fullmatch("[0-9]{1,2}", said[0]):
        found["index"] = int(said[0])
    options, folded = [option.strip() for option in choices], [text.casefold() for text in said]
    equal = [index for index, option in enumerate(options) if option in said]
    equal = equal or [index for index, option in enumerate(options) if option.casefold() in folded]
    if len(equal) == 1:
        found["text"] = equal[0]
    found = {form: index for form, index in found.items() if index < len(choices)}
    if not found:
        raise ValueError(
            f"the {name} must be a letter from A to {LETTERS[len(choices) - 1]}, an index from 0 to "
            f"{len(choices) - 1} or the text of one option, not {_shown(answer)}"
        )
    return found


def _forms_of_all(readings: Sequence[Mapping[str, int]]) -> set[str]:
    """The forms in which every row can be read; where there is none, rows are read one by one, in any form."""
    forms = {"letter", "index", "text"}
    return set.intersection(forms, *map(set, readings)) or forms


def _settled(draft: _Draft, forms: set[str], keys: _Keys) -> Item:
    if not draft.readings:
        return draft.item
    meant = {form: index for form, index in draft.readings.items() if form in forms}
    if len(set(meant.values())) > 1:
        choices = draft.item.choices or ()
        letters = any(len(option.strip()) == 1 and option.strip().upper() in LETTERS for option in choices)
        either = " or ".join(f"by its {form} {choices[index]!r}" for form, index in meant.items())
        better = "the index (0, 1, ...)" if letters else "the letter (A, B, ...)"
        raise ValueError(
            f"{keys.names['answer']} {draft.item.answer!r} is {either}; give {better} of the option in every row"
        )
    (index,) = set(meant.values())
    return replace(draft.item, answer=LETTERS[index])


def _check(item: Item, keys: _Keys) -> None:
    try:
        check_answer(item)
    except ValueError as error:
        raise ValueError(f"the {keys.names['answer']} {error}") from None


def _shown(value: object) -> str:
    """A value as an error shows it: as JSON, cut to 60 characters."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."

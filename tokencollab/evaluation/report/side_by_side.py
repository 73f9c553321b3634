"""Items with the answers of all methods side by side: gained and lost first, and no more than a page can show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tokencollab.evaluation.folder import Record
from tokencollab.evaluation.items import LETTERS
from tokencollab.evaluation.report.evaluations import Evaluation

MOST_TEXTS: Final = 4000
MOST_CHARACTERS: Final = 4_000_000
"""Texts of answers, and characters of all texts of items, in one report; its evaluations share them equally."""
LONGEST: Final = 4000
"""Characters of a text that are shown; what is longer is cut."""
FOLDED: Final = 280
"""Characters of an answer that are shown at once; what is longer is folded."""
GRADES: Final = {"r": "right", "w": "wrong", "u": "unreadable", "f": "failed", "-": "not answered"}


@dataclass(frozen=True, slots=True)
class Said:
    """One text, and the methods that answered with it: their numbers, in the order of the run."""

    methods: tuple[int, ...]
    text: str
    answer: str
    grade: str


@dataclass(frozen=True, slots=True)
class ShownItem:
    """An item. ``grades``: a letter of `GRADES` per method of the run; ``gained`` and ``lost``: numbers of methods."""

    name: str
    question: str
    key: str
    grades: str
    gained: tuple[int, ...]
    lost: tuple[int, ...]
    said: tuple[Said, ...]

    @property
    def characters(self) -> int:
        return len(self.question) + len(self.key) + sum(len(said.text) + len(said.answer) for said in self.said)


@dataclass(frozen=True, slots=True)
class SideBySide:
    """The items of an evaluation.

    Attributes:
        methods: their names.
        together: the numbers of those that are more than one model alone.
        singles: the numbers of those that the others are compared with, and what they are called. `ShownItem.gained`
            and ``lost`` are against the first.
        total: items of the run that have an answer.
    """

    path: Path
    methods: tuple[str, ...]
    together: tuple[int, ...]
    singles: Mapping[int, str]
    items: tuple[ShownItem, ...]
    total: int


def side_by_side(evaluation: Evaluation, evaluations: int) -> SideBySide:
    """The items of one of so many evaluations in a report.

    First those that a collaboration gained or lost, then those that some methods have right, then those that none has,
    then the rest; each in the order of the run. The first is always shown, the others while there is room.
    """
    methods = list(evaluation.methods.index)
    numbers = {name: number for number, name in enumerate(methods)}
    together = [numbers[name] for name in evaluation.together]
    singles = {numbers[name]: called for name, called in evaluation.singles.items()}
    answers: dict[str, dict[int, Record]] = {item: {} for item in evaluation.run["plan"]["items"]}
    for record in evaluation.records:
        answers.setdefault(record["item"], {})[numbers[record["method"]]] = record
    first = next(iter(singles), None)
    found = [_item(name, own, len(methods), together, first) for name, own in answers.items() if own]
    shown: list[ShownItem] = []
    texts = characters = 0
    for item in sorted(found, key=_rank):
        texts, characters = texts + len(item.said), characters + item.characters
        if shown and (texts * evaluations > MOST_TEXTS or characters * evaluations > MOST_CHARACTERS):
            break
        shown.append(item)
    return SideBySide(evaluation.path, tuple(methods), tuple(together), singles, tuple(shown), len(found))


def grade(record: Record) -> str:
    """The letter of `GRADES` of an answer."""
    if record["right"]:
        return "r"
    if isinstance(record.get("error"), str):
        return "f"
    return "w" if isinstance(record.get("answer"), str) else "u"


def _item(name: str, own: Mapping[int, Record], methods: int, together: Sequence[int], single: int | None) -> ShownItem:
    grades = "".join(grade(own[number]) if number in own else "-" for number in range(methods))
    right = [letter == "r" for letter in grades]
    compared = [number for number in together if single in own and number in own]
    same: dict[tuple[str, str, str], list[int]] = {}
    for number, record in sorted(own.items()):
        text = plain(record.get("error")) or plain(record.get("text"))
        same.setdefault((text, plain(record.get("answer")), grades[number]), []).append(number)
    one = next(iter(own.values()))
    return ShownItem(
        name,
        _cut(question_of(one)),
        _cut(plain(one.get("expected"))),
        grades,
        tuple(n for n in compared if right[n] and not right[single or 0]),
        tuple(n for n in compared if right[single or 0] and not right[n]),
        tuple(Said(tuple(by), _cut(text.strip()), _cut(answer), letter) for (text, answer, letter), by in same.items()),
    )


def _rank(item: ShownItem) -> int:
    if item.gained or item.lost:
        return 0
    if len({letter == "r" for letter in item.grades if letter != "-"}) > 1:
        return 1
    return 2 if "r" not in item.grades else 3


def question_of(record: Record) -> str:
    """What was asked: the passage, the question and the choices; empty in files of earlier versions."""
    choices = record.get("choices")
    listed = [
        f"{letter}. {plain(text)}"
        for letter, text in zip(LETTERS, choices if isinstance(choices, list) else (), strict=False)
    ]
    return "\n".join(filter(None, [plain(record.get("context")), plain(record.get("question")), *listed]))


def plain(value: Any) -> str:
    """A text of a record with one kind of line end; empty where there is none, as in files of earlier versions."""
    return value.replace("\r\n", "\n") if isinstance(value, str) else ""


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text):,} characters in all)"

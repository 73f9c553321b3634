"""The items of an evaluation, and how they are read from rows.

A row is one object: ``{"id", "question", "choices", "answer", "context"}``. Multiple choice: ``choices`` is a
list and ``answer`` a letter; else ``choices`` is null and ``answer`` a text. ``context`` is a passage or null.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tokencollab.errors import UsageError
from tokencollab.protocol.values import half_character

SIMPLEMATH = "simplemath"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Item:
    """One question. ``choices`` None: an open answer."""

    id: str
    question: str
    answer: str
    choices: tuple[str, ...] | None = None
    context: str | None = None


def read_rows(rows: Iterable[object], source: str) -> list[Item]:
    """Rows of the form above as items.

    Raises:
        UsageError: an invalid row, or an id that occurs twice; with the number of the row.
    """
    items: dict[str, Item] = {}
    for number, row in enumerate(rows, start=1):
        try:
            item = _item(row)
        except ValueError as error:
            raise UsageError(f"{source}, item {number}: {error}") from None
        if item.id in items:
            raise UsageError(f"{source}, item {number}: the id {item.id!r} occurs twice")
        items[item.id] = item
    if not items:
        raise UsageError(f"{source} has no items")
    return list(items.values())


def _item(row: object) -> Item:
    if not isinstance(row, Mapping):
        raise ValueError("not an object")
    texts = {}
    for field in ("id", "question", "answer"):
        value = row.get(field)
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{field} must be a text")
        texts[field] = value
    choices, context = row.get("choices"), row.get("context")
    if not (context is None or isinstance(context, str)):
        raise ValueError("context must be a text or null")
    if choices is not None:
        texts_only = isinstance(choices, list) and all(isinstance(choice, str) for choice in choices)
        if not texts_only or not 2 <= len(choices) <= len(LETTERS):
            raise ValueError("choices must be a list of 2 to 26 texts, or null")
        if texts["answer"] not in LETTERS[: len(choices)]:
            raise ValueError(f"the answer must be a letter from A to {LETTERS[len(choices) - 1]}")
        choices = tuple(choices)
    if half_character("".join([*texts.values(), *(choices or ()), context or ""])) is not None:
        raise ValueError("contains a lone surrogate")
    return Item(texts["id"], texts["question"], texts["answer"], choices, context)

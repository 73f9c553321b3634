"""The items of an evaluation: generated, from a file of JSON lines, or from the Hugging Face hub.

A file has one object a line: ``{"id", "question", "choices", "answer", "context"}``. Multiple choice: ``choices`` is a
list and ``answer`` a letter; else ``choices`` is null and ``answer`` a text. ``context`` is a passage or null.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from tokencollab.errors import UsageError
from tokencollab.protocol.values import half_character

SIMPLEMATH = "simplemath"
SIMPLEMATH_ITEMS = 1000
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Item:
    """One question. ``choices`` None: an open answer."""

    id: str
    question: str
    answer: str
    choices: tuple[str, ...] | None = None
    context: str | None = None


def load_items(dataset: str, n: int | None, seed: int, data: str | None) -> list[Item]:
    """The items of a set.

    Args:
        dataset: ``simplemath``, or the name of a file in ``data`` (without ``.jsonl``), of a set of the hub, or the
            path of a ``.jsonl`` file.
        n: how many, None for all (of simplemath, which has no end: 1,000).
        seed: of the drawing; the items of a smaller ``n`` are the first of a larger one's.
        data: a folder of ``.jsonl`` files; without one the hub is asked.

    Raises:
        UsageError: no such set, a line that is no item, or fewer items than asked for.
    """
    if dataset == SIMPLEMATH:
        from tokencollab.evaluation.simplemath import simplemath  # noqa: PLC0415

        problems = simplemath(n or SIMPLEMATH_ITEMS, seed)
        return [
            Item(f"simplemath/{seed}/{index}", problem.question, str(problem.answer))
            for index, problem in enumerate(problems)
        ]
    path = _file_of(dataset, data)
    if path is None:
        from tokencollab.evaluation.hub import hub_rows  # noqa: PLC0415

        items = read_rows(hub_rows(dataset), dataset)
    else:
        items = _read_file(path)
    return draw(items, n, seed, dataset)


def draw(items: list[Item], n: int | None, seed: int, dataset: str) -> list[Item]:
    """``n`` items in an order that depends on the seed and the ids alone, not on the order of the file.

    Raises:
        UsageError: there are fewer.
    """
    if n is not None and n > len(items):
        raise UsageError(f"{dataset} has {len(items)} items, not {n}; give a smaller --n, or none for all")
    ordered = sorted(items, key=lambda item: (blake2b(f"{seed}/{item.id}".encode(), digest_size=8).digest(), item.id))
    return ordered[:n]


def _file_of(dataset: str, data: str | None) -> Path | None:
    """The file that is meant, None where the hub is."""
    if dataset.endswith(".jsonl"):
        path = Path(dataset).expanduser()
        if not path.is_file():
            raise UsageError(f"there is no file {dataset}")
        return path
    if data is None:
        return None
    folder = Path(data).expanduser()
    if not folder.is_dir():
        raise UsageError(f"there is no folder {data}")
    there = sorted(path.stem for path in folder.glob("*.jsonl"))
    if dataset not in there:
        raise UsageError(f"unknown set {dataset!r}; {data} has {', '.join(there) or 'no .jsonl files'}")
    return folder / f"{dataset}.jsonl"


def _read_file(path: Path) -> list[Item]:
    def rows() -> Iterable[object]:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError):
                    raise UsageError(f"{path.name}, line {number}: not JSON; each line must be one object") from None

    try:
        return read_rows(rows(), path.name)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text") from None


def read_rows(rows: Iterable[object], source: str) -> list[Item]:
    """Rows of the form above as items.

    Raises:
        UsageError: a row that is none, or an id that occurs twice; with the number of the row.
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
        if not isinstance(choices, list) or not 2 <= len(choices) <= len(LETTERS):
            raise ValueError("choices must be a list of 2 to 26 texts, or null")
        if not all(isinstance(choice, str) for choice in choices):
            raise ValueError("choices must be a list of 2 to 26 texts, or null")
        if texts["answer"] not in LETTERS[: len(choices)]:
            raise ValueError(f"the answer must be a letter from A to {LETTERS[len(choices) - 1]}")
        choices = tuple(choices)
    if half_character("".join([*texts.values(), *(choices or ()), context or ""])) is not None:
        raise ValueError("half of a surrogate pair, which is no character")
    return Item(texts["id"], texts["question"], texts["answer"], choices, context)

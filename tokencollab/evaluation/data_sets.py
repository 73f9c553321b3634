"""Data sets: generated, from a file of JSON lines with one row of `items` each, or from the Hugging Face hub."""

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

from tokencollab.errors import UsageError
from tokencollab.evaluation.hub import hub_rows
from tokencollab.evaluation.items import SIMPLEMATH, Item, read_rows
from tokencollab.evaluation.simplemath import simplemath
from tokencollab.files import read_text, typed_path
from tokencollab.protocol.json_text import NotJson, read_json

SIMPLEMATH_ITEMS = 1000


def load_items(dataset: str, n: int | None, seed: int, data: str | None) -> list[Item]:
    """The items of a set.

    ``dataset`` is ``simplemath``, a file in the folder ``data`` (without ``.jsonl``), else a set of the hub, or the
    path of a ``.jsonl`` file. ``n`` None: all (of simplemath, which has no end: 1,000). The items of a smaller ``n``
    are the first of a larger one's.

    Raises:
        UsageError: no such set, a line that is no item, or fewer items than asked for.
    """
    if dataset == SIMPLEMATH:
        problems = simplemath(n or SIMPLEMATH_ITEMS, seed)
        return [
            Item(f"simplemath/{seed}/{index}", problem.question, str(problem.answer))
            for index, problem in enumerate(problems)
        ]
    path = _file_of(dataset, data)
    if path is None:
        rows = ((f"item {number}", row) for number, row in enumerate(hub_rows(dataset), start=1))
        return draw(read_rows(rows, dataset), n, seed, dataset)
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
        path = typed_path(dataset)
        if not path.is_file():
            raise UsageError(f"there is no file {dataset}")
        return path
    if data is None:
        return None
    folder = typed_path(data)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {data}")
    there = sorted(path.stem for path in folder.glob("*.jsonl"))
    if dataset not in there:
        raise UsageError(f"unknown set {dataset!r}; {data} has {', '.join(there) or 'no .jsonl files'}")
    return folder / f"{dataset}.jsonl"


def _read_file(path: Path) -> list[Item]:
    def rows() -> Iterable[tuple[str, object]]:
        for number, line in enumerate(read_text(path).split("\n"), start=1):
            if not line.strip():
                continue
            try:
                yield f"line {number}", read_json(line)
            except NotJson as error:
                reason = f"{path.name}, line {number}: {error}; each line must be one JSON object"
                raise UsageError(reason) from None

    return read_rows(rows(), path.name)

"""Data sets: generated, from a file of rows, from a function of the caller's, or from the Hugging Face hub."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path

from tokencollab.errors import UsageError, named
from tokencollab.evaluation.hub import hub_rows
from tokencollab.evaluation.items import SIMPLEMATH, Item
from tokencollab.evaluation.row_files import ENDINGS, file_rows
from tokencollab.evaluation.rows import Rows, read_rows
from tokencollab.evaluation.simplemath import simplemath
from tokencollab.files import typed_path
from tokencollab.policies.own import find_own, is_own

SIMPLEMATH_ITEMS = 1000


def load_items(
    dataset: str,
    limit: int | None,
    seed: int,
    data: str | None,
    *,
    mapping: Mapping[str, str] | None = None,
    checked: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> list[Item]:
    """The items of a set.

    Args:
        dataset: ``simplemath``, the path of a file of rows, the name of one in the folder ``data`` (with or without
            its ending), ``module:name`` of a function of the caller's that gives rows, else a set of the hub.
        limit: how many at most; None: all (of simplemath, which has no end: 1,000). The items of a smaller limit are
            the first of a larger one's.
        seed: of their order, and of simplemath.
        data: a folder of files.
        mapping, checked: see `read_rows`.
        say: hears what a person should know, such as that there are fewer than ``limit``.

    Raises:
        UsageError: no such set, or a row that is no item.
    """
    if dataset == SIMPLEMATH:
        problems = simplemath(limit or SIMPLEMATH_ITEMS, seed)
        return [
            Item(f"simplemath/{seed}/{index}", problem.question, str(problem.answer))
            for index, problem in enumerate(problems)
        ]
    source, rows = _rows_of(dataset, data)
    items = read_rows(rows, source, mapping, checked=checked, say=say)
    if limit is not None and limit > len(items):
        say(f"{source} has {len(items)} items, fewer than --limit {limit}: all are taken")
    return draw(items, limit, seed)


def draw(items: list[Item], limit: int | None, seed: int) -> list[Item]:
    """``limit`` items at most, in an order that depends on the seed and the ids alone, not on the order of the file."""
    ordered = sorted(items, key=lambda item: (blake2b(f"{seed}/{item.id}".encode(), digest_size=8).digest(), item.id))
    return ordered[:limit]


def _rows_of(dataset: str, data: str | None) -> tuple[str, Rows]:
    """What messages call a set, and its rows."""
    path = typed_path(dataset)
    if path.suffix.lower() in ENDINGS and (data is None or path.is_file()):
        if not path.is_file():
            raise UsageError(f"there is no file {dataset}")
        return path.name, file_rows(path)
    if is_own(dataset):
        return dataset, _own_rows(dataset)
    if data is not None:
        found = _in_folder(dataset, data)
        return found.name, file_rows(found)
    if path.is_file():
        raise UsageError(f"{dataset}: a data set is a file that ends in {', '.join(ENDINGS)}")
    return dataset, ((f"item {number}", row) for number, row in enumerate(hub_rows(dataset), start=1))


def _in_folder(dataset: str, data: str) -> Path:
    folder = typed_path(data)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {data}")
    there = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
    found = [path for path in there if dataset in (path.name, path.stem)]
    if len(found) > 1:
        raise UsageError(f"{data} has {' and '.join(path.name for path in found)}; give the whole name")
    if not found:
        names = ", ".join(path.stem for path in there) or f"no files that end in {', '.join(ENDINGS)}"
        raise UsageError(f"unknown set {dataset!r}; {data} has {names}")
    return found[0]


def _own_rows(name: str) -> Iterator[tuple[str, object]]:
    """The rows of a function of the caller's, or of a list."""
    found = find_own(name, "the data set")
    try:
        rows = found() if callable(found) else found
        if not isinstance(rows, Iterable) or isinstance(rows, str | Mapping):
            raise UsageError(f"the data set {name} must be a function that gives rows, or a list of them")
        for number, row in enumerate(rows, start=1):
            yield f"row {number}", row
    except UsageError:
        raise
    except Exception as error:  # it is somebody's code
        raise UsageError(f"the data set {name} fails: {named(error)}") from error

"""Files of rows: JSON lines, tables of commas or tabs, and Parquet; each row with its place in the file."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tokencollab.errors import UsageError, extra
from tokencollab.files import read_text, reading
from tokencollab.protocol.json_text import NotJson, read_json

ENDINGS: Final = (".jsonl", ".csv", ".tsv", ".parquet")
"""Of file names, each a kind of file."""

Placed = tuple[str, object]
"""A place ("line 3", of a Parquet file "row 3") and the row there."""


def file_rows(path: Path) -> Iterator[Placed]:
    """The rows of a file, which is read by its ending.

    Raises:
        UsageError: it cannot be read, or a line is none; with file and line.
        MissingExtra: Parquet, without the extra `eval`.
    """
    match path.suffix.lower():
        case ".csv":
            return _table(path, ",")
        case ".tsv":
            return _table(path, "\t")
        case ".parquet":
            return _parquet(path)
        case _:
            return _json_lines(path)


def _json_lines(path: Path) -> Iterator[Placed]:
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", read_json(line)
        except NotJson as error:
            reason = f"{path.name}, line {number}: {error}; each line must be one JSON object"
            raise UsageError(reason) from None


def _table(path: Path, separator: str) -> Iterator[Placed]:
    """Cells are texts as they stand, and an empty one is None. Python's reader, because it knows the lines."""
    lines = csv.reader(io.StringIO(read_text(path)), delimiter=separator, strict=True)
    head: list[str] | None = None
    before = 0
    while True:
        try:
            cells = next(lines, None)
        except csv.Error as error:
            raise UsageError(
                f"{path.name}, line {before + 1}: no row of a table ({error}); texts with quotes, line ends or the "
                'separator stand in "quotes", and a quote in them is written twice'
            ) from None
        place, before = before + 1, lines.line_num
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        if head is None:
            head = [cell.strip() for cell in cells]
            name, times = Counter(head).most_common(1)[0]
            if times > 1:
                raise UsageError(f"{path.name}, line {place}: the column {name!r} is there twice; rename one")
            continue
        if len(cells) != len(head):
            raise UsageError(
                f"{path.name}, line {place}: {len(cells)} cells, and the first line names {len(head)} columns; texts "
                'with the separator in them stand in "quotes"'
            )
        yield f"line {place}", {name: cell or None for name, cell in zip(head, cells, strict=True)}


def _parquet(path: Path) -> Iterator[Placed]:
    with extra(f"the Parquet file {path.name}"):
        from pyarrow import parquet  # noqa: PLC0415
    with reading(path):
        rows = parquet.read_table(path).to_pylist()
    for number, row in enumerate(rows, start=1):
        yield f"row {number}", row

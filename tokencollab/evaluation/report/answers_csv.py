"""The answers of evaluations as one flat table: CSV as of RFC 4180, for spreadsheets and data frames."""

import csv
import re
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any, Final

from tokencollab.evaluation.report.evaluations import Evaluation
from tokencollab.evaluation.report.side_by_side import GRADES, grade, plain, question_of
from tokencollab.files import write_whole
from tokencollab.protocol.text import harmless

_FIGURES: Final = (
    "cost", "tokens", "aligned", "exit_step", "finish_reason", "seconds", "first_token_ms", "ms_per_token",
)  # fmt: skip
COLUMNS: Final = ("run", "dataset", "item", "question", "key", "method", "text", "answer", "grade", *_FIGURES)
_FORMULA: Final = re.compile(r"\s*[=+\-@＝＋－＠]")  # what spreadsheets take for the beginning of one
_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)


def write_csv(evaluations: Sequence[Evaluation], file: Path) -> Path:
    """Writes a row of `COLUMNS` for every answer to ``file``, for its owner alone; its path.

    Texts are as the page shows them: without control characters and direction marks. One that a spreadsheet would take
    for a formula gets an apostrophe in front; a number is none.

    Raises:
        UsageError: the file cannot be written.
    """
    rows = csv.writer(text := StringIO(newline=""))
    rows.writerow(COLUMNS)
    for evaluation in evaluations:
        run, dataset = evaluation.path.name, evaluation.summary["dataset"]
        for record in evaluation.records:
            asked = question_of(record), plain(record.get("expected"))
            said = plain(record.get("text")), plain(record.get("answer")), GRADES[grade(record)]
            figures = (record.get(name) for name in _FIGURES)
            cells = (run, dataset, record["item"], *asked, record["method"], *said, *figures)
            rows.writerow([_cell(cell) for cell in cells])
    write_whole(file, text.getvalue())
    return file


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = harmless(value)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text

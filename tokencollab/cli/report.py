"""`tokencollab report`."""

import argparse
import webbrowser
from typing import Any

from tokencollab.cli.arguments import file_name
from tokencollab.cli.terminal import put, tell
from tokencollab.evaluation.folder import are_verified
from tokencollab.files import reading, typed_path
from tokencollab.records import without_checksums


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "report",
        description="One page (HTML, and Markdown) with the tables and figures of evaluations, and their questions and "
        "answers side by side.",
    )
    parser.add_argument(
        "folders", type=file_name, nargs="+", metavar="DIR", help="folders of `tokencollab eval` and `sweep`"
    )
    parser.add_argument("--out", type=file_name, default="report", metavar="DIR", help="where to (default: report)")
    parser.add_argument("--csv", action="store_true", help="write answers.csv too: a row for every answer")
    parser.add_argument("--open", action="store_true", help="show the page in a browser")
    parser.set_defaults(run=report)


def report(arguments: argparse.Namespace) -> int:
    from tokencollab.evaluation.report.answers_csv import write_csv  # noqa: PLC0415 - pandas and matplotlib
    from tokencollab.evaluation.report.document import write_report  # noqa: PLC0415
    from tokencollab.evaluation.report.evaluations import Evaluation  # noqa: PLC0415

    folders = [typed_path(folder) for folder in arguments.folders]
    evaluations = []
    for folder in folders:
        with reading(folder):
            evaluations.append(Evaluation(folder))
        if not are_verified(folder):
            tell(without_checksums(folder))
    page = write_report(evaluations, typed_path(arguments.out))
    put(str(page))
    if arguments.csv:
        put(str(write_csv(evaluations, page.parent / "answers.csv")))
    if arguments.open:
        webbrowser.open(page.resolve().as_uri())
    return 0

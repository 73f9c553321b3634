"""`tokencollab report`."""

import argparse
import webbrowser
from pathlib import Path
from typing import Any

from tokencollab.cli.arguments import file_name


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "report",
        help="tables and figures of evaluations",
        description="One page (HTML, and Markdown) with the tables and figures of evaluations.",
    )
    parser.add_argument("folders", nargs="+", metavar="DIR", help="folders of `tokencollab eval` and `sweep`")
    parser.add_argument("--out", type=file_name, default="report", metavar="DIR", help="where to (default: report)")
    parser.add_argument("--open", action="store_true", help="show the page in a browser")
    parser.set_defaults(run=report)


def report(arguments: argparse.Namespace) -> int:
    from tokencollab.evaluation.report.document import write_report  # noqa: PLC0415 - pandas and matplotlib
    from tokencollab.evaluation.report.evaluations import Evaluation  # noqa: PLC0415

    page = write_report([Evaluation(Path(folder)) for folder in arguments.folders], Path(arguments.out))
    print(page)
    if arguments.open:
        webbrowser.open(page.resolve().as_uri())
    return 0

"""`tokencollab report`."""

import argparse
import webbrowser
from pathlib import Path

from tokencollab.evaluation.report.document import write_report
from tokencollab.evaluation.report.evaluations import Evaluation


def report(arguments: argparse.Namespace) -> int:
    """`tokencollab report`."""
    page = write_report([Evaluation(Path(folder)) for folder in arguments.folders], Path(arguments.out))
    print(page)
    if arguments.open:
        webbrowser.open(page.resolve().as_uri())
    return 0

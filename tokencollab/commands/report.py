"""`tokencollab report`."""

import argparse
import webbrowser
from pathlib import Path

from tokencollab.evaluation.report.page import write_report
from tokencollab.evaluation.report.scenes import read_scenes


def report(arguments: argparse.Namespace) -> int:
    """`tokencollab report`."""
    page = write_report(read_scenes(arguments.folders), Path(arguments.out))
    print(page)
    if arguments.open:
        webbrowser.open(page.resolve().as_uri())
    return 0

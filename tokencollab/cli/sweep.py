"""The arguments of `tokencollab sweep`."""

import argparse
from typing import Any

from tokencollab.cli.evaluate import add_evaluation, evaluate


def _values(text: str) -> tuple[str, list[str]]:
    setting, equals, values = text.partition("=")
    found = [value for value in values.split(",") if value]
    if not setting or not equals or not found or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form SETTING=VALUE,VALUE,... with each value once")
    return setting.replace("-", "_"), found


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "sweep",
        help="an evaluation over a grid of settings",
        description="An evaluation in which each method takes every combination of the settings given with --over that "
        "it uses.",
    )
    add_evaluation(parser)
    parser.add_argument(
        "--over",
        dest="grid",
        type=_values,
        action="append",
        required=True,
        metavar="SETTING=VALUES",
        help="e.g. omega=5,10,20 (repeatable)",
    )
    parser.set_defaults(run=evaluate)

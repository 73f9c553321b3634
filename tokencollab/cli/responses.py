"""The settings of response-level methods, for every command that takes such a method."""

import argparse
from collections.abc import Collection
from typing import Final

from tokencollab.cli.arguments import add_parameter
from tokencollab.policies.responses.response_methods import RESPONSES, response_settings

EXTRACT: Final = "number, choice, choice:N, boolean, date, date:dmy, math, regex:PATTERN, or text"


def add_extract(parser: argparse.ArgumentParser, default: str | None) -> None:
    """What kind of answer is read."""
    more = f" (default {default})" if default else ""
    parser.add_argument("--extract", metavar="KIND", default=default, help=f"how answers are read: {EXTRACT}{more}")


def add_response_method(
    parser: argparse.ArgumentParser, beside: Collection[str] = (), *, replayed: bool = False
) -> None:
    """The parameters of response-level methods, one option each.

    ``beside``: those that the command has already. ``replayed``: only what a replay can change.
    """
    group = parser.add_argument_group("between models", "settings of methods that draw whole answers")
    for declared in response_settings().values():
        if declared.name not in beside and (declared.replayed or not replayed):
            add_parameter(group, declared, RESPONSES.note(declared.name))

"""`tokencollab methods`."""

import argparse
import json
from typing import Any

from tokencollab.policies.methods import list_methods
from tokencollab.policies.responses.response_methods import list_response_methods


def add_parser(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser("methods", help="list the methods", description="The methods, with their papers.")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=methods)


def methods(arguments: argparse.Namespace) -> int:
    """`tokencollab methods`: token by token (`generate`), and between models (`ask`)."""
    together, between = list_methods(), list_response_methods()
    if arguments.json:
        rows = [(*row, "generate") for row in together] + [(*row, "ask") for row in between]
        print(json.dumps([dict(zip(("name", "what", "paper", "command"), row, strict=True)) for row in rows]))
        return 0
    width = max(len(name) for name, _, _ in together + between)
    for command, listed in (("generate", together), ("ask", between)):
        print(f"tokencollab {command}")
        for name, what, paper in listed:
            print(f"  {name:<{width}}  {what} -- {paper}")
    return 0

"""`tokencollab methods`."""

import argparse
from typing import Any

from tokencollab.cli.terminal import put, put_json
from tokencollab.policies.methods import list_exits, list_methods
from tokencollab.policies.responses.response_methods import list_response_methods


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("methods", description="The methods, with their papers.")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=methods)


def methods(arguments: argparse.Namespace) -> int:
    """`tokencollab methods`: token by token (`generate`), their exits, and response-level (`ask`)."""
    listed = {"generate": list_methods(), "generate --exit": list_exits(), "ask": list_response_methods()}
    if arguments.json:
        keys = ("name", "what", "paper", "command")
        plain = [dict(zip(keys, (*row, command), strict=True)) for command in listed for row in listed[command]]
        put_json(plain)
        return 0
    width = max(len(name) for rows in listed.values() for name, _, _ in rows)
    for command, rows in listed.items():
        put(f"tokencollab {command}")
        for name, what, paper in rows:
            put(f"  {name:<{width}}  {what} -- {paper}")
    return 0

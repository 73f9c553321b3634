"""`tokencollab methods`."""

import argparse
import json

from tokencollab.policies.methods import list_exits, list_methods
from tokencollab.policies.responses.response_methods import list_response_methods


def methods(arguments: argparse.Namespace) -> int:
    """`tokencollab methods`: token by token (`generate`), their exits, and between models (`ask`)."""
    listed = {"generate": list_methods(), "generate --exit": list_exits(), "ask": list_response_methods()}
    if arguments.json:
        keys = ("name", "what", "paper", "command")
        print(
            json.dumps([dict(zip(keys, (*row, command), strict=True)) for command in listed for row in listed[command]])
        )
        return 0
    width = max(len(name) for rows in listed.values() for name, _, _ in rows)
    for command, rows in listed.items():
        print(f"tokencollab {command}")
        for name, what, paper in rows:
            print(f"  {name:<{width}}  {what} -- {paper}")
    return 0

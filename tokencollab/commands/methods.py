"""`tokencollab methods`."""

import argparse
import json

from tokencollab.policies.methods import list_methods


def methods(arguments: argparse.Namespace) -> int:
    """`tokencollab methods`."""
    rows = list_methods()
    if arguments.json:
        print(json.dumps([dict(zip(("name", "what", "paper"), row, strict=True)) for row in rows]))
        return 0
    width = max(len(name) for name, _, _ in rows)
    for name, what, paper in rows:
        print(f"{name:<{width}}  {what} -- {paper}")
    return 0

"""The arguments of `tokencollab methods`."""

from typing import Any

from tokencollab.cli.arguments import add_plugin


def add_parser(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser("methods", help="list the methods", description="The methods, with their papers.")
    parser.add_argument("--json", action="store_true")
    add_plugin(parser)
    parser.set_defaults(run="methods")

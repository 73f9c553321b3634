"""The arguments of `tokencollab models`."""

from typing import Any

from tokencollab.cli.arguments import Parser


def add_parser(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser("models", help="list, pull or remove models", description="The models known by name.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=Parser)
    actions.add_parser("list", help="known models and which are installed").add_argument("--json", action="store_true")
    for action, text in (("pull", "fetch a model"), ("remove", "delete a model's files")):
        actions.add_parser(action, help=text).add_argument("name")
    parser.set_defaults(run="models")

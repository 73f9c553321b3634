"""`tokencollab models`."""

import argparse
from typing import Any

from tokencollab.cli.arguments import Parser
from tokencollab.cli.terminal import ProgressView, add_row, headed_table, print_table, put, put_json
from tokencollab.models.resolve import list_models, remove, resolve


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("models", description="The models known by name.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=Parser)
    actions.add_parser("list", help="known models and which are installed").add_argument("--json", action="store_true")
    for action, text in (("pull", "fetch a model"), ("remove", "delete a model's files")):
        actions.add_parser(action, help=text).add_argument("name")
    parser.set_defaults(run=models)


def models(arguments: argparse.Namespace) -> int:
    """`tokencollab models list | pull NAME | remove NAME`."""
    match arguments.action:
        case "list":
            _list_models(arguments.json)
        case "pull":
            with ProgressView() as progress:
                files = resolve(arguments.name, progress.update)
                if files.built_in:
                    progress.say(f"{files.name} is part of tokencollab: there is nothing to fetch")
                if files.notice:
                    progress.say(f"{files.name}: {files.notice}")
            put(str(files.folder))
        case _:
            freed = remove(arguments.name)
            put(f"{arguments.name}: removed, {freed / 1e6:,.0f} MB freed")
    return 0


def _list_models(as_json: bool) -> None:
    rows = list_models()
    if as_json:
        fields = ("name", "installed", "size", "licence", "source", "built_in")
        put_json([{field: getattr(row, field) for field in fields} for row in rows])
        return
    table = headed_table("name", "installed", "licence", "source")
    for row in rows:
        installed = "built in" if row.built_in else f"{row.size / 1e6:,.0f} MB" if row.installed else "no"
        add_row(table, row.name, installed, row.licence or "not known", row.source)
    print_table(table)

"""The arguments of `tokencollab platform`."""

import argparse
from typing import Any

from tokencollab.cli.arguments import Parser, add_engine, cpus, model, natural, positive


def add_parser(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "platform",
        help="share models between programs, in a running Ray cluster",
        description="Share models, and coordinators that write answers with them, between programs, in a running Ray "
        "cluster: they stay until they are taken down.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=Parser)
    up = actions.add_parser("up", help="start models and coordinators, beside those that are there")
    up.add_argument(
        "--model",
        dest="models",
        type=model,
        action="append",
        default=[],
        metavar="MODEL",
        help="known name, hub id, folder of safetensors, or .gguf file (repeatable)",
    )
    up.add_argument("--cpus-per-model", type=cpus, default=1.0, metavar="N", help="reserved in the cluster (default 1)")
    up.add_argument(
        "--coordinators", type=natural, default=0, metavar="N", help="so many coordinators in all (see generate)"
    )
    up.add_argument("--base", metavar="NAME", help="the base where none is named (default: the first model)")
    add_engine(up)
    up.add_argument("--max-sessions", type=positive, default=256, metavar="N", help="answers at a time (default 256)")
    status = actions.add_parser("status", help="which models and coordinators are there, and how they are")
    status.add_argument("--json", action="store_true", help="one JSON object for each, one a line")
    down = actions.add_parser("down", help="end models, or the whole platform")
    down.add_argument("--model", dest="models", action="append", metavar="NAME", help="only this one (repeatable)")
    for action in (up, status, down):
        _add_namespace(action)
    parser.set_defaults(run="platform")


def _add_namespace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--namespace", default="tokencollab", metavar="NAME", help="which platform (default: tokencollab)"
    )

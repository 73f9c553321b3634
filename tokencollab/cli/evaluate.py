"""The arguments of `tokencollab eval`."""

import argparse
from typing import Any

from tokencollab.cli.arguments import add_models, add_plugin, file_name, natural, positive, utf8


def add_parser(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "eval",
        help="put the same items to many methods, with statistics",
        description="Put the same items to many methods and compare them, with intervals.",
    )
    add_evaluation(parser)
    parser.set_defaults(run="evaluate", grid=[])


def add_evaluation(parser: argparse.ArgumentParser) -> None:
    """What `eval` and `sweep` share."""
    add = parser.add_argument
    add(
        "--dataset",
        required=True,
        metavar="NAME",
        help="simplemath, a .jsonl file, or the name of one in --data (without it: of the Hugging Face hub)",
    )
    add("--data", metavar="DIR", help="folder of .jsonl files")
    add("--n", type=positive, metavar="N", help="items, drawn by --seed (default: all; of simplemath 1000)")
    add("--seed", type=natural, default=0, metavar="N", help="of the items and of every random choice (default 0)")
    add(
        "--methods",
        required=True,
        metavar="LIST",
        help="presets, separated by commas, with settings: base,each,duetnet:reference=floor,confipara-d:omega=5",
    )
    add("--out", type=file_name, required=True, metavar="DIR", help="folder of the results, new unless --resume")
    add("--resume", action="store_true", help="go on with what --out has, if anything")
    add(
        "--prompt",
        choices=["bare", "brief", "restate"],
        help="how the question is put (simplemath: bare; else restate)",
    )
    add("--max-tokens", type=positive, metavar="N", help="pieces at most (bare 96, brief 24, restate 256)")
    add("--stop", type=utf8, action="append", metavar="TEXT", help="end answers before this text (repeatable)")
    add("--concurrency", type=positive, metavar="N", help="answers at once (default: what KV memory allows, up to 64)")
    add("--json", action="store_true", help="the summary on standard output")
    add_models(parser, method=False)
    add_plugin(parser)

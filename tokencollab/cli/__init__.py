"""The command line. Each command is the module of its name: its options, its run and its output."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NoReturn

from tokencollab import __version__
from tokencollab.cli.arguments import Parser, collect_settings
from tokencollab.cli.own import load_own
from tokencollab.cli.streams import prepare_streams
from tokencollab.cli.terminal import tell
from tokencollab.errors import TokencollabError, extra
from tokencollab.policies.methods import method_settings
from tokencollab.policies.responses.response_methods import response_settings

_COMMANDS: Final = (
    "repl",
    "generate",
    "ask",
    "resume",
    "batch",
    "platform",
    "models",
    "methods",
    "replay",
    "evaluate",
    "report",
)
"""Modules of this package, in the order of `--help`; each has an `add_parser` (`evaluate` for `eval` and `sweep`)."""


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="tokencollab",
        description="Several language models with different tokenizers write one answer together, token by token.",
    )
    parser.add_argument("--version", action="version", version=f"tokencollab {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    for command in _COMMANDS:
        import_module(f"tokencollab.cli.{command}").add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line.

    Exit codes: 0 done, 1 failed on the way, 2 bad input, 130 interrupted by Ctrl-C, 143 by SIGTERM.
    """
    prepare_streams()
    try:
        try:
            code = _run(argv)
        finally:
            sys.stdout.flush()
    except TokencollabError as error:
        code = _fail(error, error.exit_code)
    except KeyboardInterrupt:
        code = _fail("interrupted", 130)
    except BrokenPipeError:
        code = 0
    sys.exit(code)


def _run(argv: Sequence[str] | None) -> int:
    load_own(argv)  # before the parser: they bring options of their own
    arguments = build_parser().parse_args(argv)
    arguments.settings = collect_settings(arguments, ("aggregation", "exit", *method_settings()))
    arguments.between = collect_settings(arguments, response_settings())
    with extra("this command"):
        code: int = arguments.run(arguments)
    return code


def _fail(reason: object, code: int) -> int:
    tell(f"tokencollab: {reason}")
    return code

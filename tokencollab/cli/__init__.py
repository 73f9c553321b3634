"""The command line: argument parsing only. What a command does is in the module of its name in `commands`."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from tokencollab import __version__
from tokencollab.cli import (
    ask,
    batch,
    evaluate,
    generate,
    methods,
    models,
    platform,
    repl,
    replay,
    report,
    resume,
    sweep,
)
from tokencollab.cli.arguments import Parser, method_settings
from tokencollab.cli.responses import response_settings
from tokencollab.errors import TokencollabError, extra
from tokencollab.streams import prepare_streams


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = Parser(
        prog="tokencollab",
        description="Several language models with different tokenizers write one answer together, token by token.",
    )
    parser.add_argument("--version", action="version", version=f"tokencollab {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    for command in (repl, generate, ask, resume, batch, platform, models, methods, replay, evaluate, sweep, report):
        command.add_parser(commands)
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
    arguments = build_parser().parse_args(argv)
    arguments.settings, arguments.between = method_settings(arguments), response_settings(arguments)
    # Imported after the arguments are known to be good, and only what this command needs.
    with extra("this command"):
        command = getattr(import_module(f"tokencollab.commands.{arguments.run}"), arguments.run)
        code: int = command(arguments)
    return code


def _fail(reason: object, code: int) -> int:
    print(f"tokencollab: {' '.join(str(reason).split())}", file=sys.stderr)
    return code

"""The command line. Each command is the module of its name: its options, its run and its output."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, NoReturn

from tokencollab import __version__
from tokencollab.cli.arguments import Parser, collect_settings
from tokencollab.cli.own import load_own
from tokencollab.cli.streams import prepare_streams
from tokencollab.cli.terminal import put, tell
from tokencollab.errors import TokencollabError, extra
from tokencollab.policies.methods import method_settings
from tokencollab.policies.responses.response_methods import response_settings

_COMMANDS: Final = {
    "repl": ("repl", "ask at a prompt, and see who backs every piece"),
    "generate": ("generate", "let models write one answer together"),
    "ask": ("ask", "let models answer one by one, and decide between their answers"),
    "resume": ("resume", "go on with an interrupted answer"),
    "batch": ("batch", "answer the prompts of a file concurrently"),
    "platform": ("platform", "share models between programs, in a running Ray cluster"),
    "models": ("models", "list, pull or remove models"),
    "methods": ("methods", "list the methods"),
    "replay": ("replay", "recompute every decision of a trace, without models"),
    "eval": ("evaluate", "put the same items to many methods, with statistics"),
    "sweep": ("evaluate", "an evaluation over a grid of settings"),
    "report": ("report", "tables, figures and answers of evaluations"),
}
"""Commands in the order of `--help`: the module of this package that has it in its `add_parser`, and one line."""


class _Commands:
    """Where a command's module adds its parser; the line of `--help` is that of `_COMMANDS`."""

    def __init__(self, commands: Any) -> None:
        self._commands = commands

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = self._commands.add_parser(name, help=_COMMANDS[name][1], **options)
        return parser


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """The parser of ``command``; only its module is imported, which may take a second."""
    parser = Parser(
        prog="tokencollab",
        description="Several language models with different tokenizers write one answer together, token by token.",
    )
    parser.add_argument("--version", action="version", version=f"tokencollab {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    if command in _COMMANDS:
        import_module(f"tokencollab.cli.{_COMMANDS[command][0]}").add_parser(_Commands(commands))
    for name in _COMMANDS:
        if name not in commands.choices:
            _Commands(commands).add_parser(name)
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
    words = sys.argv[1:] if argv is None else argv
    load_own(words)  # before the parser: they bring options of their own
    parser = build_parser(next((word for word in words if not word.startswith("-")), None))
    if not words:
        put(parser.format_help(), end="")
        return 0
    arguments = parser.parse_args(words)
    arguments.settings = collect_settings(arguments, ("aggregation", "exit", *method_settings()))
    arguments.between = collect_settings(arguments, response_settings())
    with extra("this command"):
        code: int = arguments.run(arguments)
    return code


def _fail(reason: object, code: int) -> int:
    tell(f"tokencollab: {reason}")
    return code

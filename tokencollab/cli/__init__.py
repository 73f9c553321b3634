"""The command line. Each command is the module of its name: its options, its run and its output."""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, NoReturn

from tokencollab import __version__
from tokencollab.cli.arguments import Parser, collect_settings
from tokencollab.cli.own import load_own
from tokencollab.cli.streams import prepare_streams
from tokencollab.cli.teams import with_team
from tokencollab.cli.terminal import put, tell
from tokencollab.errors import TokencollabError, UsageError, extra
from tokencollab.policies.methods import method_settings
from tokencollab.policies.responses.response_methods import response_settings

_PAIR: Final = "--base arith-bytes --with arith-pairs"
_COMMANDS: Final = {
    "repl": ("repl", "ask at a prompt, and see who backs every piece", f"repl {_PAIR}"),
    "generate": ("generate", "let models write one answer together", f'generate "24+21*30+12-28*14" {_PAIR}'),
    "ask": (
        "ask",
        "let models answer one by one, and decide between their answers",
        'ask "24+21*30+12-28*14" --model arith-bytes --model arith-pairs --extract number',
    ),
    "resume": ("resume", "go on with an interrupted answer", "resume answers/0f3a.journal.jsonl"),
    "batch": (
        "batch",
        "answer the prompts of a file concurrently",
        f"batch prompts.jsonl --out answers.jsonl {_PAIR}",
    ),
    "platform": (
        "platform",
        "share models between programs, in a running Ray cluster",
        "platform up --model arith-bytes --model arith-pairs",
    ),
    "models": ("models", "list, pull or remove models", "models pull smollm2-135m-instruct"),
    "teams": ("teams", "list the teams that --team takes by name", "teams list"),
    "methods": ("methods", "list the methods", "methods"),
    "replay": (
        "replay",
        "recompute every decision of a trace, without models",
        "replay answer.trace.jsonl --method unite",
    ),
    "eval": ("evaluate", "put the same items to many methods, with statistics", f"eval my.jsonl {_PAIR}"),
    "sweep": (
        "evaluate",
        "an evaluation over a grid of settings",
        f"sweep simplemath --limit 100 {_PAIR} --methods each,confipara-b --over omega=5,10,20",
    ),
    "report": ("report", "tables, figures and answers of evaluations", "report results/my --out report --csv"),
}
"""Commands in the order of `--help`: the module of this package that has it in its `add_parser`, one line, an example.
"""


class _Commands:
    """Where a command's module adds its parser; the line of `--help` is that of `_COMMANDS`."""

    def __init__(self, commands: Any) -> None:
        self._commands = commands

    def add_parser(self, name: str, **options: Any) -> Parser:
        _, line, example = _COMMANDS[name]
        epilog = f"examples:\n  tokencollab {example}"
        parser: Parser = self._commands.add_parser(name, help=line, epilog=epilog, **options)
        return parser


def build_parser(command: str | None) -> tuple[Parser, Parser | None]:
    """The parser of all commands, and that of ``command``, whose module alone is imported: some take a second."""
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
    return parser, commands.choices.get(command or "")


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
    command = next((word for word in words if not word.startswith("-")), None)
    parser, own = build_parser(command)
    if not words:
        put(parser.format_help(), end="")
        return 0
    if command is not None and own is not None and "--team" in own.options:
        words = with_team(words, command, own.options)
    arguments = parser.parse_args(words)
    if getattr(arguments, "team", None) is not None:
        raise UsageError("--team is written in full")
    arguments.settings = collect_settings(arguments, ("aggregation", "exit", *method_settings()))
    arguments.between = collect_settings(arguments, response_settings())
    with extra("this command"):
        code: int = arguments.run(arguments)
    return code


def _fail(reason: object, code: int) -> int:
    tell(f"tokencollab: {reason}")
    return code

"""The arguments of `tokencollab repl`."""

from typing import Any

from tokencollab.cli.arguments import add_answer, add_method, add_models


def add_parser(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "repl",
        help="ask at a prompt, and see who backs every piece",
        description="Ask at a prompt, and see who backs every piece. From a pipe: one question or command per line.",
    )
    add_models(parser, base="pair")
    add_answer(parser)
    parser.add_argument("--plain", action="store_true", help="words instead of tints (for a screen reader)")
    add_method(parser)
    parser.set_defaults(run="repl")

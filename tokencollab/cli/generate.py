"""The arguments of `tokencollab generate`."""

from typing import Any

from tokencollab.cli.arguments import add_answer, add_method, add_metrics, add_models, file_name, utf8


def add_parser(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "generate",
        help="let models write one answer together",
        description="Let models write one answer together.",
    )
    parser.add_argument("prompt", type=utf8, nargs="?", help="the question; from standard input if absent or -")
    add_models(parser, base="platform")
    parser.add_argument(
        "--coordinator",
        choices=["own", "platform"],
        default="own",
        help="who writes the answer: this program, or a coordinator of the --platform (default: own)",
    )
    add_answer(parser)
    add_metrics(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument(
        "--trace", type=file_name, metavar="FILE", help="write every step's candidates and decision (JSON lines)"
    )
    parser.add_argument(
        "--journal", type=file_name, metavar="DIR", help="keep a file there to resume from, while the answer is written"
    )
    parser.add_argument("--keep-journal", action="store_true", help="leave it there when the answer has ended")
    add_method(parser)
    parser.set_defaults(run="generate")

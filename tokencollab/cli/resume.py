"""The arguments of `tokencollab resume`."""

from typing import Any

from tokencollab.cli.arguments import add_plugin, add_runtime, file_name


def add_parser(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "resume",
        help="go on with an answer whose writing was cut off",
        description="Go on with an answer whose writing was cut off, from its journal, with the models named there.",
    )
    parser.add_argument("journal", metavar="JOURNAL", help="the file that was left by --journal")
    add_runtime(parser)
    add_plugin(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument(
        "--trace", type=file_name, metavar="FILE", help="write every step's candidates and decision (JSON lines)"
    )
    parser.set_defaults(run="resume")

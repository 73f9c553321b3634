"""The arguments of `tokencollab report`."""

from typing import Any

from tokencollab.cli.arguments import file_name


def add_parser(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "report",
        help="tables and figures of evaluations",
        description="One page (HTML, and Markdown) with the tables and figures of evaluations.",
    )
    parser.add_argument("folders", nargs="+", metavar="DIR", help="folders of `tokencollab eval` and `sweep`")
    parser.add_argument("--out", type=file_name, default="report", metavar="DIR", help="where to (default: report)")
    parser.add_argument("--open", action="store_true", help="show the page in a browser")
    parser.set_defaults(run="report")

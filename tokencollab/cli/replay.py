"""The arguments of `tokencollab replay`."""

from typing import Any

from tokencollab.cli.arguments import add_method
from tokencollab.cli.responses import add_extract, add_response_method
from tokencollab.policies.methods import method_settings


def add_parser(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "replay",
        help="recompute every decision of a trace, without models",
        description="Recompute every decision of a trace, without models, with its own or another method.",
    )
    parser.add_argument("trace", metavar="TRACE")
    parser.add_argument("--method", metavar="NAME", help="default: the trace's own")
    parser.add_argument("--past-exit", action="store_true", help="go on after the exit")
    parser.add_argument("--json", action="store_true", help="one JSON object per step, or per question of samples")
    parser.add_argument("--model", action="append", metavar="MODEL", help="of recorded samples: these, in this order")
    add_extract(parser, None)
    add_method(parser)
    add_response_method(parser, method_settings(), replayed=True)
    parser.set_defaults(run="replay")

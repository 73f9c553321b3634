"""The arguments of `tokencollab batch`."""

from typing import Any

from tokencollab.cli.arguments import add_answer, add_method, add_metrics, add_models, file_name, positive
from tokencollab.cli.responses import add_extract, add_response_method
from tokencollab.policies.methods import method_settings


def add_parser(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "batch",
        help="answer the prompts of a file, many at once",
        description='Answer the prompts of a file, many at once. A prompt line is {"prompt": TEXT} or {"messages": '
        '[...]}, with "id", "system", "max_tokens", "stop" and "seed" of its own if need be; whatever else it has is '
        "carried through to its answer.",
    )
    add = parser.add_argument
    add("prompts", metavar="PROMPTS", help="JSON lines")
    add(
        "--out",
        type=file_name,
        required=True,
        metavar="FILE",
        help="where the answers go, one JSON line each, as they are finished",
    )
    add("--resume", action="store_true", help="go on with an --out that is there: nothing is lost, nothing is repeated")
    add("--retry-failed", action="store_true", help="as --resume, and ask those again that have an error")
    add("--sessions", type=positive, default=16, metavar="N", help="answers written at once (default 16)")
    add_models(parser)
    add_answer(parser)
    add_metrics(parser)
    add_method(parser)
    add_extract(parser, None)
    add_response_method(parser, method_settings())
    parser.set_defaults(run="batch")

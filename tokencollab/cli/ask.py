"""The arguments of `tokencollab ask`."""

from typing import Any

from tokencollab.cli.arguments import add_answer, add_engines, file_name, model_text, utf8
from tokencollab.cli.responses import add_extract, add_response_method


def add_parser(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "ask",
        help="let models answer one by one, and decide between their answers",
        description="Let models answer one by one, and decide between their answers.",
    )
    add = parser.add_argument
    add("prompt", type=utf8, nargs="?", help="the question; from standard input if absent or -")
    add(
        "--model",
        dest="models",
        type=model_text,
        action="append",
        required=True,
        metavar="MODEL",
        help="known name, hub id, folder or .gguf file; or METHOD(MODEL,MODEL,...) for models that write together "
        "(repeatable, in order; for transfer the large model first)",
    )
    add("--method", default="modelswitch", metavar="NAME", help="default: modelswitch (see `tokencollab methods`)")
    add_extract(parser, "text")
    add_engines(parser, platform=True)
    add_answer(parser)
    add("--json", action="store_true", help="one JSON object on standard output")
    add("--trace", type=file_name, metavar="FILE", help="write the samples, for `tokencollab replay`")
    add_response_method(parser)
    parser.set_defaults(run="ask")

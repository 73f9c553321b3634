"""`tokencollab ask`."""

import argparse
import asyncio
from contextlib import ExitStack
from typing import Any

from tokencollab.actors.recorder import written
from tokencollab.answers import check_kind
from tokencollab.asking import Asking, Heard
from tokencollab.cli.arguments import add_answer, add_engines, add_output, model_text, utf8
from tokencollab.cli.responses import (
    add_extract,
    add_response_method,
    chosen_response_method,
    members_of,
    names_of,
    renamed,
    with_names,
)
from tokencollab.cli.runs import engine_options, fetch_models, interruptible, make_team, open_trace, read_question
from tokencollab.cli.terminal import ProgressView, print_table, put, put_json, quiet_logs, response_table
from tokencollab.policies.methods import parse_method
from tokencollab.respondents import Respondent
from tokencollab.response import Response


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "ask",
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
    add_output(parser, "the samples, for `tokencollab replay`")
    add_response_method(parser)
    parser.set_defaults(run=ask)


def ask(arguments: argparse.Namespace) -> int:
    """`tokencollab ask`. Standard output has the answer alone; it is empty where none can be read."""
    quiet_logs()
    respondents = [Respondent.parse(model) for model in arguments.models]
    check_kind(arguments.extract)
    method = chosen_response_method(arguments.method, arguments.between, len(respondents))
    messages = read_question(arguments)
    options = engine_options(arguments)
    arguments.base, *arguments.collaborators = wanted = members_of(respondents)

    def tell(heard: Heard) -> None:
        if not arguments.json:
            answer = "unreadable" if heard.answer is None else " ".join(heard.answer.split())
            said = answer if len(answer) < 60 else "..."
            progress.say(f"{heard.model} {heard.sample + 1}: {said}")

    async def decide() -> Response | None:
        """None: interrupted before it began."""
        response = None
        with interruptible(progress.say, "anything was asked") as on_ctrl_c:
            async with make_team(arguments, options, parse_method("base"), progress, progress.say) as team:
                limits = {name: getattr(arguments, name) for name in ("extract", "max_tokens", "stop", "seed")}
                asking = Asking(team, messages, method, respondents, heard=tell, **limits)
                progress.close()
                on_ctrl_c(asking.cancel)
                response = await asking.run()
                if trace is not None:
                    written(asking.trace_line(), trace)
        return response

    with ExitStack() as stack:
        trace = stack.enter_context(open_trace(arguments.trace))
        progress = stack.enter_context(ProgressView())
        names = names_of(wanted, fetch_models(arguments, options, progress))
        respondents = renamed(respondents, names)
        method = with_names(method, names, [*names.values(), *(one.name for one in respondents)])
        response = asyncio.run(decide())
    if response is None:
        return 130
    if arguments.json:
        put_json(response.to_json())
    else:
        if response.answer is not None:
            put(response.text if arguments.extract == "text" else response.answer)
        print_table(response_table(response), stderr=True)
    return 130 if response.reason == "cancelled" else 0

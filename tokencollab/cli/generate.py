"""`tokencollab generate`."""

import argparse
import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from typing import Any

from tokencollab.actors.answer import Answer
from tokencollab.answer_stream import AnswerStream
from tokencollab.cli.arguments import (
    add_answer,
    add_max_seconds,
    add_method,
    add_metrics,
    add_models,
    add_output,
    file_name,
    utf8,
)
from tokencollab.cli.runs import (
    chosen_method,
    collaborators_of,
    engine_options,
    fetch_models,
    interruptible,
    make_team,
    open_trace,
    platform_of,
    read_question,
    served_metrics,
)
from tokencollab.cli.terminal import ProgressView, print_table, put, put_json, quiet_logs, summary_table
from tokencollab.errors import UsageError
from tokencollab.policies.methods import Method


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "generate",
        description="Let models write one answer together.",
    )
    parser.add_argument("prompt", type=utf8, nargs="?", help="the question; from standard input if absent or -")
    add_models(parser, base="platform")
    parser.group("members").add_argument(
        "--coordinator",
        choices=["own", "platform"],
        default="own",
        help="who writes the answer: this program, or a coordinator of the --platform (default: own)",
    )
    add_answer(parser)
    add_max_seconds(parser)
    add_metrics(parser)
    add_output(parser)
    add = parser.group("reliability").add_argument
    add(
        "--journal", type=file_name, metavar="DIR", help="keep a file there to resume from, while the answer is written"
    )
    add("--keep-journal", action="store_true", help="leave it there when the answer has ended")
    add_method(parser)
    parser.set_defaults(run=generate)


def generate(arguments: argparse.Namespace) -> int:
    quiet_logs()
    if arguments.keep_journal and arguments.journal is None:
        raise UsageError("--keep-journal needs --journal: name the folder of the journal")
    method = chosen_method(arguments)
    messages = read_question(arguments)
    options = engine_options(arguments)
    with ExitStack() as stack:
        trace = stack.enter_context(open_trace(arguments.trace))
        progress = stack.enter_context(ProgressView())
        stack.enter_context(served_metrics(arguments, progress.say))
        notices: list[str] = []
        team: Any
        if arguments.coordinator == "platform":
            team = _remote_team(arguments, method, notices.append)
        else:
            fetch_models(arguments, options, progress)
            team = make_team(arguments, options, method, progress, notices.append)
        limits = {name: getattr(arguments, name) for name in ("max_tokens", "stop", "seed", "max_seconds")}
        return write(arguments, team, lambda: team.stream(messages, trace=trace, **limits), progress, notices)


def _remote_team(
    arguments: argparse.Namespace, method: Method, notify: Callable[[str], None]
) -> AbstractAsyncContextManager[Any]:
    """The coordinators of the platform."""
    from tokencollab.remote import RemoteCollaboration  # noqa: PLC0415 - imports ray

    namespace = platform_of(arguments)
    if namespace is None:
        raise UsageError("--coordinator platform needs --platform: name the platform")
    for option in ("journal", "metrics", "deadline", "lag", "wait_for_base"):
        if getattr(arguments, option) not in (None, False):
            raise UsageError(f"--{option.replace('_', '-')} is for a coordinator of one's own: leave out --coordinator")
    return RemoteCollaboration(namespace, arguments.base, collaborators_of(arguments), method, notify=notify)


def write(
    arguments: argparse.Namespace,
    team: AbstractAsyncContextManager[Any],
    begin: Callable[[], AnswerStream],
    progress: ProgressView,
    notices: Sequence[str],
) -> int:
    """Writes the answer that ``begin`` begins, streaming it unless JSON was asked for; the exit code.

    ``notices`` grow meanwhile and are told after the answer: in its middle they would tear it apart.
    """

    async def stream_answer() -> Answer | None:
        """None: interrupted before it began."""
        answer = None
        with interruptible(progress.say, "the answer began") as on_ctrl_c:
            async with team:
                progress.close()
                stream = begin()
                on_ctrl_c(stream.cancel)
                async for token in stream:
                    if not arguments.json:
                        put(token.text, end="")
                if not arguments.json:
                    put("")
                for notice in notices:
                    progress.say(notice)
                answer = stream.answer
        return answer

    answer = asyncio.run(stream_answer())
    if answer is None:
        return 130
    if arguments.json:
        put_json(answer.to_json())
    else:
        print_table(summary_table(answer), stderr=True)
    return 130 if answer.finish_reason == "cancelled" else 0

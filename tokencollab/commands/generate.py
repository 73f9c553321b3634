"""`tokencollab generate`."""

import argparse
import asyncio
import json
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from tokencollab.actors.answer import Answer
from tokencollab.actors.collaboration import read_prompt
from tokencollab.commands.shared import check_stops, chosen_method, engine_options, fetch_models, make_team
from tokencollab.engines.options import EngineOptions
from tokencollab.policies.methods import Method
from tokencollab.protocol.errors import UsageError
from tokencollab.protocol.messages import ChatMessage
from tokencollab.terminal import ProgressView, print_summary, quiet_logs


def generate(arguments: argparse.Namespace) -> int:
    """`tokencollab generate`."""
    quiet_logs()
    method = chosen_method(arguments)
    prompt = arguments.prompt
    if prompt in (None, "-"):
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("no prompt: give a question, or pipe one into standard input")
        prompt = sys.stdin.buffer.read().decode("utf-8", "replace")
    messages = read_prompt([ChatMessage("user", prompt)])
    if arguments.system:
        messages = (ChatMessage("system", arguments.system), *messages)
    check_stops(arguments)
    options = engine_options(arguments)
    with ExitStack() as stack:
        trace = stack.enter_context(_open_trace(arguments.trace)) if arguments.trace else None
        progress = stack.enter_context(ProgressView())
        fetch_models(arguments, options, progress)
        answer = asyncio.run(_write(arguments, options, method, messages, progress, trace))
    if answer is None:
        return 130
    if arguments.json:
        print(json.dumps(answer.to_json(), ensure_ascii=False))
    else:
        print_summary(answer)
    return 130 if answer.finish_reason == "cancelled" else 0


async def _write(
    arguments: argparse.Namespace,
    options: EngineOptions,
    method: Method,
    messages: tuple[ChatMessage, ...],
    progress: ProgressView,
    trace: TextIO | None,
) -> Answer | None:
    """Writes the answer, streaming it unless JSON was asked for. None: interrupted before it began."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    notices: list[str] = []  # told after the answer: in its middle they would tear it apart
    team = make_team(arguments, options, method, progress, notices.append)
    loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        async with team:
            progress.close()
            stream = team.stream(
                messages,
                max_tokens=arguments.max_tokens,
                stop=arguments.stop,
                seed=arguments.seed,
                trace=trace,
            )
            loop.add_signal_handler(signal.SIGINT, stream.cancel)
            async for token in stream:
                if not arguments.json:
                    print(token.text, end="", flush=True)
            if not arguments.json:
                print(flush=True)
            for notice in notices:
                progress.say(notice)
            return stream.answer
    except asyncio.CancelledError:
        progress.say("interrupted before the answer began")
        return None


def _open_trace(path: str) -> TextIO:
    try:
        return Path(path).open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the trace cannot be written to {path}: {error.strerror}") from None

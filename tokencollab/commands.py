"""What the commands of the command line do. Results go to standard output, everything else to standard error."""

import argparse
import asyncio
import json
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tokencollab.actors.answer import Answer
from tokencollab.actors.collaboration import Collaboration, read_prompt
from tokencollab.engines import store
from tokencollab.engines.options import EngineOptions
from tokencollab.policies.methods import Method, list_methods, parse_method
from tokencollab.protocol.errors import UsageError
from tokencollab.protocol.messages import ChatMessage
from tokencollab.terminal import ProgressView, print_summary, quiet_logs


def generate(arguments: argparse.Namespace) -> int:
    """`tokencollab generate`."""
    quiet_logs()
    name = arguments.method or ("duetnet" if arguments.collaborators else "base")
    method = parse_method(name, **arguments.settings)
    prompt = arguments.prompt
    if prompt in (None, "-"):
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("no prompt: give a question, or pipe one into standard input")
        prompt = sys.stdin.buffer.read().decode("utf-8", "replace")
    messages = read_prompt([ChatMessage("user", prompt)])
    if arguments.system:
        messages = (ChatMessage("system", arguments.system), *messages)
    if not all(arguments.stop):
        raise UsageError("--stop needs a text that is not empty")
    options = EngineOptions(
        engine=arguments.engine,
        dtype=arguments.dtype,
        threads=arguments.threads,
        kv_megabytes=arguments.kv_megabytes,
    )
    with ExitStack() as stack:
        trace = stack.enter_context(_open_trace(arguments.trace)) if arguments.trace else None
        progress = stack.enter_context(ProgressView())
        for model in (arguments.base, *arguments.collaborators):
            # In the main thread, so that Ctrl-C ends a download.
            if options.as_it_is(model):
                continue
            files = store.resolve(model, progress.update)
            if files.notice:
                progress.say(files.notice)
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
    team = Collaboration(
        arguments.base,
        arguments.collaborators,
        method,
        runtime=arguments.runtime,
        options=options,
        progress=progress.update,
        notify=notices.append,
    )
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


def models(arguments: argparse.Namespace) -> int:
    """`tokencollab models list | pull NAME | remove NAME`."""
    match arguments.action:
        case "list":
            _list_models(arguments.json)
        case "pull":
            with ProgressView() as progress:
                files = store.pull(arguments.name, progress.update)
                if files.notice:
                    progress.say(files.notice)
            print(files.folder)
        case _:
            freed = store.remove(arguments.name)
            print(f"{arguments.name}: removed, {freed / 1e6:,.0f} MB freed")
    return 0


def _list_models(as_json: bool) -> None:
    rows = store.list_models()
    if as_json:
        fields = ("name", "installed", "size", "licence", "source")
        print(json.dumps([{field: getattr(row, field) for field in fields} for row in rows], ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "installed", "licence", "source"):
        table.add_column(heading)
    for row in rows:
        size = f"{row.size / 1e6:,.0f} MB" if row.installed else "no"
        table.add_row(row.name, size, row.licence or "not known", row.source)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def methods(arguments: argparse.Namespace) -> int:
    """`tokencollab methods`."""
    rows = list_methods()
    if arguments.json:
        print(json.dumps([dict(zip(("name", "what", "paper"), row, strict=True)) for row in rows]))
        return 0
    width = max(len(name) for name, _, _ in rows)
    for name, what, paper in rows:
        print(f"{name:<{width}}  {what} -- {paper}")
    return 0


def replay(arguments: argparse.Namespace) -> int:
    """`tokencollab replay TRACE`."""
    from tokencollab.policies.replay import replay as replay_trace  # noqa: PLC0415
    from tokencollab.protocol.trace import parse_trace  # noqa: PLC0415

    settings = arguments.settings
    if settings and not arguments.method:
        raise UsageError(
            f"--{next(iter(settings)).replace('_', '-')} needs --method: the trace's own settings are fixed"
        )
    method = parse_method(arguments.method, **settings) if arguments.method else None
    try:
        with Path(arguments.trace).open(encoding="utf-8") as file:
            trace = parse_trace(file)
    except OSError as error:
        raise UsageError(f"the trace {arguments.trace} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{arguments.trace} is no trace: it is not UTF-8 text") from None
    steps: list[dict[str, Any]] = [step.to_json() for step in replay_trace(trace, method, arguments.past_exit)]
    if arguments.json:
        for step in steps:
            print(json.dumps(step, ensure_ascii=False))
        return 0
    table = Table(box=None, pad_edge=False)
    for heading in ("step", "recorded", "chosen", "ranks", "ST", "RT", "T0", ""):
        table.add_column(heading)
    for step in steps:
        ranks = " ".join("-" if rank is None else str(rank) for rank in step["ranks"].values())
        figures = ["" if step[key] is None else f"{step[key]:.3f}" for key in ("st", "rt", "t0")]
        pieces = [escape(json.dumps(step[key], ensure_ascii=False)) for key in ("recorded", "chosen")]
        table.add_row(str(step["step"]), *pieces, ranks, *figures, "exited" if step["exited"] else "")
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return 0

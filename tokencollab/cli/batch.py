"""`tokencollab batch`."""

import argparse
import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any

from tokencollab import __version__
from tokencollab.batch.prompts import BadLine, PromptDefaults, PromptLine, read_prompts
from tokencollab.batch.record import AnswerFile
from tokencollab.batch.run import answer_all, write_between, write_together
from tokencollab.cli.arguments import (
    add_answer,
    add_max_seconds,
    add_method,
    add_metrics,
    add_models,
    file_name,
    positive,
    waiting,
)
from tokencollab.cli.responses import add_extract, add_response_method, either_method, names_of, with_names
from tokencollab.cli.runs import (
    check_stays,
    engine_options,
    fetch_models,
    make_team,
    served_metrics,
    stopped_by_signal,
)
from tokencollab.cli.terminal import ProgressView, RunView, add_row, duration, figures_table, print_table, quiet_logs
from tokencollab.engines.options import EngineOptions
from tokencollab.errors import CannotWrite, RunStopped, UsageError
from tokencollab.files import reading, typed_path
from tokencollab.policies.methods import Method, method_settings, parse_method
from tokencollab.policies.responses.response_methods import ResponseMethod
from tokencollab.pool import PATIENCE, Progress
from tokencollab.protocol.seeds import SEED_DERIVATION
from tokencollab.records import without_checksums


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "batch",
        description='Answer the prompts of a file concurrently. A prompt line is {"prompt": TEXT} or {"messages": '
        '[...]}, with "id", "system", "max_tokens", "stop" and "seed" of its own if need be; whatever else it has is '
        "carried through to its answer.",
    )
    add = parser.add_argument
    add("prompts", type=file_name, metavar="PROMPTS", help="JSON lines")
    add(
        "--out",
        type=file_name,
        required=True,
        metavar="FILE",
        help="where the answers go, one JSON line each, as they are finished",
    )
    add("--resume", action="store_true", help="go on with an --out that is there: nothing is lost, nothing is repeated")
    add("--retry-failed", action="store_true", help="as --resume, and ask those again that have an error")
    add("--concurrency", type=positive, default=16, metavar="N", help="answers under way together (default 16)")
    add(
        "--wait-for-room",
        type=waiting,
        default=PATIENCE,
        metavar="S",
        help="seconds that a prompt waits for room at models that are full, before it fails (default 1200)",
    )
    add_models(parser)
    add_answer(parser)
    add_max_seconds(parser)
    add_metrics(parser)
    add_method(parser)
    add_extract(parser, None)
    add_response_method(parser, method_settings())
    parser.set_defaults(run=batch)


def batch(arguments: argparse.Namespace) -> int:
    """`tokencollab batch`. Exit code 1: some lines have no answer."""
    quiet_logs()
    method = either_method(arguments, 1 + len(arguments.collaborators))
    if isinstance(method, ResponseMethod) and arguments.max_seconds is not None:
        raise UsageError("--max-seconds is for methods that write one answer together, not for methods between models")
    options = engine_options(arguments)
    prompts, out = typed_path(arguments.prompts), typed_path(arguments.out)
    with reading(prompts, f"the prompts {prompts}"):
        data = prompts.read_bytes()
    check_stays(arguments.out)
    if out.exists() and out.samefile(prompts):
        raise UsageError(f"--out {out} would be written over the prompts")
    settings = PromptDefaults(
        arguments.system, arguments.max_tokens, tuple(arguments.stop), arguments.seed, arguments.max_seconds
    )
    lines, bad = read_prompts(data, settings)
    if not lines:
        reason = f"; line {bad[0].number}: {bad[0].reason}" if bad else ""
        raise UsageError(f"{arguments.prompts} has no prompt to answer{reason}")
    run = _settings(arguments, method, data)
    resume = arguments.resume or arguments.retry_failed
    with AnswerFile(out.absolute(), run, lines, resume=resume, retry_failed=arguments.retry_failed) as file:
        return _answer(arguments, options, method, file, lines, bad)


def _answer(
    arguments: argparse.Namespace,
    options: EngineOptions,
    method: Method | ResponseMethod,
    file: AnswerFile,
    lines: Sequence[PromptLine],
    bad: Sequence[BadLine],
) -> int:
    before = len(file.answered)
    todo = [line for line in lines if line.number not in file.answered | file.failed]
    view = RunView("answers", every_seconds=10)
    if not file.checksums:
        view.say(without_checksums(arguments.out))
    for line in bad:
        view.say(f"{arguments.prompts}, line {line.number}: {line.reason}; skipped")
    progress, stopped = Progress(len(todo)), None

    def summary() -> None:
        print_summary(
            progress, method=method.name, out=arguments.out, before=before, failed=len(file.failed), bad=len(bad)
        )

    async def keep_showing() -> None:
        with suppress(asyncio.CancelledError):
            while True:
                view.show(progress)
                await asyncio.sleep(0.5)

    async def run(loading: ProgressView) -> signal.Signals | None:
        """Answers the lines. The signal that ended it early, if one did."""
        notices: list[str] = []
        with stopped_by_signal() as stop:
            together = parse_method("base") if isinstance(method, ResponseMethod) else method
            async with make_team(arguments, options, together, loading, notices.append) as team:
                loading.close()
                progress.restart(arguments.concurrency)
                showing = asyncio.create_task(keep_showing())
                try:
                    write = write_together(team)
                    if isinstance(method, ResponseMethod):
                        write = write_between(team, method, arguments.extract or "text")
                    await answer_all(
                        team,
                        todo,
                        file,
                        concurrency=arguments.concurrency,
                        progress=progress,
                        write=write,
                        wait_for_room=arguments.wait_for_room,
                        report=lambda line, why: view.say(f"{arguments.prompts}, line {line.number}: {why}; failed"),
                    )
                finally:
                    showing.cancel()
        for notice in dict.fromkeys(notices):
            view.say(notice)
        return stop.by

    if todo:
        with ProgressView() as loading, served_metrics(arguments, view.say):
            found = fetch_models(arguments, options, loading)
            if isinstance(method, ResponseMethod):
                names = names_of((arguments.base, *arguments.collaborators), found)
                method = with_names(method, names, tuple(names.values()))
            try:
                stopped = asyncio.run(run(loading))
            except (CannotWrite, RunStopped):
                view.close()
                summary()
                raise
            finally:
                view.close()
    summary()
    if stopped is not None:
        view.say(f"interrupted with {progress.total - progress.finished} to go; --resume goes on")
        return 128 + stopped
    return 1 if bad or file.failed else 0


def _settings(arguments: argparse.Namespace, method: Method | ResponseMethod, data: bytes) -> dict[str, Any]:
    """What the answers follow from. The version is among it: another one may answer otherwise."""
    return {
        "prompts_sha256": sha256(data).hexdigest(),
        "base": arguments.base,
        "with": arguments.collaborators,
        "method": method.to_json(),
        **({"extract": arguments.extract or "text"} if isinstance(method, ResponseMethod) else {}),
        **{name: getattr(arguments, name) for name in ("system", "max_tokens", "stop", "seed", "max_seconds")},
        "seed_derivation": SEED_DERIVATION,
        "engine": arguments.engine,
        "dtype": arguments.dtype,
        "version": __version__,
    }


def print_summary(batch: Progress, *, method: str, out: str, before: int, failed: int, bad: int) -> None:
    """Figures of a batch, on standard error.

    ``before``: answers that were there already; ``failed``: lines of the file with an error; ``bad``: prompt lines
    that could not be used.
    """
    table = figures_table()
    add_row(table, "method", method)
    add_row(table, "answers", f"{before + batch.done} in {out}" + (f", {before} of them from before" if before else ""))
    if failed:
        add_row(table, "failed", f"{failed}; --retry-failed asks them again")
    if bad:
        add_row(table, "skipped", f"{bad} bad lines")
    if batch.done:
        speed = batch.tokens / batch.seconds
        add_row(table, "tokens", f"{batch.tokens} in {duration(batch.seconds)}, {speed:.1f} tokens/s")
        add_row(table, "cost", f"{batch.cost:.12g} candidate sets")
    if batch.lost:
        add_row(table, "lost", f"models were lost {batch.lost} times; `answer.lost` says in which answers")
    print_table(table, stderr=True)

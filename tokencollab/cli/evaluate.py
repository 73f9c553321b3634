"""`tokencollab eval` and `tokencollab sweep`."""

import argparse
import asyncio
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokencollab.cli.arguments import add_models, add_plugin, file_name, natural, positive, stop
from tokencollab.cli.runs import check_stays, engine_options, fetch_models, make_team, runtime_name, stopped_by_signal
from tokencollab.cli.terminal import (
    ProgressView,
    RunView,
    add_row,
    headed_table,
    print_table,
    put_json,
    quiet_logs,
)
from tokencollab.collaboration import Collaboration
from tokencollab.errors import TokencollabError, UsageError
from tokencollab.evaluation.askers import Asker
from tokencollab.evaluation.capacity import default_concurrency
from tokencollab.evaluation.data_sets import load_items
from tokencollab.evaluation.folder import RunFolder
from tokencollab.evaluation.machine import hash_model, start_of_run
from tokencollab.evaluation.naming import make_askers, read_grid
from tokencollab.evaluation.plan import make_plan
from tokencollab.evaluation.prompts import MAX_TOKENS, STOPS, PromptName, default_prompt, prompt_of
from tokencollab.evaluation.runner import Runner
from tokencollab.evaluation.token_level import TokenLevel
from tokencollab.files import typed_path
from tokencollab.member import Member
from tokencollab.policies.methods import parse_method
from tokencollab.pool import Progress
from tokencollab.records import without_checksums


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "eval",
        description="Put the same items to many methods and compare them, with intervals.",
    )
    _add_evaluation(parser)
    parser.set_defaults(grid=[])
    parser = commands.add_parser(
        "sweep",
        description="An evaluation in which each method takes every combination of the settings given with --over that "
        "it uses.",
    )
    _add_evaluation(parser)
    parser.add_argument(
        "--over",
        dest="grid",
        type=_values,
        action="append",
        required=True,
        metavar="SETTING=VALUES",
        help="e.g. omega=5,10,20 (repeatable)",
    )


def _values(text: str) -> tuple[str, list[str]]:
    setting, equals, values = text.partition("=")
    found = [value for value in values.split(",") if value]
    if not setting or not equals or not found or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form SETTING=VALUE,VALUE,... with each value once")
    return setting.replace("-", "_"), found


def _add_evaluation(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--dataset",
        required=True,
        metavar="NAME",
        help="simplemath, a .jsonl file, or the name of one in --data (without it: of the Hugging Face hub)",
    )
    add("--data", type=file_name, metavar="DIR", help="folder of .jsonl files")
    add("--n", type=positive, metavar="N", help="items, drawn by --seed (default: all; of simplemath 1000)")
    add("--seed", type=natural, default=0, metavar="N", help="of the items and of every random choice (default 0)")
    add(
        "--methods",
        required=True,
        metavar="LIST",
        help="presets, separated by commas, with settings: base,each,duetnet:reference=floor,confipara-d:omega=5",
    )
    add("--out", type=file_name, required=True, metavar="DIR", help="folder of the results, new unless --resume")
    add("--resume", action="store_true", help="go on with what --out has, if anything")
    add(
        "--prompt",
        choices=["bare", "brief", "restate"],
        help="how the question is put (simplemath: bare; else restate)",
    )
    add("--max-tokens", type=positive, metavar="N", help="pieces at most (bare 96, brief 24, restate 256)")
    add("--stop", type=stop, action="append", metavar="TEXT", help="end answers before this text (repeatable)")
    add(
        "--concurrency",
        type=positive,
        metavar="N",
        help="answers under way (default: what KV memory allows, up to 64)",
    )
    add("--json", action="store_true", help="the summary on standard output")
    add_models(parser, method=False)
    add_plugin(parser)
    parser.set_defaults(run=evaluate)


HOUR = 3600.0
"""A run of more than this many seconds is announced."""


def evaluate(arguments: argparse.Namespace) -> int:
    """`tokencollab eval`, and `sweep`, which has a grid."""
    from tokencollab.evaluation.summary import summarise  # noqa: PLC0415 - scipy takes a second

    quiet_logs()
    check_stays(arguments.out)
    prompt: PromptName = arguments.prompt or default_prompt(arguments.dataset)
    grid = read_grid(arguments.grid)
    items = load_items(arguments.dataset, arguments.n, arguments.seed, arguments.data)
    limits: dict[str, Any] = {
        "seed": arguments.seed,
        "prompt": prompt,
        "max_tokens": arguments.max_tokens or MAX_TOKENS[prompt],
        "stop": STOPS[prompt] if arguments.stop is None else tuple(arguments.stop),
    }
    options = engine_options(arguments)
    with ExitStack() as stack:
        progress = stack.enter_context(ProgressView())
        found = fetch_models(arguments, options, progress)
        names, folders = [model.name for model in found], [Path(model.source) for model in found]
        methods = [name.strip() for name in arguments.methods.split(",") if name.strip()]
        askers = make_askers(methods, names, grid)
        models = [
            {
                "name": name,
                "sha256": hash_model(folder, lambda done, total: progress.update("reading models", done, total)),
                **({"options": own} if (own := Member.parse(spec).given) else {}),
            }
            for name, folder, spec in zip(names, folders, (arguments.base, *arguments.collaborators), strict=True)
        ]
        plan = make_plan(arguments.dataset, items, askers, models, dtype=arguments.dtype, grid=grid, **limits)
        folder = stack.enter_context(RunFolder(typed_path(arguments.out), plan, arguments.resume))
        if not folder.checksums:
            progress.say(without_checksums(folder.path))
        longest = max(len(prompt_of(item, prompt)) for item in items)
        concurrency = arguments.concurrency or default_concurrency(folders, options, longest, limits["max_tokens"])
        about = start_of_run(
            runtime=runtime_name(arguments),
            engine=arguments.engine,
            threads=arguments.threads,
            concurrency=concurrency,
            notices={model.name: model.notice for model in found if model.notice},
        )
        # A response-level method has many answers under way at once.
        options = replace(options, max_sessions=max(options.max_sessions, 64 * concurrency))
        notices: dict[str, None] = {}
        team = make_team(arguments, options, parse_method("base"), progress, lambda text: notices.update({text: None}))
        folder.begin(about)
        with RunView("answers", every_seconds=60) as view:
            runner = Runner(team, items, askers, folder, show=_Watch(view, concurrency), **limits)
            stopped = asyncio.run(_run(team, runner, askers, concurrency, progress))
        for notice in notices:
            progress.say(notice)
        summary = summarise(folder.path)
    if arguments.json:
        put_json(summary)
    else:
        _print(summary)
    progress.say(f"results are in {arguments.out}" + ("" if stopped is None else "; go on with --resume"))
    return 0 if stopped is None else 128 + stopped


async def _run(
    team: Collaboration, runner: Runner, askers: list[Asker], concurrency: int, progress: ProgressView
) -> signal.Signals | None:
    """Runs what is open. The signal that ended it early, if one did."""
    if runner.progress.finished == runner.progress.total:
        return None
    with stopped_by_signal() as stop:
        try:
            async with team:
                for asker in askers:
                    if isinstance(asker, TokenLevel):
                        team.check_method(asker.method, asker.members)
                progress.close()
                await runner.run(concurrency)
        except UsageError:
            raise
        except TokencollabError as error:
            raise type(error)(f"{error}; what is answered is kept, go on with --resume") from None
    return stop.by


class _Watch:
    """Shows how far a run is, and says once when it takes long."""

    def __init__(self, view: RunView, concurrency: int) -> None:
        self._view, self._enough = view, 2 * concurrency
        self._said = False

    def __call__(self, progress: Progress) -> None:
        self._view.show(progress)
        left, made = progress.seconds_left, progress.done
        if self._said or left is None:
            return
        if made >= self._enough or (left > HOUR and progress.seconds > 120):
            self._said = True
            if left > HOUR:
                self._view.say(
                    f"about {left / HOUR:.1f} hours for {progress.total - progress.finished:,} answers, by the first "
                    f"{made}; Ctrl-C ends it, --resume goes on"
                )


def _print(summary: Mapping[str, Any]) -> None:
    """The methods of an evaluation, on standard output."""
    table = headed_table(
        "method", ">accuracy", ">95 %", ">cost", ">loss", ">save", ">ms/token", ">tokens", ">unreadable"
    )
    for name, row in summary["methods"].items():
        low, high = row["accuracy_ci"]
        add_row(
            table,
            name,
            f"{row['accuracy']:.1%}",
            f"{low:.1%} - {high:.1%}",
            f"{row['cost']:.1f}",
            "" if row["loss"] is None else f"{row['loss']:+.1%}",
            "" if row["save"] is None else f"{row['save']:.1%}",
            "" if row["ms_per_token"] is None else f"{row['ms_per_token']:.1f}",
            f"{row['tokens_mean']:.1f}",
            str(row["unreadable"]),
        )
    print_table(table)

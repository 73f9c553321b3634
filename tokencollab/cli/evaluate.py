"""`tokencollab eval` and `tokencollab sweep`."""

import argparse
import asyncio
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokencollab.cli.arguments import Parser, add_models, file_name, natural, positive, stop
from tokencollab.cli.runs import check_stays, engine_options, fetch_models, make_team, runtime_name, stopped_by_signal
from tokencollab.cli.terminal import (
    ProgressView,
    RunView,
    add_row,
    headed_table,
    print_table,
    put,
    put_json,
    quiet_logs,
    tell,
)
from tokencollab.collaboration import Collaboration
from tokencollab.errors import TokencollabError, UsageError
from tokencollab.evaluation.askers import Asker
from tokencollab.evaluation.capacity import default_concurrency
from tokencollab.evaluation.data_sets import load_items
from tokencollab.evaluation.folder import RunFolder, new_folder
from tokencollab.evaluation.grading import Grader
from tokencollab.evaluation.machine import hash_model, start_of_run
from tokencollab.evaluation.naming import DEFAULT_METHODS, make_askers, read_grid
from tokencollab.evaluation.plan import make_plan
from tokencollab.evaluation.prompts import MAX_TOKENS, STOPS, PromptName, default_prompt, prompt_of
from tokencollab.evaluation.response_level import ResponseLevel
from tokencollab.evaluation.rows import read_map
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


def _add_evaluation(parser: Parser) -> None:
    add = parser.add_argument
    add("named", nargs="?", metavar="DATASET", help="the same as --dataset")
    add(
        "--dataset",
        metavar="NAME",
        help="a file (.jsonl, .csv, .tsv or .parquet), the name of one in --data (without it: of the Hugging Face "
        "hub), MODULE:NAME of a function that gives rows, or simplemath",
    )
    add("--data", type=file_name, metavar="DIR", help="folder of such files")
    add(
        "--map",
        metavar="KEYS",
        help="how a row calls question, answer, choices, context and id: question=prompt,answer=label,choices=A+B+C",
    )
    add(
        "--grader",
        metavar="MODULE:NAME",
        help="a function that takes the text of an answer and the item, and returns whether it is right",
    )
    add(
        "--limit",
        "--n",
        type=positive,
        metavar="N",
        help="items at most, drawn by --seed (default: all; of simplemath 1000)",
    )
    add("--seed", type=natural, default=0, metavar="N", help="of the items and of every random choice (default 0)")
    add(
        "--methods",
        default=DEFAULT_METHODS,
        metavar="LIST",
        help="presets, separated by commas, with settings: base,each,duetnet:reference=floor,confipara-d:omega=5; or "
        f"MODULE:NAME (default: {DEFAULT_METHODS})",
    )
    add(
        "--out",
        type=file_name,
        metavar="DIR",
        help="folder of the results, new unless --resume (default: results/DATASET, results/DATASET-2, ...)",
    )
    add("--resume", action="store_true", help="go on with what --out has, if anything (by default the last one)")
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
    parser.set_defaults(run=evaluate)


HOUR = 3600.0
"""A run of more than this many seconds is announced."""


def evaluate(arguments: argparse.Namespace) -> int:
    """`tokencollab eval`, and `sweep`, which has a grid."""
    from tokencollab.evaluation.summary import summarise  # noqa: PLC0415 - scipy takes a second

    quiet_logs()
    dataset = _dataset(arguments)
    out: str = arguments.out or str(new_folder(Path("results"), dataset, last=arguments.resume))
    check_stays(out)
    prompt: PromptName = arguments.prompt or default_prompt(dataset)
    methods = [name.strip() for name in arguments.methods.split(",") if name.strip()]
    grid = read_grid(arguments.grid, methods)
    grader = Grader.named(arguments.grader) if arguments.grader else None
    mapping = read_map(arguments.map) if arguments.map else {}
    items = load_items(
        dataset, arguments.limit, arguments.seed, arguments.data, mapping=mapping, checked=grader is None, say=tell
    )
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
        askers = make_askers(methods, names, grid)
        voting = [asker.name for asker in askers if isinstance(asker, ResponseLevel)]
        if grader is not None and voting:
            raise UsageError(f"{voting[0]} compares answers as they are read, not as --grader sees them: leave one out")
        models = [
            {
                "name": name,
                "sha256": hash_model(folder, lambda done, total: progress.update("reading models", done, total)),
                **({"options": own} if (own := Member.parse(spec).given) else {}),
            }
            for name, folder, spec in zip(names, folders, (arguments.base, *arguments.collaborators), strict=True)
        ]
        plan = make_plan(
            dataset, items, askers, models, dtype=arguments.dtype, grid=grid, mapping=mapping, grader=arguments.grader,
            **limits,
        )  # fmt: skip
        folder = stack.enter_context(RunFolder(typed_path(out), plan, arguments.resume))
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
            runner = Runner(team, items, askers, folder, grader=grader, show=_Watch(view, concurrency), **limits)
            stopped = asyncio.run(_run(team, runner, askers, concurrency, progress))
        for notice in notices:
            progress.say(notice)
        summary = summarise(folder.path)
    if arguments.json:
        put_json(summary)
    else:
        _print(summary)
    progress.say(f"results are in {out}" + ("" if stopped is None else "; go on with --resume"))
    return 0 if stopped is None else 128 + stopped


def _dataset(arguments: argparse.Namespace) -> str:
    if (arguments.named is None) == (arguments.dataset is None):
        raise UsageError("name one data set: a file such as my.jsonl, a set of the hub such as gsm8k, or simplemath")
    name: str = arguments.named or arguments.dataset
    return name


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
    """The methods of an evaluation and what follows from them, on standard output."""
    from tokencollab.evaluation.verdict import verdict_line  # noqa: PLC0415 - scipy

    rows = summary["methods"]
    compared = any(row["loss"] is not None and row["against"] != name for name, row in rows.items())
    one_by_one = summary["concurrency"] == [1]  # with many at once a token takes as long as all of them together
    table = headed_table(
        "method", ">accuracy", ">95 % interval", ">cost", *[">loss", ">save"] * compared, *[">ms/token"] * one_by_one,
        ">tokens", ">unreadable",
    )  # fmt: skip
    for name, row in rows.items():
        low, high = row["accuracy_ci"]
        loss = "" if row["loss"] is None else f"{row['loss']:+.1%}"
        save = "" if row["save"] is None else f"{row['save']:.1%}"
        per_token = "" if row["ms_per_token"] is None else f"{row['ms_per_token']:.1f}"
        add_row(
            table, name, f"{row['accuracy']:.1%}", f"{low:.1%} - {high:.1%}", f"{row['cost']:.1f}",
            *[loss, save] * compared, *[per_token] * one_by_one, f"{row['tokens_mean']:.1f}", str(row["unreadable"]),
        )  # fmt: skip
    print_table(table)
    for verdict in summary["verdicts"]:
        put(verdict_line(verdict))
    if not summary["verdicts"] and any(len(row["settings"]["members"]) > 1 for row in rows.values()):
        put("no single model is among the methods: with each or base there is a verdict")

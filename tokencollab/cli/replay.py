"""`tokencollab replay`."""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

from tokencollab.answers import canonical, check_kind
from tokencollab.asking import switch_chances
from tokencollab.cli.arguments import add_method, add_plugin, file_name
from tokencollab.cli.responses import add_extract, add_response_method, chosen_response_method
from tokencollab.cli.terminal import add_row, headed_table, print_table, put_json
from tokencollab.errors import UsageError
from tokencollab.files import read_text, reading, typed_path
from tokencollab.policies.methods import method_settings, parse_method
from tokencollab.policies.replay import replay as replay_trace
from tokencollab.policies.responses.events import Decision
from tokencollab.policies.responses.recorded import (
    Recorded,
    are_samples,
    canonical_samples,
    parse_recorded,
    replay_recorded,
)
from tokencollab.policies.responses.response_methods import ResponseMethod, draws_samples, is_response_method
from tokencollab.protocol.trace import lines_of, parse_trace


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "replay",
        description="Recompute every decision of a trace, without models, with its own or another method.",
    )
    parser.add_argument("trace", type=file_name, metavar="TRACE")
    parser.add_argument("--method", metavar="NAME", help="default: the trace's own")
    parser.add_argument("--past-exit", action="store_true", help="go on after the exit")
    parser.add_argument("--json", action="store_true", help="one JSON object per step, or per question of samples")
    parser.add_argument("--model", action="append", metavar="MODEL", help="of recorded samples: these, in this order")
    add_extract(parser, None)
    add_method(parser)
    add_plugin(parser)
    add_response_method(parser, method_settings(), replayed=True)
    parser.set_defaults(run=replay)


def replay(arguments: argparse.Namespace) -> int:
    """`tokencollab replay TRACE`: of tokens, or of recorded samples."""
    path = typed_path(arguments.trace)
    text = read_text(path, f"the trace {arguments.trace}")
    between = is_response_method(arguments.method) if arguments.method else are_samples(text)
    settings = arguments.between if between else arguments.settings
    if settings and not arguments.method:
        raise UsageError(
            f"--{next(iter(settings)).replace('_', '-')} needs --method: the trace's own settings are fixed"
        )
    return replay_samples(arguments, text, path) if between else _replay_tokens(arguments, text, path)


def _replay_tokens(arguments: argparse.Namespace, text: str, path: Path) -> int:
    about_samples = [name for name in ("model", "extract") if getattr(arguments, name) is not None]
    for name in [*about_samples, *arguments.between]:
        if name not in arguments.settings:
            raise UsageError(f"--{name.replace('_', '-')} is about recorded samples, and this is a trace of tokens")
    method = parse_method(arguments.method, **arguments.settings) if arguments.method else None
    with reading(path):
        trace = parse_trace(lines_of(text))
        steps: list[dict[str, Any]] = [step.to_json() for step in replay_trace(trace, method, arguments.past_exit)]
    if arguments.json:
        for step in steps:
            put_json(step)
        return 0
    table = headed_table("step", "recorded", "chosen", "ranks", "ST", "RT", "T0", "")
    for step in steps:
        ranks = " ".join("-" if rank is None else str(rank) for rank in step["ranks"].values())
        figures = ["" if step[key] is None else f"{step[key]:.3f}" for key in ("st", "rt", "t0")]
        pieces = [json.dumps(step[key], ensure_ascii=False) for key in ("recorded", "chosen")]
        add_row(table, str(step["step"]), *pieces, ranks, *figures, "exited" if step["exited"] else "")
    print_table(table)
    return 0


def replay_samples(arguments: argparse.Namespace, text: str, path: Path) -> int:
    """One object, or one row, per question."""
    if arguments.extract is not None:
        check_kind(arguments.extract)
    with reading(path):
        questions = parse_recorded(text)
    with reading(path):
        outcomes = [_outcome(arguments, question) for question in questions]
    if arguments.json:
        for outcome in outcomes:
            names = ("answer", "samples", "budget", "decided_by", "reason")
            plain = {name: getattr(outcome, name) for name in names} | {"scores": dict(outcome.scores)}
            put_json(plain)
        return 0
    table = headed_table("line", "answer", "decided by", "samples", "of", "scores")
    for question, outcome in zip(questions, outcomes, strict=True):
        answer = "(unreadable)" if outcome.answer is None else outcome.answer
        scores = ", ".join(f"{found} {score:.3f}" for found, score in outcome.scores[:4])
        by = outcome.decided_by or ("" if outcome.answer is None else "the vote")
        add_row(table, str(question.line), answer, by, str(outcome.samples), str(outcome.budget), scores)
    print_table(table)
    return 0


def _outcome(arguments: argparse.Namespace, question: Recorded) -> Decision:
    if arguments.model:
        question = question.only(arguments.model)
    method = _method(arguments, question)
    if arguments.extract:
        question = canonical_samples(question, partial(canonical, kind=arguments.extract))
    chances = switch_chances(question.seed, len(question.models)) if method.stop_probability is not None else ()
    return replay_recorded(question, method, chances)


def _method(arguments: argparse.Namespace, question: Recorded) -> ResponseMethod:
    if arguments.method:
        sampled = {"samples": question.most} if draws_samples(arguments.method) else {}
        settings = {**sampled, **arguments.between}
        return chosen_response_method(arguments.method, settings, len(question.models))
    if question.method is None:
        raise UsageError("the trace does not say its method; name one with --method, e.g. --method modelswitch")
    return question.method

"""`tokencollab replay` for recorded samples."""

import argparse
import json
from functools import partial

from rich.table import Table

from tokencollab.answers import canonical, check_kind
from tokencollab.ask import switch_chances
from tokencollab.commands.responses import chosen_response_method
from tokencollab.errors import UsageError
from tokencollab.policies.responses.events import Decision
from tokencollab.policies.responses.recorded import Recorded, canonical_samples, parse_recorded, replay_recorded
from tokencollab.policies.responses.response_methods import ResponseMethod, draws_samples
from tokencollab.terminal import add_row, print_table


def replay_samples(arguments: argparse.Namespace, text: str) -> int:
    """One object, or one row, per question."""
    if arguments.extract is not None:
        check_kind(arguments.extract)
    questions = parse_recorded(text)
    outcomes = [_outcome(arguments, question) for question in questions]
    if arguments.json:
        for outcome in outcomes:
            print(json.dumps(_plain(outcome), ensure_ascii=False))
        return 0
    table = Table(box=None, pad_edge=False)
    for heading in ("line", "answer", "decided by", "samples", "of", "scores"):
        table.add_column(heading)
    for question, outcome in zip(questions, outcomes, strict=True):
        answer = "(unreadable)" if outcome.answer is None else outcome.answer
        scores = ", ".join(f"{found} {score:.3f}" for found, score in outcome.scores[:4])
        by = outcome.decided_by or ("" if outcome.answer is None else "the vote")
        cells = (str(question.line), answer, by, str(outcome.samples), str(outcome.budget), scores)
        add_row(table, *cells)
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


def _plain(outcome: Decision) -> dict[str, object]:
    return {
        "answer": outcome.answer,
        "samples": outcome.samples,
        "budget": outcome.budget,
        "decided_by": outcome.decided_by,
        "reason": outcome.reason,
        "scores": dict(outcome.scores),
    }

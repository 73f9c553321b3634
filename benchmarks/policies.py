"""Policy time per token, without a model: from the first answer of a step to its commit and the next questions.

Run ``python -m benchmarks.policies [--json]``. Aim: at most 50 µs for 3 models with k = 10 and 200 µs with k = 50.
"""

import argparse
from collections.abc import Sequence
from math import exp, log
from random import Random
from statistics import quantiles
from time import perf_counter_ns
from typing import Any

from benchmarks.measure import figure, report
from tokencollab.policies import events as e
from tokencollab.policies.methods import make_policy, parse_method
from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.pieces import Piece

MODELS = ("base", "first", "second")
EXTRA = 6
"""Candidates that a model sends beyond k."""

AIMS = {10: 50.0, 50: 200.0}
METHODS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("gac", {}),
    ("unite", {}),
    ("duetnet", {}),
    ("dp", {}),
    ("dk", {}),
    ("confipara-u", {"theta": 1.0}),
    ("confipara-d", {"theta": 1.0}),
    ("unite", {"exit": "credible", "theta": 1.0}),
    ("unite", {"exit": "per-collaborator", "patience": 10**6}),
    ("unite", {"owner_finishes": True}),
    ("unite", {"top_t": 2}),
)


def sets(rng: Random, k: int) -> dict[str, CandidateSet]:
    """Three models that mostly list the same pieces, flat enough that truncation by mass keeps several."""
    vocabulary: list[Piece] = [b"w%d" % number for number in range(2 * k)]
    shared = {piece: 20 + rng.gauss(0, 2) for piece in vocabulary}
    answers = {}
    for model in MODELS:
        logits = sorted(((shared[piece] + rng.gauss(0, 0.7), piece) for piece in vocabulary), reverse=True)
        total = log(sum(exp(logit) for logit, _ in logits))
        listed = tuple(Candidate(piece, logit, logit - total) for logit, piece in logits[: k + EXTRA])
        answers[model] = CandidateSet(listed, total)
    return answers


def per_token(name: str, settings: dict[str, Any], k: int, tokens: int) -> list[float]:
    """Microseconds inside the policy for each of ``tokens`` tokens."""
    rng = Random(k)  # noqa: S311 - made-up candidates
    answers = [sets(rng, k) for _ in range(50)]
    method = parse_method(name, top_k=k, **settings)
    policy = make_policy(method, max_tokens=tokens + 1, seed=1, report=False)
    state, commands = policy.start(MODELS)
    spent = []
    for token in range(tokens):
        sent = answers[token % len(answers)]
        elapsed, committed = 0, False
        while not committed:
            asked = commands
            for command in asked:
                match command:
                    case e.Ask(model, question):
                        event: e.Event = e.CandidatesArrived(model, question, sent[model])
                    case e.Score(model, question, _, pieces):
                        event = e.ScoresArrived(model, question, (10.0,) * len(pieces))
                    case _:
                        continue
                begin = perf_counter_ns()
                state, commands = policy.step(state, event)
                elapsed += perf_counter_ns() - begin
            committed = any(isinstance(command, e.Commit) for command in commands)
        spent.append(elapsed / 1000)
    return spent[tokens // 10 :]  # the first ones warm up


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures every method and prints the table, and JSON with ``--json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON on standard output too")
    parser.add_argument("--tokens", type=int, default=2000, help="tokens per method (default 2000)")
    options = parser.parse_args(arguments)
    figures, tails = [], {}
    for k, aim in AIMS.items():
        for name, settings in METHODS:
            samples = per_token(name, settings, k, options.tokens)
            extra = " ".join(
                f"{key}={value}" for key, value in settings.items() if key in ("exit", "owner_finishes", "top_t")
            )
            label = f"{name} {extra}".strip() + f", k={k}"
            tails[label] = {"p90": quantiles(samples, n=10)[-1], "aim": aim}
            figures.append(figure(f"{label} (p90 {tails[label]['p90']:.1f}, aim {aim:.0f})", "µs", samples))
    report("policy time per token, 3 models", figures, options.json, tails=tails)


if __name__ == "__main__":
    main()

"""Policy time per token, without a model: from the first answer of a step to its commit and the next questions.

Run ``python -m benchmarks.policies [--json]``. Aim: at most 50 µs for 3 models with k = 10 and 200 µs with k = 50.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from math import exp, log
from random import Random
from statistics import quantiles
from time import perf_counter_ns
from typing import Any

from benchmarks.measure import figure, report
from tokencollab.policies import events as e
from tokencollab.policies.machine import make_policy
from tokencollab.policies.methods import parse_method
from tokencollab.protocol.candidates import Candidate, CandidateSet

MODELS = ("base", "first", "second")
EXTRA = 6
"""Candidates that a model sends beyond k."""

PLACES = 50
"""After so many words the models begin again."""

AIMS = {10: 50.0, 50: 200.0}
METHODS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("gac", {}),
    ("unite", {}),
    ("duetnet", {}),
    ("dp", {}),
    ("dk", {}),
    ("confipara-u", {"theta": 1.0}),
    ("confipara-d", {"theta": 1.0}),
    ("unite", {"exit": "per-collaborator", "patience": 10**6}),
    ("unite", {"top_t": 2}),
    ("bytewise", {}),
    ("confipara-b", {"theta": 1.0}),
)
WORLDS: dict[str, tuple[float, int | None]] = {"": (2.0, None), "surer": (5.0, None), "cut": (5.0, 3)}
"""For bytewise voting, what the models are like: see `Writers`."""


class Writers:
    """Made-up models that mostly list the same words.

    ``spread`` is the standard deviation of the words' logits (2: so flat that truncation by mass keeps several; 5: the
    first has two thirds of the mass), ``cut`` the longest piece of the last model, which needs several for a word.
    """

    def __init__(self, k: int, spread: float, cut: int | None) -> None:
        rng = Random(k)  # noqa: S311 - made-up candidates
        words: set[bytes] = set()
        while len(words) < 2 * k:
            words.add(b" " + bytes(rng.choices(b"etaoinshrdlu", k=rng.randint(2, 7))))
        self._listed, self._words = k + EXTRA, sorted(words)
        self._cuts = {MODELS[-1]: cut}
        self._weights: dict[tuple[str, int], dict[bytes, float]] = defaultdict(dict)
        for place in range(PLACES):
            for word in self._words:
                shared = rng.gauss(0, spread)
                for model in MODELS:
                    self._weights[model, place][word] = exp(shared + rng.gauss(0, 0.7))
        self._pieces = cache(self._distribution)

    def candidates(self, model: str, text: bytes) -> CandidateSet:
        """The best pieces of ``model`` after ``text``."""
        pieces = sorted(self._after(model, text).items(), key=lambda item: -item[1])[: self._listed]
        return CandidateSet(tuple(Candidate(piece, 20 + log(mass), log(mass)) for piece, mass in pieces), 20.0)

    def marginals(self, model: str, text: bytes, pending: bytes) -> tuple[float, float, tuple[float, ...]]:
        """The masses of `events.MarginalsArrived`, over all pieces."""
        exact, following = 0.0, [0.0] * 256
        for piece, mass in self._after(model, text).items():
            if piece == pending:
                exact = mass
            elif piece.startswith(pending):
                following[piece[len(pending)]] += mass
        return exact, 0.0, tuple(following)

    def _after(self, model: str, text: bytes) -> dict[bytes, float]:
        """The probability of every piece: how the last word goes on, or the next one."""
        begun = text[text.rfind(b" ") :] if text else b""
        if begun in self._words or not any(word.startswith(begun) for word in self._words):
            begun = b""
        return self._pieces(model, (text.count(b" ") - bool(begun)) % PLACES, begun)

    def _distribution(self, model: str, place: int, begun: bytes) -> dict[bytes, float]:
        weights: dict[bytes, float] = defaultdict(float)
        for word, weight in self._weights[model, place].items():
            if word.startswith(begun):
                weights[word[len(begun) :][: self._cuts.get(model)]] += weight
        total = sum(weights.values())
        return {piece: weight / total for piece, weight in weights.items()}


def per_token(name: str, settings: dict[str, Any], k: int, world: tuple[float, int | None], tokens: int) -> list[float]:
    """Microseconds inside the policy for each of ``tokens`` tokens."""
    writers = Writers(k, *world)
    method = parse_method(name, top_k=k, **settings)
    policy = make_policy(method, max_tokens=tokens + 1, seed=1, report=False)
    state, commands = policy.start(MODELS)
    text = b""
    spent = []
    for _ in range(tokens):
        elapsed, piece = 0, b""
        while not piece:
            asked = commands
            for command in asked:
                match command:
                    case e.RequestCandidates(model, question, offset):
                        event: e.Event = e.CandidatesArrived(model, question, writers.candidates(model, text[:offset]))
                    case e.RequestScores(model, question, _, pieces):
                        event = e.ScoresArrived(model, question, (10.0,) * len(pieces))
                    case e.RequestMarginals(model, question, offset, pending):
                        masses = writers.marginals(model, text[:offset], pending)
                        event = e.MarginalsArrived(model, question, *masses)
                    case _:
                        continue
                begin = perf_counter_ns()
                state, commands = policy.step(state, event)
                elapsed += perf_counter_ns() - begin
            piece = next((command.piece or b"" for command in commands if isinstance(command, e.Commit)), b"")
        text += piece
        spent.append(elapsed / 1000)
    return spent[tokens // 10 :]  # the first ones warm up


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures every method and prints the table, and JSON with ``--json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON on standard output too")
    parser.add_argument("--tokens", type=int, default=2000, help="tokens per method (default 2000)")
    parser.add_argument("--only", default="", help="methods whose line has this text")
    options = parser.parse_args(arguments)
    figures, tails = [], {}
    for k, aim in AIMS.items():
        for name, settings in METHODS:
            for world in WORLDS if parse_method(name).aggregation == "bytewise" else ("",):
                extra = [f"{key}={value}" for key, value in settings.items() if key not in ("theta", "patience")]
                label = " ".join([name, *extra, *([world] if world else [])]) + f", k={k}"
                if options.only not in label:
                    continue
                samples = per_token(name, settings, k, WORLDS[world], options.tokens)
                tails[label] = {"p90": quantiles(samples, n=10)[-1], "aim": aim}
                figures.append(figure(f"{label} (p90 {tails[label]['p90']:.1f}, aim {aim:.0f})", "µs", samples))
    report("policy time per token, 3 models", figures, options.json, tails=tails)


if __name__ == "__main__":
    main()

"""What response-level methods would have answered, at every budget and in every order, from samples drawn once.

Best-of-N draws all its samples, so a run of it has everything that ModelSwitch, self-consistency and random switching
need: the same samples, by the same seeds, as a run of theirs would have. The decisions are those of
`responses.recorded`, as of `tokencollab replay`. With k of K samples per model there are K // k runs in the record:
samples 0 to k-1 of each model, then k to 2k-1, and so on; an item's value is the mean over them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from math import prod

import numpy as np

from tokencollab.answers import same
from tokencollab.evaluation.folder import Record
from tokencollab.evaluation.items import LETTERS, Item, kind_of
from tokencollab.evaluation.statistics import Array
from tokencollab.policies.responses.events import Decision
from tokencollab.policies.responses.recorded import Recorded, replay_recorded
from tokencollab.policies.responses.response_methods import ResponseMethod, parse_response_method
from tokencollab.policies.responses.vote import commonest, entropy, valid

RIGHT, DRAWN, NEEDED = range(3)
"""Columns of `Sampled.values`."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A method over some of the models, in order, with ``samples`` of each."""

    method: str
    models: tuple[str, ...]
    samples: int
    pick: str | None = None
    defer: bool = False

    def parsed(self) -> ResponseMethod:
        """The method with its settings. ModelSwitch with a ``pick`` takes the best-scored sample, not the vote."""
        scorer = "likelihood" if self.pick else None
        return parse_response_method(
            self.method,
            models=len(self.models),
            samples=self.samples,
            scorer=scorer,
            pick=self.pick,
            defer=self.defer or None,
        )


@dataclass(frozen=True, slots=True)
class _Question:
    recorded: Recorded
    right: frozenset[str]


class Sampled:
    """The items of a run with all their samples."""

    def __init__(self, records: Iterable[Record]) -> None:
        """``records`` are of one best-of-N method; items that could not be asked are left out."""
        self._questions: dict[str, _Question] = {}
        for line, record in enumerate((record for record in records if "response" in record), start=1):
            response = record["response"]
            samples = tuple((model, tuple(answers)) for model, answers in response["answers"].items())
            scores = tuple((model, tuple(values)) for model, values in response.get("scores", {}).items())
            kind = _kind(record)
            found = {answer for _, answers in samples for answer in valid(answers)}
            if not found:  # nothing to score
                scores = tuple((model, (None,) * len(answers)) for model, answers in samples)
            right = frozenset(answer for answer in found if same(answer, record["expected"], kind))
            recorded = Recorded(line, samples, frozenset(), None, 0, scores)
            self._questions[record["item"]] = _Question(recorded, right)
        self.values = cache(self._values)

    @property
    def items(self) -> tuple[str, ...]:
        """Their ids, in the order of all values."""
        return tuple(self._questions)

    @property
    def n(self) -> int:
        return len(self._questions)

    @property
    def models(self) -> tuple[str, ...]:
        """In the order in which they were asked."""
        return next(iter(self._questions.values())).recorded.models

    @property
    def samples(self) -> int:
        """K, the samples of each model and item."""
        return min(len(answers) for question in self._questions.values() for _, answers in question.recorded.samples)

    @property
    def scored(self) -> bool:
        """Whether every item's samples have their scores."""
        return all(question.recorded.scores for question in self._questions.values())

    def _values(self, policy: Policy) -> Array:
        """Per item: the share of runs that are right, samples drawn k at a time as in the paper, samples needed.

        Raises:
            ValueError: more samples than were recorded.
        """
        if policy.samples > self.samples:
            raise ValueError(f"{policy.samples} samples of each model are asked for, {self.samples} are recorded")
        return np.array([self._item(question, policy) for question in self._questions.values()], dtype=np.float64)

    def _item(self, question: _Question, policy: Policy) -> Array:
        runs = self._runs(question, policy.models, policy.samples)
        mean: Array = np.array([_expected(run, policy, question.right) for run in runs], dtype=np.float64).mean(axis=0)
        return mean

    def _runs(self, question: _Question, models: Sequence[str], k: int) -> list[Recorded]:
        recorded = question.recorded.only(models)
        return [_window(recorded, start, k) for start in range(0, self.samples - k + 1, k)]

    def any_right(self, models: Sequence[str], k: int) -> Array:
        """Per item, the share of runs with k samples of each model in which a sample is right."""
        return np.array(
            [
                np.mean(
                    [
                        any(question.right.intersection(valid(answers)) for _, answers in run.samples)
                        for run in self._runs(question, models, k)
                    ]
                )
                for question in self._questions.values()
            ],
            dtype=np.float64,
        )

    def entropies(self, model: str) -> Array:
        """Per item, entropy of the model's answers in bits and whether the commonest is right; unreadable: left out."""
        rows = []
        for question in self._questions.values():
            ((_, answers),) = question.recorded.only([model]).samples
            first = commonest(answers)
            if first is not None:
                given = valid(answers)
                counts = [given.count(answer) for answer in dict.fromkeys(given)]
                rows.append((entropy(counts), float(first[0] in question.right)))
        return np.array(rows, dtype=np.float64).reshape(-1, 2)


def _window(recorded: Recorded, start: int, k: int) -> Recorded:
    samples = tuple((model, answers[start : start + k]) for model, answers in recorded.samples)
    scores = tuple((model, values[start : start + k]) for model, values in recorded.scores)
    return replace(recorded, samples=samples, scores=scores)


def _expected(recorded: Recorded, policy: Policy, right: frozenset[str]) -> tuple[float, float, float]:
    """Right, drawn and needed; of random switching their expectation over where it stops, which is exact."""
    method = policy.parsed()
    if method.stop_probability is None:
        return _measured(replay_recorded(recorded, method), policy, right)
    p, fixed = method.stop_probability, method.with_settings(stop_probability=0.5)
    total = np.zeros(3)
    for stops in product((True, False), repeat=len(policy.models)):
        # A chance below the probability stops.
        outcome = replay_recorded(recorded, fixed, [0.0 if stop else 1.0 for stop in stops])
        total += prod(p if stop else 1 - p for stop in stops) * np.array(_measured(outcome, policy, right))
    return float(total[0]), float(total[1]), float(total[2])


def _measured(outcome: Decision, policy: Policy, right: frozenset[str]) -> tuple[float, float, float]:
    asked = len(policy.models) if outcome.decided_by is None else policy.models.index(outcome.decided_by) + 1
    return float(outcome.answer in right), float(asked * policy.samples), float(outcome.samples)


def _kind(record: Record) -> str:
    """What kind of answer a record's item has; records have no choices, but a letter as the right answer."""
    expected = record["expected"]
    if len(expected) == 1 and expected in LETTERS:
        return "choice"
    return kind_of(Item(record["item"], record["question"], expected))

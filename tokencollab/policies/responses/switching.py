"""When a model's samples agree, when to go on to the next model, and when the outcome is certain: one pure function.

`decide` looks at samples in a fixed order (models in order, samples by number), whatever the order in which they
arrived. So the outcome is the same for samples that were drawn one by one, all at once, or read from a file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from tokencollab.policies.responses.events import Decision, DecisionReason, Samples
from tokencollab.policies.responses.vote import AnswerScores, commonest, is_commonest, is_settled, vote

Given: TypeAlias = Mapping[str, Mapping[int, str | None]]
"""Per model the answers that are there, by the number of the sample, from 0."""

_SLACK = 1e-9  # of a count: a threshold of 0.7 of 10 samples is 7, not 7.000000000000001


@dataclass(frozen=True, slots=True)
class Rule:
    """What decides.

    Attributes:
        models: in order.
        samples: k, of each model.
        threshold: the share of k that must agree; None: no model decides alone.
        priors: w_ext by model, 1 where none is given.
        early: samples that cannot change the outcome any more are not drawn.
        defer: the rest of a model that cannot be consistent any more is drawn only if it comes to the vote.
        stops: instead of looking at agreement, after which models to stop (random switching).
    """

    models: tuple[str, ...]
    samples: int
    threshold: float | None = 1.0
    priors: tuple[tuple[str, float], ...] = ()
    early: bool = True
    defer: bool = False
    stops: tuple[bool, ...] | None = None

    @property
    def budget(self) -> int:
        return self.samples * len(self.models)


@dataclass(frozen=True, slots=True)
class Need:
    """The decision needs this sample."""

    model: str
    sample: int


@dataclass(frozen=True, slots=True)
class SwitchVerdict:
    """The decision: by one model, or by the vote (``model`` None). ``seen`` are the samples that it rests on."""

    answer: str | None
    model: str | None
    seen: Samples
    scores: AnswerScores

    def outcome(self, rule: Rule, text: str = "") -> Decision:
        reason: DecisionReason = "unreadable" if self.answer is None else "vote" if self.model is None else "consistent"
        used = sum(len(answers) for _, answers in self.seen)
        return Decision(self.answer, self.model, reason, used, rule.budget, self.seen, self.scores, text)


def decide(rule: Rule, given: Given, lost: frozenset[str] = frozenset()) -> Need | SwitchVerdict:
    """The decision, or the first sample that it needs. A ``lost`` model has nothing but what is given."""
    seen: dict[str, tuple[str | None, ...]] = {}
    for index, model in enumerate(rule.models):
        have = _in_order(rule, given.get(model, {}), model in lost)
        for count in range(rule.samples + 1):
            if count > len(have) and model not in lost:
                return Need(model, len(have))
            answers = have[:count]
            missing = 0 if model in lost and count >= len(have) else rule.samples - count
            seen[model] = answers
            found = _agreed(rule, index, answers, missing)
            if found is not None:
                return _verdict(rule, seen, found, model)
            if not missing:
                break
            if not _may_agree(rule, answers, missing):
                if rule.defer:
                    break
                if index + 1 == len(rule.models) and _is_settled(rule, seen, {model: missing}):
                    break
    return _by_vote(rule, given, lost, seen)


def _by_vote(
    rule: Rule, given: Given, lost: frozenset[str], seen: dict[str, tuple[str | None, ...]]
) -> Need | SwitchVerdict:
    """The vote, after no model was consistent; what was deferred is drawn as far as it matters."""
    for model in rule.models:
        have = _in_order(rule, given.get(model, {}), model in lost)
        whole = len(have) if model in lost else rule.samples
        while len(seen[model]) < whole:
            missing = {
                name: (len(given.get(name, {})) if name in lost else rule.samples) - len(seen[name])
                for name in rule.models
            }
            if _is_settled(rule, seen, missing):
                break
            if len(seen[model]) == len(have):
                return Need(model, len(have))
            seen[model] = have[: len(seen[model]) + 1]
    scores = vote(tuple(seen.items()), dict(rule.priors))
    return _verdict(rule, seen, scores[0][0] if scores else None, None)


def _verdict(
    rule: Rule, seen: dict[str, tuple[str | None, ...]], answer: str | None, model: str | None
) -> SwitchVerdict:
    samples = tuple((name, seen.get(name, ())) for name in rule.models)
    return SwitchVerdict(answer, model, samples, vote(samples, dict(rule.priors)))


def _in_order(rule: Rule, answers: Mapping[int, str | None], lost: bool) -> tuple[str | None, ...]:
    """The answers up to the first that is not there yet; of a lost model all of them."""
    if lost:
        return tuple(answers[number] for number in sorted(answers) if number < rule.samples)
    there: list[str | None] = []
    while len(there) < rule.samples and len(there) in answers:
        there.append(answers[len(there)])
    return tuple(there)


def _agreed(rule: Rule, index: int, answers: tuple[str | None, ...], missing: int) -> str | None:
    """The answer on which the model agrees, if that is certain."""
    first = commonest(answers)
    if first is None:
        return None
    if rule.stops is not None:
        return first[0] if rule.stops[index] and not missing else None
    if rule.threshold is None or first[1] < rule.threshold * rule.samples - _SLACK:
        return None
    if missing and not (rule.early and is_commonest(answers, missing)):
        return None
    return first[0]


def _may_agree(rule: Rule, answers: tuple[str | None, ...], missing: int) -> bool:
    if rule.stops is not None:
        return True
    if rule.threshold is None:
        return False
    first = commonest(answers)
    return (first[1] if first else 0) + missing >= rule.threshold * rule.samples - _SLACK


def _is_settled(rule: Rule, seen: dict[str, tuple[str | None, ...]], missing: Mapping[str, int]) -> bool:
    return rule.early and is_settled(tuple(seen.items()), missing, dict(rule.priors))

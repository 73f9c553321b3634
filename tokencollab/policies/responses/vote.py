"""The vote of ModelSwitch, and when it is certain before all samples are there (docs/specification.md section 7)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import fsum, log2
from typing import Final, Literal, TypeAlias

from tokencollab.policies.responses.events import Samples, SampleScores
from tokencollab.policies.ties import TIE

MOST_SCORE: Final = 1e150
"""Of a sample, either side of 0: far beyond it sums are no numbers."""

AnswerScores: TypeAlias = tuple[tuple[str, float], ...]

Pick: TypeAlias = Literal["best", "sum"]
"""Of scored samples: the best one, or the answer with the best sum over its samples."""


def entropy(counts: Sequence[int]) -> float:
    """The entropy, in bits, of answers that were given so many times each."""
    total = sum(counts)
    return -fsum(count / total * log2(count / total) for count in counts if count) + 0.0


def internal_weight(counts: Sequence[int]) -> float:
    """w_int = b + (1 - b) (1 - H / H_max) with b = 1 / n, for n valid samples; 1 where they all agree.

    ``counts``: how often each distinct valid answer was given, all above zero.
    """
    if len(counts) < 2:
        return 1.0
    least = 1 / sum(counts)
    share = min(1.0, max(0.0, entropy(counts) / log2(len(counts))))
    return least + (1 - least) * (1 - share)


def valid(answers: Sequence[str | None]) -> list[str]:
    return [answer for answer in answers if answer is not None]


def commonest(answers: Sequence[str | None]) -> tuple[str, int] | None:
    """The commonest valid answer and how often it was given; of equal ones the earlier."""
    found = Counter(valid(answers)).most_common(1)  # equal counts come in the order of their first appearance
    return found[0] if found else None


def vote(samples: Samples, priors: Mapping[str, float]) -> AnswerScores:
    """score(a) = sum over models of w_ext(m) * w_int(m) * count_m(a), the best first.

    Ties go to the earlier model, then to the earlier sample. Models have the prior w_ext = 1 where none is given.
    """
    shares: dict[str, list[float]] = {}
    for model, answers in samples:
        counts = Counter(valid(answers))
        weight = priors.get(model, 1.0) * internal_weight(list(counts.values()))
        for answer, count in counts.items():
            shares.setdefault(answer, []).append(weight * count)
    return ranked({answer: fsum(parts) for answer, parts in shares.items()})


def by_scores(samples: Samples, scores: SampleScores, pick: Pick) -> AnswerScores:
    """Readable answers by the scores of their samples, the best first (best-of-N). Ties go as in `vote`."""
    found: dict[str, list[float]] = {}
    for (_, answers), (_, values) in zip(samples, scores, strict=True):
        for answer, value in zip(answers, values, strict=True):
            if answer is not None and value is not None:
                found.setdefault(answer, []).append(value)
    return ranked({answer: fsum(values) if pick == "sum" else max(values) for answer, values in found.items()})


def ranked(scores: Mapping[str, float]) -> AnswerScores:
    """Answers by their score, equal ones in the order given."""
    left = dict(scores)
    order = []
    while left:
        best = max(left.values())
        answer = next(a for a, score in left.items() if score >= best - TIE * abs(best))
        order.append((answer, left.pop(answer)))
    return tuple(order)


def is_settled(samples: Samples, missing: Mapping[str, int], priors: Mapping[str, float]) -> bool:
    """Whether the vote's winner is the same whatever the ``missing`` samples of each model turn out to be.

    A sufficient condition: against every other answer, one not yet heard included, the leader keeps a lead in the
    worst case, where the weight of a model that is not finished may be anything from 1 / n to 1 and all that is missing
    goes to the other. With one model the weight is a common factor, and the condition is exact.
    """
    if not any(missing.values()):
        return True
    standing = vote(samples, priors)
    if not standing:
        return False
    leader, *others = (answer for answer, _ in standing)
    if len(samples) == 1:
        ((model, answers),) = samples
        return is_commonest(answers, missing.get(model, 0))
    scale = fsum(priors.get(model, 1.0) * (len(answers) + missing.get(model, 0)) for model, answers in samples)
    return all(
        fsum(
            _least_lead(answers, leader, other, missing.get(model, 0), priors.get(model, 1.0))
            for model, answers in samples
        )
        > TIE * scale
        for other in (*others, None)
    )


def is_commonest(answers: Sequence[str | None], missing: int) -> bool:
    """Whether the commonest answer of one model stays so, whatever the ``missing`` ones are."""
    first = commonest(answers)
    if first is None:
        return False
    order = list(dict.fromkeys(valid(answers)))
    counts = Counter(valid(answers))
    return missing <= first[1] and all(
        counts[other] + missing < first[1] + (order.index(first[0]) < order.index(other))
        for other in order
        if other != first[0]
    )


def _least_lead(answers: Sequence[str | None], leader: str, other: str | None, missing: int, prior: float) -> float:
    """The least that one model can add to the leader's score beyond the other's."""
    counts = Counter(valid(answers))
    lead = counts[leader] - (counts[other] if other is not None else 0)
    if not missing:
        return prior * internal_weight(list(counts.values())) * lead
    worst = lead - missing
    total = sum(counts.values()) + missing
    return prior * min(worst * 1.0, worst / total)

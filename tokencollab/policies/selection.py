"""Selection: Top-T among scored pieces (docs/specification.md section 4). Chance is a function of seed and step.

Scores that differ by rounding alone are equal, so neither the names of the members nor the order of a sum decides.
"""

from collections.abc import Callable, Iterator, Sequence
from math import exp, fsum

from tokencollab.policies.aggregations import Scored
from tokencollab.policies.ties import TIE
from tokencollab.policies.truncation import truncate
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.messages import Sampling
from tokencollab.protocol.pieces import Piece, piece_order
from tokencollab.protocol.seeds import uniform


def select(scored: Sequence[Scored], sampling: Sampling, step: int) -> Piece:
    """The chosen one of ``scored`` (at least one), by Top-T.

    T = 1 takes the best score; ties (`ties.TIE`) go to the higher summed probability, then to `piece_order`.
    T > 1 samples among the T best with softmax(score / temperature), or where scores are probabilities with
    score ** (1 / temperature), normalised. T above the size of the union is the whole union (DuetNet's sentence has
    the comparison the wrong way round). Draw 0 of the step gives T, draw 1 the piece.
    """
    low, high = sampling.top_t
    size = low
    if low < high:
        size += int(uniform(sampling.seed, step, 0) * (high - low + 1))
    if size == 1:
        return _best(scored)
    ordered = _in_order(scored)[:size]
    scores = [score for _, score, _ in ordered]
    if sampling.by_probability:
        weights = powers(scores, scores[0], sampling.temperature)
    else:
        weights = [exp((score - scores[0]) / sampling.temperature) for score in scores]
    point = uniform(sampling.seed, step, 1) * fsum(weights)
    for (piece, _, _), weight in zip(ordered, weights, strict=True):
        point -= weight
        if point < 0:
            return piece
    return ordered[0][0]  # rounding used up the last weight, or every probability underflowed to zero


def powers(scores: Sequence[float], whole: float, temperature: float) -> list[float]:
    """(score / ``whole``) ** (1 / ``temperature``) of every score; 0 of one that is not above 0."""
    return [(score / whole) ** (1.0 / temperature) if score > 0.0 < whole else 0.0 for score in scores]


def choose_solo(candidates: CandidateSet, sampling: Sampling, step: int) -> Piece:
    """What a model that runs alone writes at ``step``: truncation and selection over its own candidates.

    Greedy (T = 1) it is the model's own first choice.
    """
    if sampling.top_t == (1, 1):
        return candidates.best.piece
    kept = truncate(candidates.candidates, sampling.top_k, sampling.top_p, sampling.over)
    scored = []
    for candidate in kept:
        probability = exp(candidate.logprob)
        score = probability if sampling.by_probability else candidate.logit
        scored.append((candidate.piece, score, probability))
    return select(scored, sampling, step)


def _best(scored: Sequence[Scored]) -> Piece:
    scores = [score for _, score, _ in scored]
    highest = max(scores)
    least = highest - TIE * max(highest, -min(scores))
    level = [entry for entry in scored if entry[1] >= least]
    return level[0][0] if len(level) == 1 else _in_order(level)[0][0]


def _in_order(scored: Sequence[Scored]) -> list[Scored]:
    """By score, then by summed probability, then by `piece_order`."""
    ordered: list[Scored] = []
    for level in _levels(scored, lambda entry: entry[1]):
        for equal in _levels(level, lambda entry: entry[2]) if len(level) > 1 else (level,):
            ordered += sorted(equal, key=lambda entry: piece_order(entry[0])) if len(equal) > 1 else equal
    return ordered


def _levels(scored: Sequence[Scored], by: Callable[[Scored], float]) -> Iterator[list[Scored]]:
    """``scored`` in groups that are equal ``by`` a figure, the highest first."""
    ordered = sorted(scored, key=by, reverse=True)
    margin = TIE * max(abs(by(ordered[0])), abs(by(ordered[-1])))
    level: list[Scored] = []
    for entry in ordered:
        if level and by(entry) < by(level[0]) - margin:
            yield level
            level = []
        level.append(entry)
    yield level

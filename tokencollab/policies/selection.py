"""Selection: Top-T among scored pieces (docs/specification.md section 4). Chance is a function of seed and step."""

from collections.abc import Sequence
from math import exp, fsum

from tokencollab.policies.aggregations import Scored
from tokencollab.policies.truncation import truncate
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.messages import Sampling
from tokencollab.protocol.pieces import Piece, piece_order
from tokencollab.protocol.seeds import uniform


def select(scored: Sequence[Scored], sampling: Sampling, step: int) -> Piece:
    """The chosen one of ``scored`` (at least one), by Top-T.

    T = 1 takes the best score; ties go to the higher summed probability, then to `piece_order`. T > 1 samples
    among the T best with softmax(score / temperature), or with the normalised scores where they are
    probabilities. T above the size of the union is the whole union (DuetNet's sentence has the comparison the
    wrong way round). Draw 0 of the step gives T, draw 1 the piece.
    """
    low, high = sampling.top_t
    size = low
    if low < high:
        size += int(uniform(sampling.seed, step, 0) * (high - low + 1))
    if size == 1:
        return _best(scored)
    ordered = sorted(scored, key=lambda entry: (-entry[1], -entry[2], piece_order(entry[0])))[:size]
    if sampling.by_probability:
        weights = [score for _, score, _ in ordered]
    else:
        highest = ordered[0][1]
        weights = [exp((score - highest) / sampling.temperature) for _, score, _ in ordered]
    point = uniform(sampling.seed, step, 1) * fsum(weights)
    for (piece, _, _), weight in zip(ordered, weights, strict=True):
        point -= weight
        if point < 0:
            return piece
    return ordered[0][0]  # rounding used up the last weight, or every probability underflowed to zero


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
    best_piece, best_score, best_tie = scored[0]
    for piece, score, tie in scored:
        if score < best_score:
            continue
        if score == best_score:
            if tie < best_tie:
                continue
            if tie == best_tie and piece_order(piece) >= piece_order(best_piece):
                continue
        best_piece, best_score, best_tie = piece, score, tie
    return best_piece

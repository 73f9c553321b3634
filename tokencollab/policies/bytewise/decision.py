"""Which byte is next, and whether that is certain (docs/specification.md section 9).

The certificate. Model m's true F_m(x) is its listed mass L_m(x) plus some part of its unlisted mass u_m; the
parts of different x are disjoint. For two symbols x and y therefore

    F_m(x) - F_m(y) >= L_m(x) - L_m(y) - u_m =: t_m        (all of u_m behind y, none behind x)

and, with W_m between low_m and high_m,

    score(x) - score(y) = sum of W_m * (F_m(x) - F_m(y)) >= sum of (low_m if t_m >= 0 else high_m) * t_m.

If the right side is positive for every y, listed or not, x is the choice of the full vocabularies, whatever
was not listed and whatever the weights are within their bounds. The bound is reached, so nothing better is
known without asking. "Positive" is beyond `ties.TIE`, within which scores are equal. A cheaper test comes first:
with the *slack* s = sum of W_m * u_m + spread_m * (L_m + u_m), spread_m the larger distance of W_m from its
bounds, every difference of two scores, and of two sums of disjoint scores, is within s of its listed value.
"""

from collections.abc import Sequence
from math import fsum, inf, pow
from typing import Final

from tokencollab.policies.bytewise.branch import EOS_SYMBOL
from tokencollab.policies.bytewise.voter import ByteVotes
from tokencollab.policies.selection import powers, select
from tokencollab.policies.ties import TIE
from tokencollab.protocol.messages import Sampling
from tokencollab.protocol.pieces import EOS, Piece
from tokencollab.protocol.seeds import uniform

UNLISTED: Final = -2
"""Stands for any symbol that nobody lists."""

SYMBOLS: Final = 257
"""The bytes and EOS."""


def piece_of(symbol: int) -> Piece:
    """The piece that a symbol stands for."""
    return EOS if symbol == EOS_SYMBOL else bytes((symbol,))


def scores_of(rows: Sequence[ByteVotes]) -> dict[int, float]:
    """score(x) = sum of W_m * F_m(x), in the order of ``rows`` (sorted by model)."""
    scores: dict[int, float] = {}
    for row in rows:
        weight = row.weight
        for symbol, mass in row.votes.items():
            scores[symbol] = scores.get(symbol, 0.0) + weight * mass
    return scores


def best_of(scores: dict[int, float]) -> int:
    """The symbol with the highest score; ties (`ties.TIE`) go to EOS, then to the smaller byte."""
    if not scores:
        return UNLISTED
    least = max(scores.values()) * (1.0 - TIE)
    return min([symbol for symbol, score in scores.items() if score >= least])


def choose(scores: dict[int, float], sampling: Sampling, position: int) -> int:
    """The chosen symbol by Top-T (`selection.select`), byte number ``position`` taking the place of the
    step."""
    if sampling.top_t == (1, 1):
        return best_of(scores)
    piece = select([(piece_of(symbol), score, score) for symbol, score in scores.items()], sampling, position)
    return EOS_SYMBOL if piece is EOS else piece[0]


def certain(
    rows: Sequence[ByteVotes], scores: dict[int, float], chosen: int, sampling: Sampling, position: int
) -> bool:
    """Whether the full vocabularies would give ``chosen`` too."""
    slack, spread = 0.0, False
    for row in rows:
        slack += row.weight * row.unlisted
        if row.low != row.high:
            spread = True
            slack += max(row.high - row.weight, row.weight - row.low) * (row.listed + row.unlisted)
    if slack == 0.0:  # all mass is listed and every weight is known: the listed scores are the true ones
        return True
    low, high = sampling.top_t
    if high > 1:
        size = low + (int(uniform(sampling.seed, position, 0) * (high - low + 1)) if low < high else 0)
        if size > 1:
            point = uniform(sampling.seed, position, 1)
            return _certain_draw(scores, chosen, min(size, SYMBOLS), point, slack, sampling.temperature)
    second = 0.0
    for symbol, score in scores.items():
        if score > second and symbol != chosen:
            second = score
    margin = TIE * (scores[chosen] + slack)  # the true score is at most the sum
    if scores[chosen] - second > slack + margin:
        return True
    # The slack lets every weight err both ways at the same time. Per symbol a weight errs one way only, so the full
    # test can still pass. With known weights the two tests are the same.
    return spread and _leads(rows, scores, chosen, margin)


def _leads(rows: Sequence[ByteVotes], scores: dict[int, float], chosen: int, margin: float) -> bool:
    """The certificate itself, for each other symbol and for one that nobody lists."""
    for other in (*scores, UNLISTED):
        if other == chosen:
            continue
        lead = 0.0
        for row in rows:
            # The worst distribution: all that the model did not list is behind the other symbol. A weight that is only
            # bounded then takes the bound that hurts: the low one of a model that leads, the high one of one that lags.
            least = row.votes.get(chosen, 0.0) - row.votes.get(other, 0.0) - row.unlisted
            lead += (row.low if least >= 0.0 else row.high) * least
        if lead <= margin:
            return False
    return True


def _certain_draw(
    scores: dict[int, float], chosen: int, size: int, point: float, slack: float, temperature: float
) -> bool:
    """Top-T with T > 1: who is before the chosen one, who is after it, and who is among the T best must be beyond
    doubt, and the draw must fall well inside the chosen one.

    With A_i the sum of the i best listed weights, the true limit between the i-th and the next is within
    (A_i - error) / (A_T + error) and (A_i + error) / (A_T - error).
    """
    ordered = sorted(scores.items(), key=lambda item: -item[1])
    listed = [score for _, score in ordered]
    place = [symbol for symbol, _ in ordered].index(chosen)
    limits = {place - 1, place} - {-1}
    if size < SYMBOLS:
        limits.add(min(size, len(listed)) - 1)
    following = [*listed[1:], 0.0]
    if any(listed[at] - following[at] <= slack + TIE * (listed[0] + slack) for at in limits):
        return False
    weights = powers(listed, listed[0], temperature)
    error = _error(slack / listed[0], size, temperature)
    below, total = fsum(weights[:place]), fsum(weights[:size])
    return (place == 0 or point * (total - error) >= below + error) and (
        point * (total + error) < below + weights[place] - error
    )


def _error(slack: float, count: int, temperature: float) -> float:
    """How far a sum of weights score ** (1 / ``temperature``), of ``count`` at most, may be from the listed one.

    Scores are in parts of the highest. The errors d of all scores add up to ``slack`` at most. With the exponent a, a
    weight changes by no more than a M^(a - 1) d where a >= 1, M the highest score that may be, and by no more than d^a
    where a < 1; the sum of the latter is the largest where all d are equal.
    """
    power = 1.0 / temperature
    if power < 1.0:
        return pow(count, 1.0 - power) * pow(slack, power)
    try:
        return power * pow(1.0 + slack, power - 1.0) * slack
    except OverflowError:
        return inf


def decisive_in(rows: Sequence[ByteVotes], chosen: int) -> list[int]:
    """The indices of the models without which another symbol would have had the best score."""
    if len(rows) == 1:
        return []
    return [index for index in range(len(rows)) if best_of(scores_of([*rows[:index], *rows[index + 1 :]])) != chosen]


def misses(row: ByteVotes, chosen: int) -> bool:
    """Whether the model's own first choice was another symbol than ``chosen``."""
    votes = row.votes
    own = votes.get(chosen, 0.0)
    if own <= 0.0:
        return True
    if own * 2.0 > row.listed:
        return False
    return best_of(votes) != chosen

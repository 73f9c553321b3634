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
from itertools import pairwise
from math import fsum
from typing import Final

from tokencollab.policies.bytewise.branch import EOS_SYMBOL
from tokencollab.policies.bytewise.voter import ByteVotes
from tokencollab.policies.selection import select
from tokencollab.policies.ties import TIE
from tokencollab.protocol.messages import Sampling
from tokencollab.protocol.pieces import EOS, Piece
from tokencollab.protocol.seeds import uniform

UNLISTED: Final = -2
"""Stands for any symbol that nobody lists."""


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
            return _certain_draw(scores, chosen, size, uniform(sampling.seed, position, 1), slack)
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


def _certain_draw(scores: dict[int, float], chosen: int, size: int, point: float, slack: float) -> bool:
    """Top-T with T > 1: the T best must be in order beyond doubt, and the draw must fall well inside the
    chosen one.

    With A_i the sum of the i best listed scores, the true limit between the i-th and the next is within
    (A_i - slack) / (A_T + slack) and (A_i + slack) / (A_T - slack).
    """
    ordered = sorted(scores.items(), key=lambda item: -item[1])
    listed = [score for _, score in ordered]
    for score, after in pairwise([*listed, 0.0][: size + 1]):
        if score - after <= slack + TIE * (listed[0] + slack):
            return False
    place = [symbol for symbol, _ in ordered].index(chosen)
    below, total = fsum(listed[:place]), fsum(listed[:size])
    return (place == 0 or point * (total - slack) >= below + slack) and (
        point * (total + slack) < below + scores[chosen] - slack
    )


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

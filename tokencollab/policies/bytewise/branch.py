"""One model at one boundary: what its candidates say about the next byte (docs/specification.md section 9).

A model stands at a *boundary*, a byte offset at which one of its own tokens begins. The bytes decided since
then are its *pending* bytes, and a piece takes part as long as it begins with them. Everything here is the
probability mass of pieces::

    F(p) = mass of the pieces that begin with p        e(p) = mass of the piece equal to p
    D(p) = F(p) - e(p), of those longer than p         F(p + x) for each next byte x adds up to D(p)

A model lists its best pieces only, so of each mass a part is *listed* and the rest is bounded by the
*unlisted* mass.
"""

from itertools import compress
from math import exp
from typing import Final, NamedTuple

from tokencollab.protocol.candidates import CandidateSet

EOS_SYMBOL: Final = -1
"""EOS as a symbol beside the bytes 0 to 255: sorts first, as in `protocol.pieces.piece_order`."""

ROUNDING: Final = 1e-6
"""A difference below this part of what it was taken from is float32 rounding, not mass."""

Votes = tuple[tuple[int, float], ...]
"""Pairs (symbol, mass), sorted."""


class Branch(NamedTuple):
    """A boundary, and the pieces from there that begin with the pending bytes and are longer.

    ``listed`` is the mass of ``pieces`` and of ``end`` (EOS is only there while nothing is
    pending); ``unlisted`` bounds what all other pieces that begin with the pending bytes may have together,
    ``largest`` what any one of them may have. ``exact`` is e(pending) so far as it is known; ``sure`` says
    that it is all there is. ``following`` has the exact F(pending + x), EOS included, where the model was
    asked for it: then ``listed`` is D(pending) and nothing is unlisted.
    """

    boundary: int
    pieces: tuple[tuple[bytes, float], ...] = ()
    end: float = 0.0
    listed: float = 0.0
    unlisted: float = 0.0
    largest: float = 0.0
    exact: float = 0.0
    sure: bool = True
    following: Votes | None = None


def branch_from(boundary: int, candidates: CandidateSet) -> Branch:
    """The branch of a model that stands at ``boundary`` with nothing pending and answered ``candidates``."""
    pieces = []
    end = total = mass = 0.0
    for candidate in candidates.candidates:
        mass = exp(candidate.logprob)
        total += mass
        if candidate.piece is None:
            end = mass
        else:
            pieces.append((candidate.piece, mass))
    unlisted = 1.0 - total
    if unlisted <= ROUNDING:
        unlisted = 0.0
    return Branch(boundary, tuple(pieces), end, total, unlisted, mass)


def votes_of(branch: Branch, depth: int) -> dict[int, float]:
    """F(pending + x) for every next symbol x, of which ``depth`` bytes are pending: exact or listed mass."""
    if branch.following is not None:
        return dict(branch.following)
    votes: dict[int, float] = {}
    for piece, mass in branch.pieces:
        symbol = piece[depth]
        votes[symbol] = votes.get(symbol, 0.0) + mass
    if branch.end > 0.0:
        votes[EOS_SYMBOL] = branch.end
    return votes


def follow(branch: Branch, depth: int, byte: int) -> Branch:
    """The branch after ``byte`` was decided, where ``depth`` bytes were pending before."""
    pieces = []
    exact = listed = 0.0
    sure = False
    for item in branch.pieces:
        if item[0][depth] == byte:
            piece, mass = item
            if len(piece) == depth + 1:
                exact = mass
                sure = True
            else:
                pieces.append(item)
                listed += mass
    unlisted = branch.unlisted
    if branch.following is not None:
        whole = dict(branch.following).get(byte, 0.0)
        unlisted = whole - exact - listed
        if unlisted <= ROUNDING * whole:
            unlisted = 0.0
    return Branch(
        branch.boundary,
        tuple(pieces),
        0.0,
        listed,
        unlisted,
        branch.largest,
        exact,
        sure or unlisted == 0.0,
    )


def informed(branch: Branch, exact: float, end: float, following: tuple[float, ...], depth: int) -> Branch:
    """The branch with the exact masses that the model was asked for (`events.MarginalsArrived`)."""
    votes = [(byte, mass) for byte in compress(range(256), following) if (mass := following[byte]) > 0.0]
    if depth == 0 and end > 0.0:
        votes.insert(0, (EOS_SYMBOL, end))
    whole = 0.0
    for _, mass in votes:
        whole += mass
    return branch._replace(
        listed=whole,
        unlisted=0.0,
        exact=exact if depth > 0 else 0.0,
        sure=True,
        following=tuple(votes),
    )

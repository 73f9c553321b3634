"""One model in bytewise voting: its weight, its boundaries, and when they move (docs/specification.md section 9).

The weight. With c_m(x) = F(pending + x) / D(pending), a vote that is taken multiplies the model's weight by
c_m(x). Inside a token the factors telescope, so the weight is kept as ``W`` such that the unnormalised score
is a plain sum::

    score(x) = sum over m of W_m * F_m(pending + x)

At a common boundary W_m is the prior and D = 1. When the model moves its boundary, W becomes W * F(pending).
When it could have stopped at an exact match and stays, D(pending) takes the place of F(pending) as the
denominator: W becomes W * F / D. At every byte W_m * D_m(pending) is w_m of docs/specification.md up to the common
factor that normalises.

By the definition of W the vote of a model is never more than the weight with which it began at the last common
boundary: W * D <= ``cap``. What a model says of one place need not agree with what it says of another (it may lie, or
round in bfloat16), so this is held (`row_of`): nobody gets more than its vote.

F and D are bounded rather than known where a model does not list all its mass. A factor of W that is not
known is kept as a `Debt`, and W has the bounds ``low`` and ``high`` besides the value ``weight`` that listed
mass gives. A common boundary cancels all debts. A decision that hangs on them asks for the marginals at the
places where they were made.
"""

from typing import Final, NamedTuple

from tokencollab.policies.bytewise.branch import (
    EOS_SYMBOL,
    ROUNDING,
    Branch,
    branch_from,
    follow,
    informed,
    votes_of,
)
from tokencollab.policies.methods import Method
from tokencollab.protocol.candidates import CandidateSet

MAJORITY: Final = 0.500001
"""A half, and so much more that rounding cannot matter."""


class Debt(NamedTuple):
    """A factor of a model's weight that unlisted mass leaves open, or one that was settled after such a one.

    The factor is F(pending) where the model ``moved`` from ``boundary`` past ``pending``, F / D where it
    could have stopped after ``pending`` and stayed. ``low`` equals ``high`` once it is known.
    """

    boundary: int
    pending: bytes
    moved: bool
    low: float
    weight: float
    high: float


class Voter(NamedTuple):
    """A model that takes part. ``question`` is its open `Ask`; ``marginals`` are its open `Marginals`, as
    (question, boundary, pending).

    ``start`` is the known part of its weight, ``debts`` are the other factors; ``low``, ``weight`` and
    ``high`` are the product. ``misses`` counts the bytes since the last `Commit` at which the model's own
    first choice was another, ``rank`` those before it since the base's last boundary (None: it had no vote
    there). ``cap``: the most that its vote may be.
    """

    name: str
    prior: float
    cap: float
    start: float
    debts: tuple[Debt, ...]
    low: float
    weight: float
    high: float
    branch: Branch
    question: int | None = None
    marginals: tuple[tuple[int, int, bytes], ...] = ()
    misses: int = 0
    rank: int | None = 0

    @property
    def open_debts(self) -> list[tuple[int, bytes]]:
        """Where the weight is not known: (boundary, pending), each place once."""
        return list(dict.fromkeys((d.boundary, d.pending) for d in self.debts if d.low < d.high))


class Settled(NamedTuple):
    """A voter after a byte. ``moved``: its boundary is the end of the text, where it is to be asked."""

    voter: Voter
    moved: bool


def fresh(name: str, prior: float, weight: float, boundary: int, rank: int | None = 0, misses: int = 0) -> Voter:
    """A voter that is to be asked at ``boundary``."""
    return Voter(name, prior, weight, weight, (), weight, weight, weight, Branch(boundary), None, (), misses, rank)


def questioned(voter: Voter, question: int) -> Voter:
    """``voter``, asked for candidates."""
    name, prior, cap, start, debts, low, weight, high, branch, _, marginals, misses, rank = voter
    return Voter(name, prior, cap, start, debts, low, weight, high, branch, question, marginals, misses, rank)


def answered(voter: Voter, candidates: CandidateSet) -> Voter:
    """``voter`` with the ``candidates`` it was asked for."""
    name, prior, cap, start, debts, low, weight, high, branch, _, marginals, misses, rank = voter
    told = branch_from(branch.boundary, candidates)
    return Voter(name, prior, cap, start, debts, low, weight, high, told, None, marginals, misses, rank)


def committed(voter: Voter, common: bool, rank: int | None) -> Voter:
    """``voter`` after a `Commit`: at a ``common`` boundary its prior is its weight."""
    if common:
        prior = voter.prior
        return Voter(voter.name, prior, prior, prior, (), prior, prior, prior, voter.branch, rank=rank)
    return voter._replace(misses=0, rank=rank)


def within_piece(voter: Voter) -> Voter:
    """``voter`` where all the others stand at their boundary and have their priors again: it keeps its weight, as a
    part of its prior."""
    if voter.cap == voter.prior:
        return voter
    return weighed(voter._replace(cap=voter.prior), voter.start * (voter.prior / voter.cap), voter.debts)


def weighed(voter: Voter, start: float, debts: tuple[Debt, ...]) -> Voter:
    """``voter`` with the weight ``start`` times the factors ``debts``."""
    low = weight = high = start
    for debt in debts:
        low *= debt.low
        weight *= debt.weight
        high *= debt.high
    low, weight, high = _capped(voter.cap, voter.branch.listed, low, weight, high)
    return voter._replace(start=start if debts else weight, debts=debts, low=low, weight=weight, high=high)


def _capped(cap: float, listed: float, low: float, weight: float, high: float) -> tuple[float, float, float]:
    """W's bounds and value, held to the most that W may be where ``listed`` may follow. Rounding stays below it: it
    changes no honest vote."""
    if high * listed <= cap:
        return low, weight, high
    limit = cap * (1.0 + ROUNDING) / listed
    return min(low, limit), min(weight, limit), min(high, limit)


def with_marginals(
    voter: Voter, question: int, length: int, exact: float, end: float, following: tuple[float, ...]
) -> Voter | None:
    """``voter`` after the answer to one of its open `Marginals`; None where it has no such question open.

    The answer says everything about what may follow, where the voter still stands there, and settles the debts made
    there.
    """
    asked = [item for item in voter.marginals if item[0] == question]
    if not asked:
        return None
    _, boundary, pending = asked[0]
    longer = sum(following) if voter.debts else 0.0
    debts = []
    for debt in voter.debts:
        if (debt.boundary, debt.pending) == (boundary, pending) and debt.low < debt.high:
            factor = exact + longer
            if not debt.moved:
                factor = factor / longer if longer > 0.0 else 1.0
            debts.append(debt._replace(low=factor, weight=factor, high=factor))
        else:
            debts.append(debt)
    depth = length - boundary
    branch = voter.branch
    if branch.boundary == boundary and depth == len(pending):
        branch = informed(branch, exact, end, following, depth)
    voter = voter._replace(branch=branch, marginals=tuple([item for item in voter.marginals if item[0] != question]))
    return weighed(voter, voter.start, tuple(debts)) if debts else voter


def after_byte(voter: Voter, length: int, symbol: int, missed: bool) -> Voter:
    """``voter`` after ``symbol`` was decided as byte number ``length`` (from 0); its boundary is settled
    afterwards.

    ``missed``: its own first choice was another. After EOS nothing follows, and only that is noted.
    """
    name, prior, cap, start, debts, low, weight, high, branch, _, _, misses, rank = voter
    if symbol != EOS_SYMBOL:
        branch = follow(branch, length - branch.boundary, symbol)
    return Voter(name, prior, cap, start, debts, low, weight, high, branch, None, (), misses + missed, rank)


def backing(voter: Voter, length: int, byte: int) -> Voter | None:
    """`after_byte`, where the model gives ``byte`` more than half of all the mass that may follow; else None."""
    before = voter.branch
    after = after_byte(voter, length, byte, missed=False)
    taken = after.branch.exact + after.branch.listed
    return after if taken > MAJORITY * (before.listed + before.unlisted) else None


def moves(exact_low: float, exact_high: float, longer_low: float, longer_high: float, commit: float) -> bool | None:
    """Whether a model moves its boundary, given bounds on e(pending) and D(pending); None where they do not
    tell.

    It moves where e / (e + D) > ``commit`` and where no longer piece matches: with e > 0 it ends a piece of
    its own there, with e = 0 the tail is tokenised afresh.
    """
    if longer_high <= 0.0 or exact_low * (1.0 - commit) > commit * longer_high:
        return True
    if longer_low > 0.0 and exact_high * (1.0 - commit) <= commit * longer_low:
        return False
    return None


def settle(voter: Voter, length: int, tail: bytes, method: Method) -> Settled | None:
    """Stay or move after a byte, now that ``length`` bytes are decided, the last of which are ``tail``.

    None: it hangs on unlisted mass, so the voter's marginals must be asked for.
    """
    name, prior, cap, start, debts, lowest, carried, highest, branch, _, _, misses, rank = voter
    boundary, _, _, listed, unlisted, largest, known, sure, _ = branch
    bound = known if sure else known + min(unlisted, largest)
    moving = moves(known, bound, listed, listed + unlisted, method.commit)
    if moving is None:
        return None
    if moving:
        low, weight, high = known + listed, known + listed, known + listed + unlisted
        branch = Branch(length)
    elif bound > 0.0:
        low, weight, high = 1.0 + known / (listed + unlisted), 1.0 + known / listed, 1.0 + bound / listed
    else:
        return Settled(voter, False)
    if debts or low < high:
        debts = (*debts, Debt(boundary, tail[boundary - length :], moving, low, weight, high))
    else:
        start *= weight
    low, weight, high = _capped(cap, branch.listed, lowest * low, carried * weight, highest * high)
    start = start if debts else weight
    return Settled(Voter(name, prior, cap, start, debts, low, weight, high, branch, None, (), misses, rank), moving)


def at_prior(voter: Voter) -> Voter:
    """``voter`` with its prior as its weight: what a common boundary does."""
    return weighed(voter._replace(cap=voter.prior), voter.prior, ())


class ByteVotes(NamedTuple):
    """One model's vote on one byte: W with its bounds, F(pending + x) as far as known, their sum, and the
    unlisted mass."""

    low: float
    weight: float
    high: float
    votes: dict[int, float]
    listed: float
    unlisted: float


def row_of(voter: Voter, length: int, carry: bool) -> ByteVotes:
    """The vote of ``voter`` on byte number ``length``.

    Its sum is at most the voter's cap. Of a model that is true to itself that holds for the true W and D, and so for
    the bounds of W as well.

    Without ``carry`` the vote is prior * F(x) / D. D is only known to lie between listed and listed +
    unlisted, and the larger one is taken: the lead of x over y is then prior * (F(x) - F(y)) / D, and its
    least value over all distributions of u unlisted mass is prior * (listed(x) - listed(y) - u) / (listed +
    u), where all of u is behind y.
    """
    branch = voter.branch
    votes = votes_of(branch, length - branch.boundary)
    listed, unlisted = branch.listed, branch.unlisted
    if carry:
        low, weight, high = _capped(voter.cap, listed, voter.low, voter.weight, voter.high)
        return ByteVotes(low, weight, high, votes, listed, unlisted)
    whole = listed + unlisted
    weight = voter.prior / whole if whole > 0.0 else 0.0
    return ByteVotes(weight, weight, weight, votes, listed, unlisted)

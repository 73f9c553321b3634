"""Aggregations: candidate sets into scores (docs/specification.md section 3), one class each. Arithmetic only.

Every sum over models runs in the order of the ballots, which callers sort by model name. Where terms may cancel, sums
are exact (`fsum`); elsewhere order changes the last bits only, and `selection` takes such scores for equal.

An aggregation of your own is a frozen dataclass derived from `Aggregation` with ``name``, ``help`` and `score`
(`examples/own_aggregation.py`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from math import exp, fsum
from typing import ClassVar, Final, Literal, NamedTuple, TypeAlias

from tokencollab.errors import UnknownMethod
from tokencollab.policies.parameters import Declaration, Declarations, Numbers, Span, parameter
from tokencollab.protocol.candidates import MAX_CANDIDATES, Candidate
from tokencollab.protocol.pieces import Piece

MAX_TOP_K: Final = MAX_CANDIDATES - 24
"""A model sends a few candidates more than k, and an answer may have `MAX_CANDIDATES`."""

EVERY_PIECE: Final = (1 << 20, 1 << 20)
"""A ``top_t`` above the size of any union."""

_NEGATIVE: Final = (
    "{model} keeps candidates with logits below zero, so pieces that it does not list (they count as 0) "
    'beat its own. Use reference="floor" (--reference floor) to count each model\'s logits from its own cut.'
)

Scored: TypeAlias = tuple[Piece, float, float]
"""A piece, its score, and the summed full-softmax probability of the models that list it (for ties)."""


class Ballot(NamedTuple):
    """One model's vote: ``kept`` are its truncated candidates, ``received`` all it sent, best first.

    ``logits`` are, for an aggregation that requires scores, the raw logits of what it sent and of what it was asked to
    score.
    """

    model: str
    weight: float
    kept: tuple[Candidate, ...]
    received: tuple[Candidate, ...]
    logits: Mapping[Piece, float]

    def rank(self, piece: Piece) -> int | None:
        """The index of ``piece`` in the truncated candidates, None where absent."""
        for index, candidate in enumerate(self.kept):
            if candidate.piece == piece:
                return index
        return None


@dataclass(frozen=True)
class Aggregation(Declaration):
    """How ballots become the score of every piece, with the truncation before it and the selection after it.

    Attributes:
        by_probability: whether scores are probabilities, not logits: sampling takes their softmax otherwise.
        requires: what it requires of engines: ``probabilities`` or raw ``logits`` of candidates, ``scores`` of given
            pieces, ``marginals`` of bytes.
        trusts_scale: whether it adds up numbers whose scale each member sets itself, as raw logits are, so that one
            member may decide alone. It is refused with members of other owners.
    """

    by_probability: ClassVar[bool] = True
    trusts_scale: ClassVar[bool] = False
    requires: ClassVar[frozenset[str]] = frozenset({"probabilities"})

    top_k: int = parameter(10, help="candidates per model", low=1, high=MAX_TOP_K)
    top_t: Span = parameter((1, 1), help="sample among the T best; 1-2 draws T per step; 1 is greedy", low=1)
    temperature: float = parameter(
        1.0, help="of sampling; given without top_t it samples among all pieces, and 0 is greedy", above=0
    )
    # Products of weights with probabilities and logits must stay numbers, and only their ratios matter.
    weights: Numbers = parameter(
        (), help="a model's weight; 1 where none is given", low=1e-150, high=1e150, option="weight"
    )

    def score(self, ballots: Sequence[Ballot]) -> list[Scored]:
        """The score of every piece in the union of the truncated candidates of ``ballots``, at least one.

        Raises:
            ValueError: the method does not vote on whole pieces.
        """
        raise ValueError(f"{self.name} has no piece-level aggregation")

    def notice(self, ballots: Sequence[Ballot]) -> str | None:
        """What the user should hear of these ballots, once."""
        return None

    def check_given(self, given: Collection[str]) -> None:
        if "temperature" in given and self.top_t == (1, 1):
            raise UnknownMethod("temperature has no effect on the best piece; leave top_t out, or give more than 1")
        if "over" in given and getattr(self, "top_p", None) is None:
            raise UnknownMethod("over says what top_p is a share of; give top_p as well")


@dataclass(frozen=True)
class CutByMass(Aggregation):
    """With a truncation by probability mass (DuetNet eq. 2)."""

    top_p: float | None = parameter(None, help="cut candidates at this probability mass", above=0, high=1, neutral=None)
    over: Literal["vocabulary", "top_k"] = parameter("vocabulary", help="what top_p is a share of")


@dataclass(frozen=True)
class Softened(Aggregation):
    """Whose scores are logits: sampling takes a softmax of them."""

    by_probability: ClassVar[bool] = False
    requires: ClassVar[frozenset[str]] = frozenset({"logits"})


@dataclass(frozen=True)
class Base(Softened, CutByMass):
    """The base model alone."""

    name = "base"
    help = "the base model alone"
    paper = "ConfiPara (Wang et al., J. Communications 2026)"
    requires = frozenset()  # nothing is scored: the base chooses among its own candidates
    no_effect = frozenset({"weights"})


@dataclass(frozen=True)
class GaC(Aggregation):
    """The weighted mean of full-softmax probabilities; absent counts 0."""

    name = "gac"
    help = "mean of probabilities over the whole vocabulary, cut at the top 50"
    paper = "GaC (Yu et al., EMNLP Findings 2024)"

    top_k: int = 50

    def score(self, ballots: Sequence[Ballot]) -> list[Scored]:
        total = 0.0
        for ballot in ballots:
            total += ballot.weight
        return [(piece, score / total, tie) for piece, score, tie in _probability_sums(ballots)]


@dataclass(frozen=True)
class UniTE(Aggregation):
    """The weighted mean over models of each model's softmax over the union only.

    A piece that a model neither sent nor has scored counts as the last it sent: only a replay meets this,
    where the trace has no answer to a question that another method would have asked.
    """

    name = "unite"
    help = "mean of softmaxes over the union of the top 10"
    paper = "UniTE (Yao et al., ICLR 2025)"
    requires = frozenset({"logits", "scores"})

    def score(self, ballots: Sequence[Ballot]) -> list[Scored]:
        union = list(dict.fromkeys([candidate.piece for ballot in ballots for candidate in ballot.kept]))
        totals = [0.0] * len(union)
        weights = 0.0
        for ballot in ballots:
            lowest, known = ballot.received[-1].logit, ballot.logits
            logits = list(map(known.get, union, repeat(lowest)))
            highest = max(logits)
            exponentials = [exp(logit - highest) for logit in logits]
            share = ballot.weight / fsum(exponentials)
            totals = [total + share * value for total, value in zip(totals, exponentials)]  # noqa: B905 - for speed
            weights += ballot.weight
        scores = [total / weights for total in totals]
        ties = dict.fromkeys(union, 0.0)
        for ballot in ballots:
            for candidate in ballot.kept:
                ties[candidate.piece] += exp(candidate.logprob)
        return list(zip(union, scores, ties.values(), strict=True))


@dataclass(frozen=True)
class _LogitSum(Softened):
    """DuetNet eq. 4 and 5 and DK: the weighted sum of raw logits; absent counts 0.

    With ``reference="floor"`` each model's logits are counted from its first excluded one (ours; the paper
    has "raw"). A model that excluded nothing it sent is counted from its last kept one.
    """

    trusts_scale = True

    reference: Literal["raw", "floor"] = parameter("raw", help="where a model's logits are counted from")

    def notice(self, ballots: Sequence[Ballot]) -> str | None:
        """That ``reference="raw"`` misleads where a model keeps a piece with a logit below zero."""
        if self.reference == "raw":
            for ballot in ballots:
                for candidate in ballot.kept:
                    if candidate.logit < 0:
                        return _NEGATIVE.format(model=ballot.model)
        return None

    def score(self, ballots: Sequence[Ballot]) -> list[Scored]:
        terms: dict[Piece, list[float]] = {}
        ties: dict[Piece, float] = {}
        for ballot in ballots:
            weight, kept, received = ballot.weight, ballot.kept, ballot.received
            zero = 0.0
            if self.reference == "floor":
                zero = received[min(len(kept), len(received) - 1)].logit
            for candidate in kept:
                piece = candidate.piece
                terms.setdefault(piece, []).append(weight * (candidate.logit - zero))
                ties[piece] = ties.get(piece, 0.0) + exp(candidate.logprob)
        return [(piece, _sum(values) if len(values) > 1 else values[0], ties[piece]) for piece, values in terms.items()]


def _sum(terms: list[float]) -> float:
    """Exact whatever the order; 0 where the terms cancel but for their own rounding."""
    total = fsum(terms)
    return total if abs(total) > 2**-50 * max(map(abs, terms)) else 0.0


@dataclass(frozen=True)
class DuetNet(_LogitSum, CutByMass):
    """The weighted sum of logits, cut by mass."""

    name = "duetnet"
    help = "sum of logits over the top 10 cut at mass 0.75"
    paper = "DuetNet (Wang et al., Chinese J. Computers 48(11), 2025)"

    top_p: float | None = 0.75


@dataclass(frozen=True)
class DP(CutByMass):
    """The weighted sum of full-softmax probabilities; absent counts 0."""

    name = "dp"
    help = "DuetNet with probabilities instead of logits"
    paper = DuetNet.paper

    top_p: float | None = 0.75

    def score(self, ballots: Sequence[Ballot]) -> list[Scored]:
        return _probability_sums(ballots)


@dataclass(frozen=True)
class DK(_LogitSum):
    """The weighted sum of logits, not cut by mass."""

    name = "dk"
    help = "DuetNet with the top 10, not cut by mass"
    paper = DuetNet.paper


@dataclass(frozen=True)
class Bytewise(Aggregation):
    """Votes on bytes (docs/bytewise.md); ``weights`` are the priors of the models."""

    name = "bytewise"
    help = "byte by byte, where tokenizers cut differently"
    paper = "tokencollab, docs/methods.md"
    requires = frozenset({"probabilities", "marginals"})

    carry: bool = parameter(True, help="carry weights inside a word")
    commit: float = parameter(0.5, help="when a model moves its boundary", low=0, high=1)


AGGREGATIONS: Final = Declarations(
    "aggregation", Aggregation, (Base, GaC, UniTE, DuetNet, DP, DK, Bytewise), "tokencollab.aggregations"
)


def foreign_pieces(ballots: Sequence[Ballot]) -> list[tuple[str, tuple[Piece, ...]]]:
    """What must be asked where scores are required: per model the pieces of the union that it did not send."""
    union = dict.fromkeys([candidate.piece for ballot in ballots for candidate in ballot.kept])
    missing = []
    for ballot in ballots:
        known = ballot.logits
        if not union.keys() <= known.keys():
            missing.append((ballot.model, tuple([piece for piece in union if piece not in known])))
    return missing


def _probability_sums(ballots: Sequence[Ballot]) -> list[Scored]:
    """DP, and GaC before the division: the weighted sum of full-softmax probabilities; absent counts 0."""
    scores: dict[Piece, float] = {}
    ties: dict[Piece, float] = {}
    for ballot in ballots:
        weight = ballot.weight
        for candidate in ballot.kept:
            piece = candidate.piece
            probability = exp(candidate.logprob)
            scores[piece] = scores.get(piece, 0.0) + weight * probability
            ties[piece] = ties.get(piece, 0.0) + probability
    return [(piece, score, ties[piece]) for piece, score in scores.items()]

"""Aggregation of candidate sets into scores (docs/specification.md section 3). Arithmetic only.

Every sum over models runs in the order of the ballots, which callers sort by model name: float addition is
not associative, and order of arrival would decide exact ties.
"""

from collections.abc import Mapping, Sequence
from itertools import repeat
from math import exp, fsum
from typing import Literal, NamedTuple, TypeAlias

from tokencollab.policies.settings import Aggregation
from tokencollab.protocol.candidates import Candidate
from tokencollab.protocol.pieces import Piece

Scored: TypeAlias = tuple[Piece, float, float]
"""A piece, its score, and the summed full-softmax probability of the models that list it (for ties, and 0 where
UniTE has none)."""


class Ballot(NamedTuple):
    """One model's vote: ``kept`` are its truncated candidates, ``received`` all it sent, best first.

    ``logits`` are, for UniTE, the raw logits of what it sent and of what it was asked to score.
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


def aggregate(aggregation: Aggregation, ballots: Sequence[Ballot], reference: Literal["raw", "floor"]) -> list[Scored]:
    """The score of every piece in the union of the truncated candidates, under a piece-level paradigm.

    Raises:
        ValueError: ``aggregation`` is not one of them (`base` and `bytewise` have no ballots).
    """
    match aggregation:
        case "gac":
            total = 0.0
            for ballot in ballots:
                total += ballot.weight
            return [(piece, score / total, tie) for piece, score, tie in _probability_sums(ballots)]
        case "dp":
            return _probability_sums(ballots)
        case "duetnet" | "dk":
            return _logit_sums(ballots, reference)
        case "unite":
            return _union_softmax(ballots)
        case "base" | "bytewise":
            raise ValueError(f"{aggregation} has no piece-level aggregation")


def foreign_pieces(ballots: Sequence[Ballot]) -> list[tuple[str, tuple[Piece, ...]]]:
    """What UniTE must ask: per model the pieces of the union that it did not send."""
    union = dict.fromkeys([candidate.piece for ballot in ballots for candidate in ballot.kept])
    missing = []
    for ballot in ballots:
        known = ballot.logits
        if not union.keys() <= known.keys():
            missing.append((ballot.model, tuple([piece for piece in union if piece not in known])))
    return missing


def negative_logit(ballots: Sequence[Ballot]) -> str | None:
    """The first model that keeps a piece with a logit below zero: there ``reference="raw"`` misleads."""
    for ballot in ballots:
        for candidate in ballot.kept:
            if candidate.logit < 0:
                return ballot.model
    return None


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


def _logit_sums(ballots: Sequence[Ballot], reference: Literal["raw", "floor"]) -> list[Scored]:
    """DuetNet eq. 4 and 5 and DK: the weighted sum of raw logits; absent counts 0.

    With ``reference="floor"`` each model's logits are counted from its first excluded one (ours; the paper
    has "raw"). A model that excluded nothing it sent is counted from its last kept one.
    """
    scores: dict[Piece, float] = {}
    ties: dict[Piece, float] = {}
    for ballot in ballots:
        weight, kept, received = ballot.weight, ballot.kept, ballot.received
        zero = 0.0
        if reference == "floor":
            zero = received[min(len(kept), len(received) - 1)].logit
        for candidate in kept:
            piece = candidate.piece
            scores[piece] = scores.get(piece, 0.0) + weight * (candidate.logit - zero)
            ties[piece] = ties.get(piece, 0.0) + exp(candidate.logprob)
    return [(piece, score, ties[piece]) for piece, score in scores.items()]


def _union_softmax(ballots: Sequence[Ballot]) -> list[Scored]:
    """UniTE: the weighted mean over models of each model's softmax over the union only.

    A piece that a model neither sent nor has scored counts as the last it sent: only a replay meets this,
    where the trace has no answer to a question that another method would have asked.
    """
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
    if len(set(scores)) < len(scores):
        for ballot in ballots:
            for candidate in ballot.kept:
                ties[candidate.piece] += exp(candidate.logprob)
    return list(zip(union, scores, ties.values(), strict=True))

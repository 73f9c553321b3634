"""The simple model that the state machines are held against: written from docs/specification.md, slow, with everything
kept.

Nothing here is shared with the policies: votes are dictionaries over the union, exits go over the whole
history.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import exp, inf

from tokencollab.policies.methods import Method
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.pieces import Piece

Votes = Mapping[str, CandidateSet]
Foreign = Mapping[tuple[str, Piece], float]
Ranks = dict[str, float]
"""Index of the chosen piece by model, infinity where absent."""

CLEAR = 1e-9
"""Two scores closer than this are a tie as far as this model is concerned."""


def kept(method: Method, votes: CandidateSet) -> list[Piece]:
    head = list(votes.candidates[: method.top_k])
    if method.top_p is None:
        return [c.piece for c in head]
    whole = sum(exp(c.logprob) for c in head) if method.over == "top_k" else 1.0
    for size in range(1, len(head) + 1):
        if sum(exp(c.logprob) for c in head[:size]) >= method.top_p * whole:
            return [c.piece for c in head[:size]]
    return [c.piece for c in head]


def logit_of(model: str, votes: CandidateSet, piece: Piece, foreign: Foreign) -> float:
    for candidate in votes.candidates:
        if candidate.piece == piece:
            return candidate.logit
    return foreign[model, piece]


def score(method: Method, votes: Votes, foreign: Foreign, piece: Piece) -> float:
    """docs/specification.md section 3, one piece at a time."""
    union = {p for sent in votes.values() for p in kept(method, sent)}
    total = 0.0
    for model in sorted(votes):
        sent, weight = votes[model], dict(method.weights).get(model, 1.0)
        listed = {c.piece: c for c in sent.candidates if c.piece in kept(method, sent)}
        match method.aggregation:
            case "gac" | "dp":
                total += weight * exp(listed[piece].logprob) if piece in listed else 0.0
            case "duetnet" | "dk":
                cut = sent.candidates[min(len(listed), len(sent.candidates) - 1)].logit
                zero = cut if method.reference == "floor" else 0.0
                total += weight * (listed[piece].logit - zero) if piece in listed else 0.0
            case "unite":
                over = [exp(logit_of(model, sent, p, foreign)) for p in union]
                total += weight * exp(logit_of(model, sent, piece, foreign)) / sum(over)
    return total


def best(method: Method, votes: Votes, foreign: Foreign) -> tuple[Piece, float]:
    """The best piece and its lead."""
    union = {p for sent in votes.values() for p in kept(method, sent)}
    scored = sorted(((score(method, votes, foreign, p), p) for p in union), key=lambda entry: -entry[0])
    lead = scored[0][0] - scored[1][0] if len(scored) > 1 else inf
    return scored[0][1], lead


@dataclass
class History:
    """Every step that the exit saw."""

    method: Method
    steps: list[Ranks] = field(default_factory=list)

    def figures(self, base: str) -> dict[str, float | None]:
        """ConfiPara eq. 5 to 13 over the whole history at once."""
        m = self.method
        won = sum(self._ahead(ranks, base, other) for ranks in self.steps for other in ranks if other != base)
        duels = sum(len(ranks) - 1 for ranks in self.steps)
        rho = Fraction(str(m.rho))
        s, f = 1 + won, 1 + rho * (duels - won)
        verdicts = [self._reliable(number, base) for number in range(len(self.steps) // m.omega)]
        s_w = 1 + verdicts.count(True)
        f_w = 1 + rho * verdicts.count(False)
        st = s / (s + f) if len(self.steps) >= m.omega else None
        rt = s_w / (s_w + f_w)
        t0 = Fraction(0)
        if st is not None:
            t0 = {"confidence": st, "reliability": rt}.get(m.exit, st * rt)
        return {
            "s": 1.0 + won,
            "f": 1.0 + m.rho * (duels - won),
            "st": None if st is None else float(st),
            "s_w": 1.0 + verdicts.count(True),
            "f_w": 1.0 + m.rho * verdicts.count(False),
            "rt": float(rt),
            "t0": float(t0),
        }

    def _ahead(self, ranks: Ranks, model: str, other: str) -> bool:
        if ranks[model] == inf:
            return False
        return ranks[model] < ranks[other] or (ranks[model] == ranks[other] and self.method.ties == "success")

    def _reliable(self, number: int, base: str) -> bool | None:
        window = self.steps[number * self.method.omega : (number + 1) * self.method.omega]
        present = set(window[-1])
        if present == {base}:
            return None
        local = {}
        for model in present:
            duels = [
                self._ahead(ranks, model, other)
                for ranks in window
                if model in ranks
                for other in ranks
                if other != model
            ]
            wins = 1 + duels.count(True)
            local[model] = wins / (wins + 1 + Fraction(str(self.method.rho)) * duels.count(False))
        others = [local[model] for model in present - {base}]
        return local[base] - sum(others) / len(others) > -Fraction(str(self.method.eps))

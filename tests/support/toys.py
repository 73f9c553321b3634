"""Toy models with different cuts, and the rule of bytewise voting (docs/specification.md section 9) written down a
second time, plainly: full vocabularies, normalised weights, no bounds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from math import log
from operator import itemgetter
from random import Random
from typing import Any

from tokencollab.policies import events as e
from tokencollab.policies.machine import make_policy
from tokencollab.policies.methods import Method, parse_method, sampling_of
from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.pieces import Piece, piece_order
from tokencollab.testing import Driver

Distribution = dict[Piece, float]
END_BYTE = -1


@dataclass(frozen=True)
class Toy:
    """A model whose distribution after a text is a function of the last ``context`` bytes of the text."""

    name: str
    vocabulary: tuple[Piece, ...]
    seed: int
    context: int = 2
    sharpness: float = 3.0
    target: bytes = b""
    extra: int = 0  # listed beyond what is asked

    def after(self, text: bytes) -> Distribution:
        """Probabilities of all pieces. With a target: nine tenths go to its next piece in this model's own cut."""
        weights = {}
        for piece in self.vocabulary:
            key = repr((self.seed, text[-self.context :], piece)).encode()
            number = int.from_bytes(blake2b(key, digest_size=8).digest(), "big") / 2**64
            weights[piece] = number**self.sharpness + 1e-9
        total = sum(weights.values())
        distribution = {piece: weight / total for piece, weight in weights.items()}
        if not self.target:
            return distribution
        own = self._own_piece(text)
        return {p: 0.1 * mass + (0.9 if p == own else 0.0) for p, mass in distribution.items()}

    def _own_piece(self, text: bytes) -> Piece:
        if not self.target.startswith(text) or text == self.target:
            return None
        rest = self.target[len(text) :]
        return max((p for p in self.vocabulary if p and rest.startswith(p)), key=len)

    def candidates(self, text: bytes, k: int) -> CandidateSet:
        """The ``k`` most probable pieces."""
        ordered = sorted(self.after(text).items(), key=lambda item: (-item[1], piece_order(item[0])))[: k + self.extra]
        return CandidateSet(tuple(Candidate(p, log(mass), log(mass)) for p, mass in ordered), 0.0)

    def scores(self, text: bytes, pieces: Sequence[Piece]) -> tuple[float, ...]:
        """Log-probabilities; what is not in the vocabulary is improbable."""
        known = self.after(text)
        return tuple(log(known.get(piece, 1e-9)) for piece in pieces)

    def marginals(self, text: bytes, pending: bytes) -> tuple[float, float, tuple[float, ...]]:
        """The masses of `events.MarginalsArrived`, over the whole vocabulary."""
        following = [0.0] * 256
        exact = end = 0.0
        for piece, mass in self.after(text).items():
            if piece is None:
                end = 0.0 if pending else mass
            elif piece == pending:
                exact = mass
            elif piece.startswith(pending):
                following[piece[len(pending)]] += mass
        return exact, end, tuple(following)


BYTES: tuple[Piece, ...] = (b"0", b"1", b"2", None)
PAIRS: tuple[Piece, ...] = (*BYTES, *(bytes((x, y)) for x in b"012" for y in b"012"))
WORDS: tuple[Piece, ...] = (*BYTES, b"01", b"012", b"0120", b"12", b"20", b"201", b"11", b"110")
CUTS = (BYTES, PAIRS, WORDS)


def toys(seed: int, cuts: Sequence[tuple[Piece, ...]] = CUTS, **settings: Any) -> list[Toy]:
    """One toy per cut, named a, b, c, ..."""
    return [Toy("abcdef"[i], cut, seed + i, **settings) for i, cut in enumerate(cuts)]


def bytewise(**settings: Any) -> Method:
    """A bytewise method."""
    return replace(parse_method("bytewise"), **settings)


def play(
    method: Method,
    models: Sequence[Toy],
    *,
    max_tokens: int = 12,
    seed: int = 0,
    shuffle: int | None = None,
    exit_policy: Any = None,
    faults: Mapping[int, e.Event] | None = None,
) -> Driver:
    """The answer of ``models``, whose answers come in the order of ``shuffle``'s random numbers."""
    policy = make_policy(method, max_tokens=max_tokens, seed=seed, report=True, exit_policy=exit_policy)
    order = Random(shuffle) if shuffle is not None else None  # noqa: S311 - not a secret
    pick = order.choice if order else itemgetter(0)
    driver = Driver(policy, {toy.name: toy for toy in models}, sampling=sampling_of(method, seed))
    return driver.run(pick, faults)


def asks(driver: Driver) -> dict[str, int]:
    """How often each model was asked for candidates, always at the end of the text."""
    return dict(Counter(q.model for q in driver.questions.values() if isinstance(q, e.RequestCandidates)))


class Plain:
    """Section 9 for one model, over its full vocabulary: c_m(x), the weight, the boundary."""

    def __init__(self, toy: Toy, prior: float):
        self.toy, self.prior, self.weight, self.at = toy, prior, prior, 0

    def masses(self, text: bytes) -> tuple[float, dict[int, float]]:
        """P(exact), and for each next symbol the mass of the pieces that begin with pending + symbol."""
        exact, end, following = self.toy.marginals(text[: self.at], text[self.at :])
        masses = {x: mass for x, mass in enumerate(following) if mass > 0}
        if end > 0:
            masses[END_BYTE] = end
        return exact, masses

    def votes(self, text: bytes) -> dict[int, float]:
        """c_m(x)."""
        masses = self.masses(text)[1]
        total = sum(masses.values())
        return {x: mass / total for x, mass in masses.items()}


def at_common_boundary(plains: Sequence[Plain], moved: Sequence[Plain]) -> None:
    """Where all have moved, or all but one of three or more and not for want of a piece, the weights of those are the
    priors again."""
    ended = any(plain.weight > 0 for plain in moved)
    if len(moved) == len(plains) or (len(moved) == len(plains) - 1 >= 2 and ended):
        for plain in moved:
            plain.weight = plain.prior


@dataclass
class PlainAnswer:
    """What the plain rule writes, with the lead of each byte over the next best."""

    text: bytes
    ended: bool
    leads: list[float]
    asks: dict[str, int]


def plain_rule(models: Sequence[Toy], length: int, *, carry: bool = True, commit: float = 0.5) -> PlainAnswer:
    """The text of the rule, up to ``length`` bytes."""
    plains = [Plain(toy, 1.0) for toy in sorted(models, key=lambda toy: toy.name)]
    text, leads, asks = b"", [], {toy.name: 1 for toy in models}
    while len(text) < length:
        score: dict[int, float] = {}
        votes = [plain.votes(text) for plain in plains]
        total = sum(plain.weight for plain in plains)
        for plain, vote in zip(plains, votes, strict=True):
            for x, share in vote.items():
                weight = plain.weight / total if carry else plain.prior
                score[x] = score.get(x, 0.0) + weight * share
        ranked = sorted(score, key=lambda x: (-score[x], x))
        best = ranked[0]
        leads.append(score[best] - (score[ranked[1]] if len(ranked) > 1 else 0.0))
        if best == END_BYTE:
            return PlainAnswer(text, True, leads, asks)
        text += bytes((best,))
        moved = []
        for plain, vote in zip(plains, votes, strict=True):
            plain.weight *= vote.get(best, 0.0)
            exact, masses = plain.masses(text)
            longer = sum(masses.values())
            if longer == 0 or exact / (exact + longer) > commit:
                plain.at = len(text)
                asks[plain.toy.name] += 1
                moved.append(plain)
        at_common_boundary(plains, moved)
    return PlainAnswer(text, False, leads, asks)

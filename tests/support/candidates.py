"""Candidate sets written by hand, and models that list them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import exp, log

from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.pieces import Piece


@dataclass(frozen=True)
class Lists:
    """A model that has no pieces but those that it lists after a text."""

    listed: Callable[[bytes], CandidateSet]

    def candidates(self, text: bytes, k: int) -> CandidateSet:
        return self.listed(text)

    def scores(self, text: bytes, pieces: Sequence[Piece]) -> tuple[float, ...]:
        """The listed logit, else the last one minus one."""
        logits = {candidate.piece: candidate.logit for candidate in self.listed(text).candidates}
        return tuple(logits.get(piece, min(logits.values()) - 1) for piece in pieces)

    def marginals(self, text: bytes, pending: bytes) -> tuple[float, float, tuple[float, ...]]:
        return listed_marginals(self.listed(text), pending)


def listed(*entries: tuple[Piece, float]) -> CandidateSet:
    """Candidates from probabilities, in this order, with logits of zero."""
    return CandidateSet(tuple(Candidate(piece, 0.0, log(mass)) for piece, mass in entries), 0.0)


def surely(piece: Piece, other: Piece = b"~") -> CandidateSet:
    """Candidates that say ``piece`` with nine tenths."""
    return listed((piece, 0.9), (other, 0.1))


def by_logit(*entries: tuple[Piece, float], rest: float = 0.0) -> CandidateSet:
    """Candidates from raw logits; ``rest`` is the summed exp(logit) of what is not listed."""
    highest = max(logit for _, logit in entries)
    total = highest + log(sum(exp(logit - highest) for _, logit in entries) + rest * exp(-highest))
    ordered = sorted(entries, key=lambda entry: -entry[1])
    return CandidateSet(tuple(Candidate(p, logit, logit - total) for p, logit in ordered), total).checked()


def by_probability(*entries: tuple[Piece, float]) -> CandidateSet:
    """Candidates from probabilities, with logits that are their logarithms plus 20."""
    ordered = sorted(entries, key=lambda entry: -entry[1])
    return CandidateSet(tuple(Candidate(p, log(q) + 20, log(q)) for p, q in ordered), 20.0).checked()


VOCABULARY: tuple[Piece, ...] = (b" ", b"a", b"b", b"ab", b" a", b".", b"\xe6\x97", b"\xa5", "é".encode(), None)


def toy(name: str, sharpness: float = 3.0, shift: float = 12.0, listed: int = 7) -> Lists:
    """A model whose logits are a fixed function of its name and the end of the text; it lists its best pieces."""

    def candidates(text: bytes) -> CandidateSet:
        digest = blake2b(name.encode() + b"|" + text[-6:], digest_size=32).digest()
        shared = blake2b(text[-6:], digest_size=32).digest()
        logits = [shift + sharpness * (digest[i] + 2 * shared[i]) / 256 for i in range(len(VOCABULARY))]
        logits[-1] -= sharpness  # EOS is rare
        total = log(sum(exp(logit) for logit in logits))
        ordered = sorted(zip(VOCABULARY, logits, strict=True), key=lambda entry: -entry[1])[:listed]
        return CandidateSet(tuple(Candidate(p, logit, logit - total) for p, logit in ordered), total).checked()

    return Lists(candidates)


def listed_marginals(candidates: CandidateSet, pending: bytes) -> tuple[float, float, tuple[float, ...]]:
    """What a model answers to `Marginals`, as if it had no pieces but those that it lists."""
    exact = end = 0.0
    following = [0.0] * 256
    for candidate in candidates.candidates:
        piece, mass = candidate.piece, exp(candidate.logprob)
        if piece is None:
            end += mass if not pending else 0.0
        elif piece == pending:
            exact += mass
        elif piece.startswith(pending):
            following[piece[len(pending)]] += mass
    return exact, end, tuple(following)

"""Candidate sets: one model's answer to "what would you append to this prefix?"."""

from dataclasses import dataclass
from math import exp, isfinite
from typing import Final

from tokencollab.errors import MalformedAnswer
from tokencollab.protocol.pieces import MAX_PIECE_BYTES, Piece

MAX_CANDIDATES: Final = 1024
"""More candidates than this in one answer are refused."""

LOGPROB_SLACK: Final = 1e-3
"""How far a log-probability may stand above zero, or two neighbours out of order: float32 rounding."""


MAX_OFFSETS: Final = 1024
"""More offsets than this in one request are refused."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One piece with the model's raw logit and its log-probability (natural log, full softmax, temperature 1)."""

    piece: Piece
    logit: float
    logprob: float


@dataclass(frozen=True, slots=True, repr=False)
class CandidateSet:
    """A model's most probable next pieces, best first, each piece once.

    ``log_normaliser`` is the log of the sum of exp(logit) over the whole vocabulary, so the mass that is not
    listed is known: ``1 - sum(exp(logprob))``. EOS's logit is the log-sum-exp of all end tokens' logits.
    """

    candidates: tuple[Candidate, ...]
    log_normaliser: float

    def checked(self) -> "CandidateSet":
        """This set, after the checks that every answer of a model passes on arrival.

        Raises:
            MalformedAnswer: empty or too many, a number that is not finite, out of order, a probability above one, or
                a piece that is repeated, empty, too long, or no bytes.
        """
        if not 0 < len(self.candidates) <= MAX_CANDIDATES:
            raise MalformedAnswer(f"{len(self.candidates)} candidates, not 1 to {MAX_CANDIDATES}")
        if not isfinite(self.log_normaliser):
            raise MalformedAnswer("the log-normaliser is not finite")
        previous = LOGPROB_SLACK
        seen = set()
        for candidate in self.candidates:
            piece = candidate.piece
            if piece is not None and not isinstance(piece, bytes):
                raise MalformedAnswer(f"a piece must be bytes, not {type(piece).__name__}")
            if piece is not None and not 0 < len(piece) <= MAX_PIECE_BYTES:
                raise MalformedAnswer(f"a piece of {len(piece)} bytes, not 1 to {MAX_PIECE_BYTES}")
            if not (isfinite(candidate.logit) and isfinite(candidate.logprob)):
                raise MalformedAnswer(f"a score of piece {piece!r} is not finite")
            if candidate.logprob > previous:
                raise MalformedAnswer(f"piece {piece!r} is out of order or its probability is above one")
            if piece in seen:
                raise MalformedAnswer(f"piece {piece!r} is listed twice")
            seen.add(piece)
            previous = candidate.logprob
        return self

    def __repr__(self) -> str:
        """The pieces with their probabilities, best first: ``<' blue' 31.2%, ' clear' 8.0%, EOS 0.4%>``."""
        named = ("EOS" if c.piece is None else _shown(c.piece) for c in self.candidates)
        return f"<{', '.join(f'{n} {exp(c.logprob):.1%}' for n, c in zip(named, self.candidates, strict=True))}>"

    @property
    def best(self) -> Candidate:
        """The most probable candidate."""
        return self.candidates[0]

    @property
    def confidence(self) -> float:
        """Its probability: how sure the model is of what comes next."""
        return exp(self.best.logprob)


def _shown(piece: bytes) -> str:
    try:
        return repr(piece.decode())
    except UnicodeDecodeError:
        return repr(piece)

"""Candidate sets: one model's answer to "what would you append to this prefix?"."""

from dataclasses import dataclass
from math import exp
from typing import Final

from tokencollab.errors import MalformedAnswer
from tokencollab.protocol.pieces import MAX_PIECE_BYTES, Piece

MAX_CANDIDATES: Final = 1024
"""More candidates than this in one answer are refused."""

LOGPROB_SLACK: Final = 1e-3
"""How far a log-probability may stand above zero: float32 rounding."""

MASS_SLACK: Final = 0.01
"""How far the probabilities of one distribution may sum to more than one.

A log-softmax over 262,144 entries was measured: in float32 the sum is off by at most 3.5e-5 (1.3e-4 where logits are
around -5000), in bfloat16 by 7.6e-3. Log-probabilities that a person rounded to two decimals are off by 5e-3.
"""

LARGEST: Final = (2 - 2**-23) * 2.0**127
"""The largest float32. To a model a number beyond it is not finite; here sums and products of these are."""

_AGREEMENT: Final = 0.01
_RELATIVE: Final = 2.0**-8
_SINGLE: Final = 1e-6
"""How far logit - log_normaliser may be from the log-probability: 0.01, what bfloat16 rounds off the log-probability,
and what float32 rounds off the logit. Measured as above: at most 2.5e-4 in float32, and in bfloat16 2^-8 of it."""

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
        """This set, after the checks that every answer of a model passes on arrival: it is a part of a distribution.

        Raises:
            MalformedAnswer: empty or too many, a number that is not finite, out of order, probabilities that sum to
                more than one, a log-probability that is not the logit less the log-normaliser, or a piece that is
                repeated, empty, too long, or no bytes.
        """
        if not 0 < len(self.candidates) <= MAX_CANDIDATES:
            raise MalformedAnswer(f"{len(self.candidates)} candidates, not 1 to {MAX_CANDIDATES}")
        normaliser = self.log_normaliser
        if not -LARGEST <= normaliser <= LARGEST:
            raise MalformedAnswer("the log-normaliser is not finite")
        previous = LOGPROB_SLACK
        total = 0.0
        seen = set()
        for candidate in self.candidates:
            piece, logit, logprob = candidate.piece, candidate.logit, candidate.logprob
            if piece is not None and not isinstance(piece, bytes):
                raise MalformedAnswer(f"a piece must be bytes, not {type(piece).__name__}")
            if piece is not None and not 0 < len(piece) <= MAX_PIECE_BYTES:
                raise MalformedAnswer(f"a piece of {len(piece)} bytes, not 1 to {MAX_PIECE_BYTES}")
            if not (-LARGEST <= logit <= LARGEST and -LARGEST <= logprob <= LARGEST):
                raise MalformedAnswer(f"a score of piece {_named(piece)} is not finite")
            if logprob > previous:
                raise MalformedAnswer(f"piece {_named(piece)} is out of order or its probability is above one")
            off = abs(logit - normaliser - logprob)
            if off > _AGREEMENT and off > _AGREEMENT + _RELATIVE * abs(logprob) + _SINGLE * abs(logit):
                raise MalformedAnswer(
                    f"the log-probability of piece {_named(piece)} is {logprob:g}, not its logit less the "
                    f"log-normaliser ({logit - normaliser:g})"
                )
            if piece in seen:
                raise MalformedAnswer(f"piece {_named(piece)} is listed twice")
            seen.add(piece)
            total += exp(logprob)
            previous = logprob
        if total > 1.0 + MASS_SLACK:
            raise MalformedAnswer(f"the probabilities of the candidates sum to {total:g}, more than one")
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


def _named(piece: Piece) -> str:
    """``piece`` in a message: the beginning of a long one."""
    return repr(piece) if piece is None or len(piece) <= 40 else f"{piece[:40]!r}..."


def _shown(piece: bytes) -> str:
    try:
        return repr(piece.decode())
    except UnicodeDecodeError:
        return repr(piece)

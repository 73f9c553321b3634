"""What every reply of a model must be, whatever brought it: a thread, a socket, Ray, a runtime of somebody's own.

A member is not trusted. Every number that it states is bounded here, once, before anything is done with it; whether the
reply fits the question is checked where the question is known (`actors.model_session`).
"""

from collections.abc import Iterable
from itertools import pairwise
from math import isfinite
from typing import Final, TypeAlias

from tokencollab.errors import MalformedAnswer
from tokencollab.protocol import messages as m
from tokencollab.protocol.candidates import LARGEST, LOGPROB_SLACK, MASS_SLACK
from tokencollab.protocol.pieces import MAX_PIECE_BYTES, Piece
from tokencollab.protocol.spelling import TOKEN_BYTES, Spelling

MAX_COUNT: Final = 1 << 53
"""Counts are below this, so that every program reads them alike."""

SPARE_TOKENS: Final = 64
"""A model holds a text of n bytes in at most n + this many tokens."""

MAX_STATE_BYTES: Final = 1 << 13
"""Of `Spelling.state`: a number for each of `MAX_CANDIDATES`, and as much again."""

MAX_TAKEN_BACK: Final = 64
"""Pieces of one word that a model which writes alone may take back."""

_Vote: TypeAlias = m.CandidatesReply | m.ScoresReply | m.MarginalsReply | m.SoloPiece | m.Unsure

_BELOW_ZERO: Final = -1e-9  # of a probability: the rounding of a difference of sums
_UNSPELT: Final = 3  # bytes at the end of a text that may be the beginning of a character


def checked_reply(reply: m.Reply) -> m.Reply:
    """``reply``, if it is one that a model may give.

    Raises:
        MalformedAnswer: a candidate set or marginals that are no part of a distribution, a number out of range or not
            finite, a spelling that is longer than the text, or no reply at all.
    """
    try:
        _check(reply)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:  # fields of another type
        raise MalformedAnswer(f"{type(reply).__name__}: {error}") from error
    return reply


def _check(reply: m.Reply) -> None:
    match reply:
        case m.CandidatesReply() | m.ScoresReply() | m.MarginalsReply() | m.SoloPiece() | m.Unsure():
            _check_vote(reply)
            _check_held(reply)
        case m.LogprobsReply():
            _check_count(reply.forwarded)
            _check_logprobs(reply)
        case m.Opened():
            _check_count(reply.prompt_tokens)
            _check_count(reply.room)
        case m.ContextExhausted():
            _check_count(reply.offset)
        case m.SessionLost() | m.Closed() | m.Refused():
            pass
        case _:
            raise MalformedAnswer(f"{type(reply).__name__} is no reply of a model")


def _check_vote(reply: _Vote) -> None:
    match reply:
        case m.CandidatesReply():
            for candidates in (*reply.earlier, reply.candidates):
                candidates.checked()
        case m.ScoresReply():
            if not all(-LARGEST <= logit <= LARGEST for logit in reply.logits):
                raise MalformedAnswer("a score is not finite")
        case m.MarginalsReply():
            check_marginals(reply.exact, reply.end, reply.following)
        case m.SoloPiece():
            _check_piece(reply.piece)
            if reply.candidates is not None:
                reply.candidates.checked()
        case m.Unsure():
            reply.candidates.checked()
            if not 0 <= reply.taken_back <= MAX_TAKEN_BACK:
                raise MalformedAnswer(f"{reply.taken_back} pieces taken back, at most {MAX_TAKEN_BACK} are possible")


def check_marginals(exact: float, end: float, following: Iterable[float]) -> None:
    """Whether these are masses of one distribution.

    Raises MalformedAnswer: one is not a probability, there are not 256, or they sum to more than one.
    """
    masses = (exact, end, *following)
    if len(masses) != 258:
        raise MalformedAnswer(f"{len(masses) - 2} masses of next bytes, not 256")
    if not min(masses) >= _BELOW_ZERO or not all(map(isfinite, masses)):
        raise MalformedAnswer("a mass is not a probability")
    if (total := sum(masses)) > 1.0 + MASS_SLACK:
        raise MalformedAnswer(f"the masses of what may follow sum to {total:g}, more than one")


def _check_held(reply: _Vote) -> None:
    """What the model says of its own: where it is, what it computed, and in which tokens it holds the text."""
    _check_count(reply.offset)
    _check_count(reply.forwarded)
    if reply.spelling is not None:
        check_spelling(reply.spelling, reply.offset)


def check_spelling(spelling: Spelling, length: int) -> None:
    """Whether this may be the spelling of a text of ``length`` bytes, or what changed in it.

    Raises MalformedAnswer: it has more tokens than such a text can have, or a state beyond the limit.
    """
    _check_count(spelling.kept)
    if (
        spelling.kept + len(spelling.tokens) // TOKEN_BYTES > length + SPARE_TOKENS
        or len(spelling.tokens) % TOKEN_BYTES
    ):
        tokens = spelling.kept + len(spelling.tokens) / TOKEN_BYTES
        raise MalformedAnswer(f"a spelling of {tokens:g} tokens for a text of {length} bytes")
    if len(spelling.state) > MAX_STATE_BYTES:
        raise MalformedAnswer(f"a spelling with a state of {len(spelling.state)} bytes, at most {MAX_STATE_BYTES}")


def _check_count(value: int) -> None:
    if not 0 <= value < MAX_COUNT:
        raise MalformedAnswer(f"a count of {value:g}, not 0 to 2**53 - 1")


def _check_piece(piece: Piece) -> None:
    if piece is not None and not (isinstance(piece, bytes) and 0 < len(piece) <= MAX_PIECE_BYTES):
        raise MalformedAnswer(f"a piece must have 1 to {MAX_PIECE_BYTES} bytes")


def _check_logprobs(reply: m.LogprobsReply) -> None:
    """The tokens must cover the text: one that leaves some out would look more probable than it is."""
    ends, offset = reply.ends, reply.offset
    _check_count(offset)
    if len(ends) != len(reply.logprobs) or len(ends) > offset + SPARE_TOKENS:
        raise MalformedAnswer(f"{len(reply.logprobs)} log-probabilities of {len(ends)} tokens for {offset} bytes")
    if any(one > other for one, other in pairwise((0, *ends, offset))):
        raise MalformedAnswer("tokens whose ends do not ascend to the end of the text")
    if offset - (ends[-1] if ends else 0) > _UNSPELT:
        raise MalformedAnswer(f"the log-probabilities cover {ends[-1] if ends else 0} of {offset} bytes")
    if not all(isfinite(number) and number <= LOGPROB_SLACK for number in reply.logprobs):
        raise MalformedAnswer("a log-probability is not finite or above zero")

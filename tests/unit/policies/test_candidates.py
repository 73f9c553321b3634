"""What an answer may look like, at the edges of every limit."""

from math import inf, nan

import pytest

from tokencollab.errors import MalformedAnswer
from tokencollab.protocol.candidates import LOGPROB_SLACK, MAX_CANDIDATES, Candidate, CandidateSet
from tokencollab.protocol.pieces import MAX_PIECE_BYTES, Piece, piece_order


def listed(count: int) -> CandidateSet:
    return CandidateSet(tuple(Candidate(b"%d" % i, -float(i), -float(i)) for i in range(count)), 0.0)


def one(piece: Piece = b"x", logit: float = 1.0, logprob: float = -1.0, normaliser: float = 2.0) -> CandidateSet:
    return CandidateSet((Candidate(piece, logit, logprob),), normaliser)


@pytest.mark.parametrize(
    "answer",
    [
        listed(1),
        listed(MAX_CANDIDATES),
        one(b"x" * MAX_PIECE_BYTES),
        one(None),
        one(logprob=0.0),
        one(logprob=LOGPROB_SLACK),
        CandidateSet((Candidate(b"x", 1.0, -1.0), Candidate(b"y", 1.0, -1.0)), 2.0),
    ],
)
def test_what_is_allowed(answer: CandidateSet) -> None:
    assert answer.checked() is answer
    assert answer.best is answer.candidates[0]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (CandidateSet((), 0.0), "^0 candidates, not 1 to 1024$"),
        (listed(MAX_CANDIDATES + 1), "^1025 candidates, not 1 to 1024$"),
        (one(normaliser=nan), "^the log-normaliser is not finite$"),
        (one(b""), "^a piece of 0 bytes, not 1 to 4096$"),
        (one(b"x" * (MAX_PIECE_BYTES + 1)), "^a piece of 4097 bytes, not 1 to 4096$"),
        (one(logit=inf), "^a score of piece b'x' is not finite$"),
        (one(logprob=-inf), "^a score of piece b'x' is not finite$"),
        (one(logprob=0.0015), "^piece b'x' is out of order or its probability is above one$"),
        (
            CandidateSet((Candidate(b"x", 1.0, -1.0), Candidate(b"y", 1.0, -0.9)), 2.0),
            "^piece b'y' is out of order or its probability is above one$",
        ),
        (
            CandidateSet((Candidate(None, 1.0, -1.0), Candidate(None, 1.0, -1.0)), 2.0),
            "^piece None is listed twice$",
        ),
    ],
)
def test_what_is_refused(answer: CandidateSet, message: str) -> None:
    with pytest.raises(MalformedAnswer, match=message):
        answer.checked()


def test_the_last_resort_of_ties_puts_end_first_then_bytes() -> None:
    pieces: list[Piece] = [b"b", b"", None, b"a", b"ab", b"\xff"]
    assert sorted(pieces, key=piece_order) == [None, b"", b"a", b"ab", b"b", b"\xff"]
    assert piece_order(None) == (False, b"")

"""What an answer may look like, at the edges of every limit."""

from math import exp, inf, isfinite, log, nan

import pytest

from tokencollab.errors import MalformedAnswer
from tokencollab.protocol.candidates import LOGPROB_SLACK, MAX_CANDIDATES, Candidate, CandidateSet
from tokencollab.protocol.pieces import MAX_PIECE_BYTES, Piece, piece_order


def listed(count: int) -> CandidateSet:
    return CandidateSet(tuple(Candidate(b"%d" % i, -float(i), -i - 0.5) for i in range(count)), 0.5)


def one(
    piece: Piece = b"x", logit: float = 1.0, logprob: float = -1.0, normaliser: float | None = None
) -> CandidateSet:
    if normaliser is None:
        normaliser = logit - logprob if isfinite(logit - logprob) else 2.0
    return CandidateSet((Candidate(piece, logit, logprob),), normaliser)


def shares(*probabilities: float, shift: float = 0.0) -> CandidateSet:
    """Candidates of these probabilities, with logits that are their logarithms and ``shift``."""
    pairs = [(b"%d" % i, log(p)) for i, p in enumerate(probabilities)]
    return CandidateSet(tuple(Candidate(piece, x + shift, x) for piece, x in pairs), shift)


@pytest.mark.parametrize(
    "answer",
    [
        listed(1),
        listed(MAX_CANDIDATES),
        one(b"x" * MAX_PIECE_BYTES),
        one(None),
        one(logprob=0.0),
        one(logprob=LOGPROB_SLACK),
        one(logit=1e30),
        one(logit=-3.4e38),
        shares(0.5, 0.5),
        shares(0.8, 0.2, shift=1e4),
        shares(0.504, 0.504),  # log-probabilities rounded to two decimals
        shares(*[1 / 1024] * 1024, shift=-5000),
        one(logit=20.0, logprob=-1.009, normaliser=21.0),  # what bfloat16 leaves of a log-probability
        one(logit=20.0, logprob=-100.3, normaliser=120.0),
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
        (shares(0.34, 0.34, 0.34), r"^the probabilities of the candidates sum to 1\.02, more than one$"),
        (shares(*[1.0] * 1000), "^the probabilities of the candidates sum to 1000, more than one$"),
        (shares(*[1.0] * 10, shift=20.0), "sum to 10, more than one$"),
        (shares(*[exp(-7 - i / 1e6) for i in range(1024)], 1e-4), "^1025 candidates"),
        (shares(*[0.0011] * 1000), r"sum to 1\.1, more than one$"),
        (
            one(logit=20.0, logprob=-1.0, normaliser=20.0),
            r"^the log-probability of piece b'x' is -1, not its logit less the log-normaliser \(0\)$",
        ),
        (one(logit=5.0, logprob=-0.0, normaliser=-1e30), "^the log-probability of piece b'x' is -0, not its logit"),
        (one(logit=1e30, logprob=0.0, normaliser=0.0), "^the log-probability of piece b'x' is 0, not its logit"),
        (one(logit=1.0, logprob=-1.03, normaliser=2.0), "^the log-probability of piece b'x' is -1.03, not its logit"),
        (one(b"y" * 4000, logprob=inf), r"^a score of piece b'y{40}'\.\.\. is not finite$"),
        (one(logit=1.7e308, normaliser=0.0), "^a score of piece b'x' is not finite$"),
        (one(logit=-1e39, normaliser=0.0), "^a score of piece b'x' is not finite$"),
        (one(logit=1e30, normaliser=1e300), "^the log-normaliser is not finite$"),
        (one(logprob=nan), "^a score of piece b'x' is not finite$"),
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

"""What a reply must be on arrival, whatever brought it: every number that a member states is bounded."""

import dataclasses
from math import inf, nan
from typing import Any

import pytest

from tokencollab.errors import MalformedAnswer
from tokencollab.protocol import messages as m
from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.replies import (
    MAX_COUNT,
    MAX_STATE_BYTES,
    MAX_TAKEN_BACK,
    SPARE_TOKENS,
    check_spelling,
    checked_reply,
)
from tokencollab.protocol.spelling import Spelling

replace: Any = dataclasses.replace  # also with what no reply should have
GOOD = CandidateSet((Candidate(b"a", 2.0, -0.5), Candidate(None, 1.0, -1.5)), 2.5)
TOO_MUCH = CandidateSet((Candidate(b"a", 2.0, -0.5), Candidate(None, 2.0, -0.5)), 2.5)
NOBODY = (0.0,) * 256
CANDIDATES = m.CandidatesReply("s", 4, GOOD, 1)
SCORES = m.ScoresReply("s", 4, (1.0, -3.5), 1)
MASSES = m.MarginalsReply("s", 4, 0.25, 0.25, (0.5, *NOBODY[1:]), 1)
SOLO = m.SoloPiece("s", 4, b"ab", GOOD, 1)
UNSURE = m.Unsure("s", 4, GOOD, 3, 1)
LIKELY = m.LogprobsReply("s", 4, (1, 3), (-0.5, -1.0), 2)
OPENED = m.Opened("s", 12, 100)
SPELT = Spelling(1, bytes(8 * 4), b"state")


def longest(length: int) -> Spelling:
    return Spelling(1, bytes(8 * (length + SPARE_TOKENS - 1)), bytes(MAX_STATE_BYTES))


@pytest.mark.parametrize(
    "reply",
    [
        CANDIDATES,
        replace(CANDIDATES, spelling=SPELT, earlier=(GOOD, GOOD)),
        replace(CANDIDATES, spelling=longest(4), offset=4, forwarded=MAX_COUNT - 1),
        SCORES,
        replace(SCORES, logits=(3.4e38, -3.4e38)),
        MASSES,
        replace(MASSES, exact=0.0, end=1.0, following=NOBODY),
        replace(MASSES, exact=-1e-10, following=(-1e-12, *NOBODY[1:])),
        replace(MASSES, exact=0.255, end=0.25),
        SOLO,
        replace(SOLO, piece=None, candidates=None),
        UNSURE,
        replace(UNSURE, taken_back=MAX_TAKEN_BACK),
        LIKELY,
        replace(LIKELY, ends=(4,), logprobs=(1e-4,)),
        replace(LIKELY, offset=0, ends=(), logprobs=()),
        OPENED,
        m.SessionLost("s"),
        m.ContextExhausted("s", 4),
        m.Closed("s"),
        m.Refused("s", "ModelRefused", "no"),
    ],
)
def test_what_is_allowed(reply: m.Reply) -> None:
    assert checked_reply(reply) is reply


WRONG: list[tuple[Any, str]] = [
    (replace(CANDIDATES, candidates=TOO_MUCH), "sum to 1.21306, more than one"),
    (replace(CANDIDATES, earlier=(GOOD, TOO_MUCH)), "sum to 1.21306, more than one"),
    (replace(CANDIDATES, candidates=CandidateSet((), 0.0)), "0 candidates, not 1 to 1024"),
    (replace(CANDIDATES, candidates=None), "CandidatesReply: 'NoneType' object has no attribute"),
    (replace(CANDIDATES, forwarded=-1), "a count of -1, not"),
    (replace(CANDIDATES, forwarded=MAX_COUNT), "a count of 9.0072e"),
    (replace(CANDIDATES, forwarded="1"), "CandidatesReply: '<=' not supported"),
    (replace(CANDIDATES, forwarded=nan), "a count of nan"),
    (replace(CANDIDATES, offset=-1), "a count of -1, not"),
    (replace(SCORES, logits=(1.0, nan)), "a score is not finite"),
    (replace(SCORES, logits=(-inf, 1.0)), "a score is not finite"),
    (replace(SCORES, logits=(1e39, 1.0)), "a score is not finite"),
    (replace(SCORES, logits=("1", 1.0)), "ScoresReply: '<=' not supported"),
    (replace(SCORES, logits=None), "ScoresReply: "),
    (replace(MASSES, exact=0.3, end=0.3), "the masses of what may follow sum to 1.1, more than one"),
    (replace(MASSES, exact=0.26, end=0.26), "sum to 1.02, more than one"),
    (replace(MASSES, following=(1.0,) * 256), "sum to 256.5, more than one"),
    (replace(MASSES, following=(0.5,)), "1 masses of next bytes, not 256"),
    (replace(MASSES, following=(0.5, *NOBODY)), "257 masses of next bytes, not 256"),
    (replace(MASSES, following=(-0.5, *NOBODY[1:])), "a mass is not a probability"),
    (replace(MASSES, following=(nan, *NOBODY[1:])), "a mass is not a probability"),
    (replace(MASSES, following=(*NOBODY[1:], nan)), "a mass is not a probability"),
    (replace(MASSES, exact=inf), "a mass is not a probability"),
    (replace(MASSES, end=nan), "a mass is not a probability"),
    (replace(MASSES, end=None), "MarginalsReply: "),
    (replace(SOLO, piece=b""), "a piece must have 1 to 4096 bytes"),
    (replace(SOLO, piece=bytes(4097)), "a piece must have 1 to 4096 bytes"),
    (replace(SOLO, piece="ab"), "a piece must have 1 to 4096 bytes"),
    (replace(SOLO, candidates=TOO_MUCH), "sum to 1.21306, more than one"),
    (replace(UNSURE, candidates=TOO_MUCH), "sum to 1.21306, more than one"),
    (replace(UNSURE, taken_back=MAX_TAKEN_BACK + 1), "65 pieces taken back, at most 64"),
    (replace(UNSURE, taken_back=-1), "-1 pieces taken back"),
    (replace(LIKELY, ends=(1, 3, 4)), "2 log-probabilities of 3 tokens for 4 bytes"),
    (replace(LIKELY, ends=(), logprobs=()), "the log-probabilities cover 0 of 4 bytes"),
    (replace(LIKELY, offset=400), "the log-probabilities cover 3 of 400 bytes"),
    (replace(LIKELY, ends=(3, 1)), "tokens whose ends do not ascend"),
    (replace(LIKELY, ends=(1, 5)), "tokens whose ends do not ascend"),
    (replace(LIKELY, ends=(-1, 3)), "tokens whose ends do not ascend"),
    (replace(LIKELY, ends=(4,) * 100, logprobs=(0.0,) * 100), "100 log-probabilities of 100 tokens for 4 bytes"),
    (replace(LIKELY, logprobs=(-0.5, 0.5)), "a log-probability is not finite or above zero"),
    (replace(LIKELY, logprobs=(-0.5, nan)), "a log-probability is not finite or above zero"),
    (replace(LIKELY, logprobs=(-0.5, -inf)), "a log-probability is not finite or above zero"),
    (replace(LIKELY, forwarded=-1), "a count of -1"),
    (replace(OPENED, prompt_tokens=-1), "a count of -1"),
    (replace(OPENED, room=MAX_COUNT), "a count of 9.0072e"),
    (m.ContextExhausted("s", -5), "a count of -5"),
    (None, "NoneType is no reply of a model"),
    (m.Close("s"), "Close is no reply of a model"),
]


@pytest.mark.parametrize(("reply", "reason"), WRONG)
def test_what_is_refused(reply: Any, reason: str) -> None:
    with pytest.raises(MalformedAnswer) as caught:
        checked_reply(reply)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("reply", [CANDIDATES, SCORES, MASSES, SOLO, UNSURE], ids=lambda reply: type(reply).__name__)
@pytest.mark.parametrize(
    ("spelling", "reason"),
    [
        (Spelling(0, bytes(8 * (SPARE_TOKENS + 5)), b""), "a spelling of 69 tokens for a text of 4 bytes"),
        (Spelling(SPARE_TOKENS + 5, b"", b""), "a spelling of 69 tokens for a text of 4 bytes"),
        (Spelling(SPARE_TOKENS, bytes(40), b""), "a spelling of 69 tokens for a text of 4 bytes"),
        (Spelling(1 << 60, b"", b""), "a count of"),
        (Spelling(-1, b"", b""), "a count of -1"),
        (Spelling(0, bytes(7), b""), "a spelling of 0.875 tokens"),
        (Spelling(0, bytes(7_000_000), b""), "a spelling of 875000 tokens for a text of 4 bytes"),
        (Spelling(0, b"", bytes(MAX_STATE_BYTES + 1)), "a state of 8193 bytes, at most 8192"),
    ],
)
def test_a_spelling_is_no_longer_than_the_text(reply: Any, spelling: Spelling, reason: str) -> None:
    with pytest.raises(MalformedAnswer) as caught:
        checked_reply(replace(reply, spelling=spelling))
    assert reason in str(caught.value)


def test_the_limit_of_a_spelling_goes_with_the_text() -> None:
    for length in (0, 1, 4000):
        check_spelling(longest(length), length)
        with pytest.raises(MalformedAnswer):
            check_spelling(longest(length + 1), length)

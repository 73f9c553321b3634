"""What a model that writes alone sends, and what it takes back where it is unsure."""

from collections.abc import Sequence
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokencollab import EOS, Piece
from tokencollab.actors.solo_generation import Writing
from tokencollab.engines.base import EngineReply
from tokencollab.policies.words import goes_on
from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.messages import (
    CandidatesReply,
    ContextExhausted,
    GenerateSolo,
    Reply,
    Sampling,
    SoloPiece,
    Unsure,
)

GREEDY = Sampling(10, None, (1, 1), 1.0, 0)
Course = Sequence[tuple[Piece, float]]
"""What a model would write, and how probable each piece is to it."""


def write(course: Course, unsure: float, *, most: int = 100, full: bool = False) -> list[Reply]:
    """What is sent of ``course``; with ``full`` the context ends behind it."""
    writing = Writing(GenerateSolo("s", 3, b"", 1, most, True, GREEDY, unsure))
    question, offset = writing.first, 3
    sent: list[Reply] = []
    for piece, probability in course:
        listed = CandidateSet((Candidate(piece, 9.0, log(probability)),), 9.0 - log(probability))
        replies, following = writing.heard(EngineReply(CandidatesReply("s", offset, listed, 1), piece))
        sent += replies
        if following is None:
            return sent
        assert (following.start, following.data) == (offset, piece)
        question, offset = following, offset + len(piece or b"")
    assert question.session == "s"
    return [*sent, *writing.heard(EngineReply(ContextExhausted("s", offset)))[0]] if full else sent


def said(replies: Sequence[Reply]) -> list[object]:
    return [r.piece if isinstance(r, SoloPiece) else (type(r).__name__, getattr(r, "taken_back", 0)) for r in replies]


def test_a_word_that_becomes_unsure_is_taken_back_whole() -> None:
    course = [(b"7", 0.99), (b"*", 0.99), (b"1", 0.95), (b"2", 0.95), (b"8", 0.5), (b";", 0.99)]
    replies = write(course, 0.9)
    assert said(replies) == [b"7", b"*", ("Unsure", 2)]
    unsure = replies[-1]
    assert isinstance(unsure, Unsure)
    assert (unsure.offset, unsure.candidates.best.piece, unsure.forwarded) == (5, b"1", 3)
    assert said(write(course, 0.5)) == [b"7", b"*", b"1", b"2", b"8"]  # ";" may go on


def test_what_ended_before_the_doubt_stays() -> None:
    assert said(write([(b"12", 0.9), (b";", 0.4)], 0.5)) == [b"12", ("Unsure", 0)]
    assert said(write([(b"12", 0.9), (EOS, 0.4)], 0.5)) == [b"12", ("Unsure", 0)]
    assert said(write([(b"a", 0.4)], 0.5)) == [("Unsure", 0)]


@pytest.mark.parametrize("text", ["a b", "a  b", "日", "x'y"])
def test_the_space_before_a_word_and_a_character_are_taken_back_with_it(text: str) -> None:
    data = text.encode()
    first = 0 if text in ("日", "x'y") else 1
    course = [(data[i : i + 1], 0.9) for i in range(len(data) - 1)]
    assert said(write([*course, (data[-1:], 0.3)], 0.5)) == [
        *(data[i : i + 1] for i in range(first)),
        ("Unsure", len(data) - 1 - first),
    ]


def test_the_end_of_a_run_of_a_context_and_of_the_text_send_what_is_kept() -> None:
    word = [(b"a", 0.9), (b"b", 0.9), (b"c", 0.9)]
    assert said(write(word, 0.5, most=2)) == [b"a", b"b"]
    assert said(write(word, 0.5, full=True)) == [b"a", b"b", b"c", ("ContextExhausted", 0)]
    assert said(write([*word, (EOS, 0.9)], 0.5)) == [b"a", b"b", b"c", EOS]


pieces = st.sampled_from([b"a", b"1", b" ", b" b", b";", b"ab", "é".encode()[:1], "é".encode()[1:], EOS])
courses = st.lists(st.tuples(pieces, st.sampled_from([0.2, 0.6, 0.95])), min_size=1, max_size=60)


@given(courses, st.sampled_from([0.0, 0.5, 0.9]))
def test_what_is_sent_is_what_was_written_up_to_the_word_in_doubt(course: Course, unsure: float) -> None:
    replies = write(course, unsure, full=True)
    written = [r.piece for r in replies if isinstance(r, SoloPiece)]
    assert written == [piece for piece, _ in course[: len(written)]]
    assert all(probability >= unsure for _, probability in course[: len(written)])
    last = replies[-1]
    if not isinstance(last, Unsure):
        assert written[-1] is EOS or isinstance(last, ContextExhausted)
        return
    assert replies[:-1] == [r for r in replies if isinstance(r, SoloPiece)]
    text = b"".join(piece or b"" for piece in written)
    assert last.offset == 3 + len(text)
    doubt = len(written) + last.taken_back
    assert course[doubt][1] < unsure
    assert last.candidates.best.piece == course[len(written)][0]
    assert sum(r.forwarded for r in replies if isinstance(r, SoloPiece | Unsure)) == doubt + 1
    word = [piece or b"" for piece, _ in course[len(written) : doubt + 1]]
    assert all(goes_on(b"".join(word[:i]), word[i]) for i in range(1, len(word)))
    assert last.taken_back <= 32


def test_a_word_without_an_end_is_not_kept_for_ever() -> None:
    replies = write([(b"a", 0.9)] * 40, 0.5)
    assert len(replies) == 32


def test_without_doubts_every_piece_is_sent_at_once() -> None:
    writing = Writing(GenerateSolo("s", 0, b"", 1, 9, False, GREEDY))
    for offset in range(3):
        listed = CandidateSet((Candidate(b"a", 9.0, -5.0),), 14.0)
        sent, following = writing.heard(EngineReply(CandidatesReply("s", offset, listed, 1), b"a"))
        assert sent == [SoloPiece("s", offset, b"a", None, 1)]
        assert following is not None

"""Text streams whole characters only, joined exactly, and never past a stop text."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokencollab.protocol.text import TextStream


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    bounds = sorted({0, len(data), *(c % (len(data) + 1) for c in cuts)})
    return [data[a:b] for a, b in pairwise(bounds)]


@given(st.binary(max_size=40) | st.text(max_size=20).map(str.encode), st.lists(st.integers(0, 100), max_size=20))
def test_pieces_joined_are_the_text_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    stream = TextStream()
    parts = [stream.feed(piece) for piece in cut(data, cuts)]
    assert "".join(parts) + stream.finish() == data.decode("utf-8", "replace")


def test_a_character_appears_with_the_piece_that_completes_it() -> None:
    stream = TextStream()
    assert [stream.feed(bytes([byte])) for byte in "é🙂".encode()] == ["", "é", "", "", "", "🙂"]


@given(
    st.text(alphabet="ab\n", max_size=20),
    st.lists(st.text(alphabet="ab\n", min_size=1, max_size=4), min_size=1, max_size=3),
    st.lists(st.integers(0, 50), max_size=10),
)
def test_the_answer_ends_before_the_first_stop_text(text: str, stops: list[str], cuts: list[int]) -> None:
    stream = TextStream(stops)
    pieces = cut(text.encode(), cuts)
    seen = ""
    for piece in pieces:
        seen += stream.feed(piece)
        assert not any(stop in seen for stop in stops)
    seen += stream.finish()
    found = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    assert stream.stopped == bool(found)
    assert seen == (text[: min(found)[1]] if found else text)  # however it is cut


def test_an_empty_stop_text_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a stop text must not be empty$"):
        TextStream([""])


@pytest.mark.parametrize(
    ("stops", "pieces", "texts", "rest"),
    [
        (["abcd"], "xabcx", ["x", "", "", "", "abcx"], ""),
        (["abcd"], "abd", ["", "", "abd"], ""),
        (["abcd"], "abab", ["", "", "ab", ""], "ab"),  # the longest end that may begin it, and no more
        (["aab"], "aaab", ["", "", "a", ""], ""),
        (["b"], "ab", ["a", ""], ""),
        (["ab", "bcd"], "xabcd", ["x", "", "", "", ""], ""),
        (["bcd", "ax"], "abcx", ["", "a", "", "bcx"], ""),
        ([], "ab", ["a", "b"], ""),
    ],
)
def test_only_what_may_begin_a_stop_text_is_held_back(
    stops: list[str], pieces: str, texts: list[str], rest: str
) -> None:
    stream = TextStream(stops)
    assert [stream.feed(piece.encode()) for piece in pieces] == texts
    assert stream.finish() == rest


def test_nothing_comes_after_a_stop_text() -> None:
    stream = TextStream(["."])
    assert stream.feed(b"one. two.") == "one"
    assert stream.stopped
    assert stream.feed(b"three") == ""
    assert stream.finish() == ""


def test_a_character_that_was_never_finished_is_replaced_at_the_end() -> None:
    stream = TextStream()
    assert stream.feed("aé".encode()[:-1]) == "a"
    assert stream.finish() == "\ufffd"
    stopped = TextStream(["\ufffd"])
    assert stopped.feed("aé".encode()[:-1]) + stopped.finish() == "a"
    assert stopped.stopped

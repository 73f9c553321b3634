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
    found = [text.find(stop) for stop in stops if stop in text]
    assert stream.stopped == bool(found)
    assert text.startswith(seen)
    if not found:
        assert seen == text
    elif len(pieces) <= 1:
        assert seen == text[: min(found)]
    else:
        assert not any(stop in seen for stop in stops)


def test_an_empty_stop_text_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        TextStream([""])

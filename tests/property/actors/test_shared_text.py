"""What a model that comes back is given of the text that it missed."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tokencollab.actors.model_session import SharedText
from tokencollab.protocol import codec
from tokencollab.protocol.messages import ChatMessage, Open
from tokencollab.protocol.pieces import MAX_PIECE_BYTES


@given(st.lists(st.integers(1, 40), max_size=40), st.integers(0, 3000), st.integers(0, 3000), st.integers(1, 600))
def test_however_long_it_was_away_the_text_it_missed_can_be_sent(
    sizes: list[int], more: int, held: int, longest: int
) -> None:
    text, ends = SharedText(), [0]
    for size in [*sizes, *[longest, 7] * (more // 2)]:
        text.append(b"x" * size)
        ends.append(ends[-1] + size)
    offset = ends[min(held, len(ends) - 1)]
    pieces = text.pieces(offset)
    assert b"".join(pieces) == text.data[offset:]
    assert all(0 < len(piece) <= MAX_PIECE_BYTES for piece in pieces)
    last = [end - start for start, end in pairwise(ends) if start >= offset][-1024:]
    assert [len(piece) for piece in pieces[len(pieces) - len(last) :]] == last
    assert len(pieces) <= 1024 + 2 * len(text.data) // MAX_PIECE_BYTES + 1
    request = Open("s", (ChatMessage("user", "?"),), pieces=pieces)
    assert codec.decode(codec.encode(request)) == request

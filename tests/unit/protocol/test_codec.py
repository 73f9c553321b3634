"""Frames go there and back unchanged; anything else is refused, whatever the bytes."""

import math

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokencollab.errors import MalformedAnswer, ProtocolError
from tokencollab.protocol import codec
from tokencollab.protocol import messages as m
from tokencollab.protocol.candidates import MAX_CANDIDATES, Candidate, CandidateSet
from tokencollab.protocol.replies import checked_reply
from tokencollab.protocol.spelling import Spelling

pieces = st.none() | st.binary(min_size=1, max_size=8)
numbers = st.floats(-50, 50)
counts = st.integers(0, 1 << 40)
names = st.text(max_size=8)
lists_of_names = st.lists(names, max_size=3).map(tuple)


@st.composite
def candidate_sets(draw: st.DrawFn) -> CandidateSet:
    listed = draw(st.lists(pieces, min_size=1, max_size=6, unique=True))
    logits = sorted(draw(st.lists(numbers, min_size=len(listed), max_size=len(listed))), reverse=True)
    normaliser = logits[0] + draw(st.floats(0, 10))
    return CandidateSet(tuple(map(Candidate, listed, logits, [x - normaliser for x in logits])), normaliser)


samplings = st.builds(
    m.Sampling,
    counts,
    st.none() | numbers,
    st.tuples(counts, counts),
    numbers,
    counts,
    st.sampled_from(["vocabulary", "top_k"]),
    st.booleans(),
)
turns = st.builds(m.ChatMessage, st.sampled_from(["system", "user", "assistant"]), st.text(max_size=8))
shares = st.lists(st.floats(0, 1), min_size=256, max_size=256).map(tuple)
spellings = st.none() | st.builds(
    Spelling,
    counts,
    st.integers(0, 3).flatmap(lambda n: st.binary(min_size=8 * n, max_size=8 * n)),
    st.binary(max_size=9),
)
everything = st.one_of(
    st.builds(m.Open, names, st.lists(turns, max_size=3).map(tuple), st.binary(max_size=8), spellings),
    st.builds(
        m.NextCandidates,
        names,
        counts,
        st.binary(max_size=8),
        counts,
        st.lists(counts, max_size=3, unique=True).map(sorted).map(tuple),
    ),
    st.builds(m.ScorePieces, names, counts, st.binary(max_size=8), st.lists(pieces, max_size=4).map(tuple)),
    st.builds(m.ScoreText, names, counts, st.binary(max_size=8)),
    st.builds(
        m.LogprobsReply,
        names,
        counts,
        st.lists(counts, max_size=3).map(tuple),
        st.lists(st.floats(-99, 0), max_size=3).map(tuple),
        counts,
    ),
    st.builds(m.ByteMarginals, names, counts, st.binary(max_size=8), st.binary(max_size=8)),
    st.builds(
        m.GenerateSolo, names, counts, st.binary(max_size=8), counts, counts, st.booleans(), samplings, st.floats(0, 1)
    ),
    st.builds(m.Close, names),
    st.builds(m.Opened, names, counts, counts),
    st.builds(
        m.CandidatesReply,
        names,
        counts,
        candidate_sets(),
        counts,
        spellings,
        st.lists(candidate_sets(), max_size=2).map(tuple),
    ),
    st.builds(m.ScoresReply, names, counts, st.lists(numbers, max_size=4).map(tuple), counts, spellings),
    st.builds(m.MarginalsReply, names, counts, st.floats(0, 1), st.floats(0, 1), shares, counts, spellings),
    st.builds(m.SoloPiece, names, counts, pieces, st.none() | candidate_sets(), counts, spellings),
    st.builds(m.Unsure, names, counts, candidate_sets(), counts, counts, spellings),
    st.builds(m.SessionLost, names),
    st.builds(m.ContextExhausted, names, counts),
    st.builds(m.Closed, names),
    st.builds(m.Refused, names, names, names),
    st.builds(
        m.Task,
        st.integers(0, (1 << 128) - 1).map("{:032x}".format),
        st.lists(turns, max_size=3).map(tuple),
        names,
        st.none() | lists_of_names,
        names,
        counts,
        lists_of_names,
        counts,
        st.booleans(),
    ),
    st.builds(
        m.TaskToken,
        names,
        pieces | st.just(b""),
        counts,
        st.lists(st.tuples(names, st.none() | counts), max_size=3).map(tuple),
        st.none() | st.lists(st.none() | numbers, min_size=7, max_size=7).map(tuple),
        st.booleans(),
        lists_of_names,
        lists_of_names,
        lists_of_names,
    ),
    st.builds(m.TaskEnded, names, lists_of_names),
)


@given(everything)
def test_every_message_comes_back_as_it_was(message: codec.Message) -> None:
    assert codec.decode(codec.encode(message)) == message


@given(everything, st.data())
def test_a_mutated_frame_is_refused_or_is_some_valid_message(message: codec.Message, data: st.DataObject) -> None:
    frame = bytearray(codec.encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        match data.draw(st.integers(0, 2)):
            case 0:
                frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
            case 1:
                del frame[data.draw(st.integers(0, len(frame) - 1)) :]
                frame += b"\x00"
            case _:
                frame.insert(data.draw(st.integers(0, len(frame))), data.draw(st.integers(0, 255)))
    try:
        decoded = codec.decode(bytes(frame))
    except MalformedAnswer:
        return
    assert codec.decode(codec.encode(decoded)) == decoded


@given(st.binary(max_size=64))
def test_random_bytes_are_refused(noise: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        codec.decode(noise)


def frame_of(*candidates: tuple[object, float, float], normaliser: float = 1.0) -> bytes:
    return bytes(msgpack.packb([1, "candidates", "s", 0, [normaliser, list(candidates)], 1, None]))


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (frame_of((b"a", 1.0, 0.0), (b"a", 0.5, -0.5)), "twice"),
        (frame_of((b"a", 0.5, -0.5), (b"b", 1.0, -0.2)), "out of order"),
        (frame_of((b"a", 1.0, 0.5)), "above one"),
        (frame_of((b"a", math.nan, -1.0)), "finite"),
        (frame_of((b"a", 1.0, -math.inf)), "finite"),
        (frame_of((b"", 1.0, -1.0)), "1 to"),
        (frame_of((b"x" * 5000, 1.0, -1.0)), "1 to"),
        (frame_of(("text", 1.0, -1.0)), "bytes expected"),
        (frame_of((b"a", 1, -1.0)), "finite number"),
        (frame_of(), "0 candidates"),
        (frame_of((b"a", 1.0, -1.0), normaliser=math.inf), "finite"),
        (frame_of(*[(i.to_bytes(2, "big"), 0.0, -9.0) for i in range(MAX_CANDIDATES + 1)]), "at most"),
        (msgpack.packb([1, "open", "s", [], b"", [0, b"1234567", b""], []]), "whole tokens"),
        (msgpack.packb([1, "open", "s", [], b"", [-1, b"", b""], []]), "count"),
        (msgpack.packb([1, "open", "s", [], b"", [0, b""], []]), "2 items|3 items|unpack"),
        (msgpack.packb([2, "close", "s"]), "version 2"),
        (msgpack.packb([1, "exec", "s"]), "unknown kind"),
        (msgpack.packb([1, "close"]), "0 fields"),
        (msgpack.packb([1, "close", "s", 1]), "2 fields"),
        (msgpack.packb([1, "ask", "s", -1, b"", 10]), "count"),
        (msgpack.packb([1, "ask", "s", True, b"", 10]), "count"),
        (msgpack.packb({"a": 1}), "msgpack"),
        (b"\xc1", "msgpack"),
        (b"\x00" * (codec.MAX_FRAME_BYTES + 1), "at most"),
    ],
)
def test_nonsense_is_refused_with_the_reason(frame: bytes, reason: str) -> None:
    with pytest.raises(MalformedAnswer, match=reason):
        checked_reply(codec.decode(frame))  # type: ignore[arg-type]


def test_a_message_larger_than_a_frame_is_not_sent() -> None:
    with pytest.raises(ProtocolError, match="larger"):
        codec.encode(m.NextCandidates("s", 0, b"x" * (codec.MAX_FRAME_BYTES + 1), 10))


def test_a_long_refusal_is_sent_as_its_beginning() -> None:
    sent = codec.decode(codec.encode(m.Refused("s", "k" * 5000, "r" * 1_000_000)))
    assert sent == m.Refused("s", "k" * codec.MAX_REASON, "r" * codec.MAX_REASON)

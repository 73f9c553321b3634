"""The frames as they are on the wire, the limits of every field, and the reasons of refusals in full."""

from typing import Any

import msgpack
import pytest

from tokencollab.errors import MalformedAnswer
from tokencollab.protocol import codec
from tokencollab.protocol import messages as m
from tokencollab.protocol.candidates import MAX_CANDIDATES, MAX_OFFSETS, Candidate, CandidateSet
from tokencollab.protocol.pieces import MAX_PIECE_BYTES
from tokencollab.protocol.spelling import Spelling

TWO = CandidateSet((Candidate(b"\xff", 2.0, -0.5), Candidate(None, 1.0, -1.5)), 2.5)
TWO_PLAIN = [2.5, [[b"\xff", 2.0, -0.5], [None, 1.0, -1.5]]]
SPELT = Spelling(1, b"12345678", b"x")
SHARES = (0.25,) + (0.0,) * 255

FRAMES: list[tuple[codec.Message, list[Any]]] = [
    (
        m.Open("s", (m.ChatMessage("system", "x"), m.ChatMessage("user", "é"))),
        ["open", "s", [["system", "x"], ["user", "é"]], b"", None, []],
    ),
    (m.Open("s", (m.ChatMessage("assistant", ""),), b"a"), ["open", "s", [["assistant", ""]], b"a", None, []]),
    (m.Open("", (), b"a", SPELT, (b"b", None)), ["open", "", [], b"a", [1, b"12345678", b"x"], [b"b", None]]),
    (m.NextCandidates("s", 3, b"\x80a", 10), ["ask", "s", 3, b"\x80a", 10]),
    (m.NextCandidates("s", 3, b"ab", 10, (3, 5)), ["ask", "s", 3, b"ab", 10, [3, 5]]),
    (m.ScorePieces("s", 0, b"", (b"a", None)), ["score", "s", 0, b"", [b"a", None]]),
    (m.ScoreText("s", 1, b"ab"), ["logprobs", "s", 1, b"ab"]),
    (m.LogprobsReply("s", 2, (1, 2), (-0.5, 0.0), 3), ["likelihoods", "s", 2, [1, 2], [-0.5, 0.0], 3]),
    (m.ByteMarginals("s", 1, b"ab", b"b"), ["marginals", "s", 1, b"ab", b"b"]),
    (
        m.GenerateSolo("s", 1, b"a", 2, 3, True, m.Sampling(10, None, (1, 2), 0.5, 7)),
        ["alone", "s", 1, b"a", 2, 3, True, [10, None, [1, 2], 0.5, 7, "vocabulary", False], 0.0],
    ),
    (
        m.GenerateSolo("s", 1, b"a", 2, 3, False, m.Sampling(10, 0.75, (1, 1), 1.0, 0, "top_k", True), 0.75),
        ["alone", "s", 1, b"a", 2, 3, False, [10, 0.75, [1, 1], 1.0, 0, "top_k", True], 0.75],
    ),
    (m.Close("s"), ["close", "s"]),
    (m.Opened("s", 5, 100), ["opened", "s", 5, 100]),
    (m.CandidatesReply("s", 4, TWO, 1, SPELT), ["candidates", "s", 4, TWO_PLAIN, 1, [1, b"12345678", b"x"]]),
    (m.CandidatesReply("s", 4, TWO, 2, None, (TWO,)), ["candidates", "s", 4, TWO_PLAIN, 2, None, [TWO_PLAIN]]),
    (m.ScoresReply("s", 4, (1.5, -2.0), 1), ["scores", "s", 4, [1.5, -2.0], 1, None]),
    (m.MarginalsReply("s", 4, 0.25, 0.5, SHARES, 0), ["masses", "s", 4, 0.25, 0.5, list(SHARES), 0, None]),
    (m.SoloPiece("s", 4, None, None, 1), ["written", "s", 4, None, None, 1, None]),
    (m.SoloPiece("s", 4, b"a", TWO, 1), ["written", "s", 4, b"a", TWO_PLAIN, 1, None]),
    (m.Unsure("s", 4, TWO, 3, 2), ["unsure", "s", 4, TWO_PLAIN, 3, 2, None]),
    (m.SessionLost("s"), ["behind", "s"]),
    (m.ContextExhausted("s", 9), ["full", "s", 9]),
    (m.Closed("s"), ["closed", "s"]),
    (m.Refused("s", "PromptTooLong", "why"), ["refused", "s", "PromptTooLong", "why"]),
    (
        m.Task("0a" * 16, (m.ChatMessage("user", "é"),), "b", ("c",), "{}", 8, ("s",), 7, True),
        ["task", "0a" * 16, [["user", "é"]], "b", ["c"], "{}", 8, ["s"], 7, True],
    ),
    (
        m.Task("0a" * 16, (m.ChatMessage("user", "é"),), "b", None, "{}", 8, (), 7, False, 2.5),
        ["task", "0a" * 16, [["user", "é"]], "b", None, "{}", 8, [], 7, False, 2.5],
    ),
    (
        m.TaskToken("é", b"\xc3", 3, (("b", 0), ("c", None)), None, False, ("d",), (), ("line",)),
        ["token", "é", b"\xc3", 3, [["b", 0], ["c", None]], None, False, ["d"], [], ["line"]],
    ),
    (m.TaskEnded("{}", ("notice",)), ["ended", "{}", ["notice"]]),
]


@pytest.mark.parametrize(("message", "plain"), FRAMES, ids=lambda x: x[0] if isinstance(x, list) else "")
def test_the_frame_of_each_kind(message: codec.Message, plain: list[Any]) -> None:
    """Written out, because models of other people speak it."""
    frame = codec.encode(message)
    assert frame == msgpack.packb([1, *plain])
    assert codec.decode(frame) == message


def test_every_kind_has_its_frame() -> None:
    assert {type(message) for message, _ in FRAMES} == set(codec.Message.__args__)


def refusal(*frame: Any) -> str:
    with pytest.raises(MalformedAnswer) as caught:
        codec.decode(msgpack.packb(frame))
    return str(caught.value)


COUNT = "a count (0 to 2**53 - 1) expected"
NUMBER = "a finite number expected"
PROBABILITY = "a probability expected"
PIECE = f"a piece must have 1 to {MAX_PIECE_BYTES} bytes"


def task(session: str, seed: int = 0) -> tuple[Any, ...]:
    return 1, "task", session, [["user", "?"]], "b", None, "{}", 8, [], seed, False


def alone(*sampling: Any, flag: Any = True) -> tuple[Any, ...]:
    return 1, "alone", "s", 0, b"", 1, 1, flag, list(sampling), 0.0


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ((1,), "not a frame of this protocol"),
        (task("../" * 10 + "ab"), "task: 32 hexadecimal digits expected"),
        (task("0" * 33), "task: 32 hexadecimal digits expected"),
        (task("0" * 32 + "\n"), "task: 32 hexadecimal digits expected"),
        (task("0" * 32, seed=1 << 53), "task: " + COUNT),
        (task("0" * 32, seed=-1), "task: " + COUNT),
        ((2, "close", "s"), "protocol version 2, this side speaks 1"),
        ((1, "exec" * 20), f"unknown kind of message {('exec' * 10)!r}"),
        ((1, 7, "s"), "unknown kind of message '7'"),
        ((1, [], "s"), "unknown kind of message '[]'"),
        ((1, "close"), "close: 0 fields instead of 1"),
        ((1, "close", 5), "close: text expected, not int"),
        ((1, "close", b"s"), "close: text expected, not bytes"),
        ((1, "ask", "s", 0, "text", 1), "ask: bytes expected, not str"),
        ((1, "ask", "s", -1, b"", 1), "ask: " + COUNT),
        ((1, "ask", "s", 1.0, b"", 1), "ask: " + COUNT),
        ((1, "ask", "s", False, b"", 1), "ask: " + COUNT),
        ((1, "ask", "s", 1 << 53, b"", 1), "ask: " + COUNT),
        ((1, "ask", "s", 0, b"abc", 1, [2, 1]), "ask: offsets that ascend expected"),
        ((1, "ask", "s", 0, b"abc", 1, [1, 1]), "ask: offsets that ascend expected"),
        ((1, "ask", "s", 0, b"abc", 1, [-1]), "ask: " + COUNT),
        ((1, "ask", "s", 0, b"", 1, [*range(1025)]), "ask: a list of at most 1024 items expected"),
        ((1, "ask", "s", 0, b""), "ask: 3 fields instead of 5"),
        ((1, "ask", "s", 0, b"", 1, [], 0), "ask: 6 fields instead of 5"),
        ((1, "score", "s", 0, b""), "score: 3 fields instead of 4"),
        ((1, "close", "s" * 513), "close: a name of at most 512 characters expected"),
        ((1, "closed", "s" * 513), "closed: a name of at most 512 characters expected"),
        (
            (1, "task", "0" * 32, [], "b" * 513, None, "{}", 8, [], 7, True),
            "task: a name of at most 512 characters expected",
        ),
        (
            (1, "token", "", b"", 1, [["n" * 513, 0]], None, False, [], [], []),
            "token: a name of at most 512 characters expected",
        ),
        (
            (1, "token", "", b"", 1, [], None, False, ["n" * 513], [], []),
            "token: a name of at most 512 characters expected",
        ),
        (
            (1, "candidates", "s", 9, TWO_PLAIN, 1, None, [TWO_PLAIN] * 1024),
            "candidates: a list of at most 1023 items expected",
        ),
        (alone(flag=1), "alone: true or false expected, not int"),
        (alone(1, 1, 1, 1, 1, 1), "alone: a list of 7 items expected"),
        (alone(1, 1, 1, 1, 1, 1, 1, 1), "alone: a list of 7 items expected"),
        (alone(1, None, [1], 1.0, 0, "top_k", True), "alone: a list of 2 items expected"),
        (alone(1, None, [1, 1, 1], 1.0, 0, "top_k", True), "alone: a list of 2 items expected"),
        (alone(1, None, [1, 1], 1.0, 0, "x", True), "alone: over is vocabulary or top_k"),
        (alone(1, 1, [1, 1], 1.0, 0, "top_k", True), "alone: " + NUMBER),
        ((1, "open", "s", [["user", "x", "y"]], b"", None, []), "open: a list of 2 items expected"),
        ((1, "open", "s", ["ux"], b"", None, []), "open: a list of 2 items expected"),
        ((1, "open", "s", [["tool", "x"]], b"", None, []), "open: a role is system, user or assistant"),
        ((1, "open", "s", [["user", None]], b"", None, []), "open: text expected, not NoneType"),
        ((1, "open", "s", [["user", "x"]] * 4097, b"", None, []), "open: a list of at most 4096 items expected"),
        ((1, "open", "s", [], b"", [0, b""], []), "open: a list of 3 items expected"),
        ((1, "open", "s", [], b"", [0, b"", b"", 0], []), "open: a list of 3 items expected"),
        ((1, "open", "s", [], b"", [0, "", b""], []), "open: bytes expected, not str"),
        (
            (1, "open", "s", [], b"", [0, b"1234567", b""], []),
            "open: a spelling of whole tokens (8 bytes each) expected",
        ),
        ((1, "open", "s", [], b"", [-1, b"", b""], []), "open: " + COUNT),
        ((1, "open", "s", [], b"", [0, b"", None], []), "open: bytes expected, not NoneType"),
        ((1, "score", "s", 0, b"", [b""]), "score: " + PIECE),
        ((1, "score", "s", 0, b"", [b"x" * (MAX_PIECE_BYTES + 1)]), "score: " + PIECE),
        ((1, "score", "s", 0, b"", ["x"]), "score: bytes expected, not str"),
        ((1, "score", "s", 0, b"", b"xy"), "score: a list of at most 4096 items expected"),
        ((1, "score", "s", 0, b"", [None] * 4097), "score: a list of at most 4096 items expected"),
        ((1, "scores", "s", 0, [1], 0, None), "scores: " + NUMBER),
        ((1, "scores", "s", 0, [float("nan")], 0, None), "scores: " + NUMBER),
        ((1, "candidates", "s", 0, [1.0, [], 1.0], 0, None), "candidates: a list of 2 items expected"),
        ((1, "candidates", "s", 0, [1.0, [[b"a", 1.0]]], 0, None), "candidates: a list of 3 items expected"),
        ((1, "candidates", "s", 0, [1.0, [[b"a", 1.0, -1.0, 0]]], 0, None), "candidates: a list of 3 items expected"),
        (
            (1, "candidates", "s", 0, [1.0, [[b"a", 1.0, -1.0]] * (MAX_CANDIDATES + 1)], 0, None),
            f"candidates: a list of at most {MAX_CANDIDATES} items expected",
        ),
        ((1, "likelihoods", "s", 0, [0], [0.5], 0), "likelihoods: log-probabilities (at most zero) expected"),
        ((1, "refused", "s", "k", "x" * 1001), "refused: a reason of at most 1000 characters expected"),
        (("v" * 99, "close", "s"), f"protocol version {'v' * 40}, this side speaks 1"),
        ((1, "k" * 99, "s"), f"unknown kind of message '{'k' * 40}'"),
        ((1, "masses", "s", 0, 0.0, 0.0, [0.0] * 255, 0, None), "masses: a list of 256 items expected"),
        ((1, "masses", "s", 0, 0.0, 0.0, [0.0] * 257, 0, None), "masses: a list of 256 items expected"),
        ((1, "masses", "s", 0, -1e-8, 0.0, [0.0] * 256, 0, None), "masses: " + PROBABILITY),
        ((1, "masses", "s", 0, 0.0, 1.00001, [0.0] * 256, 0, None), "masses: " + PROBABILITY),
        ((1, "masses", "s", 0, 0.0, 0.0, [0.0] * 255 + [1.5], 0, None), "masses: " + PROBABILITY),
    ],
)
def test_the_reason_of_a_refusal(frame: tuple[Any, ...], reason: str) -> None:
    assert refusal(*frame) == reason


def test_what_is_not_msgpack_is_named() -> None:
    with pytest.raises(MalformedAnswer, match=r"^not a msgpack frame: FormatError$"):
        codec.decode(b"\xc1")
    with pytest.raises(MalformedAnswer, match=r"^a frame of 8388609 bytes, at most 8388608 are allowed$"):
        codec.decode(b"x" * (codec.MAX_FRAME_BYTES + 1))


@pytest.mark.parametrize("large", [b"", b"x" * 70_000], ids=["small", "large"])
def test_maps_and_extensions_are_not_even_read(large: bytes) -> None:
    for value in ({}, {"a": 1}, msgpack.ExtType(1, b""), msgpack.ExtType(1, b"x")):
        frame = msgpack.packb([1, "close", value, large])
        if value == {} or value == msgpack.ExtType(1, b""):  # nothing in it
            assert refusal(1, "close", value, large) == "close: 2 fields instead of 1"
        else:
            with pytest.raises(MalformedAnswer, match=r"^not a msgpack frame: "):
                codec.decode(frame)


def test_a_frame_has_so_many_values_and_no_deeper_lists() -> None:
    most = codec._MAX_VALUES - 4  # the frame itself, version and kind, and the list
    assert refusal(1, "none", [0] * most) == "unknown kind of message 'none'"
    assert refusal(1, "none", [0] * (most + 1)) == "not a msgpack frame: ValueError"
    wide = b"x" * 70_000  # a frame that is read value by value
    assert refusal(1, "none", wide, [[[[0]]]]) == "unknown kind of message 'none'"
    assert refusal(1, "none", wide, [[[[[0]]]]]) == "not a msgpack frame: ValueError"


def test_the_limits_themselves_are_allowed() -> None:
    shares = (-1e-9, 1 + 1e-6, *SHARES[2:])
    for message in (
        m.NextCandidates("s", (1 << 53) - 1, b"", 0),
        m.NextCandidates("s", 0, b"x" * MAX_OFFSETS, 5, tuple(range(MAX_OFFSETS))),
        m.CandidatesReply("s", 9, TWO, 1, None, (TWO,) * (MAX_OFFSETS - 1)),
        m.ScorePieces("s", 0, b"", (b"x" * MAX_PIECE_BYTES,) + (None,) * 4095),
        m.MarginalsReply("s", 0, 0.0, 0.0, shares, 0),
        m.LogprobsReply("s", 0, tuple(range(5000)), (-1.0,) * 5000, 0),
        m.Refused("s", "k" * codec.MAX_REASON, "r" * codec.MAX_REASON),
        m.CandidatesReply(
            "s", 0, CandidateSet(tuple(Candidate(b"%d" % i, 0.0, -9.0) for i in range(MAX_CANDIDATES)), 9.0), 0
        ),
    ):
        assert codec.decode(codec.encode(message)) == message


def test_the_longest_text_has_all_its_probabilities() -> None:
    message = m.LogprobsReply("s", 0, tuple(range(codec._MAX_TOKENS)), (-1.0,) * codec._MAX_TOKENS, 0)
    assert codec.decode(codec.encode(message)) == message


def test_the_largest_frame_goes_through() -> None:
    rest = len(codec.encode(m.NextCandidates("s", 0, b"x" * 70_000, 10))) - 70_000
    largest = m.NextCandidates("s", 0, b"x" * (codec.MAX_FRAME_BYTES - rest), 10)
    frame = codec.encode(largest)
    assert len(frame) == codec.MAX_FRAME_BYTES
    assert codec.decode(frame) == largest

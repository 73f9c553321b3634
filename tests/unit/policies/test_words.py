"""Where words and characters end, and `owner_finishes` on the case that made it: "Sween Todd"."""

import pytest

from tests.unit.policies.policykit import by_probability
from tokencollab.policies.decision import Decider, sampling_of
from tokencollab.policies.methods import parse_method
from tokencollab.policies.selection import DRAWS, select
from tokencollab.policies.words import NO_WORD, Word, goes_on
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.pieces import Piece


def tail_after(*pieces: bytes) -> Word:
    word = NO_WORD
    for piece in pieces:
        word = word.after(piece, ("a",), ("a", "b"))
    return word


@pytest.mark.parametrize(
    ("text", "piece", "continues"),
    [
        (b"", b"a", False),
        (b"a", b"b", True),
        (b"a", b"9", True),
        (b"Z9", b"_", True),
        (b"don", b"'t", True),
        (b"a", b" b", False),
        (b"a", b".", False),
        (b"a", b"\n", False),
        (b"a ", b"b", False),
        (b"a.", b"b", False),
        (b"a", None, False),
        ("é".encode(), b"t", True),
        (b"caf", "é".encode(), True),
        ("при".encode(), "вет".encode(), True),
        ("\u00a0".encode(), b"a", False),  # no-break space
        (b"a", "«".encode(), False),
        ("日".encode(), "本".encode(), False),
        (b"a", "日".encode(), False),
        (b"a", "ก".encode(), False),  # begins with 0xE0, the first of three bytes
        ("日".encode(), b"a", False),
        ("日".encode()[:1], "日".encode()[1:], True),
        ("日".encode()[:2], b" ", True),
        ("x日".encode()[:3], b"\xa5", True),
        ("😀".encode()[:3], b"\x80", True),
        ("😀".encode(), b"a", False),
        (b"\xc3", b"\xa9", True),
        (b"\x80", b"a", False),
        (b"\xff", b"a", False),
        (b"\xf5", b"\x80", False),
        (b"a\x80\x80\x80\x80\x80", b"a", False),
        (b"a\x80", b"a", False),
        (b"xa\x80", b"a", False),
        (b"xa\x80\x80\x80\x80", b"a", False),
    ],
)
def test_what_goes_on_with_a_word(text: bytes, piece: Piece, continues: bool) -> None:
    for cut in range(len(text) + 1):  # the same text in two pieces
        parts = [part for part in (text[:cut], text[cut:]) if part]
        assert tail_after(*parts).continued_by(piece) is continues


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        (b"", False),
        (b"a", False),
        (b"\xc3", True),
        (b"\xc2", True),
        (b"\xdf", True),
        (b"\xe0\xa4", True),
        (b"\xef\xbb", True),
        (b"\xf0\x9f\x98", True),
        (b"\xc3\xc3", True),
        ("é".encode(), False),
        ("日".encode()[:1], True),
        ("日".encode()[:2], True),
        ("日".encode(), False),
        ("😀".encode()[:3], True),
        ("😀".encode(), False),
        (b"\xc1", False),
        (b"\xf4", True),
        (b"\xf5", False),
    ],
)
def test_inside_a_character(text: bytes, inside: bool) -> None:
    assert tail_after(*([text] if text else [])).mid_character is inside


def test_owners_are_those_that_listed_the_piece_until_the_word_ends() -> None:
    everybody = ("a", "b", "c")
    word = NO_WORD.after(b" S", everybody, everybody)
    assert word.owners == ()
    word = word.after(b"ween", ("b", "c"), everybody)
    assert word.owners == ("b", "c")
    word = word.after(b"ey", ("a", "c"), everybody)
    assert word.owners == ("c",)  # the owners narrow, they never widen inside a word
    assert word.after(b"s", everybody, everybody).owners == ("c",)
    assert word.after(b" Todd", everybody, everybody).owners == ()
    assert word.after(b" Todd", ("a",), everybody).owners == ("a",)
    assert word.after(b". ", ("a",), everybody).owners == ()  # no word is open after it
    assert word.after(None, ("a",), everybody) == Word(tail=b"y")


def chosen(word: Word, sets: dict[str, CandidateSet], *, finishes: bool = True) -> Piece:
    method = parse_method("dp", owner_finishes=finishes or None)
    decider = Decider(method, sampling_of(method, 0))
    return decider.decide(2, [decider.ballot(model, sets[model]) for model in sorted(sets)], word)


def test_the_owner_finishes_its_word_before_all_go_on() -> None:
    sets = {
        "a": by_probability((b" Todd", 0.9), (b"s", 0.05)),
        "b": by_probability((b"ey", 0.6), (b" ", 0.3)),
    }
    assert chosen(NO_WORD, sets) == b" Todd"
    owned = Word(("b",), b"n")
    assert chosen(owned, sets) == b"ey"
    # the owner is through with the word: everybody votes, but nobody takes the word up again
    sets["b"] = by_probability((b" Tod", 0.6), (b"s", 0.3))
    sets["a"] = by_probability((b"s", 0.9), (b" Todd", 0.02), (b" Tod", 0.01))
    assert chosen(NO_WORD, sets) == b"s"
    assert chosen(owned, sets) == b" Tod"
    sets["b"] = by_probability((b" ", 0.6), (b"s", 0.3))
    sets["a"] = by_probability((b" Todd", 0.7), (b"s", 0.3))
    assert chosen(owned, sets) == b" Todd"


def test_what_was_decisive_is_judged_with_the_draws_of_the_step() -> None:
    method = parse_method("dp", top_t=2)
    decider = Decider(method, sampling_of(method, 0))
    sets = {"a": by_probability((b"x", 0.4), (b"y", 0.3)), "b": by_probability((b"x", 0.4), (b"y", 0.3))}
    ballots = [decider.ballot(model, sets[model]) for model in sorted(sets)]
    chosen_pieces = set()
    for step in range(1, 30):
        piece = decider.decide(step, ballots, NO_WORD)
        chosen_pieces.add(piece)
        assert decider.decisive(step, piece, ballots, NO_WORD) == frozenset()  # either says what both say
    assert chosen_pieces == {b"x", b"y"}
    other = {**sets, "a": by_probability((b"z", 0.7))}
    ballots = [decider.ballot(model, other[model]) for model in sorted(other)]
    assert Decider(parse_method("dp"), sampling_of(parse_method("dp"), 0)).decisive(1, b"z", ballots, NO_WORD) == {"a"}
    assert decider.decisive(1, b"z", ballots[:1], NO_WORD) == frozenset()  # nobody to choose without it


def test_the_second_vote_has_draws_of_its_own() -> None:
    """The owner is through with the word in every step; who goes on is drawn anew among what everybody lists."""
    method = parse_method("dp", top_t=2, owner_finishes=True)
    decider = Decider(method, sampling_of(method, 0))
    even = by_probability((b" x", 0.4), (b" y", 0.4))
    ballots = [decider.ballot("a", even), decider.ballot("b", even)]
    scored = [(b" x", 0.8, 0.8), (b" y", 0.8, 0.8)]
    for step in range(1, 40):
        assert decider.decide(step, ballots, Word(("b",), b"n")) == select(scored, decider.sampling, step, DRAWS)
        inside = Word(("b",), b"\xe6")
        assert decider.decide(step, ballots, inside) == select(scored, decider.sampling, step)


def test_inside_a_character_only_its_owner_counts() -> None:
    inside = Word(("b",), "日".encode()[:2])
    sets = {"a": by_probability((b" x", 0.9)), "b": by_probability((b" ", 0.5), (b"\xa5", 0.4))}
    assert chosen(inside, sets) == b" "
    assert chosen(Word(("c",), "日".encode()[:2]), sets) == b" x"  # the owner was lost: everybody
    assert chosen(Word(("c", "b"), "日".encode()[:2]), sets) == b" "


def test_without_the_option_nobody_owns_a_word() -> None:
    method = parse_method("dp")
    decider = Decider(method, sampling_of(method, 0))
    ballots = [decider.ballot("a", by_probability((b"x", 0.9))), decider.ballot("b", by_probability((b"y", 0.9)))]
    assert decider.word_after(NO_WORD, b"x", ballots) is NO_WORD
    owning = parse_method("dp", owner_finishes=True)
    assert Decider(owning, sampling_of(owning, 0)).word_after(NO_WORD, b"x", ballots) == Word(("a",), b"x")


@pytest.mark.parametrize(
    ("text", "piece", "goes"),
    [
        (b"", b"a", False),
        (b"ab", b"c", True),
        (b"ab", b" c", False),
        (b"ab ", b"c", True),  # the space before a word belongs to it
        (b"ab ", b" ", True),
        (b"ab ", b";", True),
        (b"12", b";", False),
        (b";", b"1", False),
        (b"a", None, False),
        (b"a ", None, False),
        ("日".encode()[:1], "日".encode()[1:], True),
        ("日".encode(), "本".encode(), False),
    ],
)
def test_what_goes_on_with_the_end_of_a_text(text: bytes, piece: bytes | None, goes: bool) -> None:
    assert goes_on(text, piece) is goes

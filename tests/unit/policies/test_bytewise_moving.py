"""When a model of bytewise voting moves, and what it carries: scripted answers, worked out by hand."""

from dataclasses import replace

import pytest

from tests.support.byte_table import BYTEWISE, Table, Watch
from tests.support.candidates import listed, surely
from tokencollab.policies import events as e
from tokencollab.protocol.candidates import Candidate, CandidateSet

NOTHING = (0.0,) * 256


@pytest.mark.parametrize(("commit", "text"), [(0.75, b"ab"), (0.8, b"abc")])
def test_a_piece_is_whole_when_stopping_is_probable_enough(commit: float, text: bytes) -> None:
    """.7 / (.7 + .2) = .78."""
    table = Table(("a",), replace(BYTEWISE, commit=commit))
    table.answer(a=listed((b"ab", 0.7), (b"abc", 0.2), (b"x", 0.1)))
    assert table.text == text


@pytest.mark.parametrize(("commit", "text"), [(0.35, b"a"), (0.4, b"ab")])
def test_so_is_a_shorter_one_on_the_way(commit: float, text: bytes) -> None:
    """.35 / (.35 + .6) = .37."""
    table = Table(("a",), replace(BYTEWISE, commit=commit))
    table.answer(a=listed((b"ab", 0.62), (b"a", 0.36), (b"x", 0.02)))
    assert table.text == text


def test_a_list_of_end_alone() -> None:
    table = Table(("a", "b"))
    table.answer(a=listed((None, 1.0)), b=listed((None, 1.0)))
    assert table.stopped() == "end"


def test_without_a_word_to_say_and_nothing_carried() -> None:
    table = Table(("a",), replace(BYTEWISE, carry=False))
    table.answer(a=CandidateSet((Candidate(b"x", 0.0, -2000.0),), 0.0))
    (question,) = table.commands
    assert isinstance(question, e.RequestMarginals)
    table.hear(e.MarginalsArrived("a", question.question, 0.0, 0.0, NOTHING))
    assert table.stopped() == "failed"


def test_weights_that_fade_are_kept_in_proportion() -> None:
    table = Table(("a", "b"), replace(BYTEWISE, weights=(("a", 1e-150), ("b", 3e-150))))
    table.answer(a=surely(b"84"), b=surely(b"8"))
    assert [voter.weight for voter in table.voters] == pytest.approx([1 / 2.7, 1.0])
    assert [voter.prior for voter in table.voters] == [1e-150, 3e-150]


def test_decisive_models_add_up_over_a_step() -> None:
    """8 has .6 + .9 + 1.1 * .2, 9 has .4 + 1.1 * .8; then 4 has .6 + .22 + .9 * .3, 5 has .9 * .7."""
    table = Table(("a", "b", "c"), replace(BYTEWISE, weights=(("c", 1.1),)), Watch())
    table.answer(a=listed((b"84", 0.6), (b"9", 0.4)), b=surely(b"8"), c=listed((b"9", 0.8), (b"84", 0.2)))
    assert table.state.exit == ()
    table.answer(b=listed((b"5", 0.7), (b"4", 0.3)))
    assert table.text == b"84"
    assert table.state.exit[0].decisive == {"a", "b"}

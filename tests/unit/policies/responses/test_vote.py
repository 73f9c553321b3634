"""The formulas of docs/specification.md section 7, by hand."""

from math import log2

import pytest

from tokencollab.policies.responses.switching import Need, Rule, SwitchVerdict, decide
from tokencollab.policies.responses.vote import entropy, internal_weight, ranked, vote


def test_entropy_in_bits() -> None:
    assert entropy([4]) == 0
    assert entropy([2, 2]) == 1
    assert entropy([1, 3]) == pytest.approx(0.25 * 2 + 0.75 * log2(4 / 3))


def test_internal_weight() -> None:
    assert internal_weight([]) == 1
    assert internal_weight([5]) == 1
    assert internal_weight([1, 1, 1]) == pytest.approx(1 / 3)
    assert internal_weight([1, 3]) == pytest.approx(0.25 + 0.75 * (1 - entropy([1, 3])))


def test_the_vote_by_hand() -> None:
    samples = (("A", ("5", "5", "6", None)), ("B", ("7", "7", "6", "7")))
    weight_a = 1 / 3 + 2 / 3 * (1 - entropy([2, 1]))
    weight_b = 1 / 4 + 3 / 4 * (1 - entropy([3, 1]))
    scores = dict(vote(samples, {"A": 2.0}))
    assert scores == {
        "5": pytest.approx(2 * weight_a * 2),
        "6": pytest.approx(2 * weight_a + weight_b),
        "7": pytest.approx(weight_b * 3),
    }


def test_ties_go_to_the_earlier_model_then_the_earlier_sample() -> None:
    assert vote((("A", ("x", "y")), ("B", ("y", "x"))), {})[0][0] == "x"
    assert vote((("A", ("y", "x")), ("B", ("x", "y"))), {})[0][0] == "y"
    assert ranked({"a": 0.1 + 0.2, "b": 0.3}) == (("a", 0.1 + 0.2), ("b", 0.3))
    assert ranked({"b": 0.3, "a": 0.1 + 0.2})[0][0] == "b"  # equal but for rounding
    assert ranked({"a": -2.0, "b": -1.0})[0][0] == "b"


def given(**answers: list[str | None]) -> dict[str, dict[int, str | None]]:
    return {model: dict(enumerate(listed)) for model, listed in answers.items()}


def test_it_stops_at_the_first_consistent_model() -> None:
    rule = Rule(("A", "B"), 3)
    verdict = decide(rule, given(A=["5", "5", "5"], B=[]))
    assert isinstance(verdict, SwitchVerdict)
    assert (verdict.answer, verdict.model) == ("5", "A")
    assert verdict.outcome(rule).samples == 3
    verdict = decide(rule, given(A=["5", "6", "5"], B=["7", "7", "7"]))
    assert isinstance(verdict, SwitchVerdict)
    assert (verdict.answer, verdict.model, verdict.outcome(rule).samples) == ("7", "B", 6)


def test_an_unreadable_answer_is_no_agreement() -> None:
    assert decide(Rule(("A", "B"), 2), given(A=["5", None], B=[])) == Need("B", 0)


def test_without_defer_a_model_gives_all_its_samples_before_the_next_is_asked() -> None:
    assert decide(Rule(("A", "B"), 4), given(A=["5", "5", "6"], B=[])) == Need("A", 3)


def test_a_rest_that_is_deferred_is_drawn_for_the_vote_only() -> None:
    rule = Rule(("A", "B"), 4, defer=True)
    assert decide(rule, given(A=["5", "6"], B=[])) == Need("B", 0)
    verdict = decide(rule, given(A=["5", "6"], B=["7"] * 4))
    assert isinstance(verdict, SwitchVerdict)
    assert (verdict.answer, verdict.outcome(rule).samples) == ("7", 6)
    assert decide(rule, given(A=["5", "6"], B=["7", "8"])) == Need("A", 2)


def test_all_unreadable_is_a_clear_outcome() -> None:
    rule = Rule(("A", "B"), 2)
    verdict = decide(rule, given(A=[None, None], B=[None, None]))
    assert isinstance(verdict, SwitchVerdict)
    outcome = verdict.outcome(rule)
    assert (outcome.answer, outcome.decided_by, outcome.reason, outcome.scores) == (None, None, "unreadable", ())


def test_a_threshold_below_one() -> None:
    rule = Rule(("A", "B"), 5, threshold=0.6)
    verdict = decide(rule, given(A=["5", "5", "5"], B=[]))  # 3 of 5, and the rest cannot change it
    assert isinstance(verdict, SwitchVerdict)
    assert (verdict.answer, verdict.outcome(rule).samples) == ("5", 3)
    rule = Rule(("A", "B"), 5, threshold=0.4)
    assert decide(rule, given(A=["5", "5"], B=[])) == Need("A", 2)  # another may still be commoner


def test_the_last_sample_of_a_decided_vote_is_not_drawn() -> None:
    rule = Rule(("A",), 5, threshold=None)
    verdict = decide(rule, given(A=["5", "5", "6", "5"]))
    assert isinstance(verdict, SwitchVerdict)
    assert (verdict.answer, verdict.outcome(rule).samples) == ("5", 3 + 1)
    assert decide(rule, given(A=["5", "5", "6"])) == Need("A", 3)
    assert isinstance(decide(rule, given(A=["5", "5", "5"])), SwitchVerdict)


def test_a_vote_is_not_settled_while_the_last_model_may_turn_it() -> None:
    rule = Rule(("A", "B"), 3, priors=(("A", 1.9),))
    assert decide(rule, given(A=["5", "5", "6"], B=["7", "6"])) == Need("B", 2)
    verdict = decide(rule, given(A=["5", "5", "6"], B=["7", "6", "6"]))
    assert isinstance(verdict, SwitchVerdict)
    assert verdict.answer == "6"
    rule = Rule(("A", "B"), 3, priors=(("A", 9),))
    assert isinstance(decide(rule, given(A=["5", "5", "6"], B=["7", "6"])), SwitchVerdict)


def test_an_earlier_answer_that_may_still_draw_level_is_waited_for() -> None:
    rule = Rule(("A",), 4, threshold=None)
    assert decide(rule, given(A=["5", "6", "6"])) == Need("A", 3)  # another 5 would win the tie
    verdict = decide(rule, given(A=["6", "6", "5"]))
    assert isinstance(verdict, SwitchVerdict)  # another 5 would lose it
    assert verdict.answer == "6"


def test_a_lost_model_counts_with_what_it_gave() -> None:
    rule = Rule(("A", "B"), 3)
    some: dict[str, dict[int, str | None]] = {"A": {0: "5", 2: "5"}, "B": {0: "6", 1: "7"}}
    verdict = decide(rule, some, frozenset({"A", "B"}))
    assert isinstance(verdict, SwitchVerdict)
    assert (verdict.answer, verdict.model, verdict.outcome(rule).samples) == ("5", None, 4)

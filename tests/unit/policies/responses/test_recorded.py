"""Recorded samples: what is recomputed from them, and what is refused with its line."""

import json
from typing import Any

import pytest

from tokencollab.errors import TraceError, UsageError
from tokencollab.policies.responses.recorded import (
    are_samples,
    canonical_samples,
    parse_recorded,
    record,
    replay_recorded,
)
from tokencollab.policies.responses.response_methods import parse_response_method


def line(**more: Any) -> str:
    return json.dumps({"samples": {"A": ["5", "6", None], "B": ["7", "7", "7"]}, **more})


def test_the_switch_the_vote_and_the_budget_follow_from_the_samples() -> None:
    (recorded,) = parse_recorded(line())
    outcome = replay_recorded(recorded, parse_response_method("modelswitch", samples=3))
    assert (outcome.answer, outcome.decided_by, outcome.samples, outcome.budget) == ("7", "B", 6, 6)
    assert dict(outcome.scores) == {"7": 3.0, "5": 0.5, "6": 0.5}
    swapped = replay_recorded(recorded.only(["B", "A"]), parse_response_method("modelswitch", samples=3))
    assert (swapped.answer, swapped.samples, dict(swapped.scores)) == ("7", 3, {"7": 3.0})
    only_a = replay_recorded(recorded.only(["A"]), parse_response_method("self-consistency", samples=3))
    assert (only_a.answer, only_a.decided_by) == ("5", None)


def test_fewer_samples_than_recorded_may_be_asked_for() -> None:
    (recorded,) = parse_recorded(line())
    outcome = replay_recorded(recorded, parse_response_method("modelswitch", samples=1))
    assert (outcome.answer, outcome.decided_by, outcome.samples, outcome.budget) == ("5", "A", 1, 2)


def test_more_than_recorded_is_refused_unless_the_model_was_lost_or_nobody_needs_them() -> None:
    (recorded,) = parse_recorded(line())
    with pytest.raises(TraceError, match="line 1: A has 3 samples where 4"):
        replay_recorded(recorded, parse_response_method("modelswitch", samples=4))
    (lost,) = parse_recorded(line(lost=["A", "B"]))
    assert replay_recorded(lost, parse_response_method("modelswitch", samples=4)).answer == "7"
    short = json.dumps({"samples": {"A": ["5", "5"], "B": []}})
    (enough,) = parse_recorded(short)
    assert replay_recorded(enough, parse_response_method("modelswitch", samples=2)).samples == 2


def test_a_recorded_line_comes_back() -> None:
    method = parse_response_method("modelswitch", samples=2, priors={"A": 2})
    text = record((("A", ("5", None)), ("B", ())), ["B"], method, 7, prompt="?")
    (recorded,) = parse_recorded(text)
    assert recorded.samples == (("A", ("5", None)), ("B", ()))
    assert recorded.lost == {"B"}
    assert (recorded.method, recorded.seed, recorded.most) == (method, 7, 2)


def test_the_best_of_n_follows_from_recorded_scores() -> None:
    text = line(scores={"B": [0.5, 0.25, 0.5], "A": [0.9, 0.1, None]})
    (recorded,) = parse_recorded(text)
    best = replay_recorded(recorded, parse_response_method("best-of-n", models=2, samples=3))
    assert (best.answer, best.reason, best.scores) == ("5", "score", (("5", 0.9), ("7", 0.5), ("6", 0.1)))
    assert (best.samples, best.sample_scores) == (6, recorded.scores)
    total = replay_recorded(recorded, parse_response_method("best-of-n", models=2, samples=3, pick="sum"))
    assert (total.answer, total.scores[0]) == ("7", ("7", 1.25))
    one = replay_recorded(recorded.only(["B", "A"]), parse_response_method("best-of-n", models=2, samples=1))
    assert (one.answer, one.sample_scores) == ("5", (("B", (0.5,)), ("A", (0.9,))))
    # A switch looks at the scores only where no model agrees with itself.
    switch = replay_recorded(recorded, parse_response_method("modelswitch", samples=2, scorer="likelihood"))
    assert (switch.answer, switch.decided_by, switch.reason) == ("7", "B", "consistent")
    again = record(recorded.samples, (), parse_response_method("best-of-n", models=2), 0, recorded.scores)
    assert parse_recorded(again)[0].scores == recorded.scores
    # Read another way an answer may be unreadable: its score does not count then.
    dates = canonical_samples(recorded, lambda answer: None if answer == "5" else answer)
    assert replay_recorded(dates, parse_response_method("best-of-n", models=2, samples=3)).answer == "7"


SCORED = parse_response_method("modelswitch", samples=2, scorer="likelihood")


def test_scores_are_needed_only_where_the_decision_would_need_them() -> None:
    for samples, answer, reason in (
        ({"A": ["5", "5"], "B": []}, "5", "consistent"),
        ({"A": [None, None], "B": [None, None]}, None, "unreadable"),
    ):
        (recorded,) = parse_recorded(json.dumps({"samples": samples}))
        outcome = replay_recorded(recorded, SCORED)
        assert (outcome.answer, outcome.reason) == (answer, reason)


def test_where_the_scorer_failed_the_recorded_vote_stands_for_the_same_decision_only() -> None:
    (recorded,) = parse_recorded(record((("A", ("5", "6")), ("B", ("7", "6"))), (), SCORED, 0))
    outcome = replay_recorded(recorded, SCORED)
    assert (outcome.answer, outcome.reason, outcome.sample_scores) == ("6", "vote", ())
    same = canonical_samples(recorded.only(["A", "B"]), str)
    assert replay_recorded(same, SCORED) == outcome
    # Nobody knows what a scorer would have said of another decision.
    others = (
        (recorded, parse_response_method("best-of-n", models=2, samples=2)),
        (recorded.only(["B", "A"]), SCORED),
        (canonical_samples(recorded, lambda answer: "8" if answer == "7" else answer).only(["A", "B"]), SCORED),
    )
    for other, method in others:
        with pytest.raises(UsageError, match="needs the samples' scores, and line 1 has none"):
            replay_recorded(other, method)


def test_a_line_separator_in_an_answer_ends_no_line() -> None:
    text = json.dumps({"samples": {"A": ["a\u2028b"]}}, ensure_ascii=False)
    assert parse_recorded(f"{text}\n{text}")[1].samples == (("A", ("a\u2028b",)),)


def test_several_questions_and_one_over_several_lines() -> None:
    assert [entry.line for entry in parse_recorded(line() + "\n" + line() + "\n")] == [1, 2]
    pretty = json.dumps(json.loads(line()), indent=2)
    assert parse_recorded(pretty)[0].samples == parse_recorded(line())[0].samples
    assert are_samples(pretty)
    assert are_samples(line() + "\n{")
    assert not are_samples('{"tokencollab_trace": 1}\n')
    assert not are_samples("")
    assert not are_samples("{")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1: the trace is empty"),
        (line()[:-5], "line 1: not whole JSON"),
        (line() + "\n" + line()[:20], "line 2: not whole JSON"),
        (line() + "\n\n" + line(), "line 2: not whole JSON"),
        ("[]", "line 1: a line of recorded samples"),
        ("{}", "line 1: a line of recorded samples"),
        ('{"samples": []}', "line 1: samples must give"),
        ('{"samples": {}}', "line 1: samples must give"),
        ('{"samples": {"A": "5"}}', "line 1: the samples of 'A'"),
        ('{"samples": {"A": ["5", 6]}}', "line 1: answer 2 of A"),
        ('{"samples": {"A": [""]}}', "line 1: answer 1 of A"),
        ('{"samples": {"A": [["5"]]}}', "line 1: answer 1 of A"),
        ('{"samples": {"A": []}}', "line 1: there are no samples"),
        ('{"samples": {"": ["5"]}}', "line 1: the samples of ''"),
        ('{"samples": {"A": ["5"], "A": ["6"]}}', "twice"),
        ('{"samples": {"A": ["5"]}, "x": NaN}', "NaN"),
        (line() + '\n{"samples": {"A": ["\\ud800"]}}', "^line 2: .*contains a lone surrogate$"),
        ('{"samples": {"\\udfff": [5]}}', "^line 1: .*contains a lone surrogate$"),
        ('{"samples": {"A": ["5"]}, "method": {"\\udfff": 1}}', "^line 1: .*contains a lone surrogate$"),
        ('{"samples": {"A": ["5"]}, "lost": ["B"]}', "line 1: lost must name"),
        ('{"samples": {"A": ["5"]}, "seed": -1}', "line 1: seed"),
        ('{"samples": {"A": ["5"]}, "method": {"name": "x"}}', "line 1: "),
        ('{"samples": {"A": ["5"]}, "scores": [1]}', "line 1: scores must give"),
        ('{"samples": {"A": ["5"]}, "scores": {"B": [1]}}', "line 1: scores must give"),
        ('{"samples": {"A": ["5"]}, "scores": {"A": [1, 2]}}', "line 1: the scores of A must be a list of 1 numbers"),
        ('{"samples": {"A": ["5", null]}, "scores": {"A": [null, null]}}', "line 1: score 1 of A"),
        ('{"samples": {"A": ["5"]}, "scores": {"A": [true]}}', "line 1: score 1 of A"),
        ('{"samples": {"A": ["5"]}, "scores": {"A": [1e999]}}', "line 1: .*1e999 is out of range"),
        (
            '{"samples": {"A": ["5"]}, "scores": {"A": [1e308]}}',
            r"line 1: score 1 of A must .* from -1e\+150 to 1e\+150",
        ),
        ('{"samples": {"A": ["5"]}, "scores": {"A": [1%s]}}' % ("0" * 400), "line 1: score 1 of A"),
    ],
)
def test_damage_is_refused_with_line_and_reason(text: str, reason: str) -> None:
    with pytest.raises(TraceError, match=reason):
        parse_recorded(text)


def test_other_methods_cannot_be_recomputed() -> None:
    (recorded,) = parse_recorded(line())
    for name in ("mad", "transfer"):
        with pytest.raises(UsageError, match="cannot be recomputed"):
            replay_recorded(recorded, parse_response_method(name, models=2))
    with pytest.raises(UsageError, match="best-of-n with a scorer needs the samples' scores, and line 1 has none"):
        replay_recorded(recorded, parse_response_method("best-of-n", models=2, samples=3))
    with pytest.raises(UsageError, match="not of 'C'"):
        recorded.only(["C"])
    with pytest.raises(UsageError, match="once"):
        recorded.only(["A", "A"])

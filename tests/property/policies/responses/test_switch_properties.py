"""ModelSwitch against a plain reference that draws everything, and what must hold of it whatever the samples."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokencollab.policies.responses import events as e
from tokencollab.policies.responses.switch import SwitchPolicy
from tokencollab.policies.responses.switching import Rule, SwitchVerdict, decide
from tokencollab.policies.responses.vote import entropy, internal_weight
from tokencollab.protocol.messages import ChatMessage

TURNS = (ChatMessage("user", "?"),)
ANSWERS = st.sampled_from(["x", "y", "z", None])
THRESHOLDS = st.sampled_from([1.0, 0.9, 0.75, 0.6, 0.5, 0.3, None])
Table = dict[str, list[str | None]]


@st.composite
def tables(draw: st.DrawFn, most: int = 3) -> tuple[int, Table]:
    k, count = draw(st.integers(1, 6)), draw(st.integers(1, most))
    return k, {name: draw(st.lists(ANSWERS, min_size=k, max_size=k)) for name in "ABC"[:count]}


@st.composite
def rules(draw: st.DrawFn, k: int, table: Table) -> Rule:
    priors = draw(st.dictionaries(st.sampled_from(sorted(table)), st.sampled_from([0.25, 1.0, 1.5, 4.0])))
    return Rule(
        tuple(table), k, draw(THRESHOLDS), tuple(sorted(priors.items())), draw(st.booleans()), draw(st.booleans())
    )


def reference(rule: Rule, table: Table) -> tuple[str | None, str | None]:
    """The text of docs/specification.md, all samples drawn: the answer, and the model that decided."""
    for model in rule.models:
        counts = Counter(answer for answer in table[model] if answer is not None)
        if counts and rule.threshold is not None:
            answer, count = counts.most_common(1)[0]
            if count / rule.samples >= rule.threshold - 1e-12:
                return answer, model
    scores: dict[str, float] = {}
    for model in rule.models:
        counts = Counter(answer for answer in table[model] if answer is not None)
        n, distinct = sum(counts.values()), len(counts)
        h = -sum(c / n * log2(c / n) for c in counts.values())
        weight = 1.0 if distinct < 2 else 1 / n + (1 - 1 / n) * (1 - h / log2(distinct))
        for answer, count in counts.items():
            scores[answer] = scores.get(answer, 0.0) + dict(rule.priors).get(model, 1.0) * weight * count
    if not scores:
        return None, None
    best = max(scores.values())
    return next(answer for answer, score in scores.items() if score > best - 1e-9 * best), None


def draw_one_by_one(rule: Rule, table: Table) -> SwitchVerdict:
    """The verdict where no sample is drawn before it is needed."""
    drawn: dict[str, dict[int, str | None]] = {model: {} for model in table}
    while True:
        decision = decide(rule, drawn)
        if isinstance(decision, SwitchVerdict):
            assert sum(map(len, drawn.values())) == sum(len(answers) for _, answers in decision.seen)
            return decision
        assert decision.sample == len(drawn[decision.model])
        drawn[decision.model][decision.sample] = table[decision.model][decision.sample]


@given(tables().flatmap(lambda pair: st.tuples(rules(*pair), st.just(pair[1]))))
def test_samples_that_are_not_drawn_do_not_matter(case: tuple[Rule, Table]) -> None:
    rule, table = case
    verdict = draw_one_by_one(rule, table)
    assert (verdict.answer, verdict.model) == reference(rule, table)
    outcome = verdict.outcome(rule)
    assert outcome.samples <= rule.budget
    if verdict.model is not None and rule.threshold == 1:
        assert len(dict(verdict.seen)[verdict.model]) == rule.samples
    if not rule.early and not rule.defer and verdict.model is None:
        assert outcome.samples == rule.budget


@given(tables().flatmap(lambda pair: st.tuples(rules(*pair), st.just(pair[1]))))
def test_all_samples_at_once_give_the_same(case: tuple[Rule, Table]) -> None:
    rule, table = case
    everything = {model: dict(enumerate(answers)) for model, answers in table.items()}
    assert decide(rule, everything) == draw_one_by_one(rule, table)


@given(tables())
def test_more_samples_are_spared_with_early_and_defer(pair: tuple[int, Table]) -> None:
    k, table = pair
    rule = Rule(tuple(table), k)
    plain = draw_one_by_one(replace(rule, early=False), table).outcome(rule).samples
    assert draw_one_by_one(rule, table).outcome(rule).samples <= plain
    if draw_one_by_one(rule, table).model is not None:
        assert draw_one_by_one(replace(rule, defer=True), table).outcome(rule).samples <= plain


@given(st.lists(st.lists(ANSWERS, min_size=1, max_size=1), min_size=1, max_size=3))
def test_one_sample_and_threshold_one_stop_at_the_first_valid_answer(answers: list[list[str | None]]) -> None:
    table = dict(zip("ABC", answers, strict=False))
    verdict = draw_one_by_one(Rule(tuple(table), 1), table)
    valid = [(model, answer[0]) for model, answer in table.items() if answer[0] is not None]
    assert (verdict.model, verdict.answer) == (valid[0] if valid else (None, None))


@given(tables(1), THRESHOLDS)
def test_one_model_equals_self_consistency(pair: tuple[int, Table], threshold: float | None) -> None:
    k, table = pair
    switch = draw_one_by_one(Rule(("A",), k, threshold), table)
    consistent = draw_one_by_one(Rule(("A",), k, None), table)
    assert switch.answer == consistent.answer
    valid = Counter(answer for answer in table["A"] if answer is not None)
    assert consistent.answer == (valid.most_common(1)[0][0] if valid else None)


@given(tables().flatmap(lambda pair: st.tuples(rules(*pair), st.just(pair[1]))), st.data())
def test_permuting_the_samples_of_a_model_changes_nothing_but_ties(
    case: tuple[Rule, Table], data: st.DataObject
) -> None:
    rule, table = case
    rule = replace(rule, early=False, defer=False)
    shuffled = {model: data.draw(st.permutations(answers)) for model, answers in table.items()}
    one, other = draw_one_by_one(rule, table), draw_one_by_one(rule, shuffled)
    assert dict(one.scores) == pytest.approx(dict(other.scores))
    ties = one.model is None and len(one.scores) > 1 and one.scores[0][1] == pytest.approx(one.scores[1][1], rel=1e-8)
    agreed = Counter(a for a in table[one.model] if a is not None).most_common(2) if one.model else []
    ties |= len(agreed) == 2 and agreed[0][1] == agreed[1][1]
    if not ties:
        assert (one.answer, one.model) == (other.answer, other.model)


@given(tables().flatmap(lambda pair: st.tuples(rules(*pair), st.just(pair[1]))), st.floats(0.001, 1000))
def test_scaling_all_priors_changes_nothing(case: tuple[Rule, Table], factor: float) -> None:
    rule, table = case
    priors = {model: dict(rule.priors).get(model, 1.0) for model in table}
    scaled = replace(rule, priors=tuple((model, prior * factor) for model, prior in sorted(priors.items())))
    one, other = draw_one_by_one(rule, table), draw_one_by_one(scaled, table)
    assert (one.answer, one.model, one.seen) == (other.answer, other.model, other.seen)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=8))
def test_the_internal_weight_is_from_one_nth_to_one(counts: list[int]) -> None:
    weight = internal_weight(counts)
    assert 1 / sum(counts) - 1e-12 <= weight <= 1
    assert (weight == 1) == (len(counts) == 1)


@given(st.integers(2, 6), st.data())
def test_the_internal_weight_falls_with_entropy(distinct: int, data: st.DataObject) -> None:
    total = data.draw(st.integers(distinct, 30))
    splits = [data.draw(split(total, distinct)) for _ in range(2)]
    low, high = sorted(splits, key=entropy)
    assert internal_weight(low) >= internal_weight(high) - 1e-12


def split(total: int, parts: int) -> st.SearchStrategy[list[int]]:
    cuts = st.lists(st.integers(1, total - 1), min_size=parts - 1, max_size=parts - 1, unique=True)
    return cuts.map(lambda at: [b - a for a, b in zip([0, *sorted(at)], [*sorted(at), total], strict=True)])


# ---------------------------------------------------------------- the machine


def run(
    policy: SwitchPolicy, table: Table, data: st.DataObject, losses: Mapping[str, int] | None = None
) -> tuple[e.Decision, list[e.Draw]]:
    """Answers the open draws in any order; ``losses``: after how many of its answers a model is lost."""
    state, commands = policy.start()
    open_draws: dict[int, e.Draw] = {}
    drawn: list[e.Draw] = []
    gave: Counter[str] = Counter()
    lost: set[str] = set()
    while True:
        for command in commands:
            match command:
                case e.Draw():
                    assert command.model not in lost
                    open_draws[command.ask] = command
                    drawn.append(command)
                case e.Withdraw(ask):
                    del open_draws[ask]
                case e.Decide(outcome):
                    assert not open_draws
                    assert policy.step(state, e.SampleArrived(0, "", "x")) == (state, ())
                    return outcome, drawn
        for model, after in (losses or {}).items():
            if model not in lost and gave[model] >= after:
                lost.add(model)
                open_draws = {ask: draw for ask, draw in open_draws.items() if draw.model != model}
                state, commands = policy.step(state, e.RespondentLost(model))
                break
        else:
            draw = open_draws.pop(data.draw(st.sampled_from(sorted(open_draws))))
            gave[draw.model] += 1
            assert draw.sample is not None
            answer = table[draw.model][draw.sample]
            state, commands = policy.step(
                state, e.SampleArrived(draw.ask, f"{draw.model}{draw.sample}:{answer}", answer)
            )


@given(
    tables().flatmap(lambda pair: st.tuples(rules(*pair), st.just(pair[1]))), st.sampled_from([None, 1, 2]), st.data()
)
def test_the_machine_decides_as_the_function_does_in_any_order(
    case: tuple[Rule, Table], at_once: int | None, data: st.DataObject
) -> None:
    rule, table = case
    outcome, drawn = run(SwitchPolicy(rule, TURNS, at_once), table, data)
    expected = draw_one_by_one(rule, table).outcome(rule)
    assert replace(outcome, text="") == expected
    assert len(drawn) <= rule.budget
    assert len({(draw.model, draw.sample) for draw in drawn}) == len(drawn)
    if at_once == 1:
        assert len(drawn) == outcome.samples
    if outcome.answer is not None:
        assert outcome.text.endswith(f":{outcome.answer}")


@given(tables(), st.sampled_from([None, 1]), st.data())
def test_a_lost_model_counts_with_what_it_gave(
    pair: tuple[int, Table], at_once: int | None, data: st.DataObject
) -> None:
    k, table = pair
    losses = data.draw(st.dictionaries(st.sampled_from(sorted(table)), st.integers(0, k - 1), min_size=1))
    outcome, drawn = run(SwitchPolicy(Rule(tuple(table), k), TURNS, at_once), table, data, losses)
    answers = dict(outcome.answers)
    assert all(len(answers[model]) <= after for model, after in losses.items())
    assert outcome.samples <= len(drawn)
    if outcome.reason == "consistent":
        assert outcome.decided_by not in losses  # fewer than k samples are never enough at threshold 1
    everything = [answer for given in answers.values() for answer in given if answer is not None]
    assert (outcome.answer is None) == (not everything)

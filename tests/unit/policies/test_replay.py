"""Replay: a trace with its own settings gives every decision again, and what the exits would have done."""

import json
from typing import Any

import pytest

from tests.support.candidates import by_logit, by_probability, toy
from tests.support.recorded import AGGREGATIONS, AGREED, APART, EXITS, KEYS, record, recording, replayed, trace_of
from tokencollab.errors import TraceError, UnknownMethod, UsageError
from tokencollab.policies import events as e
from tokencollab.policies.methods import parse_method, sampling_of
from tokencollab.policies.pieces import Decider
from tokencollab.policies.replay import replay
from tokencollab.protocol.trace import header_line, parse_trace

SELECTIONS: list[dict[str, Any]] = [
    {},
    {"top_t": "1-2", "weights": {"a": 0.7}},
    {"temperature": 0.7},
]


@pytest.mark.parametrize("selection", SELECTIONS, ids=["greedy", "sampled", "warm"])
@pytest.mark.parametrize(("leave", "settings"), EXITS, ids=[name for name, _ in EXITS])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_trace_gives_its_own_decisions_again(
    aggregation: str, leave: str, settings: dict[str, Any], selection: dict[str, Any]
) -> None:
    method = parse_method("gac", aggregation=aggregation, exit=leave, top_k=4, **settings, **selection)
    for lose in (False, True):
        recorded = record(method, lose=lose)
        driver, trace = recorded.driver, parse_trace(recorded.trace)
        steps = list(replay(trace, None, past_exit=True))
        assert [step.chosen for step in steps] == driver.pieces
        figures = [commit.record.efficacy for commit in driver.commits]
        for step, commit, wanted in zip(steps, driver.commits, figures, strict=True):
            assert step.ranks == commit.record.ranks
            assert wanted is None or step.efficacy == wanted
        exits = [command.step for command in driver.others if isinstance(command, e.Exited)]
        stopping = list(replay(trace, None, past_exit=False))
        if leave == "consult":  # which is no end
            assert stopping == steps
            assert {commit.record.alone for commit in driver.commits} == {True, False}
        elif exits:
            assert stopping[-1].step == exits[0]
            assert stopping[-1].exited
            assert stopping == steps[: exits[0]]
        else:
            assert stopping == steps
            assert not any(step.exited for step in steps)


def test_the_cases_above_do_exit() -> None:
    exited = set()
    for leave, settings in EXITS:
        driver = record(parse_method("dp", exit=leave, top_k=4, **settings)).driver
        alone = [commit.record.alone for commit in driver.commits]
        if any(alone):
            exited.add(leave)
    assert exited >= {"fixed-9", "self-efficacy", "confidence", "reliability", "consult"}


def test_base_alone_replays_too() -> None:
    method = parse_method("base", top_t=2)
    recorded = recording(method, {"b": toy("b")}, 3, 20)
    driver = recorded.driver.run()
    steps = list(replay(parse_trace(recorded.trace), method, past_exit=False))
    assert [step.chosen for step in steps] == driver.pieces
    assert not any(step.exited for step in steps)
    assert {step.efficacy for step in steps} == {None}
    assert steps[0].ranks == driver.commits[0].record.ranks


def test_the_json_has_exactly_the_keys_of_the_issue() -> None:
    lines = trace_of(AGREED, APART, AGREED)
    steps = replayed(lines, "dp", exit="self-efficacy", omega=2, theta=0.9)
    for step in steps:
        assert list(step.to_json()) == KEYS
    assert steps[0].to_json() == {
        "step": 1,
        "chosen": "x",
        "recorded": None,
        "ranks": {"a": 0, "b": 0},
        "s": 2.0,
        "f": 1.0,
        "st": None,
        "s_w": 1.0,
        "f_w": 1.0,
        "rt": 0.5,
        "t0": 0.0,
        "exited": False,
    }
    assert steps[1].to_json()["st"] == 2 / 4.5
    assert replayed(trace_of(AGREED, chosen=[b"z"]), "dp")[0].to_json()["recorded"] == "z"
    none = replayed(lines, "dp")[0].to_json()
    assert list(none) == KEYS
    assert {none[key] for key in KEYS[4:11]} == {None}


def test_the_exit_is_fed_the_recorded_piece_where_there_is_one() -> None:
    recorded = replayed(trace_of(APART, chosen=[b"x"]), "confipara-u")[0]
    assert (recorded.chosen, recorded.recorded, recorded.decided) == (b"y", b"x", True)
    assert recorded.ranks == (("a", None), ("b", 0))
    assert recorded.efficacy is not None
    assert recorded.efficacy.s == 2.0
    bare = replayed(trace_of(APART), "confipara-u")[0]
    assert (bare.chosen, bare.decided) == (b"y", False)
    assert bare.ranks == (("a", 0), ("b", 1))
    assert bare.efficacy is not None
    assert bare.efficacy.f == 2.5


def test_past_a_final_exit_the_figures_go_on() -> None:
    lines = trace_of(*[AGREED] * 3, *[APART] * 3, chosen=[b"x"] * 3 + [b"y"] * 3)
    steps = replayed(lines, "dp", exit="self-efficacy", omega=2, theta=0.4)
    assert [step.exited for step in steps] == [False, True, True, True, True, True]
    assert [step.efficacy.f for step in steps if step.efficacy] == [1.0, 1.0, 1.0, 2.5, 4.0, 5.5]
    assert len(replayed(lines, "dp", exit="self-efficacy", omega=2, theta=0.4, past_exit=False)) == 2


def test_steps_without_the_base_leave_the_exit_as_it_is() -> None:
    lines = trace_of(AGREED, {"a": AGREED["a"]}, AGREED, chosen=[b"x"] * 3)
    line = json.loads(lines[2])
    lines[2] = json.dumps({**line, "lost": ["b"]})
    steps = replayed(lines, "confipara-u")
    assert [step.efficacy.s for step in steps if step.efficacy] == [2.0, 2.0, 3.0]
    assert steps[1].ranks == (("a", 0),)
    first = json.loads(lines[1])
    first["candidates"].pop("b")
    lines[1] = json.dumps({**first, "lost": ["b"]})
    assert replayed(lines, "confipara-u")[0].efficacy is None


def test_what_a_model_sent_before_it_was_lost_does_not_count() -> None:
    lines = trace_of(APART, APART, chosen=[b"y", b"y"])
    lines[1] = json.dumps({**json.loads(lines[1]), "lost": ["a"]})
    steps = replayed(lines, "dp")
    assert [(step.chosen, step.ranks) for step in steps] == [
        (b"x", (("b", None),)),
        (b"y", (("a", 0), ("b", None))),
    ]
    lines[1] = json.dumps({**json.loads(lines[1]), "lost": ["a", "b"]})
    with pytest.raises(TraceError, match="line 2: every model with candidates was lost"):
        replayed(lines, "dp")


def test_unite_without_recorded_scores_takes_the_last_listed_logit() -> None:
    a, b = by_logit((b"x", 3.0), (b"y", 1.0)), by_logit((b"z", 4.0), (b"y", 1.0))
    lines = trace_of({"a": a, "b": b})
    assert replayed(lines, "unite", top_k=1)[0].chosen == b"z"  # x: 3 and 1, z: 1 and 4
    scored = json.loads(lines[1])
    scored["scores"] = {"b": [{"piece": "x", "logit": 3.9}]}
    assert replayed([lines[0], json.dumps(scored)], "unite", top_k=1)[0].chosen == b"x"


def test_a_trace_says_its_method_or_the_caller_does() -> None:
    with pytest.raises(UsageError, match="does not say its method; name one with --method"):
        replayed(trace_of(AGREED), None)
    with pytest.raises(UnknownMethod, match="unknown method 'best'"):
        replayed(trace_of(AGREED, method="best"), None)
    assert replayed(trace_of(AGREED, method="dp"), None)[0].chosen == b"x"
    newer = {**parse_method("dp").to_json(), "mood": "good"}
    assert replayed(trace_of(AGREED, method=newer), None)[0].chosen == b"x"
    with pytest.raises(UsageError, match="a weight is given for 'z'; the trace has b, a"):
        replayed(trace_of(AGREED), "dp", weights={"z": 1.0})
    with pytest.raises(TraceError, match="line 1: seed must be a whole number, not 'x'"):
        replayed(trace_of(AGREED, seed="x"), "dp")
    with pytest.raises(TraceError, match="line 1: seed must be a whole number, not True"):
        replayed(trace_of(AGREED, seed=True), "dp")


def test_the_seed_of_the_trace_is_used() -> None:
    even = {"b": by_probability((b"x", 0.4), (b"y", 0.4)), "a": by_probability((b"x", 0.4), (b"y", 0.4))}
    drawn = {
        seed: [step.chosen for step in replayed(trace_of(*[even] * 12, seed=seed), "dp", top_t=2)] for seed in (0, 1)
    }
    assert drawn[0] != drawn[1]
    assert [step.chosen for step in replayed(trace_of(*[even] * 12), "dp", top_t=2)] == drawn[0]


def test_the_base_method_on_a_trace_of_several_models() -> None:
    lines = trace_of(APART, AGREED)
    assert [step.chosen for step in replayed(lines, "base")] == [b"x", b"x"]
    assert replayed(lines, "base")[0].ranks == (("b", 0),)
    gone = json.loads(lines[1])
    gone["candidates"].pop("b")
    with pytest.raises(TraceError, match="line 2: no candidates of the base, 'b', which is alone"):
        replayed([lines[0], json.dumps({**gone, "lost": ["b"]})], "base")


def test_consult_over_a_trace_of_full_collaboration() -> None:
    doubt = {"b": by_probability((b"x", 0.3), (b"y", 0.2)), "a": APART["a"]}
    lines = trace_of(AGREED, APART, doubt, AGREED)
    steps = replayed(lines, "dp", exit="consult", consult_below=0.5, past_exit=False)
    assert [[model for model, _ in step.ranks] for step in steps] == [["a", "b"], ["b"], ["a", "b"], ["b"]]
    assert [step.chosen for step in steps] == [b"x", b"x", b"y", b"x"]
    bound = replayed(lines, "dp", exit="consult", consult_below=0.8)
    assert [len(step.ranks) for step in bound] == [2, 1, 2, 1]  # 0.8 is not below 0.8
    assert [len(step.ranks) for step in replayed(lines, "dp", exit="consult", consult_below=0.81)] == [2, 2, 2, 2]


def test_collaborators_leave_one_after_the_other() -> None:
    """c never matters; a does at first: without it x would win over y."""
    early = {"b": by_probability((b"x", 0.5), (b"y", 0.3)), "a": by_probability((b"y", 0.6))}
    late = {"b": by_probability((b"x", 0.8)), "a": by_probability((b"x", 0.6))}
    idle, strong = by_probability((b"y", 0.05)), by_probability((b"z", 0.99), (b"y", 0.001))
    sets = [{**early, "c": idle}, {**early, "c": strong}, {**late, "c": strong}, {**late, "c": strong}]
    lines = [header_line(["b", "a", "c"], {}), *trace_of(*sets)[1:]]
    steps = replayed(lines, "dp", exit="per-collaborator", patience=1)
    assert [[model for model, _ in step.ranks] for step in steps] == [["a", "b", "c"], ["a", "b"], ["a", "b"], ["b"]]
    assert [step.chosen for step in steps] == [b"y", b"y", b"x", b"x"]
    assert [step.exited for step in steps] == [False, False, True, True]


def test_a_collaborator_that_left_has_no_vote_afterwards() -> None:
    lines = trace_of(AGREED, AGREED, APART)
    steps = replayed(lines, "dp", exit="per-collaborator", patience=2)
    assert [step.ranks for step in steps] == [(("a", 0), ("b", 0)), (("a", 0), ("b", 0)), (("b", 0),)]
    assert [step.exited for step in steps] == [False, True, True]
    assert steps[2].chosen == b"x"
    orphan = trace_of(AGREED, AGREED, {"a": APART["a"]})
    orphan[3] = json.dumps({**json.loads(orphan[3]), "lost": ["b"]})
    assert replayed(orphan, "dp", exit="per-collaborator", patience=2)[2].chosen == b"y"


@pytest.mark.parametrize("aggregation", ["dp", "bytewise"])
def test_with_consult_the_first_piece_is_a_vote_however_sure_the_base_is(aggregation: str) -> None:
    over = {"b": by_probability((b"x", 0.6), (b"y", 0.4)), "a": by_probability((b"y", 0.95), (b"z", 0.05))}
    lines = trace_of(over, over, over)
    steps = replayed(lines, "gac", aggregation=aggregation, exit="consult", consult_below=0.5)
    assert [step.chosen for step in steps] == [b"y", b"x", b"x"]
    unsure = replayed(lines, "gac", aggregation=aggregation, exit="consult", consult_below=0.7)
    assert [step.chosen for step in unsure] == [b"y", b"y", b"y"]


def test_a_trace_of_consult_says_which_pieces_were_votes() -> None:
    """Also pieces that the base was sure of: a word in doubt is voted on from its beginning."""
    method = parse_method("dp", exit="consult", consult_below=0.5)
    votes = {"b": by_probability((b"x", 0.6), (b"y", 0.4)), "a": by_probability((b"y", 0.95), (b"z", 0.05))}
    lines = trace_of(votes, votes, chosen=[b"y", b"y"], method=method.to_json())
    assert [step.chosen for step in replayed(lines, None)] == [b"y", b"y"]


def test_who_leaves_is_judged_with_the_draws_of_each_step() -> None:
    votes = {"b": by_probability((b"x", 0.75), (b"y", 0.2)), "a": by_probability((b"x", 0.1), (b"y", 0.85))}
    settings: dict[str, Any] = {"exit": "per-collaborator", "patience": 2, "top_t": 2}
    left, wanted = [], []
    for seed in range(20):
        steps = replayed(trace_of(*[votes] * 60, seed=seed), "gac", **settings)
        left.append(next((step.step for step in steps if step.exited), 0))
        decider = Decider(parse_method("gac", **settings), sampling_of(parse_method("gac", **settings), seed))
        ballots = [decider.ballot(model, votes[model]) for model in ("a", "b")]
        idle = 0
        for step in steps:
            idle = 0 if decider.decisive(step.step, step.chosen, ballots, "b") else idle + 1
            if idle == 2:
                wanted.append(step.step)
                break
        else:
            wanted.append(0)
    assert left == wanted
    assert len(set(left)) > 5

"""Replay: a trace with its own settings gives every decision again, and what the exits would have done."""

import json
from collections.abc import Sequence
from math import exp
from typing import Any

import pytest

from tests.unit.policies.policykit import Driver, by_logit, by_probability, toy
from tokencollab.policies import events as e
from tokencollab.policies.methods import Method, make_policy, parse_method, sampling_of
from tokencollab.policies.replay import ReplayStep, replay
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.errors import TraceError, UnknownMethod, UsageError
from tokencollab.protocol.pieces import Piece
from tokencollab.protocol.trace import header_line, parse_trace, step_line

KEYS = ["step", "chosen", "recorded", "ranks", "s", "f", "st", "s_w", "f_w", "rt", "t0", "exited"]
AGGREGATIONS = ("gac", "unite", "duetnet", "dp", "dk")
EXITS: list[tuple[str, dict[str, Any]]] = [
    ("never", {}),
    ("fixed-9", {}),
    ("self-efficacy", {"omega": 4, "theta": 0.35}),
    ("confidence", {"omega": 4, "theta": 0.2, "ties": "failure"}),
    ("reliability", {"omega": 3, "theta": 0.55, "eps": 0.2}),
    ("credible", {"omega": 4, "theta": 0.1}),
    ("rejoin", {"omega": 3, "theta": 0.3, "rejoin_below": 0.4, "rejoin_window": 3}),
    ("per-collaborator", {"patience": 3}),
]
SELECTIONS: list[dict[str, Any]] = [
    {},
    {"top_t": "1-2", "weights": {"a": 0.7}, "owner_finishes": True},
]


def record(method: Method, seed: int = 5, *, lose: bool = False) -> Driver:
    """One answer of three toy models; with ``lose`` the first collaborator goes away twice and comes back once."""
    book = {name: toy(name) for name in ("base", "a", "c")}
    policy = make_policy(method, max_tokens=40, seed=seed, report=True)
    driver = Driver(policy, book, sampling=sampling_of(method, seed))
    driver.trace.insert(0, header_line(list(book), {"method": method.to_json(), "seed": seed}))
    for _ in range(500):
        if driver.stop:
            return driver
        count = len(driver.commits)
        driver.answer(driver.pending.pop(0))
        if lose and len(driver.commits) > count and count in (2, 20):
            driver.pending = [p for p in driver.pending if getattr(p, "model", "") != "a"]
            driver.hear(e.ModelLost("a"))
        if lose and len(driver.commits) > count and count == 7:
            driver.hear(e.ModelJoined("a"))
    raise AssertionError("the policy did not stop")


@pytest.mark.parametrize("selection", SELECTIONS, ids=["greedy", "sampled"])
@pytest.mark.parametrize(("leave", "settings"), EXITS, ids=[name for name, _ in EXITS])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_trace_gives_its_own_decisions_again(
    aggregation: str, leave: str, settings: dict[str, Any], selection: dict[str, Any]
) -> None:
    method = parse_method("gac", aggregation=aggregation, exit=leave, top_k=4, **settings, **selection)
    for lose in (False, True):
        driver = record(method, lose=lose)
        steps = list(replay(parse_trace(driver.trace), None, past_exit=True))
        assert [step.chosen for step in steps] == driver.pieces
        figures = [commit.record.efficacy for commit in driver.commits]
        for step, commit, wanted in zip(steps, driver.commits, figures, strict=True):
            assert step.ranks == commit.record.ranks
            assert wanted is None or step.efficacy == wanted
        exits = [command.step for command in driver.others if isinstance(command, e.Exited)]
        stopping = list(replay(parse_trace(driver.trace), None, past_exit=False))
        if exits:
            assert stopping[-1].step == exits[0]
            assert stopping[-1].exited
            assert stopping == steps[: exits[0]]
        else:
            assert stopping == steps
            assert not any(step.exited for step in steps)


def test_the_cases_above_do_exit_and_do_return() -> None:
    exited = set()
    for leave, settings in EXITS:
        driver = record(parse_method("dp", exit=leave, top_k=4, **settings))
        alone = [commit.record.alone for commit in driver.commits]
        if any(alone):
            exited.add(leave)
        if leave == "rejoin":
            assert "".join("01"[flag] for flag in alone).count("10") >= 1  # came back at least once
    assert exited >= {"fixed-9", "self-efficacy", "confidence", "reliability", "rejoin"}


def test_base_alone_replays_too() -> None:
    method = parse_method("base", top_t=2)
    book = {"b": toy("b")}
    policy = make_policy(method, max_tokens=20, seed=3, report=True)
    driver = Driver(policy, book, sampling=sampling_of(method, 3)).run()
    lines = [header_line(["b"], {"method": "base", "seed": 3}), *driver.trace]
    steps = list(replay(parse_trace(lines), method, past_exit=False))
    assert [step.chosen for step in steps] == driver.pieces
    assert not any(step.exited for step in steps)
    assert {step.efficacy for step in steps} == {None}
    assert steps[0].ranks == driver.commits[0].record.ranks


def trace_of(*steps: dict[str, CandidateSet], chosen: Sequence[Piece] | None = None, **settings: object) -> list[str]:
    """A trace with a line per step; without ``chosen`` a trace of candidates alone."""
    lines = [header_line(["b", "a"], settings)]
    for number, candidates in enumerate(steps, start=1):
        line = json.loads(step_line(number, candidates, None if chosen is None else chosen[number - 1]))
        if chosen is None:
            del line["chosen"]
        lines.append(json.dumps(line))
    return lines


AGREED = {"b": by_probability((b"x", 0.8), (b"y", 0.1)), "a": by_probability((b"x", 0.7), (b"z", 0.2))}
APART = {"b": by_probability((b"x", 0.8), (b"y", 0.1)), "a": by_probability((b"y", 0.95), (b"z", 0.01))}


def replayed(lines: list[str], name: str | None, *, past_exit: bool = True, **settings: Any) -> list[ReplayStep]:
    method = None if name is None else parse_method(name, **settings)
    return list(replay(parse_trace(lines), method, past_exit))


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


def test_rejoin_over_a_trace_of_full_collaboration() -> None:
    doubt = {"b": by_probability((b"x", 0.3), (b"y", 0.2)), "a": APART["a"]}
    lines = trace_of(AGREED, AGREED, doubt, doubt, APART, AGREED)
    steps = replayed(lines, "dp", exit="rejoin", omega=2, theta=0.4, rejoin_window=2)
    assert [step.exited for step in steps] == [False, True, True, False, False, False]
    assert [step.chosen for step in steps] == [b"x", b"x", b"x", b"x", b"y", b"x"]
    assert steps[4].efficacy is not None
    assert (steps[4].efficacy.s, steps[4].efficacy.f) == (1.0, 2.5)


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


@pytest.mark.parametrize(("leave", "settings"), EXITS, ids=[name for name, _ in EXITS])
@pytest.mark.parametrize("top_t", [1, 2])
def test_bytewise_gives_its_own_decisions_again(leave: str, settings: dict[str, Any], top_t: int) -> None:
    method = parse_method("bytewise", exit=leave, top_k=4, top_t=top_t, **settings)
    driver = record(method, lose=top_t == 1)
    trace = parse_trace(driver.trace)
    steps = list(replay(trace, None, past_exit=True))
    assert [step.step for step in steps] == list(range(1, len(driver.pieces) + 1))
    assert [step.chosen for step in steps] == driver.pieces
    assert [step.recorded for step in steps] == driver.pieces
    assert all(step.decided for step in steps)
    assert [step.ranks for step in steps] == [commit.record.ranks for commit in driver.commits]
    figures = [commit.record.efficacy for commit in driver.commits]
    assert all(wanted in (None, step.efficacy) for wanted, step in zip(figures, steps, strict=True))
    assert any(figures) == any(step.efficacy for step in steps)
    assert {type(step.exited) for step in steps} == {bool}
    assert [list(step.to_json()) for step in steps] == [KEYS] * len(steps)
    exits = [command.step for command in driver.others if isinstance(command, e.Exited)]
    stopping = list(replay(trace, None, past_exit=False))
    assert stopping == (steps[: exits[0]] if exits else steps)


def test_a_bytewise_trace_under_other_settings_ends_where_they_leave_it() -> None:
    votes = {"b": by_probability((b"x", 0.9), (b"y", 0.1)), "a": by_probability((b"y", 0.95), (b"z", 0.05))}
    lines = trace_of(votes, votes, chosen=[b"x", b"x"], method="bytewise")
    recomputed = replay(parse_trace(lines), parse_method("bytewise"), past_exit=True)
    step = next(recomputed)
    assert (step.chosen, step.recorded) == (b"y", b"x")
    with pytest.raises(TraceError, match=r"line 2: .* bytewise voting writes b'y' where the trace has b'x'"):
        next(recomputed)


def first_commit(lists: dict[str, CandidateSet], commit: float = 0.5) -> tuple[Piece, dict[str, int]]:
    """Section 9 of methods.md from a common boundary, over what is listed: the bytes until a model moves, misses."""
    pieces, weights = {}, dict.fromkeys(lists, 1.0)
    for model, sent in lists.items():
        whole = sum(exp(c.logprob) for c in sent.candidates)
        pieces[model] = {c.piece: exp(c.logprob) / whole for c in sent.candidates}
    text, missed = b"", dict.fromkeys(lists, 0)
    while True:
        votes: dict[str, dict[int, float]] = {model: {} for model in lists}
        score: dict[int, float] = {}
        for model, own in pieces.items():
            here = {p: mass for p, mass in own.items() if (not text if p is None else p != text and p.startswith(text))}
            for p, mass in here.items():
                symbol = -1 if p is None else p[len(text)]
                votes[model][symbol] = votes[model].get(symbol, 0.0) + mass / sum(here.values())
            for symbol, share in votes[model].items():
                score[symbol] = score.get(symbol, 0.0) + weights[model] * share
        best = min(score, key=lambda symbol: (-score[symbol], symbol))
        for model, own_votes in votes.items():
            missed[model] += min(own_votes, key=lambda symbol: (-own_votes[symbol], symbol), default=None) != best
            weights[model] *= own_votes.get(best, 0.0)
        if best == -1:
            return None, missed
        text += bytes([best])
        for own in pieces.values():
            exact = own.get(text, 0.0)
            longer = sum(mass for p, mass in own.items() if p and p != text and p.startswith(text))
            if not longer or exact / (exact + longer) > commit:
                return text, missed


@pytest.mark.parametrize(("leave", "settings"), [EXITS[0], EXITS[2], EXITS[6], EXITS[7]])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_bytewise_over_the_trace_of_another_method(aggregation: str, leave: str, settings: dict[str, Any]) -> None:
    method = parse_method("gac", aggregation=aggregation, exit=leave, top_k=4, **settings)
    for lose in (False, True):
        trace = parse_trace(record(method, lose=lose).trace)
        steps = list(replay(trace, parse_method("bytewise"), past_exit=True))
        assert [(step.step, step.recorded) for step in steps] == [(step.step, step.chosen) for step in trace.steps]
        for step, recorded in zip(steps, trace.steps, strict=True):
            lists = {model: sent for model, sent in recorded.candidates if model not in recorded.lost}
            if recorded.alone:
                assert step.chosen == lists["base"].best.piece
                continue
            chosen, missed = first_commit(lists)
            assert step.chosen == chosen
            if step.chosen == step.recorded:
                assert dict(step.ranks) == missed


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_bytewise_over_candidates_alone_is_fed_its_own_pieces(aggregation: str) -> None:
    lines = record(parse_method("gac", aggregation=aggregation, top_k=4)).trace
    bare = [lines[0], *(json.dumps({k: v for k, v in json.loads(line).items() if k != "chosen"}) for line in lines[1:])]
    method = parse_method("confipara-b", omega=3, theta=1.0)
    trace = parse_trace(bare)
    steps = list(replay(trace, method, past_exit=True))
    wins = 0
    for step, recorded in zip(steps, trace.steps, strict=True):
        chosen, missed = first_commit(dict(recorded.candidates))
        assert (step.chosen, step.decided, dict(step.ranks)) == (chosen, False, missed)
        wins += sum(missed["base"] <= missed[model] for model in "ac")
        assert step.efficacy is not None
        assert step.efficacy.s == 1 + wins


def test_bytewise_ranks_of_the_recorded_piece_are_counted_as_far_as_the_list_goes() -> None:
    long = by_probability((b"abc", 0.6), (b"a", 0.1), (b"x", 0.3))  # goes on past its "a"
    short = by_probability((b"x", 0.4), (b"a", 0.35), (b"abz", 0.25))  # its "a" ends a piece of its own
    steps = replayed(trace_of({"b": long, "a": short}, {"b": long, "a": short}, chosen=[b"abd", None]), "bytewise")
    assert [step.ranks for step in steps] == [(("a", 0), ("b", 1)), (("a", 1), ("b", 1))]
    assert [step.chosen for step in steps] == [b"a", b"a"]


def test_a_vote_of_bytewise_uses_weights_draws_and_exits() -> None:
    lines = trace_of(*[APART] * 12, chosen=[b"x"] * 12)
    assert replayed(lines, "bytewise")[0].chosen == b"y"
    assert replayed(lines, "bytewise", weights={"b": 3.0})[0].chosen == b"x"
    drawn = [step.chosen for step in replayed(lines, "bytewise", top_t=2)]
    assert set(drawn) == {b"x", b"y"}
    longer = trace_of(*[APART] * 12, chosen=[b"xx"] * 12)
    assert [step.chosen for step in replayed(longer, "bytewise", top_t=2)] != drawn  # draws belong to bytes
    alone = replayed(trace_of(*[AGREED] * 3, chosen=[b"x"] * 3), "bytewise", exit="per-collaborator", patience=2)
    assert [step.exited for step in alone] == [False, True, True]
    needed = replayed(trace_of(*[APART] * 3, chosen=[b"y"] * 3), "bytewise", exit="per-collaborator", patience=2)
    assert [step.exited for step in needed] == [False, False, False]


def test_a_collaborator_whose_piece_only_is_longer_is_not_decisive() -> None:
    votes = {"b": by_probability((b"xy", 0.9), (b"z", 0.1)), "a": by_probability((b"x", 0.9), (b"z", 0.1))}
    steps = replayed(trace_of(*[votes] * 2, chosen=[b"x"] * 2), "bytewise", exit="per-collaborator", patience=2)
    assert [step.chosen for step in steps] == [b"x", b"x"]  # without a it would be "xy"
    assert [step.exited for step in steps] == [False, True]


def test_a_step_in_which_nothing_is_probable_is_named() -> None:
    lines = trace_of(AGREED, AGREED)
    nothing = json.loads(lines[2])
    for candidates in nothing["candidates"].values():
        for candidate in candidates:
            candidate["logprob"] = -1e4
    with pytest.raises(TraceError, match="line 3: no candidate has a probability above zero"):
        replayed([*lines[:2], json.dumps(nothing)], "bytewise")

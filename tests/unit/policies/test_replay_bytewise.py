"""Replay under bytewise voting: its own traces, and the candidates of other methods."""

import json
from math import exp
from typing import Any

import pytest

from tests.support.candidates import by_probability, toy
from tests.support.recorded import AGGREGATIONS, AGREED, APART, EXITS, KEYS, record, recording, replayed, trace_of
from tokencollab.errors import TraceError, UsageError
from tokencollab.policies import events as e
from tokencollab.policies.methods import parse_method
from tokencollab.policies.replay import replay
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.pieces import Piece
from tokencollab.protocol.seeds import uniform
from tokencollab.protocol.trace import parse_trace


@pytest.mark.parametrize(("leave", "settings"), EXITS, ids=[name for name, _ in EXITS])
@pytest.mark.parametrize("selection", [{}, {"top_t": 2}, {"temperature": 1.3}], ids=["greedy", "sampled", "warm"])
@pytest.mark.parametrize("heard", [False, True])
def test_bytewise_gives_its_own_decisions_again(
    leave: str, settings: dict[str, Any], selection: dict[str, Any], heard: bool
) -> None:
    method = parse_method("bytewise", exit=leave, top_k=4, **selection, **settings)
    recorded = record(method, lose=not selection, heard=heard)
    driver, trace = recorded.driver, parse_trace(recorded.trace)
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
    assert stopping == (steps[: exits[0]] if exits and leave != "consult" else steps)


def test_a_bytewise_trace_under_other_settings_ends_where_they_leave_it() -> None:
    votes = {"b": by_probability((b"x", 0.9), (b"y", 0.1)), "a": by_probability((b"y", 0.95), (b"z", 0.05))}
    lines = trace_of(votes, votes, chosen=[b"x", b"x"], method="bytewise")
    recomputed = replay(parse_trace(lines), parse_method("bytewise"), past_exit=True)
    step = next(recomputed)
    assert (step.chosen, step.recorded) == (b"y", b"x")
    with pytest.raises(TraceError, match=r"line 2: .* bytewise voting writes b'y' where the trace has b'x'"):
        next(recomputed)


def first_commit(lists: dict[str, CandidateSet], commit: float = 0.5) -> tuple[Piece, dict[str, int]]:
    """Section 9 of docs/specification.md from a common boundary, as far as listed: bytes until a move, misses."""
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


@pytest.mark.parametrize(("leave", "settings"), [EXITS[0], EXITS[2], EXITS[5]])
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
    for seed in (3, 4):
        seeded = replayed(trace_of(*[APART] * 12, chosen=[b"x"] * 12, seed=seed), "bytewise", top_t=2)
        # y has .95 / .96 and .1 / .9 of what is listed, x the rest; byte n of the text has draw n
        share = (0.95 / 0.96 + 0.1 / 0.9) / (0.95 / 0.96 + 0.9 / 0.9)
        wanted = [b"y" if uniform(seed, n, 1) < share else b"x" for n in range(1, 13)]
        assert [step.chosen for step in seeded] == wanted
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
    for model, candidates in nothing["candidates"].items():
        nothing["log_normalisers"][model] = 1e4
        for candidate in candidates:
            candidate["logprob"] = candidate["logit"] - 1e4
    with pytest.raises(TraceError, match="line 3: no candidate has a probability above zero"):
        replayed([*lines[:2], json.dumps(nothing)], "bytewise")


def test_a_collaborator_without_which_the_answer_would_have_ended_is_decisive() -> None:
    """Also where all that the others would write is EOS, which begins with nothing and nothing begins with it."""
    ending = by_probability((None, 0.6), (b"x", 0.3))
    votes = {"b": ending, "a": by_probability((b"x", 0.9), (None, 0.05))}
    steps = replayed(trace_of(*[votes] * 3, chosen=[b"x"] * 3), "bytewise", exit="per-collaborator", patience=2)
    assert [(step.chosen, step.exited) for step in steps] == [(b"x", False)] * 3
    ended = {"b": ending, "a": by_probability((None, 0.9), (b"x", 0.05))}
    steps = replayed(trace_of(*[ended] * 3), "bytewise", exit="per-collaborator", patience=2)
    assert [(step.chosen, step.exited) for step in steps] == [(None, False), (None, True), (None, True)]


@pytest.mark.parametrize("heard", [False, True])
@pytest.mark.parametrize("what", ["the base alone", "the base", "a model and back"])
def test_losses_at_a_place_of_their_own_are_replayed(what: str, heard: bool) -> None:
    """Also from traces that do not say in which order things were heard."""
    method = parse_method("bytewise", exit="fixed-4", top_k=4)
    recorded = recording(method, {name: toy(name) for name in "abc"}, 5, 12, heard)
    driver = recorded.driver
    done = False
    while not driver.stop:
        alone = isinstance(driver.open[0], e.RunSolo)
        if not done and (alone if what == "the base alone" else len(driver.commits) == 2):
            done = True
            driver.hear(e.ModelLost("b" if what == "a model and back" else "a"))
            if what != "the base":
                driver.hear(e.ModelJoined("b" if what == "a model and back" else "a"))
        driver.answer(driver.open[0])
    trace = parse_trace(recorded.trace)
    assert [step.lost for step in trace.steps if step.lost] == [("b" if what == "a model and back" else "a",)]
    assert [step.chosen for step in replay(trace, None, past_exit=True)] == driver.pieces


@pytest.mark.parametrize("removed", [{"exit": "credible"}, {"exit": "rejoin"}, {"exact": True}])
def test_an_old_trace_is_replayed_with_a_method_that_there_is(removed: dict[str, object]) -> None:
    """As a trace of bytewise voting, whose candidates are not all for the end of the text."""
    recorded = record(parse_method("bytewise", top_k=4))
    driver, lines = recorded.driver, recorded.trace
    header = json.loads(lines[0])
    header["method"] |= {"owner_finishes": False, "quantile": 0.1, "rejoin_below": 0.5, "rejoin_window": 8}
    old = [json.dumps(header), *lines[1:]]
    assert [step.chosen for step in replay(parse_trace(old), None, past_exit=False)] == driver.pieces
    header["method"] |= removed
    trace = parse_trace([json.dumps(header), *lines[1:]])
    with pytest.raises(UsageError, match="was removed"):
        replay(trace, None, past_exit=False)
    other = parse_method("bytewise", top_k=4)
    assert [step.chosen for step in replay(trace, other, past_exit=False)] == driver.pieces

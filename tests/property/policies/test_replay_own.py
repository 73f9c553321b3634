"""A trace, replayed with its own settings, makes every decision again, bit for bit."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.recorded import recording
from tests.support.toys import CUTS, Toy, bytewise, toys
from tokencollab.errors import TraceError
from tokencollab.policies import events as e
from tokencollab.policies.methods import Method
from tokencollab.policies.recording import recorded_events
from tokencollab.policies.replay import replay
from tokencollab.protocol.trace import parse_trace
from tokencollab.testing import Driver

seeds = st.integers(0, 10**6)
common = settings(derandomize=True, deadline=None, max_examples=60)
KINDS = ("bytewise", "bytewise", "gac", "unite", "duetnet")
EXITS: list[dict[str, Any]] = [
    {"exit": "never"},
    {"exit": "fixed", "exit_after": 3},
    {"exit": "self-efficacy", "omega": 2, "theta": 0.3},
    {"exit": "per-collaborator", "patience": 3},
    {"exit": "consult", "consult_below": 0.5},
]


def record(
    method: Method,
    models: Sequence[Toy],
    *,
    seed: int = 0,
    max_tokens: int = 12,
    faults: Mapping[int, e.Event] | None = None,
    heard: bool = True,
) -> tuple[list[str], Driver]:
    """An answer's trace and course. ``faults``: by how many events came before."""
    recorded = recording(method, {toy.name: replace(toy, extra=2) for toy in models}, seed, max_tokens, heard)
    return recorded.trace, recorded.driver.run(faults=faults)


@common
@given(
    seeds,
    st.sampled_from(KINDS),
    st.lists(st.sampled_from(CUTS), min_size=1, max_size=3),
    st.sampled_from(EXITS),
    st.sampled_from([2, 20]),
    st.booleans(),
)
def test_a_trace_with_its_own_settings_gives_every_decision_again(
    seed: int, kind: str, cuts: list[Any], leaving: dict[str, Any], k: int, heard: bool
) -> None:
    """Also where it does not say in which order things were heard, which matters with losses only."""
    method = bytewise(aggregation=kind, top_k=k, **leaving)
    lines, driver = record(method, toys(seed, cuts), seed=seed, max_tokens=15, heard=heard)
    trace = parse_trace(lines)
    again = list(replay(trace, None, past_exit=True))
    assert [s.chosen for s in again] == driver.pieces
    assert [s.ranks for s in again] == [c.record.ranks for c in driver.commits]
    assert [step.offsets for step in trace.steps] == [c.record.offsets for c in driver.commits]
    for replayed, commit in zip(again, driver.commits, strict=True):
        assert commit.record.efficacy in (None, replayed.efficacy)
    stopping = list(replay(trace, None, past_exit=False))
    assert stopping == again[: len(stopping)]
    consults = method.exit == "consult"
    assert consults or not any(s.exited for s in stopping[:-1])
    assert len(stopping) == len(again) or stopping[-1].exited


@common
@given(
    seeds,
    st.sampled_from(KINDS),
    st.integers(0, 20),
    st.integers(1, 12),
    st.sampled_from(["b", "c"]),
    st.sampled_from([2, 20]),
    st.sampled_from([EXITS[0], EXITS[-1]]),
)
def test_losses_and_returns_are_replayed(
    seed: int, kind: str, at: int, later: int, model: str, k: int, leaving: dict[str, Any]
) -> None:
    method = bytewise(aggregation=kind, top_k=k, **leaving)
    faults: dict[int, e.Event] = {at: e.ModelLost(model), at + later: e.ModelJoined(model)}
    lines, driver = record(method, toys(seed), faults=faults)
    again = list(replay(parse_trace(lines), None, past_exit=True))
    assert [s.chosen for s in again] == driver.pieces
    assert [s.ranks for s in again] == [c.record.ranks for c in driver.commits]


@common
@given(seeds, st.sampled_from(KINDS), st.integers(0, 20), st.sampled_from(EXITS))
def test_the_recorded_events_lead_to_the_recorded_state(seed: int, kind: str, at: int, leaving: dict[str, Any]) -> None:
    """What a journal is resumed with: the same events, with the same numbers, in the same order."""
    method = bytewise(aggregation=kind, top_k=4, **leaving)
    lines, driver = record(method, toys(seed), faults={at: e.ModelLost("c"), at + 3: e.ModelJoined("c")})
    events = [event for step in parse_trace(lines).steps for event in recorded_events(step)]
    state, commands = driver.policy.start(tuple("abc"))
    commits = [command for command in commands if isinstance(command, e.Commit)]
    for event in events:
        state, commands = driver.policy.step(state, event)
        commits += [command for command in commands if isinstance(command, e.Commit)]
    assert commits == driver.commits
    assert driver.stop == "failed" or state == driver.state


@common
@given(seeds)
def test_another_exit_is_replayed_over_the_same_answers(seed: int) -> None:
    lines, driver = record(bytewise(), toys(seed))
    other = bytewise(exit="self-efficacy", omega=2, theta=0.3)
    again = list(replay(parse_trace(lines), other, past_exit=True))
    assert [s.chosen for s in again] == driver.pieces
    flags = [s.exited for s in again]
    assert flags == sorted(flags)


@pytest.mark.parametrize("heard", [False, True])
def test_an_answer_that_is_missing_is_named(heard: bool) -> None:
    lines, _ = record(bytewise(), toys(3), max_tokens=6, heard=heard)
    step = json.loads(lines[1])
    del step["candidates"]["c"]
    with pytest.raises(TraceError, match="step 1: the trace has no candidates of c, which"):
        list(replay(parse_trace([lines[0], json.dumps(step), *lines[2:]]), None, past_exit=True))


def test_an_event_that_does_not_exist_is_named() -> None:
    lines, _ = record(bytewise(), toys(3), max_tokens=6)
    step = json.loads(lines[1])
    step["heard"][0]["event"] = "surprised"
    with pytest.raises(TraceError, match="line 2: unknown event 'surprised'"):
        list(replay(parse_trace([lines[0], json.dumps(step)]), None, past_exit=True))

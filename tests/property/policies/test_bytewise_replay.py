"""A trace of bytewise voting, replayed with its own settings, makes every decision again, bit for bit."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.policies.test_bytewise_toys import CUTS, Toy, answer, bytewise, toys, write
from tokencollab.errors import TraceError
from tokencollab.policies import events as e
from tokencollab.policies.bytewise import BytewisePolicy
from tokencollab.policies.bytewise_replay import replay_bytewise
from tokencollab.policies.methods import Method
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.trace import TraceMarginals, TraceStep

seeds = st.integers(0, 10**6)
common = settings(derandomize=True, deadline=None, max_examples=60)
EXITS: list[dict[str, Any]] = [
    {"exit": "never"},
    {"exit": "fixed", "exit_after": 3},
    {"exit": "self-efficacy", "omega": 2, "theta": 0.3},
    {"exit": "per-collaborator", "patience": 3},
    {"exit": "consult", "consult_below": 0.5},
]


class Recorder:
    """Serves a policy as a coordinator would, and keeps what a trace has."""

    def __init__(self, method: Method, models: Sequence[Toy], seed: int, max_tokens: int) -> None:
        self.method, self.models = method, {toy.name: toy for toy in models}
        self.policy = BytewisePolicy(method, max_tokens=max_tokens, seed=seed, report=True)
        self.text = b""
        self.waiting: list[e.Event] = []
        self.asked: dict[int, e.RequestMarginals] = {}
        self.candidates: dict[str, CandidateSet] = {}
        self.marginals: list[TraceMarginals] = []
        self.steps: list[TraceStep] = []
        self.commits: list[e.Commit] = []
        self.heard: list[tuple[str, str]] = []
        self.state, commands = self.policy.start(tuple(self.models))
        self.carry_out(commands)

    def carry_out(self, commands: tuple[e.Command, ...]) -> None:
        for command in commands:
            match command:
                case e.Commit(piece, made):
                    self.text += piece or b""
                    sent, told = tuple(sorted(self.candidates.items())), tuple(self.marginals)
                    number = len(self.steps) + 1
                    heard = tuple(self.heard)
                    self.steps.append(
                        TraceStep(number, sent, piece, True, made.alone, lost=made.lost, marginals=told, heard=heard)
                    )
                    self.commits.append(command)
                    self.candidates, self.marginals, self.heard = {}, [], []
                case e.RequestCandidates() | e.RequestMarginals():
                    self.waiting.append(answer(self.models[command.model], self.text, command, 2))
                    if isinstance(command, e.RequestMarginals):
                        self.asked[command.question] = command
                case e.RunSolo():
                    self.waiting += write(self.models[command.model], self.text, command, self.method.top_k)

    def receive(self, event: e.Event) -> None:
        open_questions = {v.question for v in self.state.voters} | {self.state.run_question}
        match event:
            case e.CandidatesArrived(model, question, sent) if question in open_questions:
                self.candidates[model] = sent
            case e.MarginalsArrived(model, question, exact, end, following):
                of = self.asked[question]
                self.marginals.append(TraceMarginals(model, of.offset, of.pending, exact, end, following))
            case e.SoloStep(model, _, _, CandidateSet() as sent) if self.state.phase == "alone":
                self.candidates[model] = sent
        before = self.state
        self.state, commands = self.policy.step(before, event)
        if self.state is not before and type(event) in e.EVENT_NAMES:
            self.heard.append((e.EVENT_NAMES[type(event)], event.model))  # type: ignore[union-attr]
        self.carry_out(commands)


def record(
    method: Method, models: Sequence[Toy], *, seed: int, max_tokens: int, faults: Sequence[tuple[int, e.Event]]
) -> tuple[list[TraceStep], list[e.Commit]]:
    """An answer's steps and commits. ``faults``: (how many events came before, what happens)."""
    recorder = Recorder(method, models, seed, max_tokens)
    count = 0
    while recorder.state.phase != "stopped":
        event = next((what for at, what in faults if at == count), None) or recorder.waiting.pop(0)
        recorder.receive(event)
        count += 1
    return recorder.steps, recorder.commits


@common
@given(
    seeds,
    st.lists(st.sampled_from(CUTS), min_size=1, max_size=3),
    st.sampled_from(EXITS),
    st.sampled_from([2, 20]),
    st.booleans(),
)
def test_a_trace_with_its_own_settings_gives_every_decision_again(
    seed: int, cuts: list[Any], leaving: dict[str, Any], k: int, silent: bool
) -> None:
    """Also where it is ``silent`` on the order in which things were heard, which matters with losses only."""
    method = bytewise(top_k=k, **leaving)
    steps, commits = record(method, toys(seed, cuts), seed=seed, max_tokens=15, faults=[])
    members = tuple("abc"[: len(cuts)])
    if silent:
        steps = [replace(step, heard=()) for step in steps]
    until = method.consult_below if method.exit == "consult" else 0.0
    again = list(replay_bytewise(method, members, steps, seed=seed, max_tokens=15, past_exit=True, until=until))
    assert [s.chosen for s in again] == [c.piece for c in commits]
    assert [s.ranks for s in again] == [c.record.ranks for c in commits]
    assert [s.offsets for s in again] == [c.record.offsets for c in commits]
    for replayed, commit in zip(again, commits, strict=True):
        assert commit.record.efficacy in (None, replayed.efficacy)
    stopping = list(replay_bytewise(method, members, steps, seed=seed, max_tokens=15, until=until))
    assert stopping == again[: len(stopping)]
    assert until or not any(s.exited for s in stopping[:-1])
    assert len(stopping) == len(again) or stopping[-1].exited


@common
@given(
    seeds,
    st.integers(0, 20),
    st.integers(1, 12),
    st.sampled_from(["b", "c"]),
    st.sampled_from([2, 20]),
    st.sampled_from([EXITS[0], EXITS[-1]]),
)
def test_losses_and_returns_are_replayed(
    seed: int, at: int, later: int, model: str, k: int, leaving: dict[str, Any]
) -> None:
    method = bytewise(top_k=k, **leaving)
    faults: list[tuple[int, e.Event]] = [(at, e.ModelLost(model)), (at + later, e.ModelJoined(model))]
    steps, commits = record(method, toys(seed), seed=0, max_tokens=12, faults=faults)
    until = method.consult_below if method.exit == "consult" else 0.0
    again = list(replay_bytewise(method, tuple("abc"), steps, seed=0, max_tokens=12, until=until))
    assert [s.chosen for s in again] == [c.piece for c in commits]
    assert [s.ranks for s in again] == [c.record.ranks for c in commits]


@common
@given(seeds)
def test_another_exit_is_replayed_over_the_same_answers(seed: int) -> None:
    steps, commits = record(bytewise(), toys(seed), seed=0, max_tokens=12, faults=[])
    other = bytewise(exit="self-efficacy", omega=2, theta=0.3)
    again = list(replay_bytewise(other, tuple("abc"), steps, seed=0, max_tokens=12, past_exit=True))
    assert [s.chosen for s in again] == [c.piece for c in commits]
    flags = [s.exited for s in again]
    assert flags == sorted(flags)


def test_an_answer_that_is_missing_is_named() -> None:
    steps, _ = record(bytewise(), toys(3), seed=0, max_tokens=6, faults=[])
    damaged = [replace(steps[0], candidates=steps[0].candidates[:2]), *steps[1:]]
    with pytest.raises(TraceError, match="step 1: the trace has no candidates of c"):
        list(replay_bytewise(bytewise(), tuple("abc"), damaged, seed=0, max_tokens=6))

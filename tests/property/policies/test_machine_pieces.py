"""The piece-level machine under everything that can happen to it; `books` says what it must do."""

import pickle
from dataclasses import replace
from math import exp, log
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from tests.support.books import BASE, MOST, Books
from tests.support.oracle import best
from tokencollab.policies import events as e
from tokencollab.policies.machine import make_policy
from tokencollab.policies.methods import parse_method
from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.pieces import Piece

EVERYBODY = ("a", "c", "m", "x")
VOCABULARY: tuple[Piece, ...] = (b" ", b"a", b"ab", b" b", b".", b"\xe6\x97", b"\xa5", None)


@st.composite
def candidate_sets(draw: st.DrawFn) -> CandidateSet:
    """Some of the vocabulary, with logits that are apart, and some mass that is not listed."""
    known = VOCABULARY if draw(st.integers(0, 3)) == 0 else VOCABULARY[:-1]  # EOS is rare
    pieces = draw(st.permutations(known))[: draw(st.integers(1, len(known)))]
    low = draw(st.sampled_from([-3.0, 8.0]))
    logits = sorted((low + draw(st.integers(0, 10**6)) / 1e5 for _ in pieces), reverse=True)
    total = log(sum(exp(logit) for logit in logits) + draw(st.sampled_from([1e-9, 50.0])))
    return CandidateSet(tuple(Candidate(p, x, x - total) for p, x in zip(pieces, logits, strict=True)), total).checked()


class Machine(Books):
    """Delivers answers late, twice and in any order; loses models and brings them back."""

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        self.deliver(data)

    def deliver(self, data: st.DataObject) -> None:
        command = data.draw(st.sampled_from(self.open))
        self.open.remove(command)
        event: e.Event
        match command:
            case e.RequestCandidates(model, question, _, _):
                self.votes[model] = data.draw(candidate_sets())
                event = e.CandidatesArrived(model, question, self.votes[model])
            case e.RequestScores(model, question, _, pieces):
                logits = tuple(data.draw(st.floats(-5, 8)) for _ in pieces)
                self.foreign.update({(model, p): x for p, x in zip(pieces, logits, strict=True)})
                event = e.ScoresArrived(model, question, logits)
        self.heard.append(event)
        self.hear(event)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), steps=st.integers(1, 3))
    def go_on(self, data: st.DataObject, steps: int) -> None:
        """Some steps with no trouble: without this, little would ever get written."""
        for _ in range(steps):
            count = self.count
            while self.open and self.count == count:
                self.deliver(data)

    @precondition(lambda self: self.run is not None)
    @rule(sent=candidate_sets(), data=st.data())
    def alone(self, sent: CandidateSet, data: st.DataObject) -> None:
        assert self.run is not None
        piece = data.draw(st.sampled_from([c.piece for c in sent.candidates]))
        self.state, commands = self.policy.step(
            self.state, e.SoloStep(BASE, self.run.question, piece, sent if self.run.report else None)
        )
        self.expect_alone(piece, list(commands))

    @precondition(lambda self: self.run is not None and self.run.unsure)
    @rule(sent=candidate_sets())
    def unsure_alone(self, sent: CandidateSet) -> None:
        assert self.run is not None
        event = e.CandidatesArrived(BASE, self.run.question, sent)
        self.state, commands = self.policy.step(self.state, event)
        self.heard.append(event)
        self.expect_consulted(sent, list(commands))

    @precondition(lambda self: self.heard)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        self.expect_nothing(data.draw(st.sampled_from(self.heard)))

    @rule(model=st.sampled_from(EVERYBODY), number=st.integers(-1, 200), sent=candidate_sets())
    def stray(self, model: str, number: int, sent: CandidateSet) -> None:
        """Answers with a wrong number, or the number of another model's or another kind of question."""
        consulting = self.run is not None and self.run.unsure and (BASE, self.run.question) == (model, number)
        asked = any((c.model, c.question) == (model, number) and isinstance(c, e.RequestCandidates) for c in self.open)
        if not asked and not consulting:
            self.expect_nothing(e.CandidatesArrived(model, number, sent))
        if not any((c.model, c.question) == (model, number) and isinstance(c, e.RequestScores) for c in self.open):
            self.expect_nothing(e.ScoresArrived(model, number, (1.0,)))
        if not (self.run and (BASE, self.run.question) == (model, number)):
            self.expect_nothing(e.SoloStep(model, number, b"a", sent))
        self.expect_nothing(e.MarginalsArrived(model, number, 0.0, 0.0, (0.0,) * 256))

    @rule(model=st.sampled_from(EVERYBODY))
    def lose(self, model: str) -> None:
        if self.phase == "stopped" or model not in self.live | self.joining:
            self.expect_nothing(e.ModelLost(model))
            return
        if model in self.joining:
            self.joining.remove(model)
            self.state, commands = self.policy.step(self.state, e.ModelLost(model))
            assert commands == ()
            return
        self.live.remove(model)
        self.lost.add(model)
        if self.phase == "together":
            self.open = [command for command in self.open if command.model != model]
            self.votes.pop(model, None)
            self.hear(e.ModelLost(model))
            return
        self.state, commands = self.policy.step(self.state, e.ModelLost(model))
        assert commands == ()
        if model == BASE:
            self.phase, self.run = "waiting", None

    @rule(model=st.sampled_from(EVERYBODY))
    def join(self, model: str) -> None:
        known = self.live | self.joining | self.left
        if self.phase == "stopped" or model in known or (self.phase != "together" and not self.welcome(model)):
            self.expect_nothing(e.ModelJoined(model))
            return
        self.state, commands = self.policy.step(self.state, e.ModelJoined(model))
        if self.phase == "together":
            self.joining.add(model)
            assert commands == ()
        elif model == BASE:
            self.live.add(BASE)
            self.phase = "solo"
            self.expect_run(list(commands))
        else:
            self.live.add(model)
            assert commands == ()

    @precondition(lambda self: self.count > 4)
    @rule(cancel=st.booleans(), really=st.integers(0, 5))
    def end(self, cancel: bool, really: int) -> None:
        event = e.Cancelled() if cancel else e.ModelExhausted(BASE)
        if self.phase == "stopped":
            self.expect_nothing(event)
            return
        if really:
            return
        self.state, commands = self.policy.step(self.state, event)
        assert commands == (e.Stop("cancelled" if cancel else "length"),)
        self.stopped()

    @rule()
    def save_and_restore(self) -> None:
        """Plain data: what comes back is equal, and everything after goes on with it."""
        restored = pickle.loads(pickle.dumps(self.state))  # noqa: S301 - our own bytes
        assert restored == self.state
        assert hash(restored) == hash(self.state)
        self.state = restored
        self.policy = make_policy(self.method, max_tokens=MOST, seed=1, report=False)

    @invariant()
    def progress(self) -> None:
        """Somebody is always asked, or the base is waited for, or the answer is over."""
        if self.phase == "together":
            assert self.open
            assert {command.model for command in self.open} <= self.live
        elif self.phase == "solo":
            assert self.run is not None
        else:
            assert self.phase == "stopped" or BASE not in self.live


CASES: list[dict[str, Any]] = [
    {"exit": "never", "top_k": 3},
    {"aggregation": "unite", "top_k": 3, "weights": {"c": 2.0}},
    {"aggregation": "unite", "top_k": 2, "exit": "fixed-3"},
    {"aggregation": "duetnet", "top_k": 4},
    {"aggregation": "duetnet", "top_k": 4, "reference": "floor", "top_p": 0.6, "over": "top_k"},
    {"aggregation": "dp", "exit": "self-efficacy", "omega": 2, "theta": 0.25},
    {"aggregation": "dp", "exit": "confidence", "omega": 3, "theta": 0.4, "ties": "failure"},
    {"aggregation": "dk", "top_k": 3, "exit": "reliability", "omega": 2, "theta": 0.5, "eps": 0.2},
    {"exit": "per-collaborator", "patience": 2, "top_k": 4},
    {"aggregation": "dp", "exit": "consult", "consult_below": 0.6},
    {"aggregation": "unite", "top_k": 3, "exit": "consult", "consult_below": 0.3},
    {"aggregation": "dp"},
    {"aggregation": "unite", "top_k": 3, "exit": "per-collaborator", "patience": 1},
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(str(value) for value in case.values()))
def test_the_machine_does_what_the_simple_model_says(case: dict[str, Any]) -> None:
    machine = type("CaseMachine", (Machine,), {"settings": case})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=30,
            stateful_step_count=50,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_simple_model_sees_a_wrong_choice() -> None:
    """The oracle itself can fail: it tells DP from GaC with weights, and raw from floor."""
    a = CandidateSet((Candidate(b"a", 3.0, -0.7), Candidate(b"b", 2.5, -1.2)), 3.7)
    b = CandidateSet((Candidate(b"b", 9.0, -0.9), Candidate(b"c", 8.9, -1.0)), 9.9)
    dk = parse_method("dk", top_k=2)
    assert best(dk, {"a": a, "b": b}, {})[0] == b"b"
    assert best(replace(dk, weights=(("a", 9.0),)), {"a": a, "b": b}, {})[0] == b"b"
    assert best(replace(dk, reference="floor", weights=(("a", 9.0),)), {"a": a, "b": b}, {})[0] == b"a"

"""The piece-level machine under everything that can happen to it, against the simple model in `oracle`."""

import pickle
from dataclasses import replace
from math import exp, inf, log
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.property.policies.oracle import CLEAR, History, best, best_with_owners, goes_on, kept, mid_character
from tokencollab.policies import events as e
from tokencollab.policies.methods import make_policy, parse_method
from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.pieces import Piece

BASE, MEMBERS, EVERYBODY = "m", ("m", "c", "x"), ("a", "c", "m", "x")
VOCABULARY: tuple[Piece, ...] = (b" ", b"a", b"ab", b" b", b".", b"\xe6\x97", b"\xa5", None)
MOST = 14


@st.composite
def candidate_sets(draw: st.DrawFn) -> CandidateSet:
    """Some of the vocabulary, with logits that are apart, and some mass that is not listed."""
    known = VOCABULARY if draw(st.integers(0, 3)) == 0 else VOCABULARY[:-1]  # END is rare
    pieces = draw(st.permutations(known))[: draw(st.integers(1, len(known)))]
    low = draw(st.sampled_from([-3.0, 8.0]))
    logits = sorted((low + draw(st.integers(0, 10**6)) / 1e5 for _ in pieces), reverse=True)
    total = log(sum(exp(logit) for logit in logits) + draw(st.sampled_from([1e-9, 50.0])))
    return CandidateSet(tuple(Candidate(p, x, x - total) for p, x in zip(pieces, logits, strict=True)), total).checked()


class Machine(RuleBasedStateMachine):
    """Delivers answers late, twice and in any order; loses models and brings them back."""

    settings: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()
        self.method = parse_method("gac", **self.settings)
        self.policy = make_policy(self.method, max_tokens=MOST, seed=1, report=False)
        self.live, self.joining, self.left, self.lost = set(MEMBERS), set[str](), set[str](), set[str]()
        self.phase, self.text, self.count = "together", b"", 0
        self.votes: dict[str, CandidateSet] = {}
        self.foreign: dict[tuple[str, Piece], float] = {}
        self.open: list[e.Ask | e.Score] = []
        self.run: e.RunAlone | None = None
        self.heard: list[e.Event] = []
        self.owners: set[str] = set()
        self.history, self.idle = History(self.method), dict[str, int]()
        self.numbers: set[int] = set()
        self.noticed, self.left_to_write = False, 0
        self.state, commands = self.policy.start(MEMBERS)
        self.expect_asks(list(commands))

    # -------------------------------------------------------- what comes in

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        self.deliver(data)

    def deliver(self, data: st.DataObject) -> None:
        command = data.draw(st.sampled_from(self.open))
        self.open.remove(command)
        event: e.Event
        match command:
            case e.Ask(model, question, _, _):
                self.votes[model] = data.draw(candidate_sets())
                event = e.CandidatesArrived(model, question, self.votes[model])
            case e.Score(model, question, _, pieces):
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
            self.state, e.AloneStep(BASE, self.run.question, piece, sent if self.run.report else None)
        )
        self.expect_alone(piece, sent, list(commands))

    @precondition(lambda self: self.heard)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        self.expect_nothing(data.draw(st.sampled_from(self.heard)))

    @rule(model=st.sampled_from(EVERYBODY), number=st.integers(-1, 200), sent=candidate_sets())
    def stray(self, model: str, number: int, sent: CandidateSet) -> None:
        """Answers with a wrong number, or the number of another model's or another kind of question."""
        if not any((c.model, c.question) == (model, number) and isinstance(c, e.Ask) for c in self.open):
            self.expect_nothing(e.CandidatesArrived(model, number, sent))
        if not any((c.model, c.question) == (model, number) and isinstance(c, e.Score) for c in self.open):
            self.expect_nothing(e.ScoresArrived(model, number, (1.0,)))
        if not (self.run and (BASE, self.run.question) == (model, number)):
            self.expect_nothing(e.AloneStep(model, number, b"a", sent))
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
            self.phase = "alone"
            self.expect_run(list(commands), self.left_to_write)
        else:
            self.live.add(model)
            assert commands == ()

    def welcome(self, model: str) -> bool:
        return model == BASE or self.method.exit == "rejoin"

    @precondition(lambda self: self.count > 4)
    @rule(model=st.sampled_from(EVERYBODY), cancel=st.booleans(), really=st.integers(0, 5))
    def end(self, model: str, cancel: bool, really: int) -> None:
        if self.phase == "stopped" or (not cancel and model not in self.writers()):
            self.expect_nothing(e.Cancelled() if cancel else e.ContextFull(model))
            return
        if really:
            return
        event = e.Cancelled() if cancel else e.ContextFull(model)
        self.state, commands = self.policy.step(self.state, event)
        assert commands == (e.Stop("cancelled" if cancel else "length"),)
        self.stopped()

    def writers(self) -> set[str]:
        return {"together": self.live, "alone": {BASE}}.get(self.phase, set())

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
        elif self.phase == "alone":
            assert self.run is not None
        else:
            assert self.phase == "stopped" or BASE not in self.live

    @invariant()
    def memory(self) -> None:
        """The state holds what is needed and nothing that is over."""
        s = self.state
        assert (s.phase, s.committed, s.offset) == (self.phase, self.count, len(self.text))
        assert set(s.left) == self.left
        assert s.noticed == self.noticed
        if self.phase == "stopped":
            assert (s.live, s.joining, s.open, s.answers, s.scoring, s.scores, s.run_left) == ((),) * 6 + (0,)
            return
        assert (set(s.live), set(s.joining), set(s.lost)) == (self.live, self.joining, self.lost)
        assert [list(names) for names in (s.live, s.joining, s.left, s.lost)] == [
            sorted(names) for names in (self.live, self.joining, self.left, self.lost)
        ]
        asked = [(c.model, c.question) for c in self.open if isinstance(c, e.Ask)]
        run = [(BASE, self.run.question)] if self.run else []
        assert list(s.open) == sorted(asked) + run
        assert dict(s.answers) == (self.votes if self.phase == "together" else {})
        scoring = {(c.model, c.question, c.pieces) for c in self.open if isinstance(c, e.Score)}
        assert set(s.scoring) == scoring
        scores = {(model, piece): logit for model, pairs in s.scores for piece, logit in pairs}
        assert scores == {key: logit for key, logit in self.foreign.items() if key[0] in self.live}
        if self.method.owner_finishes:
            assert set(s.word.owners) == self.owners
            assert s.word.mid_character == mid_character(self.text)
            assert s.word.continued_by(b"a") == goes_on(self.text, b"a")
        if self.phase != "together":
            assert s.run_left == self.left_to_write

    # -------------------------------------------------------- what must go out

    def expect_nothing(self, event: e.Event) -> None:
        assert self.policy.step(self.state, event) == (self.state, ())

    def hear(self, event: e.Event) -> None:
        """An event of a step together: what follows from it?"""
        self.state, sent = self.policy.step(self.state, event)
        commands = list(sent)
        if self.open:
            assert commands == []
            return
        if not self.live:
            if self.joining:
                self.expect_asks(commands)
            else:
                assert commands == [e.Stop("failed")]
                self.stopped()
            return
        missing = self.missing()
        if missing:
            scores = [c for c in commands if isinstance(c, e.Score)]
            assert len(scores) == len(commands)
            assert {c.model: set(c.pieces) for c in scores} == missing
            self.fresh(scores)
            self.open += scores
        else:
            self.expect_commit(commands)

    def missing(self) -> dict[str, set[Piece]]:
        if self.method.aggregation != "unite":
            return {}
        union = {p for sent in self.votes.values() for p in kept(self.method, sent)}
        lacking = {
            model: {p for p in union - {c.piece for c in sent.candidates} if (model, p) not in self.foreign}
            for model, sent in self.votes.items()
        }
        return {model: pieces for model, pieces in lacking.items() if pieces}

    def expect_commit(self, commands: list[e.Command]) -> None:
        negative = any(
            c.logit < 0 for v in self.votes.values() for c in v.candidates if c.piece in kept(self.method, v)
        )
        raw = self.method.aggregation in ("duetnet", "dk") and self.method.reference == "raw"
        if raw and negative and not self.noticed:
            self.noticed = True
            assert isinstance(commands.pop(0), e.Notice)
        commit = commands.pop(0)
        assert isinstance(commit, e.Commit)
        owners = self.owners if self.method.owner_finishes else set()
        piece, lead = best_with_owners(self.method, self.votes, self.foreign, self.text, owners)
        if lead > CLEAR:
            assert commit.piece == piece
        piece, record, self.count = commit.piece, commit.record, self.count + 1
        ranks = {m: self.rank(sent, piece) for m, sent in self.votes.items()}
        assert list(record.ranks) == [(m, None if r == inf else r) for m, r in sorted(ranks.items())]
        assert (record.step, record.alone, set(record.lost)) == (self.count, False, self.lost)
        decisive = self.decisive(piece, owners)
        self.take_word(piece, {model for model, rank in ranks.items() if rank < inf})
        votes, self.votes, self.foreign, self.lost = self.votes, {}, {}, set()
        self.text += piece or b""
        out: set[str] = set()
        leaves = False
        if BASE in votes:
            leaves, out, figures = self.exit_verdict(ranks, decisive)
            assert record.efficacy == figures
        else:
            assert record.efficacy is None
        if piece is None or self.count == MOST:
            assert commands == [e.Stop("end" if piece is None else "length")]
            self.stopped()
        elif leaves:
            gone = tuple(sorted((self.live | self.joining) - {BASE}))
            assert commands.pop(0) == e.Exited(self.count, gone)
            self.live = (self.live | self.joining) if self.method.exit == "rejoin" else {BASE}
            self.joining, self.phase = set(), "alone"
            self.expect_run(commands, self.run_steps())
        else:
            self.live -= out
            self.left |= out
            self.expect_asks(commands)

    def rank(self, sent: CandidateSet, piece: Piece) -> float:
        listed = kept(self.method, sent)
        return listed.index(piece) if piece in listed else inf

    def take_word(self, piece: Piece, listed: set[str]) -> None:
        if not self.method.owner_finishes or piece is None:
            return
        before = self.owners if goes_on(self.text, piece) else set()
        after = self.text + piece
        if not (mid_character(after) or goes_on(after, b"a")):
            self.owners = set()
        elif before:
            self.owners = before & listed
        else:
            self.owners = set() if listed == set(self.votes) else listed

    def decisive(self, piece: Piece, owners: set[str]) -> set[str] | None:
        """None where a tie leaves it open."""
        found = set()
        for model in self.votes:
            others = {m: sent for m, sent in self.votes.items() if m != model}
            if others:
                other, lead = best_with_owners(self.method, others, self.foreign, self.text, owners)
                if lead <= CLEAR:
                    return None
                if other != piece:
                    found.add(model)
        return found

    def exit_verdict(
        self, ranks: dict[str, float], decisive: set[str] | None
    ) -> tuple[bool, set[str], e.Efficacy | None]:
        m = self.method
        if m.exit == "never":
            return False, set(), None
        if m.exit == "fixed":
            return self.count >= (m.exit_after or 0), set(), None
        if m.exit == "per-collaborator":
            if decisive is None:  # a tie: take the policy's word for it
                self.idle = dict(self.state.exit)
                return self.state.phase == "alone", set(self.state.left) - self.left, None
            for model in set(ranks) - {BASE}:
                self.idle[model] = 0 if model in decisive else self.idle.get(model, 0) + 1
            out = {model for model in set(ranks) - {BASE} if self.idle[model] >= m.patience}
            for model in out:
                del self.idle[model]
            return bool(out) and out == set(ranks) - {BASE}, out, None
        self.history.steps.append(ranks)
        figures = self.history.figures(BASE)
        t0 = figures["t0"]
        assert t0 is not None
        return t0 > m.theta, set(), e.Efficacy(**figures)  # type: ignore[arg-type]

    def run_steps(self) -> int:
        most = MOST - self.count
        return min(most, self.method.rejoin_window) if self.method.exit == "rejoin" else most

    def expect_alone(self, piece: Piece, sent: CandidateSet, commands: list[e.Command]) -> None:
        commit = commands.pop(0)
        assert isinstance(commit, e.Commit)
        self.count += 1
        assert (commit.piece, commit.record.step, commit.record.alone) == (piece, self.count, True)
        assert set(commit.record.lost) == self.lost
        self.lost = set()
        self.text += piece or b""
        self.owners = set()
        self.left_to_write -= 1
        back = False
        if self.method.exit == "rejoin":
            rank = self.rank(sent, piece)
            assert commit.record.ranks == ((BASE, None if rank == inf else rank),)
            self.history.alone.append(next(exp(c.logprob) for c in sent.candidates if c.piece == piece))
            if len(self.history.alone) == self.method.rejoin_window:
                back = sum(self.history.alone) / self.method.rejoin_window < self.method.rejoin_below
                self.history.alone.clear()
        else:
            assert commit.record.ranks == ()
        if piece is None or self.count == MOST:
            assert commands == [e.Stop("end" if piece is None else "length")]
            self.stopped()
        elif back:
            self.history, self.phase, self.run = History(self.method), "together", None
            self.expect_asks(commands)
        elif self.left_to_write == 0:
            self.expect_run(commands, self.run_steps())
        else:
            assert commands == []

    def expect_asks(self, commands: list[e.Command]) -> None:
        self.live |= self.joining
        self.joining = set()
        self.lost -= self.live
        asks = [command for command in commands if isinstance(command, e.Ask)]
        assert len(asks) == len(commands)
        assert [ask.model for ask in asks] == sorted(self.live)
        assert all((ask.offset, ask.k) == (len(self.text), self.method.top_k) for ask in asks)
        self.fresh(asks)
        self.open = list(asks)
        self.votes, self.foreign, self.run = {}, {}, None

    def expect_run(self, commands: list[e.Command], steps: int) -> None:
        (run,) = commands
        assert isinstance(run, e.RunAlone)
        watched = self.method.exit == "rejoin"
        assert replace(run, question=0) == e.RunAlone(BASE, 0, len(self.text), self.count + 1, steps, watched)
        self.fresh([run])
        self.open, self.run, self.left_to_write = [], run, steps

    def fresh(self, commands: list[Any]) -> None:
        numbers = [command.question for command in commands]
        assert len(set(numbers)) == len(numbers)
        assert not self.numbers & set(numbers)
        self.numbers.update(numbers)

    def stopped(self) -> None:
        self.phase, self.open, self.run = "stopped", [], None


CASES: list[dict[str, Any]] = [
    {"exit": "never", "top_k": 3},
    {"aggregation": "unite", "top_k": 3, "weights": {"c": 2.0}},
    {"aggregation": "unite", "top_k": 2, "exit": "fixed-3"},
    {"aggregation": "duetnet", "top_k": 4},
    {"aggregation": "duetnet", "top_k": 4, "reference": "floor", "top_p": 0.6, "over": "top_k"},
    {"aggregation": "dp", "exit": "self-efficacy", "omega": 2, "theta": 0.25},
    {"aggregation": "dp", "exit": "confidence", "omega": 3, "theta": 0.4, "ties": "failure"},
    {"aggregation": "dk", "top_k": 3, "exit": "reliability", "omega": 2, "theta": 0.5, "eps": 0.2},
    {"aggregation": "dp", "exit": "rejoin", "omega": 1, "theta": 0.2, "rejoin_window": 2, "rejoin_below": 0.4},
    {"exit": "per-collaborator", "patience": 2, "top_k": 4},
    {
        "aggregation": "dp",
        "exit": "rejoin",
        "omega": 1,
        "theta": 0.2,
        "rejoin_window": 2,
        "rejoin_below": 0.9,
        "owner_finishes": True,
    },
    {"aggregation": "dp", "owner_finishes": True},
    {"aggregation": "unite", "top_k": 3, "owner_finishes": True, "exit": "per-collaborator", "patience": 1},
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

"""What the piece-level machine must do: books kept apart from it, and the simple model in `oracle`."""

from math import inf
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine, invariant

from tests.support.oracle import CLEAR, History, best, kept
from tokencollab.policies import events as e
from tokencollab.policies.machine import make_policy
from tokencollab.policies.methods import parse_method
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.pieces import Piece

BASE, MEMBERS = "m", ("m", "c", "x")
MOST = 14


class Books(RuleBasedStateMachine):
    """Who is there, what is asked and what was written; a subclass brings the events."""

    settings: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()
        self.method = parse_method("gac", **self.settings)
        self.policy = make_policy(self.method, max_tokens=MOST, seed=1, report=False)
        self.live, self.joining, self.left, self.lost = set(MEMBERS), set[str](), set[str](), set[str]()
        self.phase, self.text, self.count = "together", b"", 0
        self.votes: dict[str, CandidateSet] = {}
        self.foreign: dict[tuple[str, Piece], float] = {}
        self.open: list[e.RequestCandidates | e.RequestScores] = []
        self.run: e.RunSolo | None = None
        self.heard: list[e.Event] = []
        self.history, self.idle = History(self.method), dict[str, int]()
        self.numbers: set[int] = set()
        self.noticed = False
        self.state, commands = self.policy.start(MEMBERS)
        self.expect_asks(list(commands))

    def welcome(self, model: str) -> bool:
        return model == BASE or self.method.exit == "consult"

    def writers(self) -> set[str]:
        return {"together": self.live, "solo": {BASE}}.get(self.phase, set())

    @invariant()
    def memory(self) -> None:
        """The state holds what is needed and nothing that is over."""
        s = self.state
        assert (s.phase, s.committed, s.offset) == (self.phase, self.count, len(self.text))
        assert set(s.left) == self.left
        assert s.noticed == self.noticed
        if self.phase == "stopped":
            assert (s.live, s.joining, s.solo, s.vote) == ((), (), None, None)
            return
        assert (set(s.live), set(s.joining), set(s.lost)) == (self.live, self.joining, self.lost)
        assert [list(names) for names in (s.live, s.joining, s.left, s.lost)] == [
            sorted(names) for names in (self.live, self.joining, self.left, self.lost)
        ]
        assert (s.vote is not None) == (self.phase == "together")
        assert s.solo == self.run

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
            scores = [c for c in commands if isinstance(c, e.RequestScores)]
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
        piece, lead = best(self.method, self.votes, self.foreign)
        if lead > CLEAR:
            assert commit.piece == piece
        piece, record, self.count = commit.piece, commit.record, self.count + 1
        ranks = {m: self.rank(sent, piece) for m, sent in self.votes.items()}
        assert list(record.ranks) == [(m, None if r == inf else r) for m, r in sorted(ranks.items())]
        assert (record.step, record.alone, set(record.lost)) == (self.count, False, self.lost)
        decisive = self.decisive(piece)
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
            self.live = (self.live | self.joining) if self.method.exit == "consult" else {BASE}
            self.joining, self.phase = set(), "solo"
            self.expect_run(commands)
        else:
            self.live -= out
            self.left |= out
            self.expect_asks(commands)

    def rank(self, sent: CandidateSet, piece: Piece) -> float:
        listed = kept(self.method, sent)
        return listed.index(piece) if piece in listed else inf

    def decisive(self, piece: Piece) -> set[str] | None:
        """None where a tie leaves it open."""
        found = set()
        for model in self.votes:
            others = {m: sent for m, sent in self.votes.items() if m != model}
            if others:
                other, lead = best(self.method, others, self.foreign)
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
        if m.exit == "consult":
            return True, set(), None
        if m.exit == "fixed":
            return self.count >= (m.exit_after or 0), set(), None
        if m.exit == "per-collaborator":
            if decisive is None:  # a tie: take the policy's word for it
                self.idle = dict(self.state.exit)
                return self.state.phase == "solo", set(self.state.left) - self.left, None
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

    def expect_alone(self, piece: Piece, commands: list[e.Command]) -> None:
        commit = commands.pop(0)
        assert isinstance(commit, e.Commit)
        self.count += 1
        assert (commit.piece, commit.record.step, commit.record.alone) == (piece, self.count, True)
        assert set(commit.record.lost) == self.lost
        self.lost = set()
        self.text += piece or b""
        assert commit.record.ranks == ()
        assert self.run is not None
        self.run = self.run.after(piece)
        if piece is None or self.count == MOST:
            assert commands == [e.Stop("end" if piece is None else "length")]
            self.stopped()
        else:
            assert commands == []

    def expect_asks(self, commands: list[e.Command]) -> None:
        self.live |= self.joining
        self.joining = set()
        self.lost -= self.live
        asks = [command for command in commands if isinstance(command, e.RequestCandidates)]
        assert len(asks) == len(commands)
        assert [ask.model for ask in asks] == sorted(self.live)
        assert all((ask.offset, ask.k) == (len(self.text), self.method.top_k) for ask in asks)
        self.fresh(asks)
        self.open = list(asks)
        self.votes, self.foreign, self.run = {}, {}, None

    def expect_run(self, commands: list[e.Command]) -> None:
        (run,) = commands
        assert isinstance(run, e.RunSolo)
        assert run._replace(question=0) == e.RunSolo(
            BASE, 0, len(self.text), self.count + 1, MOST - self.count, False, self.unsure()
        )
        self.fresh([run])
        self.open, self.run = [], run

    def unsure(self) -> float:
        return self.method.consult_below if self.method.exit == "consult" else 0.0

    def expect_consulted(self, sent: CandidateSet, commands: list[e.Command]) -> None:
        """The base, alone until now, has answered as in a step together."""
        asks = [command for command in commands if isinstance(command, e.RequestCandidates)]
        assert [ask.model for ask in asks] == sorted(self.live - {BASE})
        assert all((ask.offset, ask.k) == (len(self.text), self.method.top_k) for ask in asks)
        self.fresh(asks)
        self.phase, self.run = "together", None
        self.open, self.votes, self.foreign = list(asks), {BASE: sent}, {}
        self.lost -= self.live
        if asks:
            assert len(asks) == len(commands)
        else:
            self.expect_commit(commands)

    def fresh(self, commands: list[Any]) -> None:
        numbers = [command.question for command in commands]
        assert len(set(numbers)) == len(numbers)
        assert not self.numbers & set(numbers)
        self.numbers.update(numbers)

    def stopped(self) -> None:
        self.phase, self.open, self.run = "stopped", [], None

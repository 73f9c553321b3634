"""The machine against a simple model of its transitions, whatever the votes are on.

Members are lost, join and come back; answers are late, repeated and out of order. What is decided is the matter of
`test_machine_pieces` and of `test_bytewise_rule`.
"""

import pickle
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.toys import CUTS, Toy, bytewise
from tokencollab.policies import events as e
from tokencollab.policies.machine import Machine, make_policy
from tokencollab.testing import Driver

BASE, NAMES, STRANGER = "b", ("b", "a", "c"), "d"
MAX_TOKENS = 20


class Course(RuleBasedStateMachine):
    """Keeps its own books of who is there, and says what may follow from an event."""

    settings: dict[str, Any]

    @initialize(seed=st.integers(0, 999), k=st.sampled_from([2, 4, 20]), agreed=st.booleans())
    def begin(self, seed: int, k: int, agreed: bool) -> None:
        target = b"0120" * 9 if agreed else b""
        toys = {n: Toy(n, CUTS[i % 3], seed + i, target=target, extra=2) for i, n in enumerate((*NAMES, STRANGER))}
        self.method = bytewise(top_k=k, **self.settings)
        policy = make_policy(self.method, max_tokens=MAX_TOKENS, seed=seed, report=False)
        self.phase = "solo" if self.method.aggregation == "base" else "together"
        self.live = {BASE} if self.phase == "solo" else set(NAMES)
        self.joining, self.left = set[str](), set[str]()
        self.numbers: set[int] = set()
        self.late: list[Any] = []
        self.driver = Driver(policy, toys, members=NAMES)
        self.follow(list(self.driver.open))

    @property
    def consults(self) -> bool:
        return bool(self.method.exit == "consult")

    # -------------------------------------------------------- what may follow

    def hear(self, event: e.Event) -> None:
        commits = len(self.driver.commits)
        commands = list(self.driver.hear(event))
        new = [command for command in commands if isinstance(command, e.Commit)]
        assert [commit.record.step for commit in new] == list(range(commits + 1, commits + len(new) + 1))
        self.follow(commands)

    def nothing(self, event: e.Event) -> None:
        state = self.driver.state
        assert self.driver.policy.step(state, event) == (state, ())

    def follow(self, commands: list[Any]) -> None:
        """Each command in turn: is it one that the phase allows, and what is the phase after it?"""
        for number, command in enumerate(commands):
            assert self.phase != "stopped", "a command after the end"
            match command:
                case e.Commit(piece, record):
                    assert record.alone == (self.phase == "solo")
                    assert {name for name, _ in record.ranks} <= self.live
                    more = commands[number + 1 :]
                    over = piece is None or record.step == MAX_TOKENS
                    assert over == any(isinstance(other, e.Stop) and other.reason != "failed" for other in more)
                    if self.phase == "together" and self.live and not over:
                        self.next_vote(any(isinstance(other, e.Exited) for other in more))
                case e.Exited(_, models):
                    assert self.method.exit not in ("never", "base")
                    assert set(models) == (self.live | self.joining) - {BASE}
                    self.live = self.live | self.joining if self.consults else {BASE}
                    self.joining = set()
                case e.RunSolo():
                    assert (command.model, command.offset) == (BASE, len(self.driver.text))
                    assert command.max_steps == MAX_TOKENS - len(self.driver.commits)
                    assert (command.unsure > 0) == self.consults
                    self.phase = "solo"
                    self.number(command.question)
                case e.RequestCandidates(model, question, offset, _):
                    assert model in self.live
                    assert offset == len(self.driver.text)
                    self.number(question)
                case e.RequestScores(model, question, offset, pieces):
                    assert pieces
                    assert model in self.live
                    assert offset == len(self.driver.text)
                    self.number(question)
                case e.RequestMarginals(model, question, offset, pending):
                    assert model in self.live
                    assert offset <= len(self.driver.text)
                    assert len(pending) < 8
                    self.number(question)
                case e.Stop():
                    self.phase, self.live, self.joining = "stopped", set(), set()
                case _:
                    assert isinstance(command, e.Notice)

    def next_vote(self, exits: bool) -> None:
        """Who joins does; an exit policy that sends members away is taken at its word, but never the base's."""
        if exits:
            return
        self.live |= self.joining
        self.joining = set()
        gone = self.live - set(self.driver.state.live)
        if gone:
            assert self.method.exit == "per-collaborator"
            assert BASE in self.live - gone
        self.live -= gone
        self.left |= gone

    def number(self, question: int) -> None:
        assert question not in self.numbers, "a question's number twice"
        self.numbers.add(question)

    # -------------------------------------------------------- what happens

    @precondition(lambda self: self.driver.open)
    @rule(data=st.data(), times=st.integers(1, 6))
    def answers_arrive(self, data: st.DataObject, times: int) -> None:
        for _ in range(times):
            if self.driver.open:
                self.answer(data.draw(st.sampled_from(self.driver.open)))

    def answer(self, question: Any) -> None:
        driver = self.driver
        driver.open.remove(question)
        event = driver.reply(question)
        if self.phase == "solo" and isinstance(event, e.CandidatesArrived):
            self.phase = "together"  # the base is unsure
        self.hear(event)
        self.late.append(event)

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def an_answer_is_repeated_or_late(self, data: st.DataObject) -> None:
        event = data.draw(st.sampled_from(self.late))
        run = self.driver.state.solo
        if run is None or event.question != run.question:  # a run has many answers
            self.nothing(event)

    @rule(model=st.sampled_from((*NAMES, STRANGER)), number=st.integers(-1, 60))
    def an_answer_that_nobody_asked_for(self, model: str, number: int) -> None:
        if any((asked.model, asked.question) == (model, number) for asked in self.driver.open):
            return
        sent = self.driver.models[model].candidates(b"", 3)
        self.nothing(e.CandidatesArrived(model, number, sent))
        self.nothing(e.ScoresArrived(model, number, (1.0,)))
        self.nothing(e.MarginalsArrived(model, number, 0.0, 0.0, (0.0,) * 256))
        self.nothing(e.SoloStep(model, number, b"0", sent))

    @rule(model=st.sampled_from((*NAMES, STRANGER)), full=st.booleans())
    def a_model_is_lost(self, model: str, full: bool) -> None:
        """For now; or for good, because the context of a collaborator is full."""
        event: e.Event = e.ModelLost(model)
        if full and model != BASE and self.phase != "stopped" and model in self.live | self.joining:
            event = e.ModelExhausted(model)
            self.left.add(model)
        if self.phase == "stopped" or model not in self.live | self.joining:
            self.nothing(event)
            return
        for question in [asked for asked in self.driver.open if asked.model == model]:
            if not isinstance(question, e.RunSolo):
                self.late.append(self.driver.reply(question))
        if model in self.joining:
            self.joining.remove(model)
            self.hear(event)
            assert self.driver.state.joining == tuple(sorted(self.joining))
            return
        self.live.remove(model)
        if self.phase == "solo" and model == BASE:
            self.phase = "waiting"
        elif self.phase == "together" and not self.live:
            self.live, self.joining = self.joining, set()  # they take over
            self.driver_takes_over(event)
            return
        self.hear(event)

    def driver_takes_over(self, event: e.Event) -> None:
        """The last member is lost: what was decided is committed, those that join are asked, or there is no answer."""
        heirs = set(self.live)
        commits = len(self.driver.commits)
        commands: list[Any] = list(self.driver.hear(event))
        if isinstance(commands[0], e.Commit):
            assert commands.pop(0).record.ranks == ()
        if len(self.driver.commits) == MAX_TOKENS and len(self.driver.commits) > commits:
            assert commands == [e.Stop("length")]
        elif heirs:
            assert {command.model for command in commands} == heirs
            assert all(isinstance(command, e.RequestCandidates) for command in commands)
        else:
            assert commands == [e.Stop("failed" if isinstance(event, e.ModelLost) else "length")]
        self.follow(commands)

    @rule(model=st.sampled_from((*NAMES, STRANGER)))
    def a_model_joins(self, model: str) -> None:
        event = e.ModelJoined(model)
        welcome = self.phase == "together" or model == BASE or self.consults
        if self.phase == "stopped" or not welcome or model in self.live | self.joining | self.left:
            self.nothing(event)
            return
        (self.joining if self.phase == "together" else self.live).add(model)
        self.hear(event)

    @precondition(lambda self: len(self.driver.commits) > 4)
    @rule(cancelled=st.booleans())
    def it_is_ended(self, cancelled: bool) -> None:
        event = e.Cancelled() if cancelled else e.ModelExhausted(BASE)
        if self.phase == "stopped":
            self.nothing(event)
            return
        commands = self.driver.hear(event)
        assert commands[-1] == e.Stop("cancelled" if cancelled else "length")
        assert all(isinstance(command, e.Commit) for command in commands[:-1])
        assert len(commands) == 1 or not cancelled
        self.follow([commands[-1]])

    @rule()
    def it_is_saved_and_restored(self) -> None:
        restored = pickle.loads(pickle.dumps(self.driver.state))  # noqa: S301 - our own bytes
        assert restored == self.driver.state
        assert hash(restored) == hash(self.driver.state)
        self.driver.state = restored

    # -------------------------------------------------------- what always holds

    @invariant()
    def the_state_says_who_is_there(self) -> None:
        if hasattr(self, "driver"):
            state = self.driver.state
            assert state.phase == self.phase
            assert (state.committed, state.offset) == (len(self.driver.commits), len(self.driver.text))
            members = [tuple(sorted(names)) for names in (self.live, self.joining, self.left)]
            assert [state.live, state.joining, state.left] == members
            assert not set(state.lost) & self.live or self.phase != "together"

    @invariant()
    def it_never_waits_when_nothing_is_open(self) -> None:
        if not hasattr(self, "driver"):
            return
        asked = {question.model for question in self.driver.open}
        if self.phase == "together":
            assert asked
            assert asked <= self.live
        elif self.phase == "solo":
            assert asked == {BASE}
        else:
            assert not asked
            assert self.phase == "stopped" or BASE not in self.live

    def teardown(self) -> None:
        """Progress: once the faults end, answering what is open comes to an end."""
        if not hasattr(self, "driver"):
            return
        if self.phase == "waiting":
            self.a_model_joins(BASE)
        for _ in range(2000):
            if self.phase == "stopped":
                break
            self.answer(self.driver.open[0])
        assert self.phase == "stopped"


CASES: list[dict[str, Any]] = [
    {},
    {"carry": False, "commit": 0.2},
    {"top_t": (1, 3)},
    {"exit": "fixed", "exit_after": 3},
    {"exit": "consult", "consult_below": 0.6},
    {"exit": "self-efficacy", "omega": 2, "theta": 0.3},
    {"exit": "per-collaborator", "patience": 2},
    {"aggregation": "dp"},
    {"aggregation": "unite", "exit": "consult", "consult_below": 0.6},
    {"aggregation": "unite", "exit": "per-collaborator", "patience": 2},
    {"aggregation": "gac", "exit": "fixed", "exit_after": 2},
    {"aggregation": "base"},
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(str(value) for value in case.values()) or "bytewise")
def test_the_machine_goes_as_its_table_says(case: dict[str, Any]) -> None:
    run_course(case, tuple(Phase))


def test_the_model_sees_a_machine_that_forgets_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simple model itself can fail."""
    monkeypatch.setattr(Machine, "_lost", lambda _, state, model: (state._replace(lost=(model,)), ()))
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_course({"aggregation": "dp"}, (Phase.generate,))  # the first failure will do: no shortest one is looked for


def run_course(case: dict[str, Any], phases: tuple[Phase, ...]) -> None:
    machine = type("CaseCourse", (Course,), {"settings": case})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )

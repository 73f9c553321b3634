"""Bytewise voting while models are lost, join and come back, and answers are late, repeated and out of order."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.property.policies.test_bytewise_toys import CUTS, Toy, answer, bytewise
from tokencollab.policies import events as e
from tokencollab.policies.bytewise import BytewisePolicy

NAMES = ("a", "b", "c")
MAX_TOKENS = 30


class Delivery(RuleBasedStateMachine):
    """Keeps its own books of who is there, what is asked and what was committed."""

    @initialize(seed=st.integers(0, 999), k=st.sampled_from([2, 4, 20]), carry=st.booleans())
    def begin(self, seed: int, k: int, carry: bool) -> None:
        self.toys = {n: Toy(n, CUTS[i], seed + i, target=b"0120" * 9) for i, n in enumerate(NAMES)}
        method = bytewise(top_k=k, carry=carry)
        self.policy = BytewisePolicy(method, max_tokens=MAX_TOKENS, seed=seed, report=False)
        self.text = b""
        self.pieces: list[Any] = []
        self.live, self.joining = set(NAMES), set[str]()
        self.open: dict[int, e.RequestCandidates | e.RequestMarginals] = {}
        self.stopped: str | None = None
        self.old: list[e.Event] = []
        self.numbers: set[int] = set()
        self.state, commands = self.policy.start(NAMES)
        self.carry_out(commands)

    def carry_out(self, commands: tuple[e.Command, ...]) -> None:
        for command in commands:
            assert self.stopped is None, "a command after the end"
            match command:
                case e.Commit(piece, record):
                    assert record.step == len(self.pieces) + 1
                    assert {name for name, _ in record.ranks} <= self.live
                    self.pieces.append(piece)
                    self.text += piece or b""
                case e.RequestCandidates(model, question, offset, _):
                    assert offset == len(self.text)
                    self.live |= {model} & self.joining
                    self.joining -= {model}
                    assert model in self.live
                    self.note(question, command)
                case e.RequestMarginals(model, question, offset, pending):
                    assert model in self.live
                    assert offset <= len(self.text)
                    assert len(pending) < 8
                    self.note(question, command)
                case e.Stop(reason):
                    self.stopped = reason
                    self.open.clear()
                case _:
                    raise AssertionError(command)

    def note(self, question: int, command: e.RequestCandidates | e.RequestMarginals) -> None:
        assert question not in self.numbers, "a question's number twice"
        self.numbers.add(question)
        self.open[question] = command

    def deliver(self, event: e.Event) -> None:
        self.state, commands = self.policy.step(self.state, event)
        self.carry_out(commands)

    def text_for(self, command: e.RequestCandidates | e.RequestMarginals) -> bytes:
        return self.text[: command.offset]

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def an_answer_arrives(self, data: st.DataObject) -> None:
        question = data.draw(st.sampled_from(sorted(self.open)))
        command = self.open.pop(question)
        event = answer(self.toys[command.model], self.text_for(command), command, 2)
        self.old.append(event)
        self.deliver(event)

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def an_answer_is_repeated_or_late(self, data: st.DataObject) -> None:
        before = self.state
        self.deliver(data.draw(st.sampled_from(self.old)))
        assert self.state == before

    @precondition(lambda self: self.stopped is None and self.live)
    @rule(data=st.data(), flush=st.booleans())
    def a_model_is_lost(self, data: st.DataObject, flush: bool) -> None:
        model = data.draw(st.sampled_from(sorted(self.live | self.joining)))
        self.live.discard(model)
        self.joining.discard(model)
        for question in [q for q, command in self.open.items() if command.model == model]:
            command = self.open.pop(question)
            self.old.append(answer(self.toys[model], self.text_for(command), command, 0))
        self.deliver(e.ModelLost(model))
        if not self.live:
            assert self.stopped in ("failed", "length")

    @precondition(lambda self: self.stopped is None)
    @rule(model=st.sampled_from(NAMES))
    def a_model_joins(self, model: str) -> None:
        if model not in self.live:
            self.joining.add(model)
        self.deliver(e.ModelJoined(model))

    @precondition(lambda self: self.stopped is not None)
    @rule(model=st.sampled_from(NAMES))
    def nothing_happens_after_the_end(self, model: str) -> None:
        before = self.state
        for event in (e.ModelJoined(model), e.ModelLost(model), e.ModelExhausted(model), e.Cancelled()):
            self.deliver(event)
        assert self.state == before

    @invariant()
    def somebody_is_always_waited_for(self) -> None:
        if getattr(self, "stopped", "not begun") is None:
            assert self.open
            assert {command.model for command in self.open.values()} <= self.live
            asked = {voter.name for voter in self.state.voters if voter.question is not None or voter.marginals}
            assert {command.model for command in self.open.values()} == asked
            assert {voter.name for voter in self.state.voters} == self.live

    @invariant()
    def what_is_decided_agrees_with_what_is_committed(self) -> None:
        if getattr(self, "stopped", "not begun") is None:
            assert self.state.length - self.state.held == len(self.text)
            held = self.state.held
            assert (self.text + self.state.tail[len(self.state.tail) - held :]).endswith(self.state.tail)
            assert len(self.pieces) < MAX_TOKENS

    def teardown(self) -> None:
        """Progress: once the faults end, answering what is open comes to an end."""
        if not hasattr(self, "stopped"):
            return
        for _ in range(2000):
            if self.stopped is not None:
                break
            question = min(self.open)
            command = self.open.pop(question)
            self.deliver(answer(self.toys[command.model], self.text_for(command), command, 2))
        assert self.stopped is not None


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(derandomize=True, deadline=None, max_examples=120, stateful_step_count=30)

"""Whole answers as plain function calls: what a policy commands, carried out by models that answer at once."""

from collections.abc import Callable, Mapping, Sequence
from math import exp
from typing import Protocol

from tokencollab.actors.model_session import ReceivedEvent
from tokencollab.actors.recorder import Recorder
from tokencollab.policies import events as e
from tokencollab.policies.machine import Machine
from tokencollab.policies.selection import choose_solo
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.messages import Sampling
from tokencollab.protocol.pieces import Piece

Question = e.RequestCandidates | e.RequestScores | e.RequestMarginals | e.RunSolo
GREEDY = Sampling(10, None, (1, 1), 1.0, 0)


class Model(Protocol):
    """A model as a function of the text that is written so far."""

    def candidates(self, text: bytes, k: int) -> CandidateSet:
        """The ``k`` best pieces after ``text``, or a few more."""
        ...

    def scores(self, text: bytes, pieces: Sequence[Piece]) -> tuple[float, ...]:
        """The raw logits of ``pieces`` after ``text`` (UniTE)."""
        ...

    def marginals(self, text: bytes, pending: bytes) -> tuple[float, float, tuple[float, ...]]:
        """The masses of `events.MarginalsArrived` (bytewise voting)."""
        ...


class Driver:
    """A policy, its models, and what has happened so far.

    Attributes:
        state: the policy's state.
        text: the committed bytes.
        commits: every `Commit`, in order.
        others: every other command but `Stop` that is no question: `Exited` and `Notice`.
        questions: every question by its number, in order.
        heard: every event, in order.
        open: questions that have no answer yet, oldest first.
        stop: why the answer is over, None as long as it is not.
    """

    def __init__(
        self,
        policy: Machine,
        models: Mapping[str, Model],
        *,
        members: Sequence[str] = (),
        sampling: Sampling = GREEDY,
        choose: Callable[[str, CandidateSet, int], Piece] | None = None,
        recorders: Sequence[Recorder] = (),
    ) -> None:
        """``members``: the base first, all ``models`` by default. ``choose``: what a model that runs alone writes at a
        step, `choose_solo` with ``sampling`` by default."""
        self.policy, self.models = policy, models
        self.text = b""
        self.commits: list[e.Commit] = []
        self.others: list[e.Command] = []
        self.questions: dict[int, Question] = {}
        self.heard: list[e.Event] = []
        self.open: list[Question] = []
        self.stop: str | None = None
        self._choose = choose or (lambda model, sent, step: choose_solo(sent, sampling, step))
        self._recorders = recorders
        for recorder in recorders:
            recorder.begin()
        self.state, commands = policy.start(tuple(members or models))
        self._carry_out(commands)

    @property
    def pieces(self) -> list[Piece]:
        return [commit.piece for commit in self.commits]

    def hear(self, event: e.Event) -> tuple[e.Command, ...]:
        """The policy's commands after ``event``, carried out as far as they are no questions.

        The open questions of a model that is lost are dropped.
        """
        if isinstance(event, e.ModelLost | e.ModelExhausted):
            self.open = [question for question in self.open if question.model != event.model]
        before, number = self.state, getattr(event, "question", None)
        question = None if number is None else self.questions.get(number)
        self.heard.append(event)
        self.state, commands = self.policy.step(before, event)
        if self.state is not before:
            for recorder in self._recorders:
                recorder.heard(ReceivedEvent(event), question)
        self._carry_out(commands)
        return commands

    def answer(self, question: Question) -> tuple[e.Command, ...]:
        """Has ``question`` answered, a solo run by one piece."""
        self.open.remove(question)
        return self.hear(self.reply(question))

    def run(
        self,
        pick: Callable[[Sequence[Question]], Question] = lambda questions: questions[0],
        faults: Mapping[int, e.Event] | None = None,
        most: int = 10_000,
    ) -> "Driver":
        """Answers until the policy stops; ``pick`` says which open question is next.

        ``faults``: events that come by themselves, by the number of events before them.

        Raises:
            AssertionError: nothing is open and nothing comes, or it does not stop after so many events.
        """
        while self.stop is None:
            fault = (faults or {}).get(len(self.heard))
            if len(self.heard) >= most:
                raise AssertionError(f"no end after {most} events")
            if fault is not None:
                self.hear(fault)
            elif self.open:
                self.answer(pick(self.open))
            else:
                raise AssertionError(f"the policy waits for nobody: {self.state}")
        return self

    def reply(self, question: Question) -> e.Event:
        """What the model says to ``question``; the policy has not heard it."""
        model = self.models[question.model]
        text = self.text[: question.offset]
        match question:
            case e.RequestCandidates(name, number, _, k):
                return e.CandidatesArrived(name, number, model.candidates(text, k))
            case e.RequestScores(name, number, _, pieces):
                return e.ScoresArrived(name, number, model.scores(text, pieces))
            case e.RequestMarginals(name, number, _, pending):
                return e.MarginalsArrived(name, number, *model.marginals(text, pending))
            case e.RunSolo(name, number, _, step, _, report, unsure):
                sent = model.candidates(text, self.policy.top_k)
                if exp(sent.best.logprob) < unsure:
                    return e.CandidatesArrived(name, number, sent)
                piece = self._choose(name, sent, step)
                self.open.append(question.after(piece))
                return e.SoloStep(name, number, piece, sent if report or self._recorders else None)

    def _carry_out(self, commands: Sequence[e.Command]) -> None:
        for command in commands:
            match command:
                case e.Commit(piece):
                    for recorder in self._recorders:
                        recorder.committed(command)
                    self.commits.append(command)
                    self.text += piece or b""
                case e.RequestCandidates() | e.RequestScores() | e.RequestMarginals() | e.RunSolo():
                    assert command.offset <= len(self.text), "a question about text that is not committed"
                    self.questions[command.question] = command
                    self.open.append(command)
                case e.Stop(reason):
                    self.stop = reason
                    self.open.clear()
                case _:
                    self.others.append(command)


def drive(policy: Machine, models: Mapping[str, Model], *, sampling: Sampling = GREEDY) -> Driver:
    """The whole answer that ``models``, the base first, write under ``policy`` (`make_policy`)."""
    return Driver(policy, models, sampling=sampling).run()

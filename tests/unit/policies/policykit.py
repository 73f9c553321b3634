"""Building candidate sets and carrying out a policy's commands, for the tests of the policies."""

from collections.abc import Callable, Iterable, Mapping
from math import exp, log

from tokencollab.policies import events as e
from tokencollab.policies.methods import Policy
from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.pieces import Piece

Book = Mapping[str, Callable[[bytes], CandidateSet]]
"""Models by name: text so far -> candidates."""


def by_logit(*entries: tuple[Piece, float], rest: float = 0.0) -> CandidateSet:
    """Candidates from raw logits; ``rest`` is the summed exp(logit) of what is not listed."""
    total = log(sum(exp(logit) for _, logit in entries) + rest)
    ordered = sorted(entries, key=lambda entry: -entry[1])
    return CandidateSet(tuple(Candidate(p, logit, logit - total) for p, logit in ordered), total).checked()


def by_probability(*entries: tuple[Piece, float]) -> CandidateSet:
    """Candidates from probabilities, with logits that are their logarithms plus 20."""
    ordered = sorted(entries, key=lambda entry: -entry[1])
    return CandidateSet(tuple(Candidate(p, log(q) + 20, log(q)) for p, q in ordered), 20.0).checked()


def first_token_logit(candidates: CandidateSet, piece: Piece) -> float:
    """What a model answers to `Score`: here the listed logit, else its last one minus one."""
    for candidate in candidates.candidates:
        if candidate.piece == piece:
            return candidate.logit
    return candidates.candidates[-1].logit - 1


class Driver:
    """Carries out a policy's commands with models from a book, in order of asking."""

    def __init__(self, policy: Policy, book: Book, members: Iterable[str] | None = None) -> None:
        self.policy, self.book = policy, book
        self.text = b""
        self.pieces: list[Piece] = []
        self.commits: list[e.Commit] = []
        self.others: list[e.Command] = []
        self.stop: str | None = None
        self.pending: list[e.Command] = []
        self.state, commands = policy.start(tuple(members or book))
        self.take(commands)

    def take(self, commands: Iterable[e.Command]) -> None:
        for command in commands:
            match command:
                case e.Commit(piece, _):
                    self.text += piece or b""
                    self.pieces.append(piece)
                    self.commits.append(command)
                case e.Stop(reason):
                    self.stop = reason
                    self.pending.clear()
                case e.Ask() | e.Score() | e.RunAlone():
                    self.pending.append(command)
                case _:
                    self.others.append(command)

    def hear(self, event: e.Event) -> None:
        self.state, commands = self.policy.step(self.state, event)
        self.take(commands)

    def answer(self, command: e.Command) -> None:
        match command:
            case e.Ask(model, question, offset, _):
                self.hear(e.CandidatesArrived(model, question, self.book[model](self.text[:offset])))
            case e.Score(model, question, offset, pieces):
                candidates = self.book[model](self.text[:offset])
                logits = tuple(first_token_logit(candidates, piece) for piece in pieces)
                self.hear(e.ScoresArrived(model, question, logits))
            case e.RunAlone(model, question, _, _, steps, report):
                for _ in range(steps):
                    candidates = self.book[model](self.text)
                    piece = candidates.best.piece
                    self.hear(e.AloneStep(model, question, piece, candidates if report else None))
                    if self.stop or piece is None:
                        break

    def run(self, most: int = 1000) -> "Driver":
        for _ in range(most):
            if self.stop:
                return self
            self.answer(self.pending.pop(0))
        raise AssertionError("the policy did not stop")

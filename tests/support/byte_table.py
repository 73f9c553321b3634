"""A table around which bytewise voting is played by hand: scripted answers in, commands and state out."""

from dataclasses import dataclass, field
from typing import Any

from tokencollab.policies import events as e
from tokencollab.policies.bytewise.voter import Voter
from tokencollab.policies.bytewise.voting import ByteVote
from tokencollab.policies.evidence import Evidence, Verdict
from tokencollab.policies.machine import make_policy
from tokencollab.policies.methods import Method, parse_method
from tokencollab.protocol.candidates import CandidateSet

BYTEWISE = parse_method("bytewise")


@dataclass(frozen=True)
class Watch:
    """An exit policy that keeps what it is shown, and leaves or sends models away at given steps.

    ``out``: a model and the step after which it is sent away. Its figures name the step.
    """

    alone_at: int = 0
    out: tuple[tuple[str, int], ...] = ()
    until: float = 0.0
    needs_decisive: bool = True

    def start(self, base: str) -> tuple[Evidence, ...]:
        assert base
        return ()

    def observe(self, state: tuple[Evidence, ...], evidence: Evidence) -> tuple[tuple[Evidence, ...], Verdict]:
        step = evidence.step
        alone = bool(self.alone_at) and step >= self.alone_at
        out = frozenset(model for model, at in self.out if at == step)
        return (*state, evidence), Verdict(out, alone, figures(step), self.until)


def figures(step: int) -> e.Efficacy:
    """What `Watch` says at ``step``."""
    return e.Efficacy(float(step), 1.0, None, 1.0, 1.0, 0.5, 0.0)


@dataclass
class Table:
    """A policy and who sits around it."""

    models: tuple[str, ...]
    method: Method = BYTEWISE
    leaving: Any = None
    max_tokens: int = 100
    seed: int = 0
    commands: list[e.Command] = field(default_factory=list)
    text: bytes = b""

    def __post_init__(self) -> None:
        self.open: dict[str, int] = {}
        self.policy = make_policy(
            self.method, max_tokens=self.max_tokens, seed=self.seed, report=False, exit_policy=self.leaving
        )
        self.state, commands = self.policy.start(self.models)
        self.note(commands)

    def note(self, commands: tuple[e.Command, ...]) -> None:
        self.commands = list(commands)
        for command in commands:
            if isinstance(command, e.Commit):
                self.text += command.piece or b""
            elif isinstance(command, e.RequestCandidates):
                self.open[command.model] = command.question

    def hear(self, event: e.Event) -> list[e.Command]:
        self.state, commands = self.policy.step(self.state, event)
        self.note(commands)
        return self.commands

    def answer(self, **sets: CandidateSet) -> list[e.Command]:
        """Answers of these models to what they are asked now."""
        asked = {model: self.open.pop(model) for model in sorted(sets) if model in self.open}
        for model, question in asked.items():
            self.hear(e.CandidatesArrived(model, question, sets[model]))
        return self.commands

    def commits(self) -> list[e.Commit]:
        return [command for command in self.commands if isinstance(command, e.Commit)]

    def asked(self) -> dict[str, int]:
        return {command.model: command.offset for command in self.commands if isinstance(command, e.RequestCandidates)}

    def stopped(self) -> str | None:
        return next((command.reason for command in self.commands if isinstance(command, e.Stop)), None)

    @property
    def voters(self) -> tuple[Voter, ...]:
        """Those that vote, with their weights."""
        vote: ByteVote = self.state.vote
        return vote.voters

    @property
    def held(self) -> bytes:
        """What is decided and not committed."""
        vote: ByteVote = self.state.vote
        return vote.tail[len(vote.tail) - (vote.length - self.state.offset) :]

    @property
    def members(self) -> dict[str, tuple[str, ...]]:
        """Who is there, who joins, who was sent away and who was lost; those that are nobody left out."""
        state = self.state
        groups = {"live": state.live, "joining": state.joining, "left": state.left, "lost": state.lost}
        return {name: models for name, models in groups.items() if models}

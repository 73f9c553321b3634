"""A state of bytewise voting while it is being changed: asking, committing, stopping. `bytewise_round`
decides."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from tokencollab.policies.bytewise_state import BytewiseState
from tokencollab.policies.bytewise_voter import Voter, fresh, questioned
from tokencollab.policies.events import (
    Command,
    Commit,
    Exited,
    RequestCandidates,
    RequestMarginals,
    RunSolo,
    StepRecord,
    Stop,
)
from tokencollab.policies.evidence import STAY, ExitPolicy, Verdict
from tokencollab.policies.methods import Method, sampling_of
from tokencollab.policies.session import including, without
from tokencollab.protocol.pieces import EOS

Place: TypeAlias = tuple[int, bytes]
"""A boundary and the bytes pending there."""


class Settings:
    """What a policy was built with, and what follows from it: see `bytewise_round.Round` for `greedy` and `most`."""

    __slots__ = ("exit", "greedy", "max_tokens", "method", "most", "report", "sampling")

    def __init__(self, method: Method, leaving: ExitPolicy[Any], max_tokens: int, seed: int, report: bool):
        self.method = method
        self.exit = leaving
        self.sampling = sampling_of(method, seed)
        self.max_tokens = max_tokens
        self.report = report
        self.greedy = method.top_t == (1, 1)
        self.most = max(method.commit, 1.0 - method.commit)


class Turn:
    """A state being changed; `done` freezes it. Lives within one call of `BytewisePolicy.step`."""

    __slots__ = (
        "advances",
        "commands",
        "committed",
        "decisive",
        "exit",
        "held",
        "length",
        "phase",
        "questions",
        "roster",
        "run_question",
        "settings",
        "tail",
        "unsettled",
        "voters",
    )

    def __init__(self, settings: Settings, state: BytewiseState):
        self.settings = settings
        (
            self.phase,
            self.roster,
            self.exit,
            self.voters,
            self.tail,
            self.length,
            self.held,
            self.unsettled,
            self.committed,
            self.advances,
            self.questions,
            self.decisive,
            self.run_question,
        ) = state
        self.commands: list[Command] = []

    def done(self) -> tuple[BytewiseState, tuple[Command, ...]]:
        """The new state and what is to be done."""
        state = BytewiseState(
            self.phase,
            self.roster,
            self.exit,
            self.voters,
            self.tail,
            self.length,
            self.held,
            self.unsettled,
            self.committed,
            self.advances,
            self.questions,
            self.decisive,
            self.run_question,
        )
        return state, tuple(self.commands)

    def begin(self, names: tuple[str, ...]) -> None:
        """Ask ``names`` (sorted) at the end of the text, with their priors."""
        self.phase = "together"
        self.roster = self.roster._replace(live=names, joining=())
        self.decisive, self.run_question = frozenset(), None
        weight_of = self.settings.method.weight_of
        self.ask([fresh(name, weight_of(name), weight_of(name), self.length) for name in names], names)

    # ------------------------------------------------------------ commit

    def release(self, stood: Sequence[Voter], verdict: Verdict, ended: bool = False) -> None:
        """The `Commit` itself."""
        start = self.length - self.held
        piece = EOS if ended else self.tail[len(self.tail) - self.held :]
        offsets: tuple[tuple[str, int], ...] = ()
        if any(voter.branch.boundary != start for voter in stood):
            offsets = tuple([(voter.name, voter.branch.boundary) for voter in stood])
        ranks = tuple([(voter.name, voter.misses) for voter in self.voters])
        self.committed += 1
        self.held = 0
        lost = self.roster.lost
        if lost:
            self.roster = self.roster._replace(lost=())
        self.commands.append(Commit(piece, StepRecord(self.committed, ranks, verdict.efficacy, False, lost, offsets)))

    def flush(self) -> None:
        """Commit the bytes that are decided, before the answer stops or others take over."""
        if self.held:
            self.release(self.voters, STAY)

    # ------------------------------------------------------------ questions

    def ask(self, voters: Sequence[Voter], names: Sequence[str]) -> None:
        """Ask the models ``names`` for candidates at the end of the text."""
        asked = []
        for voter in voters:
            if voter.name in names:
                number = self.questions
                self.questions = number + 1
                self.commands.append(RequestCandidates(voter.name, number, self.length, self.settings.method.top_k))
                asked.append(questioned(voter, number))
            else:
                asked.append(voter)
        self.voters = tuple(asked)

    def ask_marginals(self, doubtful: Mapping[str, Sequence[Place]]) -> None:
        """Ask for the masses behind every next byte at these places."""
        voters = []
        for voter in self.voters:
            places = doubtful.get(voter.name)
            if not places:
                voters.append(voter)
                continue
            asked = []
            for boundary, pending in places:
                asked.append((self.questions, boundary, pending))
                self.commands.append(RequestMarginals(voter.name, self.questions, boundary, pending))
                self.questions += 1
            voters.append(voter._replace(marginals=tuple(asked)))
        self.voters = tuple(voters)

    # ------------------------------------------------------------ exit and end

    def exit_now(self, verdict: Verdict) -> None:
        """The base goes on alone, as the ``verdict`` says."""
        roster, until = self.roster, verdict.until
        everyone = including(roster.live, *roster.joining)
        self.commands.append(Exited(self.committed, without(everyone, roster.base)))
        out = verdict.out - {roster.base} if until else frozenset[str]()
        live = tuple([model for model in everyone if model not in out]) if until else (roster.base,)
        left = including(roster.left, *out)
        self.roster = roster._replace(live=live, joining=(), left=left, until=until)
        self.run_alone()

    def run_alone(self) -> None:
        """Let the base write the rest by itself."""
        self.phase = "alone"
        self.voters, self.tail, self.unsettled = (), b"", False
        self.run_question = self.questions
        self.questions += 1
        self.commands.append(
            RunSolo(
                self.roster.base,
                self.run_question,
                self.length,
                self.committed + 1,
                self.settings.max_tokens - self.committed,
                self.settings.report,
                self.roster.until,
            )
        )

    def stop(self, reason: Literal["end", "length", "cancelled", "failed"]) -> None:
        """End the answer."""
        self.phase = "stopped"
        self.voters, self.tail, self.held, self.unsettled = (), b"", 0, False
        self.roster = self.roster._replace(live=(), joining=())
        self.run_question = None
        self.commands.append(Stop(reason))

"""Replay of bytewise voting: its own traces, and those of other methods.

Its own: the policy again, fed with the recorded answers instead of models. Between two commits no model is
asked for candidates twice, and always at the end of the text as it was then. So a step of a trace needs the
candidates of the models that were asked (by model), and the marginals that were asked for (by model, offset
and pending bytes); everything else follows (`replay_bytewise`).

Those of other methods, whose candidates are all for the end of the recorded text: every step is a vote of its
own, from a common boundary there (`vote_at`, `misses_of`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tokencollab.errors import TraceError
from tokencollab.policies.aggregations import Ballot
from tokencollab.policies.bytewise import BytewisePolicy
from tokencollab.policies.bytewise_branch import EOS_SYMBOL, Branch, branch_from, follow, votes_of
from tokencollab.policies.bytewise_decision import best_of
from tokencollab.policies.bytewise_round import Round
from tokencollab.policies.bytewise_state import BytewiseState, Roster
from tokencollab.policies.bytewise_turn import Settings
from tokencollab.policies.bytewise_voter import fresh, moves
from tokencollab.policies.events import (
    CandidatesArrived,
    Command,
    Commit,
    Efficacy,
    Event,
    MarginalsArrived,
    ModelJoined,
    ModelLost,
    RequestCandidates,
    RequestMarginals,
    SoloStep,
)
from tokencollab.policies.evidence import Evidence, ExitPolicy, Verdict
from tokencollab.policies.exits import Never
from tokencollab.policies.methods import Method, sampling_of
from tokencollab.policies.selection import choose_solo
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.pieces import Piece
from tokencollab.protocol.trace import TraceStep


@dataclass(frozen=True, slots=True)
class ReplayedStep:
    """One commit as the policy makes it again. ``exited``: the exit policy left at this step or has left
    before."""

    step: int
    chosen: Piece
    recorded: Piece
    ranks: tuple[tuple[str, int | None], ...]
    offsets: tuple[tuple[str, int], ...]
    efficacy: Efficacy | None
    exited: bool


@dataclass(frozen=True, slots=True)
class _Watched:
    """Another exit policy that is observed but, unless ``leaves``, not obeyed. Its state: (inner state,
    exited). With ``until`` above 0 the base leaves after every step until it is so unsure, as it did when recorded."""

    inner: ExitPolicy[Any]
    leaves: bool
    until: float

    @property
    def needs_decisive(self) -> bool:
        return self.inner.needs_decisive

    def start(self, base: str) -> tuple[Any, bool]:
        return self.inner.start(base), False

    def observe(self, state: tuple[Any, bool], evidence: Evidence) -> tuple[tuple[Any, bool], Verdict]:
        inner, verdict = self.inner.observe(state[0], evidence)
        exited = state[1] or verdict.alone
        alone = self.until > 0.0 or (self.leaves and verdict.alone)
        return (inner, exited), verdict._replace(alone=alone, until=self.until)


def replay_bytewise(
    method: Method,
    members: tuple[str, ...],
    steps: Sequence[TraceStep],
    *,
    seed: int,
    max_tokens: int,
    past_exit: bool = False,
    until: float = 0.0,
) -> Iterator[ReplayedStep]:
    """Every commit of a trace of bytewise voting as ``method`` decides it from the recorded answers, up to the exit.

    ``members``: the base first. ``until``: the ``consult_below`` of the method that was recorded, 0 if it had another
    exit. With ``past_exit`` it goes on: where the recorded base went on alone it does,
    and where the recorded collaboration went on so does this one.

    Raises:
        TraceError: the trace has no answer to a question that ``method`` asks. With the settings of the trace
            that means damage; other weights, ``carry`` or ``commit`` move boundaries elsewhere, and
            other exits do not.
    """
    exit_policy = method.exit_policy
    stays, leaves = (
        BytewisePolicy(method, _Watched(exit_policy, obeyed, until), max_tokens=max_tokens, seed=seed, report=True)
        for obeyed in (False, True)
    )
    state, commands = stays.start(members)
    questions = list(commands)
    efficacy: Efficacy | None = None
    for number, step in enumerate(steps, start=1):
        after = steps[number] if number < len(steps) else None
        policy = leaves if after is not None and after.alone else stays
        if step.heard:
            state = _in_order(policy, state, questions, number, step)
        else:
            for event in _comings_and_goings(state, step, after):
                state, more = policy.step(state, event)
                questions.extend(more)
        commit, state, questions = _one_commit(policy, state, questions, number, step)
        exited = state.exit[1]
        record = commit.record
        efficacy = record.efficacy or efficacy
        chosen = commit.piece
        if step.alone and step.candidates:
            chosen = choose_solo(step.candidates[0][1], sampling_of(method, seed), number)
        yield ReplayedStep(number, chosen, step.chosen, record.ranks, record.offsets, efficacy, exited)
        if state.phase == "stopped" or (exited and not past_exit and method.exit != "consult"):
            return


def _in_order(
    policy: BytewisePolicy, state: BytewiseState, questions: list[Command], number: int, step: TraceStep
) -> BytewiseState:
    """Hears a step as it was heard; what is asked meanwhile, and is not answered, is added to ``questions``.

    With other settings than those of the trace other questions are open: a recorded answer to none of them is left out.
    """
    for what, model in step.heard:
        event: Event | None = None
        match what:
            case "lost":
                event = ModelLost(model)
            case "joined":
                event = ModelJoined(model)
            case "candidates" if model == state.roster.base and state.run_question is not None:
                event = _unsure(state, step)
            case "candidates" | "marginals":
                kind = RequestCandidates if what == "candidates" else RequestMarginals
                asked = [command for command in questions if isinstance(command, kind) and command.model == model]
                for command in asked[:1]:
                    questions.remove(command)
                    event = _answer(command, number, step, state)
            case _:
                pass  # the base alone: that comes last
        if event is not None:
            state, more = policy.step(state, event)
            questions.extend(more)
    return state


def _comings_and_goings(state: BytewiseState, step: TraceStep, after: TraceStep | None) -> Iterator[Event]:
    """Models lost before this commit, and those that must have joined, since they answer in the next step.

    Others join first: where the last model is lost they go on.
    """
    joined: list[str] = []
    if after is not None and not after.alone:
        here = set(state.roster.live).difference(step.lost).union(state.roster.joining)
        joined = [model for model, _ in after.candidates if model not in here]
    for model in joined:
        if model not in step.lost:
            yield ModelJoined(model)
    for model in step.lost:
        yield ModelLost(model)
    base = state.roster.base
    if step.alone and base in step.lost:  # it came back and wrote this piece
        yield ModelJoined(base)
    for model in joined:
        if model in step.lost:
            yield ModelJoined(model)


def _one_commit(
    policy: BytewisePolicy,
    state: BytewiseState,
    questions: list[Command],
    number: int,
    step: TraceStep,
) -> tuple[Commit, BytewiseState, list[Command]]:
    """Answer what is asked until a piece is committed; the commit, the state, and what is asked after it."""
    if step.alone:
        candidates = dict(step.candidates).get(state.roster.base)
        if state.run_question is None:
            raise TraceError(f"step {number} was written by the base alone, but here it takes part in the vote")
        alone = SoloStep(state.roster.base, state.run_question, step.chosen, candidates)
        state, commands = policy.step(state, alone)
        questions = list(commands)
    elif not any(isinstance(command, Commit) for command in questions) and (unsure := _unsure(state, step)):
        state, commands = policy.step(state, unsure)
        questions.extend(commands)
    while True:
        for index, command in enumerate(questions):
            if isinstance(command, Commit):  # also where a loss left nobody to wait for
                return command, state, questions[index + 1 :]
        if not questions:
            raise TraceError(f"step {number}: the recorded answers do not lead to a piece")
        answer = _answer(questions.pop(0), number, step, state)
        if answer is not None:
            state, commands = policy.step(state, answer)
            questions.extend(commands)


def _unsure(state: BytewiseState, step: TraceStep) -> Event | None:
    """What a base that wrote alone, and did not write this step, has answered."""
    base = state.roster.base
    candidates = dict(step.candidates).get(base)
    if state.run_question is None or candidates is None:
        return None
    return CandidatesArrived(base, state.run_question, candidates)


def _answer(command: Command, number: int, step: TraceStep, state: BytewiseState) -> Event | None:
    match command:
        case RequestCandidates(model, question):
            candidates = dict(step.candidates).get(model)
            if candidates is not None:
                return CandidatesArrived(model, question, candidates)
        case RequestMarginals(model, question, offset, pending):
            for known in step.marginals:
                if (known.model, known.offset, known.pending) == (model, offset, pending):
                    return MarginalsArrived(model, question, known.exact, known.end, known.following)
        case _:
            return None
    if model not in state.roster.live:
        return None
    what = "candidates" if isinstance(command, RequestCandidates) else f"marginals at byte {command.offset}"
    raise TraceError(f"step {number}: the trace has no {what} of {model}, which this method asks for")


# ------------------------------------------------------------ traces of other methods


def vote_at(method: Method, seed: int, offset: int, ballots: Sequence[Ballot]) -> Piece:
    """The bytes up to the next boundary of one of the models (sorted by name), or EOS.

    All stand at byte ``offset`` of the text with nothing pending and their priors as weights. The pieces that
    they sent count as all there are, since nobody can be asked for more.

    Raises:
        TraceError: no candidate has a probability above zero.
    """
    settings = Settings(method, Never(), 1, seed, report=False)
    names = tuple([ballot.model for ballot in ballots])
    turn = Round(settings, BytewiseState("together", Roster(names[0], names), None, length=offset))
    voters = []
    for ballot in ballots:
        branch = _branch(ballot, offset)
        if branch.listed > 0.0:
            voter = fresh(ballot.model, ballot.weight, ballot.weight / branch.listed, offset)
            voters.append(voter._replace(branch=branch))
    if not voters:
        raise TraceError("no candidate has a probability above zero")
    turn.voters = tuple(voters)
    turn.advance()
    return next(command.piece for command in turn.commands if isinstance(command, Commit))


def misses_of(piece: Piece, ballot: Ballot, commit: float) -> int:
    """The bytes of ``piece`` at which the model's own first choice was another, as far as its list says something.

    It does up to the boundary that ends the model's own piece (see `moves`). For EOS: whether it was another.
    """
    branch = _branch(ballot, 0)
    if piece is None:
        return int(best_of(votes_of(branch, 0)) != EOS_SYMBOL)
    missed = 0
    for depth, byte in enumerate(piece):
        missed += best_of(votes_of(branch, depth)) != byte
        branch = follow(branch, depth, byte)
        if moves(branch.exact, branch.exact, branch.listed, branch.listed, commit):
            break
    return missed


def _branch(ballot: Ballot, offset: int) -> Branch:
    """A model at ``offset`` that has no pieces but those it sent."""
    return branch_from(offset, CandidateSet(ballot.received, 0.0))._replace(unlisted=0.0)

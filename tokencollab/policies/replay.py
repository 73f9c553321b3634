"""The machine, run on recorded events.

`recorded_events` reads back what a policy heard: a journal is resumed with it. `replay` recomputes from a trace,
without any model, what a method would choose and when the base would leave. The exit policy is observed and not
obeyed: who takes part, and when the base is alone, follows the recording.

A trace of votes on pieces has all candidates at the end of the recorded text. So every step is a vote of its own,
after which the recorded piece is committed whatever was chosen (`_Stepwise`), and any method can be replayed over it.

In a trace of bytewise voting the models stand where they stood. It is heard in order, and goes on from its own bytes
(`_InOrder`). Between two commits no model is asked for candidates twice, and always at the end of the text as it was
then, so the candidates by model, and the marginals by model, offset and pending bytes, are all that there is to know
of a step.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from tokencollab.errors import TraceError, UsageError
from tokencollab.policies.aggregation import Ballot
from tokencollab.policies.bytewise.branch import EOS_SYMBOL, Branch, branch_from, follow, votes_of
from tokencollab.policies.bytewise.decision import best_of
from tokencollab.policies.bytewise.voter import fresh, moves
from tokencollab.policies.bytewise.voting import ByteVote, ByteVoting
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
    RequestScores,
    RunSolo,
    ScoresArrived,
    SoloStep,
)
from tokencollab.policies.evidence import Evidence, Verdict
from tokencollab.policies.exits import build_exit
from tokencollab.policies.machine import Machine, Result, State, Turn
from tokencollab.policies.pieces import PieceVoting, sampling_of
from tokencollab.policies.presets import parse_method
from tokencollab.policies.selection import choose_solo
from tokencollab.policies.settings import REMOVED_SETTINGS, Method, setting_names
from tokencollab.policies.voting import Decision, Ranks, Voting
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.pieces import Piece, piece_to_json
from tokencollab.protocol.trace import Trace, TraceStep

_NO_FIGURES: Mapping[str, None] = dict.fromkeys(("s", "f", "st", "s_w", "f_w", "rt", "t0"))


def recorded_events(step: TraceStep) -> Iterator[Event]:
    """What the policy heard in ``step``, in order; nothing where the trace does not say.

    Raises:
        TraceError: an answer was heard that the step does not have, or an event that does not exist.
    """
    candidates, scores = dict(step.candidates), dict(step.scores)
    marginals = list(step.marginals)
    for what, model, question in step.heard:
        match what:
            case "lost":
                yield ModelLost(model)
            case "joined":
                yield ModelJoined(model)
            case "alone":
                yield SoloStep(model, question, step.chosen, candidates.get(model))
            case "candidates" if model in candidates:
                yield CandidatesArrived(model, question, candidates[model])
            case "scores" if model in scores:
                yield ScoresArrived(model, question, tuple([logit for _, logit in scores[model]]))
            case "marginals" if known := next((one for one in marginals if one.model == model), None):
                marginals.remove(known)
                yield MarginalsArrived(model, question, known.exact, known.end, known.following)
            case "candidates" | "scores" | "marginals":
                raise TraceError(f"step {step.step}: the trace has no {what} of {model}, which were heard")
            case _:
                raise TraceError(f"line {step.step + 1}: unknown event {what!r}")


@dataclass(frozen=True, slots=True)
class ReplayStep:
    """One step, recomputed: ``ranks`` are those of the piece that the exit policy was fed.

    ``recorded`` means something only where ``decided``. ``efficacy`` is None for exits that have no such
    figures and as long as the base has not voted; it stands still in steps without the base's vote.
    """

    step: int
    chosen: Piece
    recorded: Piece
    decided: bool
    ranks: tuple[tuple[str, int | None], ...]
    efficacy: Efficacy | None
    exited: bool

    def to_json(self) -> dict[str, object]:
        """The line of ``replay --json``; ``recorded`` is null for EOS, and where the trace has no choice."""
        figures = _NO_FIGURES if self.efficacy is None else self.efficacy._asdict()
        return {
            "step": self.step,
            "chosen": piece_to_json(self.chosen),
            "recorded": piece_to_json(self.recorded),
            "ranks": dict(self.ranks),
            **figures,
            "exited": self.exited,
        }


def method_of(trace: Trace) -> Method:
    """The method that the header of ``trace`` names.

    Raises:
        UsageError: it names none, or one that does not exist or no longer does.
    """
    settings = trace.settings.get("method")
    match settings:
        case Mapping():
            known = (*setting_names(), *REMOVED_SETTINGS)  # a newer version's settings are none of ours
            return Method.from_json({key: value for key, value in settings.items() if key in known})
        case str():
            return parse_method(settings)
        case _:
            raise UsageError("the trace does not say its method; name one with --method, e.g. --method duetnet")


def replay(trace: Trace, method: Method | None, past_exit: bool) -> Iterator[ReplayStep]:
    """The steps of ``trace`` under ``method``, up to the exit or ``past_exit``. The seed is the trace's.

    ``method`` None is the trace's own. A model that was lost in a step has no vote in it, answered or not.
    The exit policy is fed the recorded piece where there is one, else the recomputed one. Past an
    exit the figures go on as if nobody had left.

    Raises:
        UsageError: no method is given and the trace names none; a weight for a model that is not in the trace.
        TraceError: while iterating, a step of the base alone that lacks its candidates; of a trace of bytewise
            voting under other settings, a step from which its own choice leads elsewhere, or a question that the
            trace has no answer to.
    """
    chosen = method_of(trace) if method is None else method
    seed = trace.settings.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise TraceError(f"line 1: seed must be a whole number, not {seed!r}")
    strangers = [model for model, _ in chosen.weights if model not in trace.models]
    if strangers:
        raise UsageError(f"a weight is given for {strangers[0]!r}; the trace has {', '.join(trace.models)}")
    if chosen.aggregation == "bytewise" and _is_bytewise(trace):
        return _InOrder(trace, chosen, seed).steps(past_exit)
    return _Stepwise(trace, chosen, seed).steps(past_exit)


def _recorded_method(trace: Trace) -> Method | None:
    """The method that ``trace`` was recorded with, None where it does not say or there is none such."""
    try:
        return method_of(trace)
    except UsageError:
        return None


def _is_bytewise(trace: Trace) -> bool:
    """Whether ``trace`` was recorded by bytewise voting, whatever its other settings were."""
    settings = trace.settings.get("method")
    if isinstance(settings, Mapping):
        return settings.get("aggregation") == "bytewise"
    own = _recorded_method(trace)
    return own is not None and own.aggregation == "bytewise"


def _consulted_below(trace: Trace) -> float:
    """How sure the base had to be where ``trace`` was recorded with the exit consult; else 0."""
    own = _recorded_method(trace)
    return own.consult_below if own is not None and own.exit == "consult" else 0.0


class _Follower(Machine):
    """Notes what the exit policy says; a subclass says what is obeyed. Lives for one replay."""

    def __init__(self, trace: Trace, method: Method, seed: int, voting: Voting) -> None:
        enough = len(trace.steps) + 1
        super().__init__(method, voting, build_exit(method), max_tokens=enough, seed=seed, report=True)
        self._trace = trace
        self._base = trace.models[0]
        self._sampling = sampling_of(method, seed)
        self._exited = False
        self._efficacy: Efficacy | None = None

    def _observe(self, turn: Turn, evidence: Evidence) -> Verdict:
        verdict = super()._observe(turn, evidence)
        self._exited = self._exited or verdict.alone
        self._efficacy = verdict.efficacy or self._efficacy
        return verdict

    def _replayed(self, step: TraceStep, chosen: Piece, ranks: Ranks) -> ReplayStep:
        return ReplayStep(step.step, chosen, step.chosen, step.decided, ranks, self._efficacy, self._exited)


# ------------------------------------------------------------ every step a vote of its own


class _Stepwise(_Follower):
    """Any method over the candidates at the end of the recorded text.

    The members of a step are those that the trace has candidates of, without those that the exit policy sent away.
    """

    def __init__(self, trace: Trace, method: Method, seed: int) -> None:
        kind = _BytesOverPieces if method.aggregation == "bytewise" else _Recorded
        self._votes = kind(trace, method, seed, build_exit(method).needs_decisive)
        super().__init__(trace, method, seed, self._votes)
        self._always_solo = method.aggregation == "base" or len(trace.models) == 1
        self._left = frozenset[str]()
        self._until = 0.0
        self._consulted = _consulted_below(trace) > 0.0

    def steps(self, past_exit: bool) -> Iterator[ReplayStep]:
        """One after the other."""
        state = State(self._base, "waiting", self._exit.start(self._base), ())
        for step in self._trace.steps:
            state, commands = self._begin(state, step)
            requests, commits = list(commands), list[Commit]()
            while not commits:
                state, commands = self.step(state, self._answer(requests.pop(0), step))
                commits = [command for command in commands if isinstance(command, Commit)]
                requests += commands
            yield self._replayed(step, self._votes.chosen, commits[0].record.ranks)
            if self._exited and not past_exit and not self._until:
                return

    def _begin(self, state: State, step: TraceStep) -> Result:
        """The questions of ``step``, whatever came before it."""
        turn = Turn(state)
        sets = dict(step.candidates)
        if step.alone or self._always_solo or (self._until > 0.0 and not self._is_unsure(step)):
            if self._base not in sets:
                raise TraceError(f"line {step.step + 1}: no candidates of the base, {self._base!r}, which is alone")
            turn.live = (self._base,)
            self._run_solo(turn)
            return turn.done()
        voters = tuple([model for model in sets if model not in step.lost])  # it may have answered before it was lost
        if not voters:
            raise TraceError(f"line {step.step + 1}: every model with candidates was lost; nobody could choose")
        turn.live = tuple([model for model in voters if model not in self._left]) or voters
        self._ask_all(turn)
        return turn.done()

    def _is_unsure(self, step: TraceStep) -> bool:
        """Whether the base asks the others about this step: as recorded, else judged by this piece alone."""
        if self._consulted:
            return not step.alone
        own = dict(step.candidates).get(self._base)
        return own is None or own.confidence < self._until

    def _answer(self, request: Command, step: TraceStep) -> Event:
        sets = dict(step.candidates)
        match request:
            case RequestCandidates(model, question):
                return CandidatesArrived(model, question, sets[model])
            case RequestScores(model, question, _, pieces):
                known, lowest = dict(dict(step.scores).get(model, ())), sets[model].candidates[-1].logit
                return ScoresArrived(model, question, tuple([known.get(piece, lowest) for piece in pieces]))
            case RunSolo(model, question):
                chosen = self._votes.chosen = choose_solo(sets[model], self._sampling, step.step)
                return SoloStep(model, question, step.chosen if step.decided else chosen, sets[model])
            case _:
                raise AssertionError(f"{request} is no question of a vote on pieces")

    def _observe(self, turn: Turn, evidence: Evidence) -> Verdict:
        verdict = super()._observe(turn, evidence)
        self._left |= verdict.out
        self._until = verdict.until
        return verdict

    def _proceed(self, turn: Turn, decision: Decision, verdict: Verdict) -> None:
        self._proceed_solo(turn, decision.piece)

    def _proceed_solo(self, turn: Turn, piece: Piece) -> None:
        turn.phase, turn.vote, turn.solo = "waiting", None, None


class _Recorded(PieceVoting):
    """Notes what would be chosen, and decides what was recorded."""

    def __init__(self, trace: Trace, method: Method, seed: int, needs_decisive: bool) -> None:
        super().__init__(method, seed, needs_decisive)
        self._steps = trace.steps
        self.chosen: Piece = None

    def choose(self, turn: Turn, ballots: Sequence[Ballot]) -> Piece:
        self.chosen = self._choice(turn, ballots)
        step = self._steps[turn.committed]
        return step.chosen if step.decided else self.chosen

    def _choice(self, turn: Turn, ballots: Sequence[Ballot]) -> Piece:
        return super().choose(turn, ballots)


class _BytesOverPieces(_Recorded):
    """Bytewise voting over the candidates of another method: all begin at a common boundary, with their priors.

    The pieces that they sent count as all there are, since nobody can be asked for more.
    """

    def _choice(self, turn: Turn, ballots: Sequence[Ballot]) -> Piece:
        """The bytes up to the next boundary of one of the models, or EOS."""
        method, voters = self._decider.method, []
        for ballot in ballots:
            branch = _branch(ballot, turn.offset)
            if branch.listed > 0.0:
                voter = fresh(ballot.model, ballot.weight, ballot.weight / branch.listed, turn.offset)
                voters.append(voter._replace(branch=branch))
        if not voters:
            raise TraceError(f"line {turn.committed + 2}: no candidate has a probability above zero")
        live = tuple([voter.name for voter in voters])
        vote = ByteVote(tuple(voters), b"", turn.offset)
        own = Turn(State(live[0], "together", None, live, offset=turn.offset, vote=vote))
        decision = ByteVoting(method, self._decider.sampling.seed, needs_decisive=False).advance(own)
        assert isinstance(decision, Decision)  # every mass is known
        return decision.piece

    def decisive(self, turn: Turn, piece: Piece, ballots: Sequence[Ballot]) -> frozenset[str]:
        """Those without which one of the bytes would have been another: a shorter or longer piece is none."""
        found = set()
        for ballot in ballots:
            others = [other for other in ballots if other is not ballot]
            if others and ballot.model != turn.base and not _agree(self._choice(turn, others), piece):
                found.add(ballot.model)
        return frozenset(found)

    def ranks(self, piece: Piece, ballots: Sequence[Ballot]) -> Ranks:
        """The bytes of ``piece`` at which each model's own first choice was another."""
        commit = self._decider.method.commit
        return tuple([(ballot.model, _misses(piece, ballot, commit)) for ballot in ballots])


def _agree(one: Piece, other: Piece) -> bool:
    """Whether one of two pieces begins with the other; EOS is like EOS alone."""
    if one is None or other is None:
        return one is other
    return one.startswith(other) or other.startswith(one)


def _misses(piece: Piece, ballot: Ballot, commit: float) -> int:
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


# ------------------------------------------------------------ a trace of bytewise voting, in order


class _InOrder(_Follower):
    """A trace of bytewise voting. With other settings other questions are open: a recorded answer to none of them is
    left out, and what else is asked is looked up in the step.

    The base is alone where it was when recorded. Where the recomputed bytes part from the recorded ones there are no
    candidates for what would follow, and the replay ends.
    """

    def __init__(self, trace: Trace, method: Method, seed: int) -> None:
        super().__init__(trace, method, seed, ByteVoting(method, seed, build_exit(method).needs_decisive))
        self._until = _consulted_below(trace)
        self._consults = method.exit == "consult"
        self._state: State
        self._todo: list[Command]

    def _observe(self, turn: Turn, evidence: Evidence) -> Verdict:
        verdict = super()._observe(turn, evidence)
        after = self._trace.steps[turn.committed + 1 : turn.committed + 2]
        alone = self._until > 0.0 or (verdict.alone and bool(after) and after[0].alone)
        return verdict._replace(alone=alone, until=self._until)

    def steps(self, past_exit: bool) -> Iterator[ReplayStep]:
        """One after the other."""
        state, commands = self.start(self._trace.models)
        self._state, self._todo = state, list(commands)
        steps = self._trace.steps
        for step, after in zip_longest(steps, steps[1:]):
            for event in recorded_events(step) if step.heard else self._comings_and_goings(step, after):
                self._hear_again(event, step)
            commit = self._next_commit(step)
            chosen = commit.piece
            if step.alone and step.candidates:
                chosen = choose_solo(step.candidates[0][1], self._sampling, step.step)
            yield self._replayed(step, chosen, commit.record.ranks)
            if step.decided and not step.alone and chosen != step.chosen:
                raise TraceError(
                    f"line {step.step + 1}: with these settings bytewise voting writes {chosen!r} where the trace "
                    f"has {step.chosen!r}; the trace has no candidates for what would follow"
                )
            if self._state.phase == "stopped" or (self._exited and not past_exit and not self._consults):
                return

    def _hear(self, event: Event) -> None:
        self._state, commands = self.step(self._state, event)
        self._todo += commands

    def _hear_again(self, event: Event, step: TraceStep) -> None:
        match event:
            case ModelLost() | ModelJoined():
                self._hear(event)
            case CandidatesArrived(model) if self._state.solo and model == self._base:
                self._hear_unsure(step)
            case CandidatesArrived(model) | MarginalsArrived(model):
                kind = RequestCandidates if isinstance(event, CandidatesArrived) else RequestMarginals
                asked = [command for command in self._todo if isinstance(command, kind) and command.model == model]
                if asked:
                    self._todo.remove(asked[0])
                    self._hear_answer(asked[0], step)
            case _:
                pass  # the base alone: that comes last

    def _comings_and_goings(self, step: TraceStep, after: TraceStep | None) -> Iterator[Event]:
        """In a trace that does not say in which order it was heard: models lost before this commit, and those that must
        have joined, since they answer in the next step.

        Others join first: where the last model is lost they go on.
        """
        joined: list[str] = []
        if after is not None and not after.alone:
            here = set(self._state.live).difference(step.lost).union(self._state.joining)
            joined = [model for model, _ in after.candidates if model not in here]
        yield from [ModelJoined(model) for model in joined if model not in step.lost]
        yield from [ModelLost(model) for model in step.lost]
        if step.alone and self._base in step.lost:  # it came back and wrote this piece
            yield ModelJoined(self._base)
        yield from [ModelJoined(model) for model in joined if model in step.lost]

    def _next_commit(self, step: TraceStep) -> Commit:
        """Answers what is asked until a piece is committed."""
        if step.alone:
            run = self._state.solo
            if run is None:
                raise TraceError(f"step {step.step} was written by the base alone, but here it takes part in the vote")
            self._todo = []
            self._hear(SoloStep(self._base, run.question, step.chosen, dict(step.candidates).get(self._base)))
        elif not any(isinstance(command, Commit) for command in self._todo):
            self._hear_unsure(step)
        while True:
            for index, command in enumerate(self._todo):
                if isinstance(command, Commit):  # also where a loss left nobody to wait for
                    del self._todo[: index + 1]
                    return command
            if not self._todo:
                raise TraceError(f"step {step.step}: the recorded answers do not lead to a piece")
            self._hear_answer(self._todo.pop(0), step)

    def _hear_unsure(self, step: TraceStep) -> None:
        """What a base that wrote alone, and did not write this step, has answered."""
        run, candidates = self._state.solo, dict(step.candidates).get(self._base)
        if run is not None and candidates is not None:
            self._hear(CandidatesArrived(self._base, run.question, candidates))

    def _hear_answer(self, command: Command, step: TraceStep) -> None:
        """The answer of the trace to a question.

        Raises:
            TraceError: it has none. With the settings of the trace that means damage; other weights, ``carry`` or
                ``commit`` move boundaries elsewhere, and other exits do not.
        """
        match command:
            case RequestCandidates(model, question):
                candidates = dict(step.candidates).get(model)
                if candidates is not None:
                    self._hear(CandidatesArrived(model, question, candidates))
                    return
                what = "candidates"
            case RequestMarginals(model, question, offset, pending):
                for known in step.marginals:
                    if (known.model, known.offset, known.pending) == (model, offset, pending):
                        self._hear(MarginalsArrived(model, question, known.exact, known.end, known.following))
                        return
                what = f"marginals at byte {offset}"
            case _:
                return
        if model in self._state.live:
            raise TraceError(f"step {step.step}: the trace has no {what} of {model}, which this method asks for")

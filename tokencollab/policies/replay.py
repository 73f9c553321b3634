"""The machine, run on recorded events.

`recorded_events` reads back what a policy heard: a journal is resumed with it. `replay` recomputes from a trace,
without any model, what a method would choose and when the base would leave. The exit policy is observed and not
obeyed: who takes part, and when the base is alone, follows the recording.

A trace of votes on pieces has all candidates at the end of the recorded text. So every step is a vote of its own,
after which the recorded piece is committed whatever was chosen (`_Stepwise`), and any method can be replayed over it.

In a trace of bytewise voting the models stand where they stood. It is heard in order, and goes on from its own bytes
(`InOrder`). Between two commits no model is asked for candidates twice, and always at the end of the text as it was
then, so the candidates by model, and the marginals by model, offset and pending bytes, are all that there is to know
of a step.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tokencollab.errors import TraceError, UsageError
from tokencollab.policies import events as e
from tokencollab.policies.aggregations import Ballot
from tokencollab.policies.evidence import Evidence, Verdict
from tokencollab.policies.machine import Machine, Result, State, Turn
from tokencollab.policies.methods import Method, parse_method, sampling_of
from tokencollab.policies.pieces import PieceVoting
from tokencollab.policies.selection import choose_solo
from tokencollab.policies.voting import Decision, Ranks, Voting
from tokencollab.protocol.pieces import Piece, piece_to_json
from tokencollab.protocol.trace import Trace, TraceStep

_NO_FIGURES: Mapping[str, None] = dict.fromkeys(("s", "f", "st", "s_w", "f_w", "rt", "t0"))


def recorded_events(step: TraceStep) -> Iterator[e.Event]:
    """What the policy heard in ``step``, in order; nothing where the trace does not say.

    Raises:
        TraceError: an answer was heard that the step does not have, or an event that does not exist.
    """
    candidates, scores = dict(step.candidates), dict(step.scores)
    marginals = list(step.marginals)
    for what, model, question in step.heard:
        match what:
            case "lost":
                yield e.ModelLost(model)
            case "joined":
                yield e.ModelJoined(model)
            case "alone":
                yield e.SoloStep(model, question, step.chosen, candidates.get(model))
            case "candidates" if model in candidates:
                yield e.CandidatesArrived(model, question, candidates[model])
            case "scores" if model in scores:
                yield e.ScoresArrived(model, question, tuple([logit for _, logit in scores[model]]))
            case "marginals" if known := next((one for one in marginals if one.model == model), None):
                marginals.remove(known)
                yield e.MarginalsArrived(model, question, known.exact, known.end, known.following)
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
    efficacy: e.Efficacy | None
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
            return Method.from_json(settings, newer=True)
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
    voting = Recorded
    if chosen.aggregation == "bytewise":
        from tokencollab.policies.bytewise.replay import BytesOverPieces, InOrder  # noqa: PLC0415 - it builds on this

        if _is_bytewise(trace):
            return InOrder(trace, chosen, seed).steps(past_exit)
        voting = BytesOverPieces
    return _Stepwise(trace, chosen, seed, voting).steps(past_exit)


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


def consulted_below(trace: Trace) -> float:
    """How sure the base had to be where ``trace`` was recorded with the exit consult; else 0."""
    own = _recorded_method(trace)
    return own.consult_below if own is not None and own.exit == "consult" else 0.0


class Follower(Machine):
    """Notes what the exit policy says; a subclass says what is obeyed. Lives for one replay."""

    def __init__(self, trace: Trace, method: Method, seed: int, voting: Voting) -> None:
        enough = len(trace.steps) + 1
        super().__init__(method, voting, method.exit_policy, max_tokens=enough, seed=seed, report=True)
        self._trace = trace
        self._base = trace.models[0]
        self._sampling = sampling_of(method, seed)
        self._exited = False
        self._efficacy: e.Efficacy | None = None

    def _observe(self, turn: Turn, evidence: Evidence) -> Verdict:
        verdict = super()._observe(turn, evidence)
        self._exited = self._exited or verdict.alone
        self._efficacy = verdict.efficacy or self._efficacy
        return verdict

    def _replayed(self, step: TraceStep, chosen: Piece, ranks: Ranks) -> ReplayStep:
        return ReplayStep(step.step, chosen, step.chosen, step.decided, ranks, self._efficacy, self._exited)


# ------------------------------------------------------------ every step a vote of its own


class _Stepwise(Follower):
    """Any method over the candidates at the end of the recorded text.

    The members of a step are those that the trace has candidates of, without those that the exit policy sent away.
    """

    def __init__(self, trace: Trace, method: Method, seed: int, voting: "type[Recorded]") -> None:
        self._votes = voting(trace, method, seed, method.exit_policy.needs_decisive)
        super().__init__(trace, method, seed, self._votes)
        self._always_solo = method.aggregation == "base" or len(trace.models) == 1
        self._left = frozenset[str]()
        self._until = 0.0
        self._consulted = consulted_below(trace) > 0.0

    def steps(self, past_exit: bool) -> Iterator[ReplayStep]:
        """One after the other."""
        state = State(self._base, "waiting", self._exit.start(self._base), ())
        for step in self._trace.steps:
            state, commands = self._begin(state, step)
            requests, commits = list(commands), list[e.Commit]()
            while not commits:
                state, commands = self.step(state, self._answer(requests.pop(0), step))
                commits = [command for command in commands if isinstance(command, e.Commit)]
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

    def _answer(self, request: e.Command, step: TraceStep) -> e.Event:
        sets = dict(step.candidates)
        match request:
            case e.RequestCandidates(model, question):
                return e.CandidatesArrived(model, question, sets[model])
            case e.RequestScores(model, question, _, pieces):
                known, lowest = dict(dict(step.scores).get(model, ())), sets[model].candidates[-1].logit
                return e.ScoresArrived(model, question, tuple([known.get(piece, lowest) for piece in pieces]))
            case e.RunSolo(model, question):
                chosen = self._votes.chosen = choose_solo(sets[model], self._sampling, step.step)
                return e.SoloStep(model, question, step.chosen if step.decided else chosen, sets[model])
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


class Recorded(PieceVoting):
    """Notes what would be chosen, and decides what was recorded."""

    def __init__(self, trace: Trace, method: Method, seed: int, needs_decisive: bool) -> None:
        super().__init__(method, seed, needs_decisive)
        self._steps = trace.steps
        self.chosen: Piece = None

    def choose(self, turn: Turn, ballots: Sequence[Ballot]) -> Piece:
        self.chosen = self.choice(turn, ballots)
        step = self._steps[turn.committed]
        return step.chosen if step.decided else self.chosen

    def choice(self, turn: Turn, ballots: Sequence[Ballot]) -> Piece:
        return super().choose(turn, ballots)

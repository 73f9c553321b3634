"""The machine, run on recorded events.

`recording.recorded_events` reads back what a policy heard: a journal is resumed with it. `replay` recomputes from a
trace, without any model, what a method would choose and when the base would leave. The exit policy is observed and not
obeyed: who takes part, and when the base is alone, follows the recording.

A trace of votes on pieces has all candidates at the end of the recorded text. So every step is a vote of its own,
after which the recorded piece is committed whatever was chosen (`_Stepwise`), and any method can be replayed over it.

In a trace of bytewise voting the models stand where they stood. It is heard in order, and goes on from its own bytes
(`InOrder`). Between two commits no model is asked for candidates twice, and always at the end of the text as it was
then, so the candidates by model, and the marginals by model, offset and pending bytes, are all that there is to know
of a step.
"""

from collections.abc import Iterator

from tokencollab.errors import TraceError, UsageError
from tokencollab.policies import events as e
from tokencollab.policies.bytewise.over_recording import BytesOverPieces, InOrder
from tokencollab.policies.evidence import Evidence, Verdict
from tokencollab.policies.methods import Method
from tokencollab.policies.recording import Follower, RecordedVoting, ReplayStep, consulted_below, is_bytewise, method_of
from tokencollab.policies.selection import choose_solo
from tokencollab.policies.turn import Result, State, Turn
from tokencollab.policies.voting import DecidedPiece
from tokencollab.protocol.pieces import Piece
from tokencollab.protocol.trace import Trace, TraceStep


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
    voting = RecordedVoting
    if chosen.aggregation == "bytewise":
        if is_bytewise(trace):
            return InOrder(trace, chosen, seed).steps(past_exit)
        voting = BytesOverPieces
    return _Stepwise(trace, chosen, seed, voting).steps(past_exit)


class _Stepwise(Follower):
    """Any method over the candidates at the end of the recorded text.

    The members of a step are those that the trace has candidates of, without those that the exit policy sent away.
    """

    def __init__(self, trace: Trace, method: Method, seed: int, voting: type[RecordedVoting]) -> None:
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

    def _proceed(self, turn: Turn, decision: DecidedPiece, verdict: Verdict) -> None:
        self._proceed_solo(turn, decision.piece)

    def _proceed_solo(self, turn: Turn, piece: Piece) -> None:
        turn.phase, turn.vote, turn.solo = "waiting", None, None

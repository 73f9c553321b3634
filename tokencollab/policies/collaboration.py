"""The piece-level collaboration as a state machine: who is asked, when a piece is committed, when it is over.

One step: every live model is asked at the end of the text; when each has answered or is lost, UniTE has
foreign pieces scored, one question per model; then the piece is committed and the exit policy says who still
takes part.
"""

from operator import itemgetter
from typing import Any, Final, Literal, TypeAlias, assert_never

from tokencollab.errors import ProtocolError
from tokencollab.policies.aggregations import Ballot, foreign_pieces, negative_logit
from tokencollab.policies.decision import Decider, gather_evidence
from tokencollab.policies.events import (
    Cancelled,
    CandidatesArrived,
    Command,
    Commit,
    Event,
    Exited,
    MarginalsArrived,
    ModelExhausted,
    ModelJoined,
    ModelLost,
    Notice,
    RequestCandidates,
    RequestScores,
    RunSolo,
    ScoresArrived,
    SoloStep,
    StepRecord,
    Stop,
)
from tokencollab.policies.evidence import STAY, ExitPolicy, Verdict
from tokencollab.policies.methods import Method, sampling_of
from tokencollab.policies.session import State, check_members, including, without
from tokencollab.protocol.pieces import EOS

Outcome: TypeAlias = tuple[State, tuple[Command, ...]]

NEGATIVE: Final = (
    "{model} keeps candidates with logits below zero, so pieces that it does not list (they count as 0) "
    'beat its own. Use reference="floor" (--reference floor) to count each model\'s logits from its own cut.'
)


class CollaborationPolicy:
    """GaC, UniTE, DuetNet, DP, DK and the base alone, with any exit policy; see `events` for the contract."""

    def __init__(self, method: Method, exit_policy: ExitPolicy[Any], *, max_tokens: int, seed: int, report: bool):
        self._method = method
        self._exit = exit_policy
        self._max_tokens = max_tokens
        self._decider = Decider(method, sampling_of(method, seed))
        self._report = report

    def start(self, members: tuple[str, ...]) -> Outcome:
        """The state and the first questions for ``members``, the base first.

        Raises:
            UnknownMethod: no members, one named twice, or a weight for a model that is not among them.
        """
        check_members(members, self._method.weights)
        base = members[0]
        state = State(base, tuple(sorted(members)), "together", self._exit.start(base))
        if self._method.aggregation == "base" or len(members) == 1:
            state = state._replace(live=(base,))
            return self._run_alone(state)
        return self._ask(state)

    def step(self, state: State, event: Event) -> Outcome:
        """The state and the commands after ``event``. What is late, repeated or not asked for changes
        nothing.

        Raises:
            ProtocolError: as many scores came as were not asked for: the sender's checks are broken.
        """
        if state.phase == "stopped":
            return state, ()
        match event:
            case CandidatesArrived():
                outcome = self._answered(state, event)
            case ScoresArrived():
                outcome = self._scored(state, event)
            case SoloStep():
                outcome = self._alone(state, event)
            case ModelLost(model):
                outcome = self._lost(state, model)
            case ModelJoined(model):
                outcome = self._joined(state, model)
            case ModelExhausted(model):
                writers = {"together": state.live, "alone": (state.base,)}.get(state.phase, ())
                outcome = _stop(state, (), "length") if model in writers else (state, ())
            case Cancelled():
                outcome = _stop(state, (), "cancelled")
            case MarginalsArrived():  # a question of bytewise voting only
                outcome = state, ()
            case _:
                assert_never(event)
        return outcome

    def taking_part(self, state: State) -> tuple[str, ...]:
        """The models that vote at this step, or the base that writes alone."""
        return state.live

    # ------------------------------------------------------------ questions

    def _ask(self, state: State, commands: tuple[Command, ...] = ()) -> Outcome:
        """Ask every live model, and those that were waiting to join, for the next piece."""
        live = tuple(sorted((*state.live, *state.joining))) if state.joining else state.live
        lost = tuple(model for model in state.lost if model not in live) if state.lost else ()
        first, offset, k = state.questions, state.offset, self._method.top_k
        questions = tuple([(model, first + index) for index, model in enumerate(live)])
        asks = tuple([RequestCandidates(model, question, offset, k) for model, question in questions])
        state = state._replace(
            phase="together",
            live=live,
            joining=(),
            lost=lost,
            questions=first + len(live),
            open=questions,
            answers=(),
            scoring=(),
            scores=(),
        )
        return state, commands + asks

    def _run_alone(self, state: State, commands: tuple[Command, ...] = ()) -> Outcome:
        """Let the base write the rest by itself."""
        question, steps = state.questions, self._max_tokens - state.committed
        run = RunSolo(state.base, question, state.offset, state.step, steps, self._report, state.until)
        state = state._replace(
            phase="alone",
            questions=question + 1,
            open=((state.base, question),),
            answers=(),
            scoring=(),
            scores=(),
        )
        return state, (*commands, run)

    # ------------------------------------------------------------ one step together

    def _answered(self, state: State, event: CandidatesArrived) -> Outcome:
        model = event.model
        if (model, event.question) not in state.open:
            return state, ()
        if state.phase == "alone":
            return self._consult(state, event) if state.until else (state, ())
        state = state._replace(
            open=tuple([pair for pair in state.open if pair[0] != model]),
            answers=tuple(sorted((*state.answers, (model, event.candidates)), key=_name)),
        )
        return self._settle(state)

    def _scored(self, state: State, event: ScoresArrived) -> Outcome:
        model, question, logits = event.model, event.question, event.logits
        asked = [pieces for name, number, pieces in state.scoring if (name, number) == (model, question)]
        if not asked:
            return state, ()
        if len(logits) != len(asked[0]):
            raise ProtocolError(f"{model} sent {len(logits)} scores for {len(asked[0])} pieces")
        scores = (model, tuple(zip(asked[0], logits, strict=True)))
        state = state._replace(
            scoring=tuple(entry for entry in state.scoring if entry[0] != model),
            scores=tuple(sorted((*state.scores, scores))),
        )
        return self._settle(state)

    def _settle(self, state: State) -> Outcome:
        """Go on as soon as nothing is open: ask again, have foreign pieces scored, or commit."""
        if state.open or state.scoring:
            return state, ()
        if not state.live:
            return self._ask(state) if state.joining else _stop(state, (), "failed")
        scores = dict(state.scores)
        ballots = [self._decider.ballot(model, sent, scores.get(model, ())) for model, sent in state.answers]
        if "scores" in self._method.scoring.requires and not scores:
            missing = foreign_pieces(ballots)
            if missing:
                scoring = tuple((m, state.questions + i, pieces) for i, (m, pieces) in enumerate(missing))
                state = state._replace(scoring=scoring, questions=state.questions + len(scoring))
                return state, tuple(RequestScores(m, number, state.offset, pieces) for m, number, pieces in scoring)
        return self._commit(state, ballots)

    def _commit(self, state: State, ballots: list[Ballot]) -> Outcome:
        commands: tuple[Command, ...] = ()
        noticed = state.noticed
        if not noticed and self._method.aggregation in ("duetnet", "dk") and self._method.reference == "raw":
            model = negative_logit(ballots)
            if model is not None:
                noticed = True
                commands = (Notice(NEGATIVE.format(model=model)),)
        step = state.step
        piece = self._decider.decide(step, ballots)
        decisive: frozenset[str] = frozenset()
        if self._exit.needs_decisive:
            decisive = self._decider.decisive(step, piece, ballots, state.base)
        evidence = gather_evidence(step, state.base, piece, ballots, decisive)
        verdict, exit_state = STAY, state.exit
        if state.base in state.live:
            exit_state, verdict = self._exit.observe(exit_state, evidence)
        record = StepRecord(step, evidence.ranks, verdict.efficacy, lost=state.lost)
        state = state._replace(
            exit=exit_state,
            lost=(),
            committed=step,
            offset=state.offset + len(piece or b""),
            open=(),
            noticed=noticed,
        )
        commands = (*commands, Commit(piece, record))
        if piece is EOS:
            return _stop(state, commands, "end")
        if state.committed == self._max_tokens:
            return _stop(state, commands, "length")
        return self._carry_out(state, verdict, commands)

    def _carry_out(self, state: State, verdict: Verdict, commands: tuple[Command, ...]) -> Outcome:
        """Do what the exit policy said after a step together, then go on with the next."""
        others = without(including(state.live, *state.joining), state.base)
        out = verdict.out - {state.base}
        if out and (verdict.until or not verdict.alone):  # else everybody leaves
            state = state._replace(
                live=tuple(model for model in state.live if model not in out),
                joining=tuple(model for model in state.joining if model not in out),
                left=including(state.left, *out),
            )
        if not verdict.alone:
            return self._ask(state, commands)
        commands = (*commands, Exited(state.committed, others))
        live = including(state.live, *state.joining) if verdict.until else (state.base,)
        return self._run_alone(state._replace(live=live, joining=(), until=verdict.until), commands)

    # ------------------------------------------------------------ the base alone

    def _alone(self, state: State, event: SoloStep) -> Outcome:
        if state.phase != "alone" or (event.model, event.question) not in state.open:
            return state, ()
        ranks: tuple[tuple[str, int | None], ...] = ()
        if event.candidates is not None:
            ballot = self._decider.ballot(event.model, event.candidates)
            ranks = ((event.model, ballot.rank(event.piece)),)
        record = StepRecord(state.step, ranks, alone=True, lost=state.lost)
        state = state._replace(lost=(), committed=state.step, offset=state.offset + len(event.piece or b""))
        commands: tuple[Command, ...] = (Commit(event.piece, record),)
        if event.piece is EOS:
            return _stop(state, commands, "end")
        if state.committed == self._max_tokens:
            return _stop(state, commands, "length")
        return state, commands

    def _consult(self, state: State, event: CandidatesArrived) -> Outcome:
        """The base is unsure of its next piece: the step is taken together, with the answer that it has given."""
        state, asks = self._ask(state)
        own = CandidatesArrived(state.base, dict(state.open)[state.base], event.candidates)
        state, commands = self._answered(state, own)
        return state, (
            *(ask for ask in asks if isinstance(ask, RequestCandidates) and ask.model != state.base),
            *commands,
        )

    # ------------------------------------------------------------ models come and go

    def _lost(self, state: State, model: str) -> Outcome:
        if model in state.joining:
            return state._replace(joining=without(state.joining, model)), ()
        if model not in state.live:
            return state, ()
        state = state._replace(live=without(state.live, model), lost=including(state.lost, model))
        if state.phase != "together":
            return (state._replace(phase="waiting", open=()) if model == state.base else state), ()
        state = state._replace(
            open=tuple(pair for pair in state.open if pair[0] != model),
            answers=tuple(pair for pair in state.answers if pair[0] != model),
            scoring=tuple(entry for entry in state.scoring if entry[0] != model),
            scores=tuple(pair for pair in state.scores if pair[0] != model),
        )
        return self._settle(state)

    def _joined(self, state: State, model: str) -> Outcome:
        if model in state.live or model in state.joining or model in state.left:
            return state, ()
        if state.phase == "together":
            return state._replace(joining=including(state.joining, model)), ()
        if model == state.base:
            state = state._replace(live=including(state.live, model))
            return self._run_alone(state)
        if not state.until:
            return state, ()
        return state._replace(live=including(state.live, model)), ()


_name = itemgetter(0)


def _stop(
    state: State,
    commands: tuple[Command, ...],
    reason: Literal["end", "length", "cancelled", "failed"],
) -> Outcome:
    state = state._replace(phase="stopped", open=(), answers=(), scoring=(), scores=(), live=(), joining=())
    return state, (*commands, Stop(reason))

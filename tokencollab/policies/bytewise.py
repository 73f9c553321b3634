"""Bytewise voting as a state machine (methods.md section 9): models with different tokenizers vote byte by
byte.

`bytewise_branch` has the masses behind a model's next byte, `bytewise_voter` its weight and its boundaries,
`bytewise_decision` the vote and the certificate of exactness, `bytewise_turn` the course of a step; this
module hears the events.
"""

from typing import Any, TypeAlias, assert_never

from tokencollab.policies.bytewise_round import Round
from tokencollab.policies.bytewise_state import BytewiseState, Roster
from tokencollab.policies.bytewise_turn import Settings
from tokencollab.policies.bytewise_voter import Voter, answered, at_prior, with_marginals
from tokencollab.policies.decision import Decider
from tokencollab.policies.events import (
    Cancelled,
    CandidatesArrived,
    Command,
    Commit,
    Event,
    MarginalsArrived,
    ModelExhausted,
    ModelJoined,
    ModelLost,
    RequestCandidates,
    ScoresArrived,
    SoloStep,
    StepRecord,
)
from tokencollab.policies.evidence import ExitPolicy
from tokencollab.policies.methods import Method
from tokencollab.policies.session import check_members, including, without
from tokencollab.protocol.pieces import EOS

Outcome: TypeAlias = tuple[BytewiseState, tuple[Command, ...]]


class BytewisePolicy:
    """Bytewise voting with any exit policy. Itself immutable; see `events` for the contract.

    The text it writes is that of the same rule over the models' full vocabularies, whatever ``top_k`` is:
    what unlisted mass could change (a byte, a move of a boundary, a carried weight) is decided after one more
    round trip, for which the model only looks up what it has computed already (`RequestMarginals`; it has to go back
    one token where a weight is asked for that was carried past a boundary).

    A single model follows the same rule. After an exit the base writes token by token, with its own
    selection.
    """

    def __init__(
        self,
        method: Method,
        exit_policy: ExitPolicy[Any] | None = None,
        *,
        max_tokens: int,
        seed: int,
        report: bool,
    ):
        """``exit_policy`` is the one that ``method`` asks for, unless another is given."""
        leaving = method.exit_policy if exit_policy is None else exit_policy
        self._settings = Settings(method, leaving, max_tokens, seed, report)

    def start(self, members: tuple[str, ...]) -> Outcome:
        """The state and the first questions for ``members``, the base first.

        Raises:
            UnknownMethod: no members, one named twice, or a weight for a model that is not among them.
        """
        check_members(members, self._settings.method.weights)
        base, names = members[0], tuple(sorted(members))
        turn = Round(self._settings, BytewiseState("together", Roster(base, names), self._settings.exit.start(base)))
        turn.begin(names)
        return turn.done()

    def step(self, state: BytewiseState, event: Event) -> Outcome:
        """The state and the commands after ``event``. What is late, repeated or not asked for changes
        nothing."""
        if state.phase == "stopped":
            return state, ()
        match event:
            case CandidatesArrived():
                outcome = self._candidates(state, event)
            case MarginalsArrived():
                outcome = self._marginals(state, event)
            case SoloStep():
                outcome = self._alone(state, event)
            case ModelLost(model):
                outcome = self._lost(state, model)
            case ModelJoined(model):
                outcome = self._joined(state, model)
            case ModelExhausted(model):
                outcome = self._full(state, model)
            case Cancelled():
                turn = Round(self._settings, state)
                turn.stop("cancelled")
                outcome = turn.done()
            case ScoresArrived():  # a question of UniTE only
                outcome = state, ()
            case _:
                assert_never(event)
        return outcome

    def taking_part(self, state: BytewiseState) -> tuple[str, ...]:
        """The models that vote, or the base that writes alone."""
        return state.roster.live

    # ------------------------------------------------------------ answers

    def _candidates(self, state: BytewiseState, event: CandidatesArrived) -> Outcome:
        for index, voter in enumerate(state.voters):
            if voter.question == event.question and voter.name == event.model:
                return self._answered(state, index, answered(voter, event.candidates))
        if state.roster.until and (event.model, event.question) == (state.roster.base, state.run_question):
            return self._consult(state, event)
        return state, ()

    def _consult(self, state: BytewiseState, event: CandidatesArrived) -> Outcome:
        """The base is unsure of its next piece: a step together, with the answer that it has given."""
        turn = Round(self._settings, state)
        turn.begin(state.roster.live)
        base = turn.roster.base
        turn.commands = [ask for ask in turn.commands if isinstance(ask, RequestCandidates) and ask.model != base]
        turn.voters = tuple(answered(voter, event.candidates) if voter.name == base else voter for voter in turn.voters)
        turn.advance()
        return turn.done()

    def _marginals(self, state: BytewiseState, event: MarginalsArrived) -> Outcome:
        for index, voter in enumerate(state.voters):
            if voter.name == event.model:
                told = with_marginals(voter, event.question, state.length, event.exact, event.end, event.following)
                if told is not None:
                    return self._answered(state, index, told)
        return state, ()

    def _answered(self, state: BytewiseState, index: int, voter: Voter) -> Outcome:
        voters = (*state.voters[:index], voter, *state.voters[index + 1 :])
        for each in voters:
            if each.question is not None or each.marginals:  # still to answer
                return state._replace(voters=voters), ()
        turn = Round(self._settings, state)
        turn.voters = voters
        turn.advance()
        return turn.done()

    # ------------------------------------------------------------ the base alone

    def _alone(self, state: BytewiseState, event: SoloStep) -> Outcome:
        """One piece of the base alone."""
        if event.question != state.run_question or event.model != state.roster.base:
            return state, ()
        settings, turn = self._settings, Round(self._settings, state)
        ranks: tuple[tuple[str, int | None], ...] = ()
        if event.candidates is not None:
            ballot = Decider(settings.method, settings.sampling).ballot(event.model, event.candidates)
            ranks = ((event.model, ballot.rank(event.piece)),)
        turn.advances += 1
        turn.committed += 1
        turn.length += len(event.piece or b"")
        record = StepRecord(turn.committed, ranks, alone=True, lost=state.roster.lost)
        turn.commands.append(Commit(event.piece, record))
        turn.roster = state.roster._replace(lost=())
        if event.piece is EOS:
            turn.stop("end")
        elif turn.committed == settings.max_tokens:
            turn.stop("length")
        return turn.done()

    # ------------------------------------------------------------ models come and go

    def _full(self, state: BytewiseState, model: str) -> Outcome:
        roster = state.roster
        if model not in {"together": roster.live, "alone": (roster.base,)}.get(state.phase, ()):
            return state, ()
        turn = Round(self._settings, state)
        turn.flush()
        turn.stop("length")
        return turn.done()

    def _lost(self, state: BytewiseState, model: str) -> Outcome:
        roster = state.roster
        if model in roster.joining:
            return state._replace(roster=roster._replace(joining=without(roster.joining, model))), ()
        if model not in roster.live:
            return state, ()
        turn = Round(self._settings, state)
        turn.roster = roster._replace(live=without(roster.live, model), lost=including(roster.lost, model))
        if state.phase != "together":
            if model == roster.base:
                turn.phase, turn.run_question = "waiting", None
            return turn.done()
        turn.voters = tuple(voter for voter in state.voters if voter.name != model)
        if turn.voters:
            if all(voter.branch.boundary == state.length for voter in turn.voters):
                turn.voters = tuple(at_prior(voter) for voter in turn.voters)  # a common boundary without it
            turn.advance()
        else:
            turn.flush()
            if turn.committed == self._settings.max_tokens:
                turn.stop("length")
            elif roster.joining:
                turn.begin(roster.joining)
            else:
                turn.stop("failed")
        return turn.done()

    def _joined(self, state: BytewiseState, model: str) -> Outcome:
        roster = state.roster
        if model in roster.live or model in roster.joining or model in roster.left:
            return state, ()
        if state.phase == "together":
            return state._replace(roster=roster._replace(joining=including(roster.joining, model))), ()
        if model != roster.base and not roster.until:
            return state, ()
        turn = Round(self._settings, state)
        turn.roster = roster._replace(live=including(roster.live, model))
        if model == roster.base:
            turn.run_alone()
        return turn.done()

"""The state machine of one answer: members, turns, exit and solo generation.

How votes are counted is a strategy (`voting.Voting`): pieces (`pieces`) or bytes (`bytewise.voting`).

Transitions. ``live`` members vote, ``joining`` ones from the next piece on. An event that is not in the table
changes nothing, and `Machine.step` returns the same state.

==========  =================================  ==================================================================
phase       event                              what follows
==========  =================================  ==================================================================
(start)     two members or more, or bytes      together; the strategy asks every member
(start)     one member, or the base's method   solo; RunSolo
together    answer to an open question         the vote advances: it waits, asks further questions, or decides
-           the vote decides a piece           Commit; the exit policy sees it where the base's step is closed
-           .. EOS, or the piece max_tokens    stopped; Stop("end"), Stop("length")
-           .. the exit policy says alone      solo; Exited, RunSolo
-           .. otherwise                       together; joining members are live, the strategy asks
-           nobody votes for anything          stopped; Stop("failed")
together    ModelLost of a live member         its vote is dropped, the vote advances
-           .. it was the last, others join    together with those; what was decided is committed before
-           .. it was the last                 stopped; the same, then Stop("failed")
together    ModelJoined                        it joins, unless the exit policy sent it away
any         ModelLost of a joining member      it does not join
solo        SoloStep                           Commit; stopped at EOS and at max_tokens
solo        CandidatesArrived (until > 0)      together, with this answer of the base; the others are asked
solo        ModelLost of the base              waiting
solo        ModelLost, ModelJoined (until > 0) the member leaves, or is live for the next piece voted on
waiting     ModelJoined of the base            solo; RunSolo for the rest
not stopped ModelExhausted of the base         stopped; what was decided is committed, Stop("length")
-           .. of another member               as ModelLost, and it does not return
-           .. it was the last                 as ModelLost, with Stop("length") in place of Stop("failed")
not stopped Cancelled                          stopped; Stop("cancelled"); what was not committed is dropped
==========  =================================  ==================================================================

Why late answers are harmless. Every question has a number that is never used again, and an answer repeats it. An
answer counts only while its (model, number) is open. A question is closed by its answer, by the loss of its model and
by every change of phase, so a late, repeated or reordered answer finds nothing open and changes nothing. The votes
are visited in the order of the names and the piece is decided when no question is open, so the order of arrival has
no influence on the text. Selection draws depend on the seed and the number of the piece (bytes: of the byte) only.

Who is lost, and who returns. A member that is lost has no vote in the open piece, even if it answered before; the
vote goes on with what the others said. One that returns, or a new one, joins: a question can only be asked at the end
of the committed text, and a vote that began without it ends without it, so it takes part from the next commit on.
Therefore the order in which losses and returns are reported within one piece does not matter. A member that the exit
policy sent away does not return, nor does one whose context is full: the text only grows.

When the last member leaves. Bytes that were decided but not committed are committed, because they were decided by
members in good standing. Members that are joining take over at the end of the text. Without any the answer has
failed; it is the coordinator that holds a loss back as long as the last member may return.

When the base leaves. In a vote the base is a member like any other: the others write on without it, the exit policy
sees no step until it returns, and so nobody leaves meanwhile. Solo, nobody can write in its place: the machine waits,
and the base goes on where it was. Members that an exit has made unnecessary are not welcome back, unless the base
still asks them about pieces that it is unsure of (``until``).

Progress. Together, some question to a live member is open; solo, the run of the base is; waiting, the base is not
live.
"""

from collections.abc import Iterable
from typing import Any, Literal, assert_never

from tokencollab.errors import UnknownMethod
from tokencollab.policies import events as e
from tokencollab.policies.aggregations import Bytewise
from tokencollab.policies.bytewise.voting import ByteVoting
from tokencollab.policies.evidence import STAY, Evidence, ExitPolicy, Verdict, check_verdict
from tokencollab.policies.methods import Method, sampling_of
from tokencollab.policies.own import calling
from tokencollab.policies.pieces import Decider, PieceVoting
from tokencollab.policies.turn import Result, State, Turn
from tokencollab.policies.voting import NOBODY, DecidedPiece, Voting
from tokencollab.protocol.pieces import EOS, Piece


class Machine:
    """One answer under a method, a strategy and an exit policy. Itself immutable; see `events` for the contract."""

    def __init__(
        self,
        method: Method,
        voting: Voting,
        exit_policy: ExitPolicy[Any],
        *,
        max_tokens: int,
        seed: int,
        report: bool,
    ) -> None:
        """``report``: the candidates of solo steps are wanted too."""
        self._method = method
        self._voting = voting
        self._exit = exit_policy
        self._max_tokens = max_tokens
        self._top_k: int = method.top_k
        self._report = report
        self._decider = Decider(method, sampling_of(method, seed))

    @property
    def top_k(self) -> int:
        """How many candidates of a model take part."""
        return self._top_k

    def start(self, members: tuple[str, ...]) -> Result:
        """The state and the first questions for ``members``, the base first.

        Raises:
            UnknownMethod: no members, one named twice, or a weight for a model that is not among them.
        """
        check_members(members, self._method.weights)
        base = members[0]
        turn = Turn(State(base, "together", self._exit.start(base), tuple(sorted(members))))
        if self._method.aggregation == "base" or (len(members) == 1 and not self._voting.single):
            turn.live = (base,)
            self._run_solo(turn)
        else:
            self._ask_all(turn)
        return turn.done()

    def step(self, state: State, event: e.Event) -> Result:
        """The state and the commands after ``event``. What is late, repeated or not asked for changes nothing.

        Raises:
            ProtocolError: as many scores came as were not asked for: the sender's checks are broken.
        """
        if state.phase == "stopped":
            return state, ()
        match event:
            case e.CandidatesArrived() | e.ScoresArrived() | e.MarginalsArrived():
                result = self._answered(state, event)
            case e.SoloStep():
                result = self._solo_step(state, event)
            case e.ModelLost(model):
                result = self._lost(state, model)
            case e.ModelJoined(model):
                result = self._joined(state, model)
            case e.ModelExhausted(model):
                result = self._exhausted(state, model)
            case e.Cancelled():
                turn = Turn(state)
                turn.stop("cancelled")
                result = turn.done()
            case _:
                assert_never(event)
        return result

    def taking_part(self, state: State) -> tuple[str, ...]:
        """The models that vote at this step, or the base that writes alone."""
        return state.live

    # ------------------------------------------------------------ votes

    def _ask_all(self, turn: Turn) -> None:
        """A vote of all live and joining members at the end of the text, with nothing known."""
        turn.phase, turn.solo = "together", None
        if turn.joining:
            turn.live, turn.joining = including(turn.live, *turn.joining), ()
        if turn.lost:
            turn.lost = tuple([model for model in turn.lost if model not in turn.live])
        self._voting.begin(turn)

    def _answered(self, state: State, event: e.CandidatesArrived | e.ScoresArrived | e.MarginalsArrived) -> Result:
        if state.phase != "together":
            run = state.solo
            if (
                run
                and run.unsure
                and isinstance(event, e.CandidatesArrived)
                and (event.model, event.question) == run[:2]
            ):
                return self._consult(state, event)
            return state, ()
        vote = self._voting.answered(state.vote, event)
        if vote is None:
            return state, ()
        if self._voting.waits(vote):
            return State(*state[:-1], vote), ()  # as _replace(vote=vote), in a third of the time
        turn = Turn(state)
        turn.vote = vote
        self._advance(turn)
        return turn.done()

    def _consult(self, state: State, event: e.CandidatesArrived) -> Result:
        """The base is unsure of its next piece: all vote on it, with the answer that the base has given."""
        turn = Turn(state)
        self._ask_all(turn)
        asked = [command for command in turn.commands if isinstance(command, e.RequestCandidates)]
        own = next(command for command in asked if command.model == turn.base)
        turn.commands.remove(own)
        turn.vote = self._voting.answered(turn.vote, e.CandidatesArrived(own.model, own.question, event.candidates))
        self._advance(turn)
        return turn.done()

    def _advance(self, turn: Turn) -> None:
        """Count votes until a question is open, or the members no longer vote."""
        voting = self._voting
        while turn.phase == "together" and not voting.waits(turn.vote):
            decision = voting.advance(turn)
            if isinstance(decision, DecidedPiece):
                self._commit(turn, decision)
            elif decision == NOBODY:
                turn.stop("failed")

    def _commit(self, turn: Turn, decision: DecidedPiece) -> None:
        """Commit what the members decided, and go on as the exit policy says."""
        verdict = STAY
        if decision.evidence is not None:
            turn.advances += 1
            if turn.base in turn.live:
                verdict = self._observe(turn, Evidence(turn.advances, turn.base, decision.evidence, decision.decisive))
        self._release(turn, decision, verdict)
        self._proceed(turn, decision, verdict)

    def _observe(self, turn: Turn, evidence: Evidence) -> Verdict:
        """What the exit policy says of a step in which the base voted."""
        with calling("exit policy", self._exit):
            said = self._exit.observe(turn.exit, evidence)
        turn.exit, verdict = check_verdict(self._exit, said)
        return verdict

    def _release(self, turn: Turn, decision: DecidedPiece, verdict: Verdict) -> None:
        if decision.notice and not turn.noticed:
            turn.noticed = True
            turn.commands.append(e.Notice(decision.notice))
        step, ranks, offsets = turn.committed + 1, decision.ranks, decision.offsets
        record = e.StepRecord(step, ranks, verdict.efficacy, False, turn.lost, offsets)
        turn.commit(decision.piece, record)

    def _proceed(self, turn: Turn, decision: DecidedPiece, verdict: Verdict) -> None:
        """What follows a commit of the members."""
        if self._is_over(turn, decision.piece):
            return
        out = verdict.out - {turn.base}
        if verdict.alone and (decision.common or not verdict.until):  # to return, nobody may be within a piece
            everyone = including(turn.live, *turn.joining)
            turn.commands.append(e.Exited(turn.committed, without(everyone, turn.base)))
            if verdict.until:
                turn.live = tuple([model for model in everyone if model not in out])
                turn.left = including(turn.left, *out)
            else:
                turn.live = (turn.base,)
            turn.joining, turn.until = (), verdict.until
            self._run_solo(turn)
            return
        joining = turn.joining
        if out:
            turn.live = tuple([model for model in turn.live if model not in out])
            joining = tuple([model for model in joining if model not in out])
            turn.left = including(turn.left, *out)
        if joining:
            turn.live = including(turn.live, *joining)
        turn.joining = ()
        self._voting.go_on(turn, decision, joining)

    def _is_over(self, turn: Turn, piece: Piece) -> bool:
        """Stop after ``piece`` where it is the last."""
        if piece is EOS:
            turn.stop("end")
        elif turn.committed == self._max_tokens:
            turn.stop("length")
        return turn.phase == "stopped"

    # ------------------------------------------------------------ solo generation

    def _run_solo(self, turn: Turn) -> None:
        """Let the base write the rest by itself."""
        steps = self._max_tokens - turn.committed
        turn.phase, turn.vote = "solo", None
        turn.solo = e.RunSolo(
            turn.base, turn.number(), turn.offset, turn.committed + 1, steps, self._report, turn.until
        )
        turn.commands.append(turn.solo)

    def _solo_step(self, state: State, event: e.SoloStep) -> Result:
        run = state.solo
        if run is None or event.question != run.question or event.model != run.model:
            return state, ()
        turn = Turn(state)
        ranks: tuple[tuple[str, int | None], ...] = ()
        if event.candidates is not None:
            ranks = ((event.model, self._decider.ballot(event.model, event.candidates).rank(event.piece)),)
        turn.advances += 1
        turn.solo = run.after(event.piece)
        turn.commit(event.piece, e.StepRecord(run.first_step, ranks, alone=True, lost=turn.lost))
        self._proceed_solo(turn, event.piece)
        return turn.done()

    def _proceed_solo(self, turn: Turn, piece: Piece) -> None:
        """What follows a commit of the base alone."""
        self._is_over(turn, piece)

    # ------------------------------------------------------------ members come and go

    def _exhausted(self, state: State, model: str) -> Result:
        """The answer ends with the base's context; anybody else's ends that member's part in it."""
        if model != state.base:
            if model in state.left:
                return state, ()
            return self._lost(state._replace(left=including(state.left, model)), model, "length")
        turn = Turn(state)
        if state.phase == "together":
            self._flush(turn)
        turn.stop("length")
        return turn.done()

    def _flush(self, turn: Turn) -> None:
        """Commit what is decided, before the answer stops or others take over."""
        decision = self._voting.flush(turn)
        if decision is not None:
            self._release(turn, decision, STAY)

    def _lost(self, state: State, model: str, without_others: Literal["failed", "length"] = "failed") -> Result:
        if model in state.joining:
            return state._replace(joining=without(state.joining, model)), ()
        if model not in state.live:
            return state, ()
        turn = Turn(state)
        turn.live, turn.lost = without(state.live, model), including(state.lost, model)
        if turn.phase != "together":
            if model == turn.base:
                turn.phase, turn.solo = "waiting", None
        elif turn.live:
            turn.vote = self._voting.without(turn, model)
            self._advance(turn)
        else:
            turn.vote = self._voting.without(turn, model)
            self._flush(turn)
            if turn.committed == self._max_tokens:
                turn.stop("length")
            elif turn.joining:
                self._ask_all(turn)
            else:
                turn.stop(without_others)
        return turn.done()

    def _joined(self, state: State, model: str) -> Result:
        if model in state.live or model in state.joining or model in state.left:
            return state, ()
        if state.phase == "together":
            return state._replace(joining=including(state.joining, model)), ()
        if model != state.base and not state.until:
            return state, ()
        turn = Turn(state)
        turn.live = including(state.live, model)
        if model == state.base:
            self._run_solo(turn)
        return turn.done()


def without(names: tuple[str, ...], model: str) -> tuple[str, ...]:
    """``names`` without ``model``."""
    return tuple([name for name in names if name != model])


def including(names: tuple[str, ...], *models: str) -> tuple[str, ...]:
    """``names`` and ``models``, sorted, each once."""
    return tuple(sorted({*names, *models}))


def check_members(members: tuple[str, ...], weights: Iterable[tuple[str, float]]) -> None:
    """Whether these models can begin an answer.

    Raises:
        UnknownMethod: no members, one named twice, or a weight for a model that is not among them.
    """
    if not members or len(set(members)) != len(members):
        raise UnknownMethod(f"a collaboration needs models, each named once, not {members!r}")
    for model, _ in weights:
        if model not in members:
            raise UnknownMethod(
                f"a weight is given for {model!r}, which is not a member; the members are {', '.join(members)}"
            )


def make_policy(
    method: Method, *, max_tokens: int, seed: int, report: bool, exit_policy: ExitPolicy[Any] | None = None
) -> Machine:
    """The state machine that carries out ``method`` for one answer of up to ``max_tokens`` pieces, EOS
    included.

    ``report``: the caller wants the candidates of steps that the base makes alone. ``exit_policy`` is in place of the
    method's own exit.

    Raises:
        UnknownMethod: ``max_tokens`` is below 1.
    """

    if max_tokens < 1:
        raise UnknownMethod(f"an answer must have at least 1 token, not {max_tokens}")
    leaving: ExitPolicy[Any] = method.exit_policy if exit_policy is None else exit_policy
    kind = ByteVoting if isinstance(method.scoring, Bytewise) else PieceVoting
    voting = kind(method, seed, leaving.needs_decisive)
    return Machine(method, voting, leaving, max_tokens=max_tokens, seed=seed, report=report)

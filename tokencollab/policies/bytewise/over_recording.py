"""Replay of bytewise voting: over the candidates of another method, and of its own traces (see `policies.replay`)."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from tokencollab.errors import TraceError
from tokencollab.policies import events as e
from tokencollab.policies.aggregations import Ballot
from tokencollab.policies.bytewise.branch import EOS_SYMBOL, Branch, branch_from, follow, votes_of
from tokencollab.policies.bytewise.decision import best_of
from tokencollab.policies.bytewise.voter import fresh, moves
from tokencollab.policies.bytewise.voting import ByteVote, ByteVoting
from tokencollab.policies.evidence import Evidence, Verdict
from tokencollab.policies.methods import Method
from tokencollab.policies.recording import Follower, RecordedVoting, ReplayStep, consulted_below, recorded_events
from tokencollab.policies.selection import choose_solo
from tokencollab.policies.turn import State, Turn
from tokencollab.policies.voting import DecidedPiece, Ranks
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.pieces import Piece
from tokencollab.protocol.trace import Trace, TraceStep


class BytesOverPieces(RecordedVoting):
    """Bytewise voting over the candidates of another method: all begin at a common boundary, with their priors.

    The pieces that they sent count as all there are, since nobody can be asked for more.
    """

    def choice(self, turn: Turn, ballots: Sequence[Ballot]) -> Piece:
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
        assert isinstance(decision, DecidedPiece)  # every mass is known
        return decision.piece

    def decisive(self, turn: Turn, piece: Piece, ballots: Sequence[Ballot]) -> frozenset[str]:
        """Those without which one of the bytes would have been another: a shorter or longer piece is none."""
        found = set()
        for ballot in ballots:
            others = [other for other in ballots if other is not ballot]
            if others and ballot.model != turn.base and not _agree(self.choice(turn, others), piece):
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


class InOrder(Follower):
    """A trace of bytewise voting. With other settings other questions are open: a recorded answer to none of them is
    left out, and what else is asked is looked up in the step.

    The base is alone where it was when recorded. Where the recomputed bytes part from the recorded ones there are no
    candidates for what would follow, and the replay ends.
    """

    def __init__(self, trace: Trace, method: Method, seed: int) -> None:
        super().__init__(trace, method, seed, ByteVoting(method, seed, method.exit_policy.needs_decisive))
        self._until = consulted_below(trace)
        self._consults = method.exit == "consult"
        self._state: State
        self._todo: list[e.Command]

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

    def _hear(self, event: e.Event) -> None:
        self._state, commands = self.step(self._state, event)
        self._todo += commands

    def _hear_again(self, event: e.Event, step: TraceStep) -> None:
        match event:
            case e.ModelLost(model) | e.ModelExhausted(model):  # which closes its questions
                self._todo = [command for command in self._todo if getattr(command, "model", None) != model]
                self._hear(event)
            case e.ModelJoined():
                self._hear(event)
            case e.CandidatesArrived(model) if self._state.solo and model == self._base:
                self._hear_unsure(step)
            case e.CandidatesArrived(model) | e.MarginalsArrived(model):
                kind = e.RequestCandidates if isinstance(event, e.CandidatesArrived) else e.RequestMarginals
                asked = [command for command in self._todo if isinstance(command, kind) and command.model == model]
                if asked:
                    self._todo.remove(asked[0])
                    self._hear_answer(asked[0], step)
            case _:
                pass  # the base alone: that comes last

    def _comings_and_goings(self, step: TraceStep, after: TraceStep | None) -> Iterator[e.Event]:
        """In a trace that does not say in which order it was heard: models lost before this commit, and those that must
        have joined, since they answer in the next step.

        Others join first: where the last model is lost they go on.
        """
        joined: list[str] = []
        if after is not None and not after.alone:
            here = set(self._state.live).difference(step.lost).union(self._state.joining)
            joined = [model for model, _ in after.candidates if model not in here]
        yield from [e.ModelJoined(model) for model in joined if model not in step.lost]
        yield from [e.ModelLost(model) for model in step.lost]
        if step.alone and self._base in step.lost:  # it came back and wrote this piece
            yield e.ModelJoined(self._base)
        yield from [e.ModelJoined(model) for model in joined if model in step.lost]

    def _next_commit(self, step: TraceStep) -> e.Commit:
        """Answers what is asked until a piece is committed."""
        if step.alone:
            run = self._state.solo
            if run is None:
                raise TraceError(f"step {step.step} was written by the base alone, but here it takes part in the vote")
            self._todo = []
            self._hear(e.SoloStep(self._base, run.question, step.chosen, dict(step.candidates).get(self._base)))
        elif not any(isinstance(command, e.Commit) for command in self._todo):
            self._hear_unsure(step)
        while True:
            for index, command in enumerate(self._todo):
                if isinstance(command, e.Commit):  # also where a loss left nobody to wait for
                    del self._todo[: index + 1]
                    return command
            if not self._todo:
                raise TraceError(f"step {step.step}: the recorded answers do not lead to a piece")
            self._hear_answer(self._todo.pop(0), step)

    def _hear_unsure(self, step: TraceStep) -> None:
        """What a base that wrote alone, and did not write this step, has answered."""
        run, candidates = self._state.solo, dict(step.candidates).get(self._base)
        if run is not None and candidates is not None:
            self._hear(e.CandidatesArrived(self._base, run.question, candidates))

    def _hear_answer(self, command: e.Command, step: TraceStep) -> None:
        """The answer of the trace to a question.

        Raises:
            TraceError: it has none. With the settings of the trace that means damage; other weights, ``carry`` or
                ``commit`` move boundaries elsewhere, and other exits do not.
        """
        match command:
            case e.RequestCandidates(model, question):
                candidates = dict(step.candidates).get(model)
                if candidates is not None:
                    self._hear(e.CandidatesArrived(model, question, candidates))
                    return
                what = "candidates"
            case e.RequestMarginals(model, question, offset, pending):
                for known in step.marginals:
                    if (known.model, known.offset, known.pending) == (model, offset, pending):
                        self._hear(e.MarginalsArrived(model, question, known.exact, known.end, known.following))
                        return
                what = f"marginals at byte {offset}"
            case _:
                return
        if model in self._state.live:
            raise TraceError(f"step {step.step}: the trace has no {what} of {model}, which this method asks for")

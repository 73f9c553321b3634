"""Recomputing from a trace, without any model, what a method would choose and when the base would leave."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokencollab.errors import TraceError, UsageError
from tokencollab.policies.aggregations import Ballot
from tokencollab.policies.bytewise_replay import misses_of, replay_bytewise, vote_at
from tokencollab.policies.decision import Decider, gather_evidence
from tokencollab.policies.events import Efficacy
from tokencollab.policies.evidence import Evidence, Verdict
from tokencollab.policies.methods import Method, parse_method, sampling_of
from tokencollab.policies.selection import choose_solo
from tokencollab.protocol.pieces import Piece, piece_to_json
from tokencollab.protocol.trace import Trace, TraceStep

_NO_FIGURES: Mapping[str, None] = dict.fromkeys(("s", "f", "st", "s_w", "f_w", "rt", "t0"))


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
    if chosen.aggregation == "bytewise":
        if _is_bytewise(trace):
            return _bytewise(trace, chosen, seed, past_exit)
        return _BytewiseReplayer(trace, chosen, seed).steps(past_exit)
    return _Replayer(trace, chosen, seed).steps(past_exit)


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


def _bytewise(trace: Trace, method: Method, seed: int, past_exit: bool) -> Iterator[ReplayStep]:
    """A trace of bytewise voting goes on from its own bytes: the figures are those of the recomputed pieces.

    Where they part from the recorded ones there are no candidates for what would follow, and the replay ends.
    """
    steps = trace.steps
    enough = len(steps) + 1
    until = _consulted_below(trace)
    for made in replay_bytewise(
        method, trace.models, steps, seed=seed, max_tokens=enough, past_exit=past_exit, until=until
    ):
        recorded = trace.steps[made.step - 1]
        yield ReplayStep(
            made.step, made.chosen, recorded.chosen, recorded.decided, made.ranks, made.efficacy, made.exited
        )
        if recorded.decided and not recorded.alone and made.chosen != recorded.chosen:
            raise TraceError(
                f"line {made.step + 1}: with these settings bytewise voting writes {made.chosen!r} where the trace "
                f"has {recorded.chosen!r}; the trace has no candidates for what would follow"
            )


class _Replayer:
    """The state of a replay between two steps."""

    def __init__(self, trace: Trace, method: Method, seed: int) -> None:
        self._trace, self._base = trace, trace.models[0]
        self._decider = Decider(method, sampling_of(method, seed))
        self._solo = method.aggregation == "base" or len(trace.models) == 1
        self._exit = method.exit_policy
        self._exit_state: Any = self._exit.start(self._base)
        self._left: frozenset[str] = frozenset()
        self._alone = False
        self._until = 0.0
        self._consulted = _consulted_below(trace) > 0.0
        self._length = 0
        self._efficacy: Efficacy | None = None

    def steps(self, past_exit: bool) -> Iterator[ReplayStep]:
        exited = False
        for step in self._trace.steps:
            replayed = self._step(step)
            exited = exited or self._alone
            yield ReplayStep(*replayed, self._efficacy, exited)
            if exited and not past_exit and not self._until:
                return

    def _step(self, step: TraceStep) -> tuple[int, Piece, Piece, bool, tuple[tuple[str, int | None], ...]]:
        alone = step.alone or self._solo or (self._until > 0.0 and not self._unsure(step))
        piece, ballots = self._choose(step, alone)
        fed = step.chosen if step.decided else piece
        decisive: frozenset[str] = frozenset()
        if self._exit.needs_decisive and not alone:
            decisive = self._decisive(step.step, fed, ballots)
        evidence = gather_evidence(step.step, self._base, fed, ballots, decisive)
        if not alone:
            evidence = self._seen(evidence, fed, ballots)
        if not alone and any(ballot.model == self._base for ballot in ballots):
            self._exit_state, verdict = self._exit.observe(self._exit_state, evidence)
            self._follow(verdict)
        self._length += len(fed or b"")
        return step.step, piece, step.chosen, step.decided, evidence.ranks

    def _unsure(self, step: TraceStep) -> bool:
        """Whether the base asks the others about this step: as recorded, else judged by this piece alone."""
        if self._consulted:
            return not step.alone
        own = dict(step.candidates).get(self._base)
        return own is None or own.confidence < self._until

    def _choose(self, step: TraceStep, alone: bool) -> tuple[Piece, list[Ballot]]:
        """The recomputed piece, and the votes it comes from."""
        sets = dict(step.candidates)
        if alone:
            if self._base not in sets:
                raise TraceError(f"line {step.step + 1}: no candidates of the base, {self._base!r}, which is alone")
            own = sets[self._base]
            piece = choose_solo(own, self._decider.sampling, step.step)
            return piece, [self._decider.ballot(self._base, own)]
        voters = [model for model in sets if model not in step.lost]  # it may have answered before it was lost
        if not voters:
            raise TraceError(f"line {step.step + 1}: every model with candidates was lost; nobody could choose")
        staying = [model for model in voters if model not in self._left] or voters
        scores = dict(step.scores)
        ballots = [self._decider.ballot(model, sets[model], scores.get(model, ())) for model in staying]
        return self._vote(step.step, ballots), ballots

    def _vote(self, step: int, ballots: Sequence[Ballot]) -> Piece:
        """What ``ballots`` choose."""
        return self._decider.decide(step, ballots)

    def _decisive(self, step: int, fed: Piece, ballots: Sequence[Ballot]) -> frozenset[str]:
        """The collaborators without which another piece than ``fed`` would have been chosen."""
        return self._decider.decisive(step, fed, ballots, self._base)

    def _seen(self, evidence: Evidence, fed: Piece, ballots: Sequence[Ballot]) -> Evidence:
        """The ``evidence`` of a step together."""
        return evidence

    def _follow(self, verdict: Verdict) -> None:
        self._alone, self._until = verdict.alone, verdict.until
        self._left |= verdict.out
        self._efficacy = verdict.efficacy or self._efficacy


class _BytewiseReplayer(_Replayer):
    """Bytewise voting over the candidates of another method, all of them for the end of the recorded text.

    So every step begins at a common boundary, whatever was chosen before, and is a vote of its own.
    """

    def _vote(self, step: int, ballots: Sequence[Ballot]) -> Piece:
        try:
            return vote_at(self._decider.method, self._decider.sampling.seed, self._length, ballots)
        except TraceError as error:
            raise TraceError(f"line {step + 1}: {error}") from error

    def _decisive(self, step: int, fed: Piece, ballots: Sequence[Ballot]) -> frozenset[str]:
        """Those without which one of the bytes would have been another: a shorter or longer piece is none."""
        found = set()
        for ballot in ballots:
            others = [other for other in ballots if other is not ballot]
            if others and ballot.model != self._base and not _agree(self._vote(step, others), fed):
                found.add(ballot.model)
        return frozenset(found)

    def _seen(self, evidence: Evidence, fed: Piece, ballots: Sequence[Ballot]) -> Evidence:
        commit = self._decider.method.commit
        ranks = tuple((ballot.model, misses_of(fed, ballot, commit)) for ballot in ballots)
        return evidence._replace(ranks=ranks)


def _agree(one: Piece, other: Piece) -> bool:
    """Whether one of two pieces begins with the other; EOS is like EOS alone."""
    if one is None or other is None:
        return one is other
    return one.startswith(other) or other.startswith(one)

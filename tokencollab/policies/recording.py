"""Recorded events and what a replay makes of them: what `replay` and the strategies over recordings share."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tokencollab.errors import TraceError, UsageError
from tokencollab.policies import events as e
from tokencollab.policies.aggregations import Ballot
from tokencollab.policies.evidence import Evidence, Verdict
from tokencollab.policies.machine import Machine
from tokencollab.policies.methods import Method, parse_method, sampling_of
from tokencollab.policies.pieces import PieceVoting
from tokencollab.policies.turn import Turn
from tokencollab.policies.voting import Ranks, Voting
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
    for heard in step.heard:
        model, question = heard.model, heard.question
        match what := heard.event:
            case "lost":
                yield e.ModelLost(model)
            case "joined":
                yield e.ModelJoined(model)
            case "exhausted":
                yield e.ModelExhausted(model)
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


def _recorded_method(trace: Trace) -> Method | None:
    """The method that ``trace`` was recorded with, None where it does not say or there is none such."""
    try:
        return method_of(trace)
    except UsageError:
        return None


def is_bytewise(trace: Trace) -> bool:
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


class RecordedVoting(PieceVoting):
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

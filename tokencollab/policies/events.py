"""What a policy hears (events) and what it wants done (commands): two closed unions.

A policy is two pure functions over a frozen state::

    start(members)      -> (state, commands)
    step(state, event)  -> (state, commands)

Every question carries a number; the answer repeats it. An answer to a question that is no longer open changes
nothing, so late, repeated and reordered deliveries are harmless. Offsets are bytes into the shared text.

What a policy makes at every token is a named tuple and not a dataclass, here and in `evidence`: it is made twice as
fast.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.pieces import Piece

# ---------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class CandidatesArrived:
    """``model`` answered ``RequestCandidates`` number ``question``, or is unsure how to go on
    with ``RunSolo`` of that number."""

    model: str
    question: int
    candidates: CandidateSet


@dataclass(frozen=True, slots=True)
class ScoresArrived:
    """``model`` answered ``RequestScores`` number ``question``: one raw logit per piece, in the order asked."""

    model: str
    question: int
    logits: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class MarginalsArrived:
    """``model`` answered ``RequestMarginals`` number ``question``.

    Over the whole vocabulary, as probabilities: ``exact`` is the mass of pieces equal to the pending bytes,
    ``end`` that of EOS (only where nothing is pending), ``following[x]`` that of pieces that begin with
    pending + byte x.
    """

    model: str
    question: int
    exact: float
    end: float
    following: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SoloStep:
    """``model``, running alone, wrote ``piece``; its candidates come along where the command asks so."""

    model: str
    question: int
    piece: Piece
    candidates: CandidateSet | None


@dataclass(frozen=True, slots=True)
class ModelLost:
    """``model`` crashed, missed its deadline or answered nonsense. It may come back."""

    model: str


@dataclass(frozen=True, slots=True)
class ModelJoined:
    """``model`` joined or came back; it takes part from the next step."""

    model: str


@dataclass(frozen=True, slots=True)
class ModelExhausted:
    """``model`` has no room for another token after the text it was asked about, and will have none later."""

    model: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The reader went away, or a stop text was reached."""


Event: TypeAlias = (
    CandidatesArrived
    | ScoresArrived
    | MarginalsArrived
    | SoloStep
    | ModelLost
    | ModelJoined
    | ModelExhausted
    | Cancelled
)

ANSWERS: Final = (CandidatesArrived, ScoresArrived, MarginalsArrived, SoloStep)
"""Events that a model's answer brings."""

EVENT_NAMES: Final[Mapping[type[Event], str]] = {
    CandidatesArrived: "candidates",
    ScoresArrived: "scores",
    MarginalsArrived: "marginals",
    SoloStep: "alone",
    ModelLost: "lost",
    ModelJoined: "joined",
    ModelExhausted: "exhausted",
}
"""What traces call the events that they keep."""

# ---------------------------------------------------------------- commands


class RequestCandidates(NamedTuple):
    """Ask ``model`` for its ``k`` best pieces, and a few more, after the first ``offset`` bytes of text."""

    model: str
    question: int
    offset: int
    k: int


class RequestScores(NamedTuple):
    """Ask ``model`` for raw logits of ``pieces`` at its last position: it still holds them, no forward pass.

    The logit of a piece is that of the token with the same bytes, else of the first token of the model's own
    tokenisation of the piece (docs/specification.md section 3, UniTE).
    """

    model: str
    question: int
    offset: int
    pieces: tuple[Piece, ...]


class RequestMarginals(NamedTuple):
    """Ask ``model`` for the exact mass of every next byte after ``pending``, at its position ``offset``."""

    model: str
    question: int
    offset: int
    pending: bytes


class Efficacy(NamedTuple):
    """The state of an exit policy after a step (ConfiPara eq. 5-13). ``st`` is None before omega steps."""

    s: float
    f: float
    st: float | None
    s_w: float
    f_w: float
    rt: float
    t0: float


class StepRecord(NamedTuple):
    """What there is to know about one step: provenance for the reader, evidence for the trace.

    ``ranks`` has every model that answered, with the index of the chosen piece in its truncated candidates
    (None: absent). ``offsets`` is where each model stood when it was asked; empty where all stood at the end
    of the text.
    """

    step: int
    ranks: tuple[tuple[str, int | None], ...]
    efficacy: Efficacy | None = None
    alone: bool = False
    lost: tuple[str, ...] = ()
    offsets: tuple[tuple[str, int], ...] = ()


class Commit(NamedTuple):
    """Append ``piece`` to the shared text (EOS appends nothing)."""

    piece: Piece
    record: StepRecord


class RunSolo(NamedTuple):
    """Let ``model`` write up to ``max_steps`` pieces by itself, reported as ``SoloStep`` events.

    Its first piece is step ``first_step``: selection draws depend on the step only, so the text is the same
    wherever it is computed. ``report`` says whether each step brings its candidates. Before a piece of which it is
    less sure than ``unsure`` (the probability of its best one) it stops, and answers with `CandidatesArrived`.
    """

    model: str
    question: int
    offset: int
    first_step: int
    max_steps: int
    report: bool
    unsure: float = 0.0

    def after(self, piece: Piece) -> "RunSolo":
        """What is left of the run when ``piece`` is written."""
        offset = self.offset + len(piece or b"")
        return self._replace(offset=offset, first_step=self.first_step + 1, max_steps=self.max_steps - 1)


class Exited(NamedTuple):
    """The base left the collaboration after ``step``; ``models`` take no further part."""

    step: int
    models: tuple[str, ...]


class Notice(NamedTuple):
    """Something the user should hear once, with the remedy."""

    text: str


class Stop(NamedTuple):
    """The answer is over. ``failed``: no model is left."""

    reason: Literal["end", "length", "cancelled", "failed"]


Command: TypeAlias = RequestCandidates | RequestScores | RequestMarginals | Commit | RunSolo | Exited | Notice | Stop

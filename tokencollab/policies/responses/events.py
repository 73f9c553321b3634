"""What a response policy hears (events) and says (commands). Closed unions of frozen data.

A policy is two pure functions, ``start() -> (state, commands)`` and ``step(state, event) -> (state, commands)``. Each
`Draw`, `ScoreSamples` and `MeasureSurprise` has a number of its own (``ask``); the event that answers it carries that
number. An answer to a question that is no longer open changes nothing. After `Decide` nothing more comes.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tokencollab.policies.events import Cancelled
from tokencollab.protocol.messages import ChatMessage

Turns: TypeAlias = tuple[ChatMessage, ...]
Samples: TypeAlias = tuple[tuple[str, tuple[str | None, ...]], ...]
"""Per model, in order, its answers in canonical form; None: unreadable."""

SampleScores: TypeAlias = tuple[tuple[str, tuple[float | None, ...]], ...]
"""Per model, in order, the scores of its answers; None: unreadable, so not scored."""

DecisionReason: TypeAlias = Literal[
    "consistent", "vote", "score", "agreed", "judged", "written", "unreadable", "cancelled"
]

# ---------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class SampleArrived:
    """A draw is done. ``answer`` is what was read from ``text``, None if nothing; ``pieces`` are the tokens of it."""

    ask: int
    text: str
    answer: str | None
    pieces: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class SamplesScored:
    """The scores of the answers of a `ScoreSamples`, in its order."""

    ask: int
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SurpriseMeasured:
    """How surprising each part of a `MeasureSurprise` is to the model, in nats."""

    ask: int
    nats: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RespondentLost:
    """The model will answer nothing more; what it gave stays."""

    model: str


ResponseEvent: TypeAlias = SampleArrived | SamplesScored | SurpriseMeasured | RespondentLost | Cancelled

# ---------------------------------------------------------------- commands


@dataclass(frozen=True, slots=True)
class Draw:
    """Let ``model`` answer ``turns``.

    ``sample`` is the number of the sample, of which (with the model and the session's seed) all chance is a function;
    None is greedy. ``short``: only a brief answer.
    """

    ask: int
    model: str
    turns: Turns
    sample: int | None
    short: bool = False


@dataclass(frozen=True, slots=True)
class Withdraw:
    ask: int


@dataclass(frozen=True, slots=True)
class ScoreSamples:
    """Score these answers to ``turns``, each (model that wrote it, text)."""

    ask: int
    turns: Turns
    answers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class MeasureSurprise:
    """How surprising is each of ``parts``, which follow one another, to ``model`` after ``turns``?"""

    ask: int
    model: str
    turns: Turns
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decide:
    outcome: "Decision"


ResponseCommand: TypeAlias = Draw | Withdraw | ScoreSamples | MeasureSurprise | Decide

# ---------------------------------------------------------------- the result


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided.

    Attributes:
        answer: in canonical form; None: no model gave a readable one.
        decided_by: the model whose agreement, judgement or answer decided; None: a vote or a comparison of all.
        reason: how.
        samples: answers that the decision rests on.
        budget: answers at most.
        answers: per model, its answers in order.
        scores: per answer its score, the best first.
        text: a text that gives the answer; empty if there is none.
        sample_scores: where answers were scored, the score of each.
    """

    answer: str | None
    decided_by: str | None
    reason: DecisionReason
    samples: int
    budget: int
    answers: Samples
    scores: tuple[tuple[str, float], ...] = ()
    text: str = ""
    sample_scores: SampleScores = ()

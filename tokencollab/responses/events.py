"""What a response policy hears (events) and says (commands). Closed unions of frozen data.

A policy is two pure functions, ``start() -> (state, commands)`` and ``step(state, event) -> (state, commands)``. Each
`Draw`, `Score` and `Surprise` has a number of its own (``ask``); the event that answers it carries that number. An
answer to a question that is no longer open changes nothing. After `Decide` nothing more comes.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tokencollab.protocol.messages import ChatMessage

Turns: TypeAlias = tuple[ChatMessage, ...]
Samples: TypeAlias = tuple[tuple[str, tuple[str | None, ...]], ...]
"""Per model, in order, its answers in canonical form; None: unreadable."""

SampleScores: TypeAlias = tuple[tuple[str, tuple[float | None, ...]], ...]
"""Per model, in order, the scores of its answers; None: unreadable, so not scored."""

Reason: TypeAlias = Literal["consistent", "vote", "score", "agreed", "judged", "written", "unreadable", "cancelled"]

# ---------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Answered:
    """A draw is done. ``answer`` is what was read from ``text``, None if nothing; ``pieces`` are the tokens of it."""

    ask: int
    text: str
    answer: str | None
    pieces: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of the answers of a `Score`, in its order."""

    ask: int
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Surprised:
    """How surprising each part of a `Surprise` is to the model, in nats."""

    ask: int
    nats: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """The model will answer nothing more; what it gave stays."""

    model: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The reader wants no more; decide with what there is."""


Event: TypeAlias = Answered | Scored | Surprised | Lost | Cancelled

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
    """The draw is not needed any more."""

    ask: int


@dataclass(frozen=True, slots=True)
class Score:
    """Score these answers to ``turns``, each (model that wrote it, text)."""

    ask: int
    turns: Turns
    answers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Surprise:
    """How surprising is each of ``parts``, which follow one another, to ``model`` after ``turns``?"""

    ask: int
    model: str
    turns: Turns
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decide:
    """The end."""

    outcome: "Outcome"


Command: TypeAlias = Draw | Withdraw | Score | Surprise | Decide

# ---------------------------------------------------------------- the result


@dataclass(frozen=True, slots=True)
class Outcome:
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
    reason: Reason
    samples: int
    budget: int
    answers: Samples
    scores: tuple[tuple[str, float], ...] = ()
    text: str = ""
    sample_scores: SampleScores = ()

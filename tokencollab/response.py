"""What a user gets of a method between models: the answer, every model's answers, and what they cost."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tokencollab.actors.answer import Answer
from tokencollab.policies.responses.events import DecisionReason


@dataclass(frozen=True, slots=True)
class Usage:
    """What one respondent did.

    Attributes:
        answers: begun.
        tokens: written, by the answers that were not withdrawn.
        cost: model steps times their price.
        prefill_seconds: from a question to its first token, summed over answers; and of scoring.
        decode_seconds: from the first token to the last.
    """

    answers: int = 0
    tokens: int = 0
    cost: float = 0.0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0

    def begun(self) -> "Usage":
        return replace(self, answers=self.answers + 1)

    def written(self, answer: Answer, price: float) -> "Usage":
        prefill = answer.seconds if answer.first_token_seconds is None else answer.first_token_seconds
        return replace(
            self,
            tokens=self.tokens + answer.tokens,
            cost=self.cost + answer.cost * price,
            prefill_seconds=self.prefill_seconds + prefill,
            decode_seconds=self.decode_seconds + answer.seconds - prefill,
        )

    def scored(self, seconds: float) -> "Usage":
        return replace(self, prefill_seconds=self.prefill_seconds + seconds)


@dataclass(frozen=True, slots=True)
class Response:
    """A finished response.

    Attributes:
        answer: in canonical form; None: nobody gave a readable one.
        text: a text that gives it.
        decided_by: the model whose agreement, judgement or answer decided; None: a vote, a comparison, or nobody.
        reason: how: ``consistent``, ``vote``, ``score``, ``agreed``, ``judged``, ``written``, ``unreadable``, or
            ``cancelled``.
        answers: per model, its answers in order; None: unreadable.
        scores: per answer its score, the best first.
        samples: answers that the decision rests on.
        budget: answers at most.
        begun: answers that were begun; those above ``samples`` were withdrawn or came too late to matter.
        method: the preset's name.
        models: the respondents, in order.
        seed: of every random choice.
        tokens: written by all.
        cost: model steps, weighted by the models' prices.
        seconds: from the question to the decision.
        usage: per model.
        lost: models that gave less than they were asked for.
        texts: per model, the texts of its answers.
        sample_scores: where a scorer decided, per model the score of each of its answers; None: unreadable.
    """

    answer: str | None
    text: str
    decided_by: str | None
    reason: DecisionReason
    answers: Mapping[str, Sequence[str | None]]
    scores: Mapping[str, float]
    samples: int
    budget: int
    begun: int
    method: str
    models: tuple[str, ...]
    seed: int
    tokens: int
    cost: float
    seconds: float
    usage: Mapping[str, Usage]
    lost: tuple[str, ...] = ()
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)
    sample_scores: Mapping[str, Sequence[float | None]] = field(default_factory=dict, repr=False)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready data."""
        data = asdict(self) | {"models": list(self.models), "lost": list(self.lost)}
        for name in ("answers", "texts", "sample_scores"):
            data[name] = {model: list(values) for model, values in data[name].items()}
        return data

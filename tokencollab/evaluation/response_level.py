"""Response-level methods as askers: they draw whole answers and choose among them."""

from dataclasses import asdict, dataclass, field
from typing import Any

from tokencollab.asking import ask
from tokencollab.collaboration import Collaboration
from tokencollab.evaluation.askers import GivenAnswer, Question
from tokencollab.evaluation.items import kind_of
from tokencollab.policies.responses.response_methods import ResponseMethod


@dataclass(frozen=True, slots=True)
class ResponseLevel:
    """A response-level method over ``members``, in this order. It has no full collaboration to be measured against."""

    name: str
    method: ResponseMethod
    members: tuple[str, ...]
    collaboration: None = field(default=None, init=False)
    full: bool = field(default=False, init=False)

    @property
    def settings(self) -> dict[str, Any]:
        return {"response": self.method.to_json(), "members": list(self.members)}

    async def ask(self, team: Collaboration, question: Question) -> GivenAnswer:
        response = await ask(
            team,
            question.prompt,
            self.method,
            self.members,
            extract=kind_of(question.item),
            options=question.item.choices or (),
            max_tokens=question.max_tokens,
            stop=question.stop,
            seed=question.seed,
        )
        return GivenAnswer(
            text=response.text,
            answer=response.answer,
            cost=response.cost,
            tokens=response.tokens,
            seconds=response.seconds,
            lost=response.lost,
            response={
                "reason": response.reason,
                "decided_by": response.decided_by,
                "samples": response.samples,
                "budget": response.budget,
                "answers": {model: list(answers) for model, answers in response.answers.items()},
                "usage": {model: asdict(usage) for model, usage in response.usage.items()},
                **({"scores": scores} if (scores := response.to_json()["sample_scores"]) else {}),
            },
        )

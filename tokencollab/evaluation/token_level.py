"""Token-level methods, and single models, as askers."""

from dataclasses import dataclass
from typing import Any

from tokencollab.answers import extract
from tokencollab.collaboration import Collaboration
from tokencollab.evaluation.askers import GivenAnswer, Question
from tokencollab.evaluation.items import kind_of
from tokencollab.policies.aggregations import Base
from tokencollab.policies.exits import Never
from tokencollab.policies.methods import Method


@dataclass(frozen=True, slots=True)
class TokenLevel:
    """A token-level method, or with one member that model alone. ``varied`` are the settings that a sweep varies."""

    name: str
    method: Method
    members: tuple[str, ...]
    varied: tuple[tuple[str, Any], ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        varied = {"varied": dict(self.varied)} if self.varied else {}
        return {"method": self.method.to_json(), "members": list(self.members), **varied}

    @property
    def collaboration(self) -> object | None:
        if isinstance(self.method.scoring, Base):
            return None
        return self.members, self.method.scoring

    @property
    def full(self) -> bool:
        return not isinstance(self.method.scoring, Base) and isinstance(self.method.exit_policy, Never)

    async def ask(self, team: Collaboration, question: Question) -> GivenAnswer:
        stream = team.stream(
            question.prompt,
            max_tokens=question.max_tokens,
            stop=question.stop,
            seed=question.seed,
            method=self.method,
            members=self.members,
            require_room=True,
        )
        steps = [token.efficacy async for token in stream if not token.alone]
        answer = stream.answer
        return GivenAnswer(
            text=answer.text,
            answer=extract(answer.text, kind_of(question.item), question.item.choices or ()),
            cost=answer.cost,
            tokens=answer.tokens,
            aligned=answer.aligned,
            exit_step=answer.exit_step,
            finish_reason=answer.finish_reason,
            seconds=answer.seconds,
            first_token_seconds=answer.first_token_seconds,
            ms_per_token=answer.ms_per_token,
            forwarded=answer.forwarded,
            t0=tuple(efficacy.t0 for efficacy in steps if efficacy is not None),
            lost=tuple(name for name in answer.lost if name not in answer.left),
            left=answer.left,
        )

"""What a user of evaluations may write: graders, methods, exits."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokencollab import Aggregation, Collaboration, Evidence, Exit, Verdict, parameter
from tokencollab.evaluation.askers import GivenAnswer, Question
from tokencollab.evaluation.items import Item


@dataclass(frozen=True)
class Early(Exit):
    """The base goes on alone after a few steps."""

    steps: int = parameter(2, help="steps together", low=1)

    def start(self, base: str) -> int:
        return 0

    def observe(self, state: int, evidence: Evidence) -> tuple[int, Verdict]:
        return state + 1, Verdict(alone=state + 1 >= self.steps)


@dataclass(frozen=True)
class Unfinished(Aggregation):
    """It has forgotten its score."""


@dataclass(frozen=True)
class Failing(Exit):
    """It looks a model up that is not there."""

    def observe(self, state: object, evidence: Evidence) -> tuple[object, Verdict]:
        return dict(evidence.ranks)["three"], Verdict()


def lenient(text: str, item: Item) -> bool:
    return item.answer.lstrip("-") in text


def failing(text: str, item: Item) -> bool:
    raise LookupError("no\nbook")


def undecided(text: str, item: Item) -> Any:
    return None


class Oracle:
    """Knows the answer of every item, and asks nobody."""

    @property
    def settings(self) -> dict[str, bool]:
        return {"wise": True}

    async def ask(self, team: Collaboration, question: Question) -> GivenAnswer:
        await asyncio.sleep(0)
        return GivenAnswer(question.item.answer, question.item.answer, cost=0, tokens=1)


class Silly:
    async def ask(self, team: Collaboration, question: Question) -> Any:
        return question.item.answer


class Broken:
    async def ask(self, team: Collaboration, question: Question) -> GivenAnswer:
        raise ZeroDivisionError("by\nzero")


def oracle(members: Sequence[str]) -> Oracle:
    assert tuple(members) in (("one", "two"), ("two", "one"))
    return Oracle()


def silly(members: Sequence[str]) -> Silly:
    return Silly()


def broken(members: Sequence[str]) -> Broken:
    return Broken()


def nobody(members: Sequence[str]) -> None:
    return None

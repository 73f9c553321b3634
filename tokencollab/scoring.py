"""Scores of answers, and how surprising sentences are: by the models themselves, a reward model, or the caller."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from inspect import isawaitable
from typing import TypeAlias

from tokencollab.actors.likelihood import TextLogprobs, text_logprobs
from tokencollab.actors.log import Log
from tokencollab.collaboration import Collaboration
from tokencollab.errors import ModelFailed, UnknownModel, UsageError
from tokencollab.policies.responses import events as e
from tokencollab.policies.responses.response_methods import ResponseMethod
from tokencollab.protocol.messages import ChatMessage
from tokencollab.respondents import Respondent

log = Log(__name__)

Scorer: TypeAlias = Callable[[Sequence[ChatMessage], Sequence[str]], Sequence[float] | Awaitable[Sequence[float]]]
"""From a conversation and answers to it to a score for each: finite numbers, more is better."""


def scorer_of(method: ResponseMethod) -> Scorer | None:
    """The scorer that a method names; None: the models' own likelihood, or no scores.

    Raises:
        UsageError: it is a Python function, or a reward model that cannot be loaded.
    """
    if method.scorer == "callable":
        raise UsageError("the method's scores come from a Python function: give it as scorer")
    if (folder := method.reward_folder) is None:
        return None
    if not os.path.isfile(os.path.join(folder, "config.json")):  # said before seconds of imports
        raise UnknownModel(f"no reward model in {folder}: a folder with config.json and safetensors is needed")
    from tokencollab.engines.reward import RewardModel  # noqa: PLC0415  (torch and transformers)

    model = RewardModel.from_folder(folder)
    return lambda turns, texts: asyncio.to_thread(model.score, turns, texts)


class Scoring:
    """Carries out `Score` and `Surprise`. Where that fails the answer is empty, and the policy goes on without."""

    def __init__(
        self,
        team: Collaboration,
        respondents: Mapping[str, Respondent],
        count: Callable[[str, float], None],
        scorer: Scorer | None,
    ) -> None:
        """``count`` hears who spent how many seconds; ``scorer`` None: each answer's likelihood to who wrote it."""
        self._team = team
        self._respondents = respondents
        self._count = count
        self._scorer = scorer

    def check(self, method: ResponseMethod) -> None:
        """Whether the models that the method has score texts can do it.

        Raises:
            UsageError: one cannot.
        """
        if method.scorer != "likelihood" and not method.selector.startswith("surprise"):
            return
        for member in dict.fromkeys(member for one in self._respondents.values() for member in one.members):
            if not self._team.members[member].info.capabilities.text_logprobs:
                raise UsageError(
                    f"{member} does not give log-probabilities of a text, which {method.name} needs: use another "
                    "scorer or selector, or leave the model out"
                )

    async def scores(self, command: e.ScoreSamples) -> tuple[float, ...]:
        try:
            if self._scorer is None:
                answers = command.answers
                return tuple(await asyncio.gather(*(self._likelihood(command, name, text) for name, text in answers)))
            found = self._scorer(command.turns, [text for _, text in command.answers])
            return tuple(map(float, await found if isawaitable(found) else found))
        except Exception as error:  # a scorer is somebody's code
            log.warning("not scored", reason=f"{type(error).__name__}: {error}")
            return ()

    async def surprise(self, command: e.MeasureSurprise) -> tuple[float, ...]:
        parts = [part.encode() for part in command.parts]
        base = self._respondents[command.model].members[0]
        try:
            found = await self._logprobs(command.model, base, command.turns, b"".join(parts))
        except Exception as error:  # a model must never take the session with it
            log.warning("not weighed", model=command.model, reason=f"{type(error).__name__}: {error}")
            return ()
        return found.surprise(parts)

    async def _likelihood(self, command: e.ScoreSamples, name: str, text: str) -> float:
        """The mean, over the members that wrote it, of an answer's likelihood per byte."""
        data = text.encode()
        found = [await self._logprobs(name, member, command.turns, data) for member in self._respondents[name].members]
        return sum(logprobs.likelihood(len(data)) for logprobs in found) / len(found)

    async def _logprobs(self, name: str, member: str, turns: Sequence[ChatMessage], data: bytes) -> TextLogprobs:
        now = asyncio.get_running_loop().time
        began = now()
        if member not in self._team.members:
            raise ModelFailed(f"{member} is not there any more")
        found = await text_logprobs(self._team.supervisors[member], turns, data)
        self._count(name, now() - began)
        return found

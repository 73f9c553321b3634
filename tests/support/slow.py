"""Scripted models that take their time, for a clock that never waits."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from tokencollab.actors.runtimes.base import ModelLink, ModelSpec
from tokencollab.actors.solo_generation import Writing
from tokencollab.protocol.messages import Close, Closed, GenerateSolo, ModelInfo, NextCandidates, Open, Reply, Request
from tokencollab.testing import ScriptedEngine

Takes = Callable[[Request, int], float]
"""From a request and how many came before it to the seconds until the answer."""


class SlowLink:
    def __init__(self, engine: ScriptedEngine, takes: Takes) -> None:
        self._engine, self._takes = engine, takes
        self._requests = 0
        self.info: ModelInfo = engine.info

    async def ask(self, request: Request) -> Reply:
        await asyncio.sleep(self._takes(request, self._requests))
        self._requests += 1
        if isinstance(request, Close):
            self._engine.close(request.session)
            return Closed(request.session)
        if isinstance(request, Open):
            return self._engine.open(request)
        assert not isinstance(request, GenerateSolo)
        (answered,) = self._engine.next_candidates([request])
        assert answered is not None
        return answered.reply

    async def write(self, request: GenerateSolo) -> AsyncIterator[Reply]:
        writing = Writing(request)
        question: NextCandidates | None = writing.first
        while question is not None:
            await asyncio.sleep(self._takes(question, self._requests))
            self._requests += 1
            (answered,) = self._engine.next_candidates([question])
            assert answered is not None
            replies, question = writing.heard(answered)
            for reply in replies:
                yield reply

    async def alive(self) -> None:
        pass


class SlowRuntime:
    """A runtime for `Collaboration(runtime=...)` of these engines, each with what it takes."""

    def __init__(self, models: Mapping[str, tuple[ScriptedEngine, Takes]]) -> None:
        self.models = models

    async def start(self, specs: Sequence[ModelSpec]) -> list[ModelLink]:
        return [SlowLink(*self.models[spec.name]) for spec in specs]

    async def restart(self, spec: ModelSpec) -> ModelLink:
        self.models[spec.name][0].texts.clear()
        return SlowLink(*self.models[spec.name])

    async def stop(self, name: str) -> None:
        self.models[name][0].texts.clear()

    async def close(self) -> None:
        pass

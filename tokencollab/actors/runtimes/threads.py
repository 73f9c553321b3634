"""The in-process runtime: every model in a thread of this process."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from math import isfinite
from pathlib import Path

from tokencollab.actors.model import ModelActor
from tokencollab.actors.runtimes.base import ModelLink, ModelSpec
from tokencollab.engines.base import Engine
from tokencollab.errors import MalformedAnswer
from tokencollab.protocol.messages import (
    CandidatesReply,
    GenerateSolo,
    MarginalsReply,
    ModelInfo,
    Reply,
    Request,
    ScoresReply,
    SoloPiece,
    Unsure,
)


def import_engines() -> None:
    """Imports torch and transformers, which takes seconds.

    torch's threads wait for each other actively unless its OpenMP library is told otherwise before it is loaded. On a
    machine that has anything else to do, that makes a step take ten times as long (docs/results.md).
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    # These two are what engines load models with; the package transformers alone loads next to nothing.
    import transformers.models.auto.modeling_auto  # noqa: PLC0415
    import transformers.models.auto.tokenization_auto  # noqa: PLC0415, F401

    import tokencollab.engines.transformers_engine  # noqa: PLC0415, F401


def load_engine(spec: ModelSpec) -> Engine:
    """The engine of a spec (imports torch and transformers)."""
    import_engines()
    if spec.options.engine == "llamacpp" and spec.folder.endswith(".gguf"):
        from tokencollab.engines.llamacpp_engine import LlamaCppEngine  # noqa: PLC0415

        return LlamaCppEngine.from_file(spec.name, Path(spec.folder), spec.options)
    from tokencollab.engines.transformers_engine import TransformersEngine  # noqa: PLC0415

    return TransformersEngine.from_folder(spec.name, Path(spec.folder), spec.options)


def make_actor(spec: ModelSpec, load: Callable[[ModelSpec], Engine]) -> ModelActor:
    """The actor of a spec, which begins with ``load(spec)``."""
    options = spec.options
    return ModelActor(lambda: load(spec), max_sessions=options.max_sessions, max_batch=options.max_batch)


def checked(reply: Reply) -> Reply:
    """The reply, after the checks on arrival.

    Raises:
        MalformedAnswer: a candidate or figure is out of range.
    """
    match reply:
        case CandidatesReply() | SoloPiece() | Unsure():
            if reply.candidates is not None:
                reply.candidates.checked()
        case ScoresReply(_, _, numbers) | MarginalsReply(_, _, _, _, numbers):
            if not all(map(isfinite, numbers)):
                raise MalformedAnswer("a figure is not finite")
        case _:
            pass
    return reply


class LocalLink:
    """A model actor in this process."""

    def __init__(self, actor: ModelActor, info: ModelInfo) -> None:
        """Wraps a loaded actor."""
        self._actor = actor
        self.info = info

    async def ask(self, request: Request) -> Reply:
        """See `ModelLink.ask`."""
        return checked(await self._actor.ask(request))

    async def write(self, request: GenerateSolo) -> AsyncIterator[Reply]:
        """See `ModelLink.write`."""
        stream = self._actor.write(request)
        try:
            async for reply in stream:
                yield checked(reply)
        finally:
            await stream.aclose()  # type: ignore[attr-defined]

    async def alive(self) -> None:
        """See `ModelLink.alive`."""
        self._actor.check()


class LocalRuntime:
    """Models as threads. ``load`` makes an engine of a spec; tests bring their own."""

    def __init__(self, load: Callable[[ModelSpec], Engine] = load_engine) -> None:
        """Nothing is started yet."""
        self._load = load
        self._actors: dict[str, ModelActor] = {}

    async def start(self, specs: Sequence[ModelSpec]) -> list[ModelLink]:
        """See `Runtime.start`. Models load side by side."""
        if self._load is load_engine:
            # Imported before the threads start: transformers cannot be imported by two threads at the same time.
            await asyncio.to_thread(import_engines)
        actors = [make_actor(spec, self._load) for spec in specs]
        self._actors |= {spec.name: actor for spec, actor in zip(specs, actors, strict=True)}
        infos = await asyncio.gather(*(actor.ready() for actor in actors))
        return [LocalLink(actor, info) for actor, info in zip(actors, infos, strict=True)]

    async def restart(self, spec: ModelSpec) -> ModelLink:
        """See `Runtime.restart`. A thread that hangs cannot be ended: it keeps its memory until it wakes up."""
        old = self._actors.pop(spec.name, None)
        if old is not None:
            old.abandon()
        (link,) = await self.start([spec])
        return link

    async def stop(self, name: str) -> None:
        """See `Runtime.stop`."""
        if (actor := self._actors.pop(name, None)) is not None:
            await actor.stop()

    async def close(self) -> None:
        """See `Runtime.close`."""
        actors, self._actors = self._actors, {}
        await asyncio.gather(*(actor.stop() for actor in actors.values()))

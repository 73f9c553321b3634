"""The in-process runtime: every model in a thread of this process."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager

from tokencollab.actors.model import ModelActor
from tokencollab.actors.runtimes.base import ModelLink, ModelSpec, on_gpus
from tokencollab.engines.base import Engine
from tokencollab.engines.entry_points import engine_type
from tokencollab.errors import ModelUnavailable, TokencollabError, named
from tokencollab.protocol import messages as m


def load_engine(spec: ModelSpec) -> Engine:
    return engine_type(spec.options.engine).load(spec.name, spec.source, spec.options)


def make_actor(spec: ModelSpec, load: Callable[[ModelSpec], Engine]) -> ModelActor:
    """The actor of a spec, which begins with ``load(spec)``.

    What goes wrong there that is no `Exception` (a panic of a Rust library, `SystemExit`) is a `ModelUnavailable`.
    """
    options = spec.options

    def begin() -> Engine:
        with unavailable(f"the model {spec.name} could not be loaded"):
            return load(spec)

    return ModelActor(begin, max_sessions=options.max_sessions, max_batch=options.max_batch)


@contextmanager
def unavailable(what: str) -> Iterator[None]:
    """Somebody's code: what would end the program, or cannot be shown, is a `ModelUnavailable` with ``what``."""
    try:
        yield
    except TokencollabError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise
        raise ModelUnavailable(f"{what}: {named(error)}") from error


def _prepare(name: str) -> None:
    with unavailable(f"the engine {name} cannot be used"):
        engine_type(name).prepare()


class LocalLink:
    def __init__(self, actor: ModelActor, info: m.ModelInfo) -> None:
        self._actor = actor
        self.info = info

    async def ask(self, request: m.Request) -> m.Reply:
        return await self._actor.ask(request)

    async def write(self, request: m.GenerateSolo) -> AsyncIterator[m.Reply]:
        stream = self._actor.write(request)
        try:
            async for reply in stream:
                yield reply
        finally:
            await stream.aclose()  # type: ignore[attr-defined]

    async def alive(self) -> None:
        self._actor.check()


class LocalRuntime:
    """Models as threads. ``load`` makes an engine of a spec; tests bring their own."""

    def __init__(self, load: Callable[[ModelSpec], Engine] = load_engine) -> None:
        self._load = load
        self._actors: dict[str, ModelActor] = {}
        self._placed: dict[str, str] = {}  # on several GPUs

    async def start(self, specs: Sequence[ModelSpec]) -> list[ModelLink]:
        """See `Runtime.start`. Models load side by side."""
        if self._load is load_engine:
            # Imported before the threads start: transformers cannot be imported by two threads at the same time.
            for name in dict.fromkeys(spec.options.engine for spec in specs):
                await asyncio.to_thread(_prepare, name)
            torch = sys.modules.get("torch")
            specs = on_gpus(specs, torch.cuda.device_count() if torch else 0, self._placed)
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
        if (actor := self._actors.pop(name, None)) is not None:
            await actor.stop()

    async def close(self) -> None:
        actors, self._actors = self._actors, {}
        await asyncio.gather(*(actor.stop() for actor in actors.values()))

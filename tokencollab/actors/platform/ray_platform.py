"""The platform's actors on Ray: named and detached, so that they outlive the program that started them.

One actor per model and per coordinator, and one for the registry, which Ray starts again when its process ends. What a
registry must not lose, the specifications and lives of its actors and the name of the base, stands in the key-value
store of the cluster.
"""

import asyncio
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from time import time
from typing import Any, NamedTuple, cast

import psutil
import ray
from ray.experimental import internal_kv

from tokencollab.actors.log import log_to_stderr
from tokencollab.actors.platform.registry import Address, Entry, ModelFigures
from tokencollab.actors.platform.service import Platform, SharedSpec
from tokencollab.actors.runtimes.base import ModelLink, ModelSpec
from tokencollab.actors.runtimes.ray_actors import RayLink, RayModel, said_as_gone
from tokencollab.actors.supervisor import FaultPolicy
from tokencollab.engines.base import Engine, EngineReply, EngineRequest
from tokencollab.engines.options import EngineOptions
from tokencollab.errors import ModelRefused
from tokencollab.protocol.messages import CandidatesReply, MarginalsReply, ModelInfo, Open, Opened, Refused

REGISTRY = "tokencollab-registry"
HOLD = 5.0
"""Seconds that a question may wait at the registry; whoever waits for longer asks again."""

_STORE = b"tokencollab"  # in the key-value store
_BASES = b"tokencollab-base"
_LONGEST_START = 1800.0  # seconds


class Unanswered(NamedTuple):
    """Why there is no entry: the name of an error class, "" if it just takes longer; and the reason."""

    kind: str
    reason: str


class _Metered:
    """An engine that keeps its figures where the event loop may read them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.info = engine.info
        self.kv_bytes = 0
        self.sessions: set[str] = set()
        self.tokens = 0

    def open(self, request: Open) -> Opened | Refused:
        reply = self._engine.open(request)
        if isinstance(reply, Opened):
            self.sessions.add(request.session)
        return reply

    def next_candidates(self, requests: Sequence[EngineRequest]) -> list[EngineReply | None]:
        answers = self._engine.next_candidates(requests)
        self.tokens += sum(
            answer is not None and isinstance(answer.reply, CandidatesReply | MarginalsReply) for answer in answers
        )
        self.kv_bytes = self._engine.kv_bytes
        return answers

    def close(self, session: str) -> None:
        self._engine.close(session)
        self.sessions.discard(session)
        self.kv_bytes = self._engine.kv_bytes


class SharedModel(RayModel):
    """A model's actor, which says how it is."""

    def __init__(self, spec: SharedSpec) -> None:
        super().__init__(spec, self._load_metered)
        self._engine: _Metered | None = None

    def _load_metered(self, spec: ModelSpec) -> Engine:
        assert isinstance(spec, SharedSpec)
        self._engine = _Metered(_imported(spec.load)(spec))
        return self._engine

    async def figures(self) -> ModelFigures:
        memory, pid = psutil.Process().memory_info().rss, os.getpid()
        if self._engine is None:
            return ModelFigures(memory=memory, pid=pid)
        return ModelFigures(len(self._engine.sessions), self._engine.tokens, memory, self._engine.kv_bytes, pid)


class SharedLink(RayLink):
    """See `HostedLink`; everything goes by Ray's calls, which fail at once when a process has ended."""

    def __init__(self, handle: Any, info: ModelInfo | None, life: int, address: Address) -> None:
        super().__init__(handle, cast(ModelInfo, info), None)  # of a coordinator nobody asks for it
        self.life, self.address = life, address
        self._shared = handle

    async def figures(self) -> ModelFigures:
        with said_as_gone():
            figures: ModelFigures = await self._shared.figures.remote()
        return figures


class DetachedModels:
    """The runtime of a `Platform`: starts and ends detached actors, and keeps the store."""

    def __init__(self, namespace: str, longest_silence: float) -> None:
        """Reads what another registry of the namespace has left in the store.

        ``longest_silence``: seconds after which a model that does not say a word is taken for dead.
        """
        self._namespace = namespace
        self._longest_silence = longest_silence
        self._links: dict[str, SharedLink] = {}
        self.stored: dict[str, tuple[SharedSpec, int]] = {}
        for key in internal_kv._internal_kv_list(self._key(""), namespace=_STORE):
            entry = json.loads(internal_kv._internal_kv_get(key, namespace=_STORE))
            spec = SharedSpec(**entry["spec"] | {"options": EngineOptions.from_json(entry["spec"]["options"])})
            self.stored[spec.name] = spec, entry["life"]

    async def start(self, specs: Sequence[ModelSpec]) -> list[ModelLink]:
        return list(await asyncio.gather(*(self._start(spec) for spec in specs)))

    async def restart(self, spec: ModelSpec) -> ModelLink:
        """See `Runtime.restart`. A process that hangs is killed."""
        self._kill(spec.name)
        return await self._start(spec)

    async def find(self, spec: ModelSpec) -> ModelLink:
        """The link to a model that another registry has started, which is restarted if it does not answer."""
        try:
            async with asyncio.timeout(self._longest_silence):
                await self._handle(spec.name).alive.remote()
            return await self._link(spec)  # it may still be loading
        except ModelRefused:
            raise
        except Exception:
            return await self.restart(spec)

    async def stop(self, name: str) -> None:
        self._kill(name)
        if self.stored.pop(name, None) is not None:
            internal_kv._internal_kv_del(self._key(name), namespace=_STORE)

    async def close(self) -> None:
        """Leaves the models as they are."""

    async def _start(self, spec: ModelSpec) -> SharedLink:
        assert isinstance(spec, SharedSpec)
        life = int(time() * 1000)
        self.stored[spec.name] = spec, life
        entry = json.dumps({"spec": asdict(spec), "life": life})
        internal_kv._internal_kv_put(self._key(spec.name), entry.encode(), namespace=_STORE)
        # No restarts by Ray: an empty actor under the old name would answer questions that were meant for the old one.
        actor = SharedModel if spec.kind == "model" else _imported(spec.load)
        ray.remote(actor).options(
            name=_actor_name(spec.name, life),
            namespace=self._namespace,
            lifetime="detached",
            num_cpus=spec.cpus,
            num_gpus=spec.gpus,
            max_restarts=0,
            max_task_retries=0,
            enable_task_events=False,
        ).remote(spec)
        return await self._link(spec)

    async def _link(self, spec: ModelSpec) -> SharedLink:
        life, handle = self.stored[spec.name][1], self._handle(spec.name)
        with said_as_gone():
            async with asyncio.timeout(_LONGEST_START):
                info, reason, node, path = await handle.ready.remote()
        if reason:
            raise ModelRefused(reason)
        self._links[spec.name] = link = SharedLink(
            handle, info, life, Address(_actor_name(spec.name, life), node, path)
        )
        return link

    def _kill(self, name: str) -> None:
        if name in self.stored:
            with suppress(ValueError):  # it is gone
                ray.kill(self._handle(name))
        link = self._links.pop(name, None)
        if link is not None and link.address.node == ray.get_runtime_context().get_node_id():
            shutil.rmtree(os.path.dirname(link.address.socket), ignore_errors=True)

    def _handle(self, name: str) -> Any:
        """The actor of a model in its present life. ValueError: it has ended."""
        return ray.get_actor(_actor_name(name, self.stored[name][1]), self._namespace)

    @property
    def base(self) -> str:
        """The model that is the base where nobody names one; it may be gone."""
        return (internal_kv._internal_kv_get(self._namespace.encode(), namespace=_BASES) or b"").decode()

    @base.setter
    def base(self, name: str) -> None:
        internal_kv._internal_kv_put(self._namespace.encode(), name.encode(), namespace=_BASES)

    def _key(self, name: str) -> bytes:
        return f"{self._namespace}\n{name}".encode()


def _imported(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)


def _actor_name(name: str, life: int) -> str:
    return f"tokencollab-model {name} {life}"


class RegistryActor:
    """`Platform` at Ray's edge. No answer takes longer than `HOLD`, so that silence means that the process hangs."""

    def __init__(self, namespace: str, fault_policy: FaultPolicy) -> None:
        """Takes over what another registry of the namespace has left."""
        log_to_stderr()
        self._models = models = DetachedModels(namespace, fault_policy.floor)
        self._platform = Platform(models, fault_policy, version=int(time() * 1000))
        self._platform.up([spec for spec, _ in models.stored.values()], models.find)

    async def up(self, specs: Sequence[SharedSpec], base: str) -> list[str]:
        """See `Platform.up`. ``base`` is the base from now on; "": the one of before, or the first model."""
        started = self._platform.up(specs)
        self._models.base = base or await self.base()
        return started

    async def base(self) -> str:
        """The base where nobody names one; "" without models."""
        names = [entry.name for entry in self._platform.registry.entries if entry.kind == "model"]
        named = self._models.base
        return named if named in names else next(iter(names), "")

    async def down(self, names: Sequence[str]) -> list[str]:
        return await self._platform.down(names)

    async def look_after(self, name: str, life: int | None) -> Entry | Unanswered:
        """See `Platform.look_after`; errors by their names, since Ray would bring them with their tracebacks."""
        try:
            async with asyncio.timeout(HOLD):
                return await self._platform.look_after(name, life)
        except TimeoutError:
            return Unanswered("", "")
        except Exception as error:
            return Unanswered(type(error).__name__, str(error))

    async def changes(self, since: int) -> tuple[int, tuple[Entry, ...]]:
        return await self._platform.registry.changes(since, HOLD)

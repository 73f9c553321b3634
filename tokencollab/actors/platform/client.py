"""A program that uses a platform: its way into the cluster, to the registry, and to the models."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, cast

import ray
from ray.exceptions import ActorUnavailableError, RayActorError

from tokencollab.actors.metrics import install, uninstall
from tokencollab.actors.metrics.ray_exporter import ray_sink
from tokencollab.actors.platform.ray_platform import HOLD, REGISTRY, RegistryActor, Unanswered
from tokencollab.actors.platform.registry import Address, Entry
from tokencollab.actors.platform.service import SharedSpec
from tokencollab.actors.runtimes.base import ModelLink, ModelSpec, gpu_shares
from tokencollab.actors.runtimes.ray_actors import RayLink, check_cluster
from tokencollab.actors.runtimes.reachable import START_ONE
from tokencollab.actors.runtimes.sockets import Channel
from tokencollab.actors.supervisor import FaultPolicy
from tokencollab.errors import ModelFailed, UsageError, error_named
from tokencollab.protocol.messages import ModelInfo

NAMESPACE = "tokencollab"

_LOOKS = 4  # at the free CPUs of the cluster
_GRACE = 30.0  # seconds that a registry may be late before it is taken for dead
_LONGEST_ABSENCE = 120.0  # seconds that one may take to come back
_UNAVAILABLE = 0.3  # seconds until a registry that is being started again is asked again


def connect() -> bool:
    """Connects this process with the running cluster; whether it was not connected before.

    Raises UsageError: there is none, or it does not let us in.
    """
    if ray.is_initialized():
        return False
    check_cluster()
    try:
        ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, SystemExit) as error:
        # What follows the first sentence are options of Ray's own commands.
        reason = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
        raise UsageError(
            f"no Ray cluster lets this program in ({reason}); where there is one, this program needs its RAY_AUTH_MODE "
            f"and token; else {START_ONE}"
        ) from None
    return True


def check_room(specs: Sequence[SharedSpec]) -> None:
    """Whether the cluster has the CPUs that the models reserve.

    Raises UsageError: it has not; they would be waited for without an end.
    """
    needed = sum(spec.cpus for spec in specs)
    for _ in range(_LOOKS):
        free = ray.available_resources().get("CPU", 0.0)
        if needed <= free:
            return
        time.sleep(1.0)  # what has just ended is counted out a moment later
    raise UsageError(
        f"the cluster has {free:g} free CPUs, and {needed:g} would be reserved: "
        "take models down, or say less with --cpus-per-model"
    )


def with_gpus(specs: Sequence[SharedSpec]) -> list[SharedSpec]:
    """The specs with what they reserve of the cluster's free GPUs."""
    shares = gpu_shares([spec.options.device for spec in specs], ray.available_resources().get("GPU", 0.0))
    return [replace(spec, gpus=share) for spec, share in zip(specs, shares, strict=True)]


def model_actor(name: str, namespace: str = NAMESPACE) -> Any:
    """The actor of a platform's model: ``ray.get(model_actor("NAME").next_candidates.remote("The sky is", k=5))``.

    Raises:
        UsageError: there is no cluster, or no platform in it.
        UnknownModel, ModelFailed: the model is not there, or is down.
    """
    connect()
    client = PlatformClient(namespace)
    client.find()
    entry = asyncio.run(client.look_after(name))
    assert entry.address is not None
    return ray.get_actor(entry.address.actor, namespace)


class PlatformClient:
    """What a program says to the registry of a namespace."""

    def __init__(self, namespace: str, *, grace: float = _GRACE) -> None:
        """``grace``: seconds beyond `HOLD` after which a silent registry is killed, for Ray to start it again."""
        self.namespace = namespace
        self._grace = grace
        self._handle: Any = None
        self._connected = self._own_connection = False

    async def connect(self) -> None:
        """Connects this process with the cluster, if it is not, and finds the registry.

        Raises UsageError: there is no cluster, or no platform in it.
        """
        if not self._connected:
            self._own_connection = await asyncio.to_thread(connect)
            self.find()
            install(ray_sink)
            self._connected = True

    async def close(self) -> None:
        if self._own_connection:
            self._own_connection = self._connected = False
            uninstall(ray_sink)
            await asyncio.to_thread(ray.shutdown)

    def create(self, fault_policy: FaultPolicy | None = None) -> None:
        """Makes sure that there is a registry. ``fault_policy`` with the models, if it is new."""
        actor = ray.remote(RegistryActor).options(
            name=REGISTRY,
            namespace=self.namespace,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=0,
            enable_task_events=False,
        )
        self._handle = actor.remote(self.namespace, fault_policy or FaultPolicy())

    def find(self) -> None:
        """Finds the registry. Raises UsageError: there is none in this namespace."""
        if not self.is_there():
            actors = ray.util.list_named_actors(all_namespaces=True)
            others = sorted({each["namespace"] for each in actors if each["name"] == REGISTRY})
            there = f"there is one in {', '.join(others)}" if others else "there is none in this cluster"
            raise UsageError(
                f"no platform in namespace {self.namespace!r}: {there}; "
                "`tokencollab platform up --model ...` starts one"
            )

    def is_there(self) -> bool:
        try:
            self._handle = ray.get_actor(REGISTRY, self.namespace)
        except ValueError:
            return False
        return True

    async def up(self, specs: Sequence[SharedSpec], base: str = "") -> list[str]:
        """Begins to start models; the names of those that are not there already.

        ``base``: the model that is the base where nobody names one; by default the first one that the platform got.
        """
        return list(await self._ask("up", specs, base))

    async def base(self) -> str:
        """The model that is the base where nobody names one. Raises UsageError: the platform has no model."""
        name: str = await self._ask("base")
        if not name:
            raise UsageError(f"the platform {self.namespace!r} has no model: `tokencollab platform up --model ...`")
        return name

    async def down(self, names: Sequence[str]) -> list[str]:
        """Ends models; the names of those that were there."""
        return list(await self._ask("down", names))

    def end(self) -> None:
        """Ends the registry. Its models must be down."""
        ray.kill(self._handle)

    async def entries(self) -> tuple[Entry, ...]:
        return (await self.changes(-1))[1]

    async def changes(self, since: int) -> tuple[int, tuple[Entry, ...]]:
        version, entries = await self._ask("changes", since)
        return version, entries

    async def look_after(self, name: str, life: int | None = None) -> Entry:
        """The entry of a model as soon as it is up. ``life``: the one that was found dead or silent.

        Raises UnknownModel, ModelFailed, ModelRefused: it is not there, was given up, or cannot be loaded.
        """
        while True:
            answer = await self._ask("look_after", name, life)
            if isinstance(answer, Entry):
                return answer
            assert isinstance(answer, Unanswered)
            if answer.kind:
                raise error_named(answer.kind, answer.reason)
            life = None  # said once

    async def link(self, entry: Entry) -> RayLink:
        """A way to an actor that is up: over its socket on this machine, by Ray's calls on another.

        Raises ValueError, OSError: it has ended in this very moment.
        """
        assert entry.address is not None
        handle = ray.get_actor(entry.address.actor, self.namespace)
        return RayLink(handle, cast(ModelInfo, entry.info), await _channel(entry.address))

    async def _ask(self, method: str, *arguments: Any) -> Any:
        """One answer of the registry. One that hangs is killed; Ray starts it again, and it knows what it knew."""
        now = asyncio.get_running_loop().time
        until = now() + _LONGEST_ABSENCE
        while now() < until:
            try:
                async with asyncio.timeout(HOLD + self._grace):
                    return await getattr(self._handle, method).remote(*arguments)
            except TimeoutError:
                ray.kill(self._handle, no_restart=False)
            except ActorUnavailableError:
                await asyncio.sleep(_UNAVAILABLE)
            except RayActorError:
                if not self.is_there():
                    raise ModelFailed(f"the platform {self.namespace!r} was taken down") from None
        raise ModelFailed(f"the registry of the platform {self.namespace!r} does not answer")


class PlatformRuntime:
    """The models of a platform, shared with other programs: nothing is started, nothing is ended."""

    def __init__(self, namespace: str = NAMESPACE, *, grace: float = _GRACE, trusted: bool = True) -> None:
        """Nothing is connected yet; ``grace`` as of `PlatformClient`. ``trusted``: whether its models are one's own, as
        of `Member`."""
        self.trusted = trusted
        self._client = PlatformClient(namespace, grace=grace)
        self._links: dict[str, RayLink] = {}
        self._lives: dict[str, int] = {}

    async def names(self) -> tuple[str, ...]:
        """Which models are up, in the order of joining. The others are news when they are.

        Raises UsageError: there is no cluster, or no platform in it.
        """
        await self._client.connect()
        return tuple(entry.name for entry in await self._client.entries() if entry.health == "up" and _is_model(entry))

    async def base(self) -> str:
        await self._client.connect()
        return await self._client.base()

    async def watch(self) -> AsyncIterator[tuple[str, bool]]:
        """Names of models, and whether they are there: all that are, and then whatever changes."""
        version, here = -1, set[str]()
        while True:
            version, everybody = await self._client.changes(version)
            entries = [entry for entry in everybody if _is_model(entry)]
            for name in here - {entry.name for entry in entries if entry.health != "out"}:
                here.discard(name)
                yield name, False
            for name in [entry.name for entry in entries if entry.health == "up" and entry.name not in here]:
                here.add(name)
                yield name, True

    async def start(self, specs: Sequence[ModelSpec]) -> list[ModelLink]:
        """See `Runtime.start`: links to models that are there, by their names.

        Raises UnknownModel: one is not there.
        """
        await self._client.connect()
        return list(await asyncio.gather(*(self._link(spec.name) for spec in specs)))

    async def restart(self, spec: ModelSpec) -> ModelLink:
        """See `Runtime.restart`: the platform restarts the model, once, however many programs ask for it."""
        await self.stop(spec.name)
        return await self._link(spec.name, self._lives.get(spec.name))

    async def stop(self, name: str) -> None:
        """Ends the connection with a model, and so this program's sessions there."""
        link = self._links.pop(name, None)
        if link is not None and link.channel is not None:
            await link.channel.close()

    async def close(self) -> None:
        for name in list(self._links):
            await self.stop(name)
        await self._client.close()

    async def _link(self, name: str, life: int | None = None) -> RayLink:
        while True:
            entry = await self._client.look_after(name, life)
            try:
                link = await self._client.link(entry)
            except (ValueError, OSError):  # it has ended in this very moment
                life = entry.life
                continue
            self._lives[name] = entry.life
            self._links[name] = link
            return link


async def _channel(address: Address) -> Channel | None:
    """The short way to an actor on this machine."""
    if address.node != ray.get_runtime_context().get_node_id():
        return None
    try:
        return await Channel.connect(address.socket)
    except PermissionError:  # it belongs to another user
        return None


def _is_model(entry: Entry) -> bool:
    return entry.kind == "model"

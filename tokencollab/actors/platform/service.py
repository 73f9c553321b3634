"""A platform: models that several programs share. Starts them, looks after them, and keeps their registry true.

Whoever uses a model and finds it dead or silent says so (`Platform.look_after`); however many do, and whatever the
platform notices by itself, a model is restarted once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias, cast

from tokencollab.actors.log import Log
from tokencollab.actors.platform.registry import Address, Entry, Kind, ModelFigures, Registry
from tokencollab.actors.runtimes.base import ModelLink, ModelSpec, Runtime
from tokencollab.actors.supervisor import FaultPolicy, Supervisor
from tokencollab.errors import ModelDown, ModelFailed, TokencollabError, UnknownModel

log = Log(__name__)

Begin: TypeAlias = Callable[["SharedSpec"], Awaitable[ModelLink]]
LOAD = "tokencollab.actors.runtimes.threads:load_engine"


@dataclass(frozen=True, slots=True)
class SharedSpec(ModelSpec):
    """A model, or a coordinator, of a platform.

    ``load`` is MODULE:NAME: of a model the function that makes its engine, of a coordinator the class of its actor.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    load: str = LOAD
    kind: Kind = "model"


class HostedLink(ModelLink, Protocol):
    """A shared model, as the platform sees it."""

    life: int  # tells its starts apart
    address: Address

    async def figures(self) -> ModelFigures:
        """A sign of life with figures. Raises as `ModelLink.ask`."""


class Platform:
    """``runtime`` starts the shared models; its links are `HostedLink`."""

    def __init__(self, runtime: Runtime, fault_policy: FaultPolicy, *, version: int = 0, interval: float = 1.0) -> None:
        """``version``: of the registry's beginning; ``interval``: seconds between two heartbeats."""
        self.registry = Registry(version, ttl=2 * (interval + fault_policy.floor), silent=self._suspect)
        self._runtime = runtime
        self._fault_policy = fault_policy
        self._interval = interval
        self._members: dict[str, Supervisor] = {}
        self._starts: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, Exception] = {}  # of starts, until the next one of the same name
        self._watches: dict[str, asyncio.Task[None]] = {}

    def up(self, specs: Sequence[SharedSpec], begin: Begin | None = None) -> list[str]:
        """Begins to start models; the names of those that are not there already. `look_after` waits for them.

        ``begin`` finds or starts one; by default it is started.
        """
        started = []
        for spec in specs:
            if spec.name not in self.registry or self.registry[spec.name].health == "out":
                self._failures.pop(spec.name, None)
                self._members.pop(spec.name, None)
                self.registry.announce(spec.name, spec.kind)
                self._starts[spec.name] = asyncio.create_task(self._start(spec, begin or self._begin))
                started.append(spec.name)
        return started

    async def down(self, names: Sequence[str]) -> list[str]:
        """Ends models; the names of those that were there."""
        gone = [name for name in names if name in self.registry]
        for name in gone:
            for task in (self._starts.pop(name, None), self._watches.pop(name, None)):
                if task is not None:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
            if (member := self._members.pop(name, None)) is not None:
                await member.leave()
            await self._runtime.stop(name)
            self.registry.leave(name)
        return gone

    async def look_after(self, name: str, life: int | None = None) -> Entry:
        """The entry of a model as soon as it is up. ``life``: the one that the caller found dead or silent.

        Raises UnknownModel: it is not there. ModelFailed: it was given up. Exception: why it could not be started.
        """
        if name in self._starts:
            await asyncio.wait([self._starts[name]])
        if name in self._failures:
            raise self._failures[name]
        if name not in self._members:
            there = [entry for entry in self.registry.entries if entry.kind == "model"]
            raise UnknownModel(f"the platform has no model {name!r}; there {_are(there)}")
        member = self._members[name]
        if life is not None and life == self.registry[name].life:
            self._suspect(name)
        if not await member.recovered():
            raise ModelFailed(f"{name} was restarted too often and stays out; `platform up` starts it anew")
        self._register(member)
        return self.registry[name]

    async def close(self) -> None:
        """Looks after nobody any more. The models stay."""
        tasks = [*self._starts.values(), *self._watches.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for member in self._members.values():
            await member.leave()

    async def _start(self, spec: SharedSpec, begin: Begin) -> None:
        try:
            link = await begin(spec)
        except Exception as error:
            log.warning("model not started", model=spec.name, reason=f"{type(error).__name__}: {error}")
            self._failures[spec.name] = error if isinstance(error, TokencollabError) else ModelFailed(repr(error))
            await self._runtime.stop(spec.name)
            self.registry.leave(spec.name)
        else:
            self._look_out_for(spec, link)
        self._starts.pop(spec.name, None)

    async def _begin(self, spec: ModelSpec) -> ModelLink:
        await self._runtime.stop(spec.name)  # what is left of one that was given up
        (link,) = await self._runtime.start([spec])
        return link

    def _look_out_for(self, spec: ModelSpec, link: ModelLink) -> None:
        member = Supervisor(spec.name, link, partial(self._runtime.restart, spec), self._fault_policy)
        self._members[spec.name] = member
        self._register(member)
        self._watches[spec.name] = asyncio.create_task(self._watch(member))

    def _register(self, member: Supervisor) -> None:
        """Has the registry say where a model is that is up."""
        link = cast(HostedLink, member.link)
        self.registry.join(member.name, link.life, link.info, link.address, member.restarts)

    def _suspect(self, name: str) -> None:
        if (member := self._members.get(name)) is not None:
            member.suspect("no sign of life")
            self.registry.set_health(name, member.health)

    async def _watch(self, member: Supervisor) -> None:
        """Heartbeats, until the model is out."""
        while True:
            try:
                link = cast(HostedLink, member.link)
                figures = await member.check(_figures)
            except Exception as error:
                if not isinstance(error, ModelDown):
                    log.warning("no heartbeat", model=member.name, reason=f"{type(error).__name__}: {error}")
                self.registry.set_health(member.name, member.health)
                if not await member.recovered():
                    self.registry.set_health(member.name, "out")
                    return
                self._register(member)
            else:
                self._register(member)  # it may have been looked after in the meantime
                self.registry.heartbeat(member.name, link.life, figures)
            await asyncio.sleep(self._interval)


def _figures(link: ModelLink) -> Awaitable[ModelFigures]:
    return cast(HostedLink, link).figures()


def _are(entries: Sequence[Entry]) -> str:
    if not entries:
        return "are none"
    return ("is " if len(entries) == 1 else "are ") + ", ".join(entry.name for entry in entries)

"""The registry of a platform: which models are there, what they are, how they are, and who hears of changes.

A plain class of one event loop; `platform` keeps it true, `ray_platform` puts both into an actor.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from tokencollab.actors.supervisor import Health
from tokencollab.protocol.messages import ModelInfo

Presence: TypeAlias = Health | Literal["starting"]
Kind: TypeAlias = Literal["model", "coordinator"]

_RATE_SECONDS = 10.0  # over which tokens per second are counted


@dataclass(frozen=True, slots=True)
class Address:
    """Where a model is: its actor's name, the node, and the path of its socket there."""

    actor: str
    node: str
    socket: str


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """What a heartbeat brings: open sessions, answers given since the model was started, bytes of resident memory and
    of KV caches, and the process. Of a coordinator, sessions are open answers, and tokens what it has written.
    """

    sessions: int = 0
    tokens: int = 0
    memory: int = 0
    kv_bytes: int = 0
    pid: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """A model, or a coordinator, of the platform."""

    name: str  # under which it joined
    health: Presence = "starting"  # `starting`, `up`, `down` (being looked at or restarted), or `out` (given up)
    life: int = 0  # tells its starts apart; a restarted model is another life, and empty
    info: ModelInfo | None = None  # what the model is, None until it has started; a coordinator has none
    address: Address | None = None  # where it is, None until it has started
    figures: ModelFigures = ModelFigures()  # of the last heartbeat
    tokens_per_second: float = 0.0  # answers of all its sessions, over the last ten seconds
    restarts: int = 0  # how often it was restarted since it joined
    kind: Kind = "model"  # which of the two it is


class Registry:
    """Entries by name. What changes in who is there, and how, has a version; figures have none."""

    def __init__(self, version: int = 0, ttl: float = 30.0, silent: Callable[[str], None] = lambda name: None) -> None:
        """Nobody is there.

        Args:
            version: of the beginning; a registry that takes another's place must not begin with a version of that one.
            ttl: seconds without a heartbeat after which a model that is up counts as down.
            silent: hears the name of such a model.
        """
        self.version = version
        self._ttl = ttl
        self._silent = silent
        self._entries: dict[str, Entry] = {}
        self._counts: dict[str, deque[tuple[float, int]]] = {}  # per model: when, and its answers so far
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._changed: asyncio.Event = asyncio.Event()

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(self._entries.values())

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def announce(self, name: str, kind: Kind = "model") -> None:
        """A model that is being started. One that is there keeps its place."""
        self._put(replace(self._entries.get(name, Entry(name)), health="starting", kind=kind))

    def join(self, name: str, life: int, info: ModelInfo | None, address: Address, restarts: int = 0) -> None:
        known = self._entries.get(name, Entry(name))
        if known.life != life or name not in self._counts:
            self._counts[name] = deque()
            known = Entry(name, kind=known.kind)
        self._put(replace(known, health="up", life=life, info=info, address=address, restarts=restarts))
        self._wait_for_heartbeat(name)

    def leave(self, name: str) -> None:
        """A model that is there no more; an unknown name is not an error."""
        if self._entries.pop(name, None) is not None:
            self._counts.pop(name, None)
            self._stop_waiting(name)
            self._bump()

    def set_health(self, name: str, health: Health) -> None:
        """How a model is; an unknown name is not an error."""
        if name in self._entries:
            self._put(replace(self._entries[name], health=health))
            if health != "up":
                self._stop_waiting(name)

    def heartbeat(self, name: str, life: int, figures: ModelFigures) -> None:
        """A sign of life with figures. That of another life, or of a model that is not up, changes nothing."""
        entry = self._entries.get(name)
        if entry is None or entry.health != "up" or entry.life != life:
            return
        now = asyncio.get_running_loop().time()
        counts = self._counts[name]
        counts.append((now, figures.tokens))
        while len(counts) > 2 and counts[1][0] <= now - _RATE_SECONDS:
            counts.popleft()
        began, before = counts[0]
        rate = (figures.tokens - before) / (now - began) if now > began else 0.0
        self._entries[name] = replace(entry, figures=figures, tokens_per_second=rate)
        self._wait_for_heartbeat(name)

    async def changes(self, since: int, seconds: float) -> tuple[int, tuple[Entry, ...]]:
        """The version and the entries, as soon as the version is not ``since``, at the latest after ``seconds``."""
        if self.version == since:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
        return self.version, self.entries

    def _put(self, entry: Entry) -> None:
        if self._entries.get(entry.name) != entry:
            self._entries[entry.name] = entry
            self._bump()

    def _bump(self) -> None:
        self.version += 1
        self._changed.set()  # wakes those who wait now
        self._changed = asyncio.Event()

    def _wait_for_heartbeat(self, name: str) -> None:
        self._stop_waiting(name)
        self._timers[name] = asyncio.get_running_loop().call_later(self._ttl, self._expire, name)

    def _stop_waiting(self, name: str) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()

    def _expire(self, name: str) -> None:
        self.set_health(name, "down")
        self._silent(name)

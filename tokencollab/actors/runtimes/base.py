"""Where models live: one protocol, three implementations (`local`, `ray_runtime`, `ray_client`)."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Protocol, runtime_checkable

from tokencollab.engines.options import EngineOptions
from tokencollab.protocol.messages import GenerateSolo, ModelInfo, Reply, Request


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model to start, under which name. ``source`` is what the engine ``options.engine`` loads."""

    name: str
    source: str
    options: EngineOptions


def on_gpus(specs: Sequence[ModelSpec], gpus: int, placed: dict[str, str]) -> list[ModelSpec]:
    """The specs with a GPU of this machine for each whose device is ``auto``, round robin.

    ``placed`` has the devices given so far by name, and grows. With one GPU or none there is nothing to be shared out.
    """
    if gpus < 2:
        return list(specs)
    found = []
    for spec in specs:
        device = spec.options.device
        if device == "auto":
            device = placed.setdefault(spec.name, f"cuda:{len(placed) % gpus}")
        found.append(replace(spec, options=replace(spec.options, device=device)))
    return found


def gpu_shares(devices: Sequence[str], free: float) -> list[float]:
    """What models with these devices reserve of the ``free`` GPUs of a Ray cluster so that all fit, spread evenly.

    A model that names one GPU (``cuda:1``) means that of its machine, and reserves none: Ray would hide it.
    """
    using = [device in ("auto", "cuda") for device in devices]
    per_gpu = ceil(sum(using) / int(free)) if free >= 1 else 0
    share = floor(10_000 / per_gpu) / 10_000 if per_gpu else 0.0  # Ray counts in such steps
    return [share if uses else 0.0 for uses in using]


class ModelLink(Protocol):
    """One started model, as the coordinator sees it."""

    @property
    def info(self) -> ModelInfo:
        """What the model is."""

    async def ask(self, request: Request) -> Reply:
        """One request, one reply; its caller checks it. Any exception means that the model is lost for this request.

        Raises ModelGone: its thread or process has ended.
        """

    def write(self, request: GenerateSolo) -> AsyncIterator[Reply]:
        """The model writes alone: a stream of `SoloPiece`. Raises as `ask`."""

    async def alive(self) -> None:
        """Liveness probe: returns when the model's process answers, however busy the model is. Raises as `ask`."""


@runtime_checkable
class Runtime(Protocol):
    """Starts models, restarts them, and ends what it started."""

    async def start(self, specs: Sequence[ModelSpec]) -> list[ModelLink]:
        """Starts the models, in the order given.

        Raises ModelRefused: a model could not be loaded, or is incompatible.
        """

    async def restart(self, spec: ModelSpec) -> ModelLink:
        """Ends what is left of a model that was started, and starts it anew, empty. Raises as `start`."""

    async def stop(self, name: str) -> None:
        """Ends one model; an unknown name is not an error."""

    async def close(self) -> None:
        """Ends every model that this runtime started."""


@runtime_checkable
class DynamicRuntime(Runtime, Protocol):
    """A runtime whose models come and go by themselves."""

    async def names(self) -> tuple[str, ...]:
        """Which models can be started now."""

    async def base(self) -> str:
        """The base of a collaboration that names none. Raises UsageError: there is no model."""

    def watch(self) -> AsyncIterator[tuple[str, bool]]:
        """Names of models, and whether they are there: all that are, and then whatever changes."""

"""Where models live: one protocol, three implementations (`local`, `ray_runtime`, `ray_client`)."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from tokencollab.engines.options import EngineOptions
from tokencollab.protocol.messages import GenerateSolo, ModelInfo, Reply, Request


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model to start, under which name. ``folder`` holds safetensors and a tokenizer."""

    name: str
    folder: str
    options: EngineOptions


class ModelLink(Protocol):
    """One started model, as the coordinator sees it."""

    @property
    def info(self) -> ModelInfo:
        """What the model is."""
        ...

    async def ask(self, request: Request) -> Reply:
        """One request, one checked reply. Any exception means that the model is lost for this request.

        Raises:
            ModelGone: its thread or process has ended.
        """
        ...

    def write(self, request: GenerateSolo) -> AsyncIterator[Reply]:
        """The model writes alone: a stream of `SoloPiece`. Raises as `ask`."""
        ...

    async def alive(self) -> None:
        """Liveness probe: returns when the model's process answers, however busy the model is. Raises as `ask`."""
        ...


class Runtime(Protocol):
    """Starts models, restarts them, and ends what it started."""

    async def start(self, specs: Sequence[ModelSpec]) -> list[ModelLink]:
        """Starts the models, in the order given.

        Raises:
            ModelRefused: a model could not be loaded, or is incompatible.
        """
        ...

    async def restart(self, spec: ModelSpec) -> ModelLink:
        """Ends what is left of a model that was started, and starts it anew, empty. Raises as `start`."""
        ...

    async def stop(self, name: str) -> None:
        """Ends one model; an unknown name is not an error."""
        ...

    async def close(self) -> None:
        """Ends every model that this runtime started."""
        ...


@runtime_checkable
class DynamicRuntime(Runtime, Protocol):
    """A runtime whose models come and go by themselves."""

    async def names(self) -> tuple[str, ...]:
        """Which models can be started now."""
        ...

    def watch(self) -> AsyncIterator[tuple[str, bool]]:
        """Names of models, and whether they are there: all that are, and then whatever changes."""
        ...

"""Where models live: one protocol, two implementations (`local`, `ray_runtime`)."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tokencollab.engines.options import EngineOptions
from tokencollab.protocol.messages import AskAlone, ModelInfo, Reply, Request


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
        """One request, one checked reply. Any exception means that the model is lost for this request."""
        ...

    def write(self, request: AskAlone) -> AsyncIterator[Reply]:
        """The model writes alone: a stream of `Written`."""
        ...


class Runtime(Protocol):
    """Starts models and ends what it started."""

    async def start(self, specs: Sequence[ModelSpec]) -> list[ModelLink]:
        """Starts the models, in the order given.

        Raises:
            ModelRefused: a model cannot be loaded or cannot take part.
        """
        ...

    async def close(self) -> None:
        """Ends every model that this runtime started."""
        ...

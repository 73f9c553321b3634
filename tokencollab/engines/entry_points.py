"""Engines by name: the entry points of the group ``tokencollab.engines``, each an `EngineType`.

What is declared here is known before anything is loaded: neither torch nor an engine's own library is imported.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Final

from tokencollab.engines.base import Engine
from tokencollab.errors import UsageError, named
from tokencollab.protocol.messages import Capabilities

GROUP: Final = "tokencollab.engines"
DEFAULT: Final = "transformers"
"""The engine of models that another engine is not named for."""


@dataclass(frozen=True, slots=True)
class EngineType:
    """How an engine is chosen and made.

    Attributes:
        load: makes the engine of a model from its name, its source (what `accepts` has accepted) and its
            `EngineOptions`. It raises `ModelRefused` or `ModelUnavailable` where that cannot be.
        accepts: whether the engine computes what a user calls a model: a known name, a hub id, a folder, a file, a URL.
        takes: the same in words, for messages.
        capabilities: what the engine can answer, whatever the model.
        fetched: the source is a folder of safetensors: what the user named is fetched and converted. Otherwise the
            source is what the user wrote, a path made absolute.
        prepare: imports what ``load`` needs. Called once for all models before they load side by side.
    """

    load: Callable[[str, str, Any], Engine]
    accepts: Callable[[str], bool]
    takes: str
    capabilities: Capabilities
    fetched: bool = False
    prepare: Callable[[], None] = lambda: None


@cache
def engine_type(name: str) -> EngineType:
    """The engine of this name.

    Raises:
        UsageError: there is none, or its entry point is broken.
    """
    for point in entry_points(group=GROUP, name=name):
        try:
            found = point.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # of a package that is not ours: it may even end the program
            raise UsageError(f"the engine {name} ({point.value}) cannot be imported: {named(error)}") from error
        if not isinstance(found, EngineType):
            raise UsageError(f"the engine {name} ({point.value}) is no EngineType")
        return found
    known = ", ".join(engine_names()) or "none: install tokencollab anew (in a clone: make setup)"
    raise UsageError(f"unknown engine {name!r}; there are {known}")


def engine_names() -> list[str]:
    return sorted({point.name for point in entry_points(group=GROUP)})


def engine_for(model: str, preferred: str) -> str:
    """The name of the engine for what a user calls a model.

    That is the preferred one where it accepts the model, else transformers, else the first other one that does.
    """
    for name in (preferred, DEFAULT):
        if engine_type(name).accepts(model):
            return name
    for name in engine_names():
        with suppress(UsageError):  # a broken one is told of to whoever names it
            if engine_type(name).accepts(model):
                return name
    return DEFAULT

"""Which files are the model that a user names, and what it is called among the others."""

import os
from collections.abc import Collection, Sequence
from itertools import count

from tokencollab.engines.catalogue import Progress
from tokencollab.engines.options import EngineOptions


def find_model(spec: str, options: EngineOptions, progress: Progress) -> tuple[str, str]:
    """Name and folder (or GGUF file) of a model, fetched if need be.

    Raises:
        UnknownModel, ModelUnavailable: there is no such model, or it cannot be had.
    """
    if file := options.as_it_is(spec):
        return os.path.basename(file).removesuffix(".gguf"), file
    from tokencollab.engines.store import resolve  # noqa: PLC0415

    files = resolve(spec, progress)
    return files.name, os.path.abspath(files.folder)


def unique_names(names: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """Names that occur twice (a model with its own copy) get a number."""
    unique: list[str] = []
    for name in names:
        candidates = (name if number == 1 else f"{name}#{number}" for number in count(1))
        unique.append(next(name for name in candidates if name not in unique and name not in taken))
    return unique


def lasting_source(source: str) -> str:
    """What a model was asked for as, in a form that holds in another working directory."""
    return os.path.abspath(source) if os.path.exists(source) else source

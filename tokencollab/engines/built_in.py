"""The engines that come with tokencollab, as entry points (pyproject.toml)."""

import atexit
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from tokencollab.engines.base import WHOLE_ROWS, Engine
from tokencollab.engines.entry_points import EngineType
from tokencollab.engines.options import EngineOptions
from tokencollab.errors import refused
from tokencollab.files import typed_path

_TORCH_CACHE: Final = "TORCHINDUCTOR_CACHE_DIR"  # which torch sets to the folder that it has made


def import_engines() -> None:
    """Imports torch and transformers, which takes seconds; meanwhile the process of chat templates starts.

    torch's threads wait for each other actively unless its OpenMP library is told otherwise before it is loaded. On a
    machine that has anything else to do, that makes a step take ten times as long (docs/results.md).
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if _TORCH_CACHE not in os.environ:
        atexit.register(_remove_empty_cache)

    from tokencollab.engines.text.template_process import start_ahead  # noqa: PLC0415

    start_ahead()
    # These two are what engines load models with; the package transformers alone loads next to nothing.
    import transformers.models.auto.modeling_auto  # noqa: PLC0415
    import transformers.models.auto.tokenization_auto  # noqa: PLC0415, F401

    import tokencollab.engines.transformers_engine  # noqa: PLC0415, F401


def _remove_empty_cache() -> None:
    """torch makes a temporary folder for compiled code when it is imported, whether it compiles or not."""
    with suppress(KeyError, OSError):  # it is not there, or has something in it
        os.rmdir(os.environ[_TORCH_CACHE])


def _load_transformers(name: str, source: str, options: EngineOptions) -> Engine:
    import_engines()
    from tokencollab.engines.transformers_engine import TransformersEngine  # noqa: PLC0415

    return TransformersEngine.from_folder(name, Path(source), options)


def _load_llamacpp(name: str, source: str, options: EngineOptions) -> Engine:
    import_engines()
    from tokencollab.engines.llamacpp_engine import LlamaCppEngine  # noqa: PLC0415

    with refused(f"{name}: {source} cannot be loaded"):
        return LlamaCppEngine.from_file(name, Path(source), options)


def _is_gguf(model: str) -> bool:
    path = typed_path(model)
    return path.suffix == ".gguf" and path.is_file()


def _is_name_or_folder(model: str) -> bool:
    path = typed_path(model)
    return path.is_dir() or not (":" in model or path.is_file())


TRANSFORMERS = EngineType(
    _load_transformers,
    lambda model: _is_gguf(model) or _is_name_or_folder(model),
    "known names, hub ids, folders of safetensors, and .gguf files, which are converted",
    WHOLE_ROWS,
    fetched=True,
    prepare=import_engines,
)
LLAMACPP = EngineType(
    _load_llamacpp, _is_gguf, ".gguf files, quantised as they are", WHOLE_ROWS, prepare=import_engines
)

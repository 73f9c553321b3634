"""What a result depends on besides its settings: versions, the machine, the models' files."""

import hashlib
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from tokencollab import __version__

_LIBRARIES = ("torch", "transformers", "tokenizers", "ray", "numpy", "scipy")
_MODEL_FILES = ("*.safetensors", "*.gguf", "tokenizer.json", "tokenizer.model", "config.json", "generation_config.json")


def versions() -> dict[str, str]:
    found = {"tokencollab": __version__, "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": memory_bytes(),
    }


def start_of_run(**settings: Any) -> dict[str, Any]:
    """What `RunFolder.begin` notes: when, with ``settings`` that right answers do not depend on, with what, on what."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return {"started": started, **settings, "versions": versions(), "machine": machine()}


def memory_bytes() -> int | None:
    """The machine's memory, None where it is unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def hash_model(path: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> str:
    """SHA-256 over the files that decide what a model answers: names, weights, tokenizer, configuration."""
    if path.is_dir():
        files = sorted({file for pattern in _MODEL_FILES for file in path.glob(pattern)}, key=lambda file: file.name)
    else:
        files = [path]
    total, done = sum(file.stat().st_size for file in files), 0
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.name}\n".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 24):
                whole.update(block)
                done += len(block)
                progress(done, total)
    return whole.hexdigest()

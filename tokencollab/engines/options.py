"""How an engine computes, as plain data (no torch here: the options travel before any engine exists)."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias

DtypeName: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]
EngineName: TypeAlias = Literal["transformers", "llamacpp"]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a model computes.

    Attributes:
        engine: what computes ``.gguf`` files: ``transformers``, after converting them to float32, or ``llamacpp``,
            quantised as they are (there the file decides on the dtype, and KV caches have 1 GB at most unless
            ``kv_megabytes`` says otherwise). Models in other forms are always computed by transformers.
        dtype: ``auto`` is float32 on a CPU (bfloat16 there changes answers) and bfloat16 on a GPU.
        threads: CPU threads of one forward pass, None for torch's own choice.
        device: a torch device, ``auto`` for the first GPU or else the CPU.
        prefill_chunk: how many tokens of prompts are computed at a time, so that others need not wait for them.
        kv_megabytes: memory for KV caches (10**6 bytes), None for a quarter of the machine's or half of a free GPU's.
            When it is used up the caches of idle sessions are dropped and computed again when they come back.
        max_sessions: answers that may be under way at a model; one more is refused at once (`PlatformFull`).
        max_batch: how many of them share a forward pass; those beyond come first in the next.
    """

    dtype: DtypeName = "auto"
    threads: int | None = None
    device: str = "auto"
    prefill_chunk: int = 256
    kv_megabytes: int | None = None
    engine: EngineName = "transformers"
    max_sessions: int = 256
    max_batch: int = 64

    def to_json(self) -> dict[str, str | int | None]:
        """The options as JSON-ready data; `from_json` takes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "EngineOptions":
        """Options from `to_json`; what this version does not know is left out."""
        return cls(**{field.name: data[field.name] for field in fields(cls) if field.name in data})

    def as_it_is(self, spec: str) -> str | None:
        """The path of the GGUF file that ``spec`` names, where it is computed without conversion; else None."""
        path = os.path.abspath(os.path.expanduser(spec))
        return path if self.engine == "llamacpp" and path.endswith(".gguf") and os.path.isfile(path) else None

"""How an engine computes, as plain data (no torch here: the options travel before any engine exists)."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from math import isfinite
from typing import Any, Final, Literal, TypeAlias, get_args

from tokencollab.engines.entry_points import DEFAULT, engine_type
from tokencollab.errors import UsageError
from tokencollab.protocol.values import half_character, is_huge

DtypeName: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]

MAX_THREADS: Final = max(1024, 4 * (os.cpu_count() or 1))
"""Of one model, which may be computed on a larger machine than this one; torch takes minutes to start millions."""
_MOST: Final = 1 << 52

OWN_NAMES: Final = frozenset(
    (
        "messages",
        "tools",
        "documents",
        "conversations",
        "chat_template",
        "add_generation_prompt",
        "continue_final_message",
        "return_assistant_tokens_mask",
    )
)
"""What chat templates are given with a conversation, and what transformers calls it."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a model computes.

    Attributes:
        engine: what computes the models that it accepts, by the name of its entry point: ``transformers``, which
            converts ``.gguf`` files to float32, or ``llamacpp``, which computes only these, quantised as they are
            (there the file decides on the dtype, and KV caches have 1 GB at most unless ``kv_megabytes`` says
            otherwise). Other models are computed by transformers, or by the first engine that accepts them.
        dtype: ``auto`` is float32 on a CPU (bfloat16 there changes answers) and bfloat16 on a GPU.
        threads: CPU threads of one forward pass, None for torch's own choice.
        device: a torch device, ``auto`` for the first GPU or else the CPU.
        prefill_chunk: how many tokens of prompts are computed at a time, so that others need not wait for them.
        kv_megabytes: memory for KV caches (10**6 bytes), None for a quarter of the machine's or half of a free GPU's.
            When it is used up the caches of idle sessions are dropped and computed again when they come back.
        max_sessions: answers that may be under way at a model; one more is refused at once (`PlatformFull`).
        max_batch: how many of them share a forward pass; those beyond come first in the next.
        template: arguments of the model's chat template by name: ``{"enable_thinking": False}``.

    Raises:
        UsageError: a value of the wrong type or out of range; one line says which, and what is allowed.
    """

    dtype: DtypeName = "auto"
    threads: int | None = None
    device: str = "auto"
    prefill_chunk: int = 256
    kv_megabytes: int | None = None
    engine: str = DEFAULT
    max_sessions: int = 256
    max_batch: int = 64
    template: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.engine, str):
            raise UsageError(f"engine must be the name of an engine, not {self.engine!r}")
        engine_type(self.engine)
        if self.dtype not in get_args(DtypeName):
            raise UsageError(f"unknown dtype {self.dtype!r}; there are {', '.join(get_args(DtypeName))}")
        if not isinstance(self.device, str) or not self.device:
            raise UsageError(f"device must be a text such as auto, cpu or cuda:0, not {self.device!r}")
        for what, most in (
            ("threads", MAX_THREADS),
            ("kv_megabytes", _MOST),
            ("prefill_chunk", _MOST),
            ("max_sessions", _MOST),
            ("max_batch", _MOST),
        ):
            value = getattr(self, what)
            if value is None and what in ("threads", "kv_megabytes"):
                continue
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
                raise UsageError(f"{what} must be a whole number from 1 to {most}")
        check_template_arguments(self.template)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> "EngineOptions":
        """Options from `to_json`; what this version does not know is left out.

        Raises:
            UsageError: not an object, or a value that cannot be.
        """
        if not isinstance(data, Mapping):
            raise UsageError(f"the options of an engine must be an object, not {data!r}")
        return cls(**{field.name: data[field.name] for field in fields(cls) if field.name in data})


def check_template_arguments(arguments: object) -> None:
    """Raises UsageError: something else than names, each with a text, a number, a boolean or None."""
    if not isinstance(arguments, dict) or not all(isinstance(name, str) and name.isidentifier() for name in arguments):
        raise UsageError(f"template must have the arguments of a chat template by name, not {arguments!r}")
    for name, value in arguments.items():
        if name in OWN_NAMES:
            raise UsageError(f"template: {name} cannot be given, it belongs to the conversation")
        if value is not None and not isinstance(value, str | bool | int | float):
            raise UsageError(f"template: {name} must be a text, a number, true, false or null, not {value!r}")
        if is_huge(value) or (isinstance(value, float) and not isfinite(value)):
            raise UsageError(f"template: {name} must be a finite number of at most 15 digits")
        if isinstance(value, str) and half_character(value) is not None:
            raise UsageError(f"template: {name} contains a lone surrogate")

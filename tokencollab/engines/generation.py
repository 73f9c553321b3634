"""What a checkpoint says of generating: its end tokens, and settings that this engine leaves out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tokencollab.errors import ModelRefused

_FILE: Final = "generation_config.json"
_LEAVES_GREEDY: Final = frozenset(
    (
        *("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff", "do_sample"),
        *("max_length", "max_new_tokens", "max_cache_len", "num_return_sequences", "renormalize_logits"),
        *("early_stopping", "length_penalty", "remove_invalid_values"),  # of beams, and of values that are not finite
        *("use_cache", "cache_implementation", "cache_config", "low_memory", "prefill_chunk_size"),
        *("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id", "return_dict_in_generate"),
        *("is_assistant", "use_mtp", "prompt_lookup_num_tokens", "max_matching_ngram_size", "target_lookbehind"),
        *("speculation_type", "compile_config", "disable_compile", "continuous_batching_config"),
        "transformers_version",
    )
)
"""Settings of transformers' `GenerationConfig` that do not change what is written greedily. All others do."""
_PREFIXES: Final = ("_", "output_", "assistant_", "num_assistant_")
_NEUTRAL: Final = {"guidance_scale": 1}


def check_generation_config(folder: Path) -> None:
    """Reads ``generation_config.json`` as transformers does, which ignores a file that it cannot read.

    Raises:
        ModelRefused: it is no JSON object, or a setting has the wrong type; one line with the name of the file.
    """
    path = folder / _FILE
    if not path.exists():
        return
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelRefused(f"{path} cannot be read as JSON ({error}): mend it, or delete it") from error
    if not isinstance(settings, dict):
        raise ModelRefused(f"{path} is not a JSON object: mend it, or delete it")
    for name, value in settings.items():
        if name.endswith("token_id"):
            token_ids(value, f"{path}: {name}")
    for name, default in _defaults().items():
        value = settings.get(name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if type(default) in (int, float) and value is not None and not number:
            raise ModelRefused(f"{path}: {name} must be a number, not {json.dumps(value)[:40]}")


def token_ids(value: Any, what: str) -> list[int]:
    """The value of a setting such as ``eos_token_id``: none, one or several.

    Raises:
        ModelRefused: anything else.
    """
    ids = value if isinstance(value, list | tuple) else [] if value is None else [value]
    if not all(isinstance(token, int) and not isinstance(token, bool) for token in ids):
        raise ModelRefused(f"{what} must be a token id or a list of them, not {str(value)[:40]!r}")
    return list(ids)


def unknown_ends(ends: Sequence[int], size: int) -> tuple[str, ...]:
    """The notice that some end tokens are not in a vocabulary of ``size`` tokens, if there are any."""
    unknown = sorted({token for token in ends if not 0 <= token < size})
    if not unknown:
        return ()
    listed = ", ".join(map(str, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
    return (f"end tokens that its vocabulary of {size} tokens does not have are ignored: {listed}",)


def left_out(generation: Any) -> tuple[str, ...]:
    """The notice of the settings of a `GenerationConfig` that change what is written greedily, if there are any."""
    if generation is None:
        return ()
    defaults = _defaults()
    told = []
    for name in sorted(vars(type(generation)())):
        if name in _LEAVES_GREEDY or name.startswith(_PREFIXES):
            continue
        value = getattr(generation, name, None)
        if value and value != defaults.get(name) and value != _NEUTRAL.get(name):
            shown = repr(value)
            told.append(f"{name} {shown if len(shown) <= 40 else shown[:40] + '...'}")
    if not told:
        return ()
    return (
        f"its generation config sets {', '.join(told)}; tokencollab writes without logits processors and beams, so "
        "transformers' generate() may write another text",
    )


def _defaults() -> dict[str, Any]:
    from transformers import GenerationConfig  # noqa: PLC0415  (seconds to import)

    defaults: dict[str, Any] = GenerationConfig._get_default_generation_params()
    return defaults

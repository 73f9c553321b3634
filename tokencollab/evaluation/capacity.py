"""The concurrency that the models' memory for KV caches allows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tokencollab.engines.options import EngineOptions
from tokencollab.evaluation.machine import memory_bytes
from tokencollab.files import read_object

MOST: Final = 64
"""More gain little: a pass over this many sessions is bound by arithmetic, not by memory."""
UNKNOWN: Final = 8
"""For models whose configuration does not say."""
_CHARACTERS_PER_TOKEN: Final = 2  # few, so that other scripts and byte models are within it
_BLOCK: Final = 128  # caches grow by blocks of this many tokens


def default_concurrency(folders: Sequence[Path], options: EngineOptions, longest_prompt: int, max_tokens: int) -> int:
    """The number of answers whose caches fit into every model's budget, at most `MOST`.

    The budget is ``options.kv_megabytes``, else a quarter of the machine's memory; ``longest_prompt`` is in characters.
    """
    budget = (options.kv_megabytes or (memory_bytes() or 4 * 10**9) / 4e6) * 1e6
    tokens = longest_prompt / _CHARACTERS_PER_TOKEN + max_tokens + _BLOCK
    return min([MOST, *(_fitting(folder, budget, tokens) for folder in folders)])


def _fitting(folder: Path, budget: float, tokens: float) -> int:
    try:
        config = read_object(folder / "config.json")
        return max(1, int(budget / (_bytes_per_token(config.get("text_config", config)) * tokens)))
    except Exception:  # whatever the file says, or is
        return UNKNOWN


def _bytes_per_token(config: dict[str, Any]) -> float:
    """Keys and values of all layers in float32."""
    heads = config["num_attention_heads"]
    width = config.get("head_dim") or config["hidden_size"] / heads
    return float(config["num_hidden_layers"] * 2 * (config.get("num_key_value_heads") or heads) * width * 4)

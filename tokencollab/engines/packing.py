"""Does a packed forward pass compute what the model's own does? Asked of every model when it loads.

It tells apart models whose whole state is attention (the two agree) from recurrent and otherwise unusual ones,
without a list of architectures.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import torch

from tokencollab.engines.kv_cache import ATTENTION, Segment, SessionCache, packed
from tokencollab.engines.masks import read_masks
from tokencollab.engines.positions import read_thresholds
from tokencollab.errors import ModelRefused, cause

_LONG, _SHORT = 9, 5  # tokens of the two sessions
_AFFORDABLE: Final = 2e10  # multiplications of one forward pass: about a second on a CPU
_ON_GPU: Final = 100  # times as many

_LENGTH: Final = re.compile(r"window|chunk|extent|floor|budget|block_size|topk|top_k|original_max_pos|local|compress")
_NO_LENGTH: Final = re.compile(r"num_|^n_|layer|expert|group|moe|router|pattern|mamba|lm_head|feed_forward")
_KNOWN: Final = re.compile(r"window|chunk|local_attention|original_max_pos")
"""Lengths that hold by construction: of masks, whose rules are read, and of rotary embeddings (`positions.py`)."""


def prepare(model: Any, context: int) -> tuple[int, tuple[int, ...]]:
    """Switches the model to packed attention, and compares packed passes of two sessions in parts with its own.

    Once with short texts; where the configuration has lengths from which on texts may be read otherwise (windows,
    chunks, blocks, thresholds of positions), once more with a text that is longer than all of these whose length this
    machine can afford, and a short one beside it.

    Args:
        model: with transformers' own attention.
        context: the longest text, in tokens.

    Returns:
        The bytes of KV cache per token, and the lengths beyond which positions change (`positions.read_thresholds`).

    Raises:
        ModelRefused: the two disagree, or the model cannot run packed, or a length would have to be tried and cannot.
    """
    tried = _lengths_to_try(model, context)
    short = _rows(model, _LONG, context)
    long = _rows(model, _LONG + max(tried.values()), context) if tried else None
    limit = 1e-5 if model.dtype == torch.float32 else 0.05  # bfloat16 alone moves it by some thousandths
    with torch.inference_mode():
        own_short = [_own_logits(model, short[0])]
        own_long = [_own_logits(model, row) for row in long or ()]
        try:
            own_short.append(read_masks(model, short[1], context))
            thresholds = read_thresholds(model)
            model.set_attn_implementation(ATTENTION)
            caches = [SessionCache(), SessionCache()]
            apart = _divergence(_in_parts(model, short, caches), own_short)
            apart_long = _divergence(_in_parts(model, long), own_long) if long else 0.0
        except (ModelRefused, MemoryError):
            raise
        except Exception as error:
            raise ModelRefused(f"its architecture is not supported by this engine ({cause(error)})") from error
    if not apart <= limit:
        raise ModelRefused(
            "its architecture keeps state that this engine cannot keep (its own next-token distribution and the "
            f"engine's diverge by {apart:.3g})"
        )
    if long and not apart_long <= limit:
        names = ", ".join(f"{name} = {length}" for name, length in tried.items())
        raise ModelRefused(
            f"it reads texts of {len(long[0])} tokens in a way that this engine does not compute (its own "
            f"next-token distribution and the engine's diverge by {apart_long:.3g}; its configuration has {names})"
        )
    layers = caches[0].layers.values()
    return sum(tensor[:, :, 0].nbytes for pair in layers for tensor in pair), thresholds


def _rows(model: Any, length: int, context: int) -> list[list[int]]:
    """The tokens of two sessions, the first of them of ``length`` tokens or as long as the context."""
    size = model.get_input_embeddings().weight.shape[0]
    return [
        [(7 * index + 3) % size for index in range(min(length, context))],
        [(11 * index + 5) % size for index in range(min(_SHORT, context))],
    ]


def _own_logits(model: Any, row: list[int]) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=torch.tensor([row], device=model.device), use_cache=False).logits
    if not bool(torch.isfinite(logits[0, -1]).all()):
        raise ModelRefused(f"its own forward pass over {len(row)} tokens gives numbers that are not finite")
    return logits[0, -1]


def _in_parts(model: Any, rows: list[list[int]], caches: Sequence[SessionCache] | None = None) -> torch.Tensor:
    """The logits after each of ``rows``, packed in three parts: a beginning, and two single tokens."""
    caches = caches or [SessionCache() for _ in rows]
    for begin, end in ((0, -2), (-2, -1), (-1, None)):
        parts = [row[begin:end] for row in rows]
        segments = [Segment(cache, len(part), len(row)) for cache, part, row in zip(caches, parts, rows, strict=True)]
        logits = packed_logits(model, list(zip(segments, parts, strict=True)))
        for cache, part in zip(caches, parts, strict=True):
            cache.length += len(part)
    return logits


def _divergence(mine: torch.Tensor, own: list[torch.Tensor]) -> float:
    """The largest Kullback-Leibler divergence between two sessions' distributions and the model's own."""
    expected, got = torch.log_softmax(torch.stack(own).double(), -1), torch.log_softmax(mine.double(), -1)
    return float((expected.exp() * (expected - got)).sum(-1).max())


def packed_logits(model: Any, work: Sequence[tuple[Segment, Sequence[int]]], every: bool = False) -> torch.Tensor:
    """One forward pass over the new tokens of many sessions, in one row.

    Returns:
        The logits after the last new token of each session, [sessions, vocabulary], float32; with ``every`` after
        every new token, in order.
    """
    device = model.device
    row = [token for _, new in work for token in new]
    positions = [segment.cache.length + i for segment, new in work for i in range(len(new))]
    ends = torch.tensor([len(new) for _, new in work], device=device).cumsum(0) - 1
    with torch.inference_mode(), packed([segment for segment, _ in work]):
        output = model(
            input_ids=torch.tensor([row], device=device),
            position_ids=torch.tensor([positions], device=device),
            use_cache=False,
            logits_to_keep=0 if every else ends,
        )
        logits: torch.Tensor = output.logits[0]
        if not every and len(logits) == len(row):  # some models keep all of them
            logits = logits[ends]
        return logits.float()


def _lengths_to_try(model: Any, context: int) -> dict[str, int]:
    """The lengths of the configuration that short texts do not show and that this machine can afford, by name."""
    config = model.config.get_text_config()
    weights = sum(parameters.numel() for parameters in model.parameters())
    width = int(getattr(config, "hidden_size", 0) or 0) * int(getattr(config, "num_hidden_layers", 0) or 0)
    affordable = _AFFORDABLE * (_ON_GPU if model.device.type == "cuda" else 1)
    tried: dict[str, int] = {}
    for name, length in _lengths(config.to_dict()):
        if not _SHORT <= length <= context:
            continue
        if weights * length + width * length * length <= affordable:
            tried[name] = length
        elif not _KNOWN.search(name):
            raise ModelRefused(
                f"its configuration has {name} = {length}, and texts of that length take too long on this machine to "
                "see whether this engine computes them as the model does"
            )
    return tried


def _lengths(config: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The whole numbers of a configuration from which on texts may be read otherwise, with their names."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _lengths(value)
        elif (
            isinstance(value, int)
            and not isinstance(value, bool)
            and _LENGTH.search(str(name))
            and not _NO_LENGTH.search(str(name))
        ):
            yield name, value

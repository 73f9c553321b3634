"""KV cache per session, and attention over many sessions packed into one forward pass.

All new tokens of all sessions in a step stand in one row, so that the linear layers (where the time goes) see one
large matrix; attention alone is computed session by session, each over its own cache. Nothing is padded, lengths may
differ, and prefill and decode mix freely. Every layer keeps all positions, also where a sliding window looks at
the last few only: so any cache can be cropped to any length.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch.nn.functional import scaled_dot_product_attention

ATTENTION = "tokencollab"
"""The name under which `packed_attention` is registered with transformers."""

_BLOCK = 128  # positions; a cache grows by this

_HARMLESS: Final = frozenset(
    (
        "cu_seq_lens_k",
        "cu_seq_lens_q",
        "dropout",
        "is_causal",
        "logits_to_keep",
        "max_length_k",
        "max_length_q",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "position_embeddings",
        "position_ids",
        "return_dict",
        "sliding_window",
        "use_cache",
    )
)
"""Arguments of transformers' attention interface that change nothing here.

A model in evaluation has no dropout; a window is known from the layer's mask (`Visibility`).
"""


@dataclass
class SessionCache:
    """Keys and values of one session: per layer a pair of tensors [1, kv heads, capacity, head size]."""

    length: int = 0
    layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    regime: int = 0
    """Of positions, for which keys were computed (`positions.py`). A cache of another one is of no use."""

    def crop(self, length: int) -> None:
        """Forgets positions from ``length`` on."""
        self.length = min(self.length, length)

    def clear(self) -> None:
        self.length = 0
        self.layers.clear()

    @property
    def nbytes(self) -> int:
        return sum(k.nbytes + v.nbytes for k, v in self.layers.values())

    def append(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Stores new keys and values [1, kv heads, new, head size] behind the kept ones; all of them as views."""
        end = self.length + key.shape[2]
        held = self.layers.get(layer)
        if held is None or held[0].shape[2] < end:
            kept = held or (key[:, :, :0], value[:, :, :0])
            held = (_resized(kept[0], self.length, end), _resized(kept[1], self.length, end))
            self.layers[layer] = held
        keys, values = held
        keys.narrow(2, self.length, key.shape[2]).copy_(key)
        values.narrow(2, self.length, key.shape[2]).copy_(value)
        return keys.narrow(2, 0, end), values.narrow(2, 0, end)

    def copy_from(self, other: "SessionCache", length: int) -> None:
        """Takes over the first ``length`` positions of another session's cache, if it is of the same regime."""
        if other.regime != self.regime:
            return
        for layer, (keys, values) in other.layers.items():
            self.layers[layer] = (_resized(keys, length, length), _resized(values, length, length))
        self.length = length


def capacity_for(length: int) -> int:
    """The positions for which memory is held where ``length`` are used."""
    return -(-length // _BLOCK) * _BLOCK


def _resized(tensor: torch.Tensor, kept: int, length: int) -> torch.Tensor:
    """A copy [1, kv heads, capacity for ``length``, head size] with the first ``kept`` positions of ``tensor``."""
    shape = (1, tensor.shape[1], capacity_for(length), tensor.shape[3])
    grown = torch.empty(shape, dtype=tensor.dtype, device=tensor.device)
    grown[:, :, :kept] = tensor[:, :, :kept]
    return grown


@dataclass(frozen=True, slots=True)
class Segment:
    """``count`` new tokens of one session in the packed row.

    ``length`` counts the tokens of the session's whole text, also those that later parts of the row will bring; by
    default the new tokens are the last ones.
    """

    cache: SessionCache
    count: int
    length: int = 0

    @property
    def text_length(self) -> int:
        return max(self.length, self.cache.length + self.count)


@dataclass(frozen=True, slots=True)
class Visibility:
    """Which positions up to its own a layer's query looks at.

    All of them; or the last ``window``; or where ``rule(rows, columns)`` is True, for positions that broadcast.
    """

    window: int | None = None
    rule: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None


_ALL: Final = Visibility()
_packing = threading.local()  # each engine computes in its own thread


def packed_segments() -> list[Segment]:
    """The segments of the packed row that this thread computes, empty outside `packed`."""
    return getattr(_packing, "segments", [])


@contextmanager
def packed(segments: list[Segment]) -> Iterator[None]:
    """Within it, forward passes of this thread attend per segment and fill the segments' caches."""
    _packing.segments = segments
    try:
        yield
    finally:
        _packing.segments = []


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention for a packed row, in transformers' attention interface.

    ``query`` is [1, heads, total, head size]; ``key`` and ``value`` are [1, kv heads, total, head size]; the output is
    [1, total, heads, head size], without weights. ``attention_mask`` is unused: every session is causal over its own
    cache, as far as the module's ``visibility`` says (`masks.read_masks`). Arguments that are not known to change
    nothing are refused.
    """
    unknown = sorted(name for name, given in kwargs.items() if given is not None and name not in _HARMLESS)
    if unknown or kwargs.get("is_causal") is False:
        what = ", ".join(unknown) if unknown else "positions that follow"
        raise NotImplementedError(f"its attention uses {what}, which this engine does not compute")
    visibility: Visibility = getattr(module, "visibility", _ALL)
    segments = packed_segments()
    layer = module.layer_idx
    assert isinstance(layer, int)
    counts = [segment.count for segment in segments]
    news = zip(*(torch.split_with_sizes(new, counts, 2) for new in (query, key, value)), strict=True)
    # Linear layers see one row of all tokens; only attention is per session. So lengths need no padding, and no token
    # attends to another session, without a mask over the whole row.
    outputs = []
    for segment, (queries, new_keys, new_values) in zip(segments, news, strict=True):
        keys, values = segment.cache.append(layer, new_keys, new_values)
        outputs.append(_attend(queries, keys, values, scaling, visibility))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1), None


def _attend(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scaling: float | None, visibility: Visibility
) -> torch.Tensor:
    """Causal attention of one session's last positions over all of its own: [1, new, heads, head size]."""
    _, heads, new, size = query.shape
    total = keys.shape[2]
    window = visibility.window
    if new == 1 and visibility.rule is None:
        if window is not None and total > window:
            keys, values = keys[:, :, total - window :], values[:, :, total - window :]
        # The heads of a group as rows of one head: with `enable_gqa` keys and values would be copied per head, which
        # takes four times as long at 64 positions and eight times at 1,024 (bfloat16, CPU).
        grouped = query.view(1, keys.shape[1], -1, size)
        output = scaled_dot_product_attention(grouped, keys, values, scale=scaling)
        return output.view(1, 1, heads, -1)
    mask = None
    if window is not None and total > window:
        first = max(0, total - new - window + 1)
        keys, values = keys[:, :, first:], values[:, :, first:]
        mask = _mask(new, keys.shape[2], visibility, query.device)
    elif total > new or visibility.rule is not None:  # `is_causal` counts from the first position, not from these
        mask = _mask(new, total, visibility, query.device)
    output = scaled_dot_product_attention(
        query,
        keys,
        values,
        attn_mask=mask,
        is_causal=mask is None,
        scale=scaling,
        enable_gqa=heads != keys.shape[1],
    )
    return output.transpose(1, 2)


def _mask(new: int, total: int, visibility: Visibility, device: torch.device) -> torch.Tensor:
    """True where one of the last ``new`` of ``total`` positions may look: [new, total]."""
    rows = torch.arange(total - new, total, device=device)[:, None]
    columns = torch.arange(total, device=device)[None, :]
    mask = columns <= rows
    if visibility.rule is not None:
        return mask & visibility.rule(rows, columns)
    return mask if visibility.window is None else mask & (columns > rows - visibility.window)

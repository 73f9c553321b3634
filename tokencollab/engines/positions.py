"""Positions that depend on how long the whole text is, per session instead of per row.

LongRoPE chooses its frequencies by the largest position of the row. A packed row has sessions of many lengths, and a
long prompt comes in parts; so the frequencies are chosen here by the length of each session's whole text. Where a text
grows past such a threshold, all of its keys change: its *regime* is another one, and its cache is computed anew, as
transformers' `generate` does. (Dynamic NTK changes beyond the context only, which no session reaches. Every other kind
of rotary embedding is a function of the single position.)
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tokencollab.engines.kv_cache import packed_segments


def read_thresholds(model: Any) -> tuple[int, ...]:
    """Makes rotary embeddings look at each session's length; the lengths beyond which they change, ascending."""
    thresholds: set[int] = set()
    for module in list(model.modules()):
        kinds = getattr(module, "rope_type", None)
        layers = kinds if isinstance(kinds, dict) else {None: kinds}
        settings = [
            module.config.rope_parameters if layer is None else module.config.rope_parameters[layer]
            for layer, kind in layers.items()
            if kind == "longrope"
        ]
        if settings:
            here = {parameters["original_max_position_embeddings"] for parameters in settings}
            module.forward = _by_session(module.forward, sorted(here))
            thresholds |= here
    return tuple(sorted(thresholds))


def regime(length: int, thresholds: Sequence[int]) -> int:
    """How many thresholds a text of ``length`` tokens is beyond."""
    return sum(length > threshold for threshold in thresholds)


def _by_session(own: Callable[..., Any], thresholds: Sequence[int]) -> Callable[..., Any]:
    """A rotary embedding's ``forward``, called once for each regime in the packed row."""

    def forward(x: torch.Tensor, position_ids: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        segments = packed_segments()
        if not segments:
            return own(x, position_ids, *args, **kwargs)
        lengths = [segment.text_length for segment in segments for _ in range(segment.count)]
        regimes = [regime(length, thresholds) for length in lengths]
        chosen: list[torch.Tensor] = []
        for this in sorted(set(regimes)):
            mine = torch.tensor([other == this for other in regimes], device=position_ids.device)
            # One more position, the last of the longest text, tells the module which frequencies to take.
            longest = max(length for length, other in zip(lengths, regimes, strict=True) if other == this)
            last = torch.full_like(position_ids[..., :1], longest - 1)
            found = own(x, torch.cat([position_ids * mine, last], -1), *args, **kwargs)
            parts = [part[:, :-1] for part in (found if isinstance(found, tuple) else (found,))]
            chosen = [
                torch.where(mine.view(1, -1, *(1,) * (part.dim() - 2)), part, before)
                for part, before in zip(parts, chosen or parts, strict=True)
            ]
        return tuple(chosen) if len(chosen) > 1 else chosen[0]

    return forward

"""Which positions each layer of a model may look at, read off the masks that the model itself makes.

transformers makes a mask from a rule: a function of two positions. The rule of every layer is recorded in one short
forward pass, and holds for texts of any length; so a window or a chunk of 8,192 tokens is known without a text of
that length.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import torch

from tokencollab.engines.kv_cache import Visibility
from tokencollab.errors import ModelRefused

RECORDING: Final = "tokencollab-recording"
"""The name under which the recording attention is registered with transformers."""

_FURTHEST: Final = 1 << 18  # tokens; a rule that is causal up to there counts as causal
_CPU: Final = torch.device("cpu")

MaskFunction: TypeAlias = Callable[[Any, Any, torch.Tensor, torch.Tensor], torch.Tensor]
"""transformers' mask function: of batch, head, and the positions that look and are looked at."""

_recording = threading.local()


class _Record:
    """The masks that a forward pass made, with their rules, and the rule that each attention module was given."""

    def __init__(self) -> None:
        self.masks: list[tuple[torch.Tensor, MaskFunction]] = []
        self.layers: dict[int, tuple[torch.nn.Module, MaskFunction | None]] = {}

    def rule_of(self, mask: torch.Tensor | None, layer: int) -> MaskFunction | None:
        if mask is None:
            return None
        for made, rule in self.masks:
            if made.data_ptr() == mask.data_ptr() and made.shape == mask.shape:
                return rule
        raise ModelRefused(f"the attention mask of its layer {layer} is not made by a rule that this engine can read")


def register() -> None:
    """Makes the recording attention known to transformers."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS  # noqa: PLC0415  (seconds to import)
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS  # noqa: PLC0415

    ALL_MASK_ATTENTION_FUNCTIONS.register(RECORDING, _recorded_mask)
    ALL_ATTENTION_FUNCTIONS.register(RECORDING, _recorded_attention)


def _recorded_mask(**kwargs: Any) -> torch.Tensor | None:
    from transformers.masking_utils import sdpa_mask  # noqa: PLC0415

    mask: torch.Tensor | None = sdpa_mask(**{**kwargs, "allow_is_causal_skip": False})
    if mask is not None:
        _recording.record.masks.append((mask, kwargs["mask_function"]))
    return mask


def _recorded_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward  # noqa: PLC0415

    layer = getattr(module, "layer_idx", None)
    record: _Record = _recording.record
    if not isinstance(layer, int) or layer in record.layers:
        raise ModelRefused(f"its attention modules have no numbers of their own ({type(module).__name__}: {layer})")
    record.layers[layer] = module, record.rule_of(attention_mask, layer)
    output: tuple[torch.Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    return output


@contextmanager
def _record() -> Iterator[_Record]:
    _recording.record = _Record()
    try:
        yield _recording.record
    finally:
        del _recording.record


def read_masks(model: Any, ids: list[int], context: int) -> torch.Tensor:
    """Gives every attention module of ``model`` its `Visibility`, from a forward pass over ``ids``.

    Leaves the model with the recording attention, which computes what transformers' own does. ``context`` is the
    longest text, in tokens.

    Returns:
        The logits after the last of ``ids``.

    Raises:
        ModelRefused: a mask that follows no rule, or attention modules that cannot be told apart.
    """
    model.set_attn_implementation(RECORDING)
    with torch.inference_mode(), _record() as record:
        logits: torch.Tensor = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits
    found: dict[int, Visibility] = {}
    for module, rule in record.layers.values():
        if id(rule) not in found:
            if rule is not None:
                _extend(rule, len(ids))
            found[id(rule)] = Visibility() if rule is None else visibility_of(rule, context, model.device)
        module.visibility = found[id(rule)]  # type: ignore[assignment]  # torch's stub
    return logits[0, -1]


def _extend(rule: Any, length: int) -> None:
    """Lets a rule that knows something of each token of the row (is it text or a picture?) hold beyond the row.

    Only where it is the same for all tokens, as it is in a text.
    """
    for cell in getattr(rule, "__closure__", None) or ():
        content = cell.cell_contents
        if isinstance(content, torch.Tensor):
            if content.dim() > 1 and content.shape[-1] == length and bool((content == content[..., :1]).all()):
                cell.cell_contents = content[..., :1].expand(*content.shape[:-1], _FURTHEST)
        else:
            for part in content if isinstance(content, tuple) else (content,):
                _extend(part, length)


def visibility_of(rule: MaskFunction, context: int, device: torch.device = _CPU) -> Visibility:
    """What a mask function lets be seen: everything before, a window, or else what the function says.

    Raises:
        ModelRefused: it shows a position that follows, as in encoders.
    """

    def visible(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        zero = torch.zeros((), dtype=torch.long, device=rows.device)
        return rule(zero, zero, rows, columns)

    seen = []
    for row in _rows(min(context, _FURTHEST)):
        columns = torch.arange(row + 2, device=device)
        found = visible(torch.tensor(row, device=device), columns).expand(row + 2)
        if bool(found[-1]):
            raise ModelRefused("its attention looks at tokens that follow")
        seen.append(found[:-1])
    if all(bool(columns.all()) for columns in seen):
        return Visibility()
    window = int(seen[-1].sum())
    if all(int(columns.sum()) == min(len(columns), window) == int(columns[-window:].sum()) for columns in seen):
        return Visibility(window)
    return Visibility(rule=visible)


def _rows(context: int) -> list[int]:
    """Positions at which any window or chunk of up to ``context`` tokens shows."""
    powers = [(1 << power) + offset for power in range(6, 18) for offset in (-1, 0, 1)]
    return sorted({row for row in [*range(64), *powers, context - 1] if row < context})

"""Are the weights of a loaded model those of its checkpoint? And is there room for what its configuration asks for?"""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import torch
from safetensors import safe_open

from tokencollab.errors import ModelRefused

_NAMED: Final = 5  # tensors that a message names
_LARGEST: Final = 1 << 32  # no size, length or count of a model is larger
_LAYERS: Final = 4096  # beyond it there must be a tensor for each
_COUNTS: Final = re.compile(r"(layers?|experts|blocks)$")
_FLOATS: Final = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_LARGER: Final = 2  # times as many parameters as the checkpoint has numbers: not one of a few tensors missing
_PACKED: Final = 8  # weights in one number of a quantised checkpoint
_WEIGHTS: Final = frozenset(("F64", "F32", "F16", "BF16"))  # dtypes of weights as they are, in safetensors

Tensors: TypeAlias = dict[str, tuple[str, tuple[int, ...]]]
"""The tensors of a checkpoint: from name to dtype, as safetensors writes it, and shape."""


def read_tensors(folder: Path) -> Tensors:
    """The tensors of a folder's checkpoint, from the headers of the files that transformers loads."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        files = [folder / "model.safetensors"]
    elif index.is_file():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        files = [folder / name for name in names]
    else:
        files = sorted(folder.glob("*.safetensors"))
    tensors: Tensors = {}
    for path in files:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  (no mapping)
                header = file.get_slice(name)
                tensors[name] = header.get_dtype(), tuple(header.get_shape())
    return tensors


def read_checkpoint(folder: Path) -> Tensors:
    """The tensors of a folder's checkpoint, once the sizes in its config.json are known to be possible."""
    tensors = read_tensors(folder)
    check_sizes(json.loads((folder / "config.json").read_text(encoding="utf-8")), tensors)
    return tensors


def load_checkpoint(auto: Any, folder: Path, tensors: Tensors, **options: Any) -> tuple[Any, Mapping[str, Any]]:
    """The model of ``folder``, by one of transformers' auto classes, and its report on the weights for `check_weights`.

    ``tensors`` are those of `read_checkpoint`; there must be room for the model.
    """
    from transformers import AutoConfig  # noqa: PLC0415  (seconds to import)

    options["trust_remote_code"] = False
    with torch.device("meta"):
        check_room(auto.from_config(AutoConfig.from_pretrained(folder, trust_remote_code=False), **options), tensors)
    model, report = auto.from_pretrained(
        folder, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True, **options
    )
    return model, report


def check_sizes(config: object, tensors: Tensors) -> None:
    """Refuses a configuration whose numbers no model can have, before anything is made by them.

    ``config`` is config.json as it was read.
    """
    for key, value in _numbers(config):
        if abs(value) >= _LARGEST and "theta" not in key:
            raise ModelRefused(f"its config.json is damaged: {key} = {value} is out of range")
        if _COUNTS.search(key) and value > max(_LAYERS, len(tensors)):
            raise ModelRefused(f"its config.json says {key} = {value}, and its weights have {len(tensors)} tensors")


def _numbers(config: object, key: str = "") -> Iterator[tuple[str, int]]:
    if isinstance(config, int) and not isinstance(config, bool):
        yield key, config
    elif isinstance(config, Mapping):
        for name, value in config.items():
            yield from _numbers(value, str(name))
    elif isinstance(config, list):
        for value in config:
            yield from _numbers(value, key)


def check_room(blank: Any, tensors: Tensors) -> None:
    """Refuses a model that is much larger than its checkpoint, or its tables than this machine's memory.

    Before it takes any: ``blank`` is the model on the device "meta", where tensors have shapes and no content.
    """
    parameters = dict(blank.named_parameters())
    size = sum(weights.numel() for weights in parameters.values())
    held = sum(math.prod(shape) for _, shape in tensors.values())
    if size > held * (_LARGER if _quantisation(blank.config) is None else _LARGER * _PACKED):
        unlike = [
            name for name, weights in parameters.items() if tensors.get(name, ("", ()))[1] != tuple(weights.shape)
        ]
        raise ModelRefused(
            f"its config.json describes a model of {size:,} parameters, and its weights have {held:,}: "
            f"{_listed(unlike, 'missing or of another shape')}"
        )
    tables = sum(table.numel() * table.element_size() for table in blank.buffers())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if tables > memory:
        raise ModelRefused(
            f"its config.json makes tables of {tables / 1e9:,.1f} GB, and this machine has {memory / 1e9:,.1f} GB"
        )


def check_weights(model: Any, report: Mapping[str, Any], tensors: Tensors) -> None:
    """Refuses a model some of whose weights are not those of its checkpoint.

    Tied weights, and buffers that a model computes, are not missing; tensors that it does not use are no fault.

    Args:
        model: as transformers loaded it.
        report: what `from_pretrained` returns with ``output_loading_info``.
        tensors: of the checkpoint.
    """
    if getattr(model, "hf_quantizer", None) is None:
        quantised = _quantisation(model.config)
        if quantised is not None:
            raise ModelRefused(f"its weights are quantised by a method that transformers does not know: {quantised!r}")
        _check_dtypes(model, report, tensors)
    if mismatched := sorted(str(entry[0]) for entry in report["mismatched_keys"]):
        raise ModelRefused(f"its weights do not fit its config.json: {_listed(mismatched, 'of another shape')}")
    if missing := sorted(report["missing_keys"]):
        hint = ""
        unused = sorted(report["unexpected_keys"])
        if len(unused) >= len(missing):
            hint = f"; the checkpoint has others that the model does not use, such as {unused[0]}"
        raise ModelRefused(f"its checkpoint is incomplete: {_listed(missing, 'missing')}{hint}")
    if unused := sorted(name for name in report["unexpected_keys"] if _belongs(name, model)):
        raise ModelRefused(f"its weights do not fit its config.json: {_listed(unused, 'without a place in the model')}")
    for messages in (report.get("error_msgs"), report.get("conversion_errors")):
        if messages:
            raise ModelRefused(f"its weights cannot be read: {str(next(iter(messages)))[:200]}")
    _check_finite(model)


def _belongs(name: str, model: torch.nn.Module) -> bool:
    """Whether a tensor is of a module that the model has without it: a bias that its configuration denies."""
    path, _, last = name.rpartition(".")
    try:
        module = model.get_submodule(path)
    except AttributeError:
        return False
    return bool(path) and last in ("weight", "bias") and "weight" in dict(module.named_parameters(recurse=False))


def _quantisation(config: Any) -> str | None:
    """The method that a configuration names, None where it names none."""
    for part in (config, config.get_text_config()):
        for key in ("quantization_config", "compression_config"):
            if given := getattr(part, key, None):
                return str(given.get("quant_method") if isinstance(given, Mapping) else given)[:60]
    return None


def _check_dtypes(model: Any, report: Mapping[str, Any], tensors: Tensors) -> None:
    """Integers or float8 in place of weights are quantised, also where no configuration says so."""
    parameters = {name.rpartition("model.")[2] for name, _ in model.named_parameters()}
    wrong = [
        name
        for name, (dtype, _) in tensors.items()
        if dtype not in _WEIGHTS
        and name not in report["unexpected_keys"]
        and (name.rpartition("model.")[2] in parameters or name.endswith(".weight"))
    ]
    if wrong:
        kind = tensors[wrong[0]][0]
        raise ModelRefused(
            f"its weights are {kind}, and its config.json names no quantisation: {_listed(sorted(wrong), f'of {kind}')}"
        )


def _check_finite(model: torch.nn.Module) -> None:
    # A sum is finite only if all of its terms are, and takes no memory; only where it is not, are they looked at.
    with torch.inference_mode():
        broken = sorted(
            name
            for name, weights in model.named_parameters()
            if weights.dtype in _FLOATS
            and not bool(torch.isfinite(weights.sum(dtype=torch.float32)))
            and not bool(torch.isfinite(weights).all())
        )
    if broken:
        raise ModelRefused(f"its weights are not finite numbers (NaN or infinite): {_listed(broken, 'damaged')}")
    # What a model computes of its configuration: frequencies, tables of positions; masks may be minus infinity.
    tables = sorted(
        name
        for name, table in model.named_buffers()
        if table.dtype in _FLOATS and bool((table.isnan() | (table == math.inf)).any())
    )
    if tables:
        raise ModelRefused(f"its config.json is damaged: it makes {_listed(tables, 'that are no finite numbers')}")


def _listed(names: list[str], what: str) -> str:
    some = ", ".join(names[:_NAMED])
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''} {what} ({some}{', ...' if len(names) > _NAMED else ''})"

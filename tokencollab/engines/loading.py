"""Loading a transformers model from a folder, and checking that it is compatible."""

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tokencollab.engines import masks
from tokencollab.engines.base import WHOLE_ROWS
from tokencollab.engines.generation import check_generation_config, left_out, token_ids, unknown_ends
from tokencollab.engines.kv_cache import ATTENTION, packed_attention
from tokencollab.engines.options import DtypeName, EngineOptions
from tokencollab.engines.packing import prepare
from tokencollab.engines.text.vocabulary import Vocabulary, read_vocabulary
from tokencollab.engines.weights import check_weights, load_checkpoint, read_checkpoint
from tokencollab.errors import ModelRefused, refused
from tokencollab.protocol.messages import ModelInfo

_LOADING = threading.Lock()  # transformers imports lazily and builds models under global state: one thread at a time
_CONTEXT = ("max_position_embeddings", "n_positions", "max_target_positions", "max_seq_len", "n_ctx")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that computes packed rows.

    Attributes:
        thresholds: lengths of text beyond which all positions of a session change (`positions.py`).
    """

    model: Any
    tokenizer: Any
    vocabulary: Vocabulary
    info: ModelInfo
    kv_bytes_per_token: int
    thresholds: tuple[int, ...] = ()


def load(name: str, folder: Path, options: EngineOptions) -> LoadedModel:
    """Loads weights, tokenizer and vocabulary.

    Raises:
        ModelRefused: the engine cannot compute what the model means, or a library cannot read it, whatever it raises.
    """
    with refused(f"{name}: {folder} cannot be loaded"):
        try:
            return _load(name, folder, options)
        except ModelRefused as error:
            raise ModelRefused(f"{name} is incompatible: {error}") from error


def _load(name: str, folder: Path, options: EngineOptions) -> LoadedModel:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with _LOADING:
        from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415  (seconds to import)
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS  # noqa: PLC0415
        from transformers.utils import logging  # noqa: PLC0415

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        ALL_ATTENTION_FUNCTIONS.register(ATTENTION, packed_attention)
        masks.register()
    if options.threads:
        torch.set_num_threads(options.threads)
    best = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(best if options.device == "auto" else options.device)
    dtype = _dtype(options.dtype, device)
    tensors = read_checkpoint(folder)
    check_generation_config(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    with _LOADING:
        attention = {"dtype": dtype, "attn_implementation": "sdpa"}
        model, report = load_checkpoint(AutoModelForCausalLM, folder, tensors, **attention)
    check_weights(model, report, tensors)
    model.eval().to(device)
    context = _context_length(model.config.get_text_config())
    kv_bytes_per_token, thresholds = prepare(model, context)
    ends, size = _end_ids(model), model.get_output_embeddings().weight.shape[0]
    vocabulary = read_vocabulary(tokenizer, ends, size)
    info = ModelInfo(
        name=name,
        architecture=type(model).__name__,
        parameters=sum(weights.numel() for weights in model.parameters()),
        vocabulary=sum(piece is not None for piece in vocabulary.pieces),
        context_length=context,
        dtype=str(dtype).removeprefix("torch."),
        engine="transformers",
        chat_template=bool(tokenizer.chat_template),
        capabilities=WHOLE_ROWS,
        notices=(*unknown_ends(ends, size), *left_out(model.generation_config)),
    )
    return LoadedModel(model, tokenizer, vocabulary, info, kv_bytes_per_token, thresholds)


def _context_length(config: Any) -> int:
    """The longest text, in tokens: of the table of positions, or as the configuration says."""
    return next((length for name in _CONTEXT if (length := getattr(config, name, None))), 1 << 20)


def _dtype(name: DtypeName, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def _end_ids(model: Any) -> list[int]:
    ends: set[int] = set()
    for config in (model.generation_config, model.config, model.config.get_text_config()):
        ends.update(token_ids(getattr(config, "eos_token_id", None), "its eos_token_id"))
    return sorted(ends)

"""Loading a transformers model from a folder, and checking that it is compatible."""

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tokencollab.engines.base import WHOLE_ROWS
from tokencollab.engines.generation import check_generation_config, left_out, token_ids, unknown_ends
from tokencollab.engines.kv_cache import ATTENTION, Segment, SessionCache, packed, packed_attention
from tokencollab.engines.options import DtypeName, EngineOptions
from tokencollab.engines.text.vocabulary import Vocabulary, read_vocabulary
from tokencollab.errors import ModelRefused
from tokencollab.protocol.messages import ModelInfo

_LOADING = threading.Lock()  # transformers imports lazily and builds models under global state: one thread at a time


@dataclass(frozen=True, slots=True)
class LoadedModel:
    model: Any
    tokenizer: Any
    vocabulary: Vocabulary
    info: ModelInfo
    kv_bytes_per_token: int


def load(name: str, folder: Path, options: EngineOptions) -> LoadedModel:
    """Loads weights, tokenizer and vocabulary; `ModelRefused` where the engine cannot compute what the model means."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with _LOADING:
        from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415  (seconds to import)
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS  # noqa: PLC0415
        from transformers.utils import logging  # noqa: PLC0415

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        ALL_ATTENTION_FUNCTIONS.register(ATTENTION, packed_attention)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        best = "cuda" if torch.cuda.is_available() else "cpu"
        device = torch.device(best if options.device == "auto" else options.device)
        dtype = _dtype(options.dtype, device)
        check_generation_config(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        with _LOADING:
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, attn_implementation="sdpa", trust_remote_code=False, use_safetensors=True
            )
        model.eval().to(device)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, AssertionError) as error:
        raise ModelRefused(f"{name}: {folder} cannot be loaded: {_first_line(error)}") from error
    try:
        kv_bytes_per_token = _check_packing(model)
        ends, size = _end_ids(model), model.get_output_embeddings().weight.shape[0]
        vocabulary = read_vocabulary(tokenizer, ends, size)
    except ModelRefused as error:
        raise ModelRefused(f"{name} is incompatible: {error}") from error
    text_config = model.config.get_text_config()
    info = ModelInfo(
        name=name,
        architecture=type(model).__name__,
        parameters=sum(weights.numel() for weights in model.parameters()),
        vocabulary=sum(piece is not None for piece in vocabulary.pieces),
        context_length=getattr(text_config, "max_position_embeddings", None) or 1 << 20,
        dtype=str(dtype).removeprefix("torch."),
        engine="transformers",
        chat_template=bool(tokenizer.chat_template),
        capabilities=WHOLE_ROWS,
        notices=(*unknown_ends(ends, size), *left_out(model.generation_config)),
    )
    return LoadedModel(model, tokenizer, vocabulary, info, kv_bytes_per_token)


def _dtype(name: DtypeName, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def _end_ids(model: Any) -> list[int]:
    ends: set[int] = set()
    for config in (model.generation_config, model.config, model.config.get_text_config()):
        ends.update(token_ids(getattr(config, "eos_token_id", None), "its eos_token_id"))
    return sorted(ends)


def _check_packing(model: Any) -> int:
    """Compares a packed forward pass of two sessions in two parts with the model's own.

    It tells apart models whose whole state is attention (these agree) from recurrent and otherwise unusual ones,
    without a list of architectures; it switches the model to packed attention, and returns the bytes of KV cache per
    token.

    Raises:
        ModelRefused: the two disagree or the model cannot run packed.
    """
    size = model.get_input_embeddings().weight.shape[0]
    rows = [[(7 * index + 3) % size for index in range(9)], [(11 * index + 5) % size for index in range(5)]]
    device = model.device
    with torch.inference_mode():
        own = [model(input_ids=torch.tensor([row], device=device), use_cache=False).logits[0, -1] for row in rows]
        try:
            model.set_attn_implementation(ATTENTION)
            caches = [SessionCache(), SessionCache()]
            for begin, end in ((0, -2), (-2, -1), (-1, None)):
                parts = [row[begin:end] for row in rows]
                starts = [cache.length for cache in caches]
                positions = [start + i for start, part in zip(starts, parts, strict=True) for i in range(len(part))]
                segments = [Segment(cache, len(part)) for cache, part in zip(caches, parts, strict=True)]
                with packed(segments):
                    logits = model(
                        input_ids=torch.tensor([[token for part in parts for token in part]], device=device),
                        position_ids=torch.tensor([positions], device=device),
                        use_cache=False,
                    ).logits[0]
                for cache, part in zip(caches, parts, strict=True):
                    cache.length += len(part)
            packed_rows = [logits[0], logits[1]]
        except (ValueError, RuntimeError, TypeError, AttributeError, AssertionError) as error:
            raise ModelRefused(f"its architecture is not supported by this engine ({_first_line(error)})") from error
    limit = 1e-5 if model.dtype == torch.float32 else 0.05  # bfloat16 alone moves it by some thousandths
    for mine, theirs in zip(packed_rows, own, strict=True):
        expected, got = torch.log_softmax(theirs.double(), -1), torch.log_softmax(mine.double(), -1)
        divergence = (expected.exp() * (expected - got)).sum().item()
        if not divergence <= limit:
            raise ModelRefused(
                f"its architecture keeps state that this engine cannot keep (its own next-token distribution and the "
                f"engine's diverge by {divergence:.3g})"
            )
    layers = caches[0].layers.values()
    return sum(tensor[:, :, 0].nbytes for pair in layers for tensor in pair)


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200] if text else ''}"

"""llama.cpp in this process: the C interface (`llama.h`) of the library inside the package xllamacpp.

Its Python interface answers with text and log-probabilities only. The shared library exports llama.cpp's C interface
as well, which gives whole rows of logits, many sequences in one pass, and a KV cache that can be cropped. Structures
are passed by value, so their layout must be that of the library's version: the package is pinned, and the default
values are compared before anything is loaded.
"""

import ctypes
import sys
import weakref
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_bool, c_char_p, c_float, c_int8, c_int32, c_size_t, c_uint32, c_void_p
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import torch

from tokencollab.errors import ModelRefused, ModelUnavailable, extra, install

SEATS = 64
"""Sequences that the KV cache keeps apart; each costs a row of logits in memory."""

_ERROR = 4  # log level
_ENDS = ("eos", "eot", "fim_pad", "fim_rep", "fim_sep")  # the kinds of end tokens that llama.h names

TokenRow: TypeAlias = tuple[int, int, Sequence[int]]
"""Sequence number, position of the first new token, new tokens."""


class _ModelParams(Structure):
    _fields_ = (
        ("devices", c_void_p),
        ("tensor_buft_overrides", c_void_p),
        *((name, c_int32) for name in ("n_gpu_layers", "split_mode", "load_mode", "lazy_mode", "main_gpu")),
        *((name, c_void_p) for name in ("tensor_split", "progress", "progress_data", "kv_overrides")),
        *((name, c_bool) for name in ("vocab_only", "check_tensors", "use_extra_bufts")),
        *((name, c_bool) for name in ("no_host", "no_alloc", "load_mtp")),
    )


class _ContextParams(Structure):
    _fields_ = (
        *((name, c_uint32) for name in ("n_ctx", "n_batch", "n_ubatch", "n_seq_max", "n_rs_seq")),
        *((name, c_uint32) for name in ("n_outputs_max", "n_outputs_max_per_seq")),
        *((name, c_int32) for name in ("n_threads", "n_threads_batch", "ctx_type", "rope_scaling_type")),
        *((name, c_int32) for name in ("pooling_type", "attention_type", "flash_attn_type")),
        *((name, c_float) for name in ("rope_freq_base", "rope_freq_scale", "yarn_ext_factor")),
        *((name, c_float) for name in ("yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow")),
        ("yarn_orig_ctx", c_uint32),
        ("defrag_thold", c_float),
        ("cb_eval", c_void_p),
        ("cb_eval_data", c_void_p),
        ("type_k", c_int32),
        ("type_v", c_int32),
        ("moe_cache_size", c_size_t),
        ("abort", c_void_p),
        ("abort_data", c_void_p),
        *((name, c_bool) for name in ("embeddings", "offload_kqv", "no_perf", "op_offload", "swa_full", "kv_unified")),
        ("samplers", c_void_p),
        ("n_samplers", c_size_t),
        ("ctx_other", c_void_p),
    )


class _Batch(Structure):
    _fields_ = (
        ("n_tokens", c_int32),
        ("token", POINTER(c_int32)),
        ("embd", c_void_p),
        ("pos", POINTER(c_int32)),
        ("n_seq_id", POINTER(c_int32)),
        ("seq_id", POINTER(POINTER(c_int32))),
        ("logits", POINTER(c_int8)),
    )


_MODEL_DEFAULTS = {"n_gpu_layers": -1, "split_mode": 1, "load_mode": -1, "lazy_mode": 1, "use_extra_bufts": 1}
_CONTEXT_DEFAULTS = {
    **{"n_ctx": 512, "n_batch": 2048, "n_ubatch": 512, "n_seq_max": 1, "n_outputs_max_per_seq": 1},
    **{"n_threads": 4, "n_threads_batch": 4, "rope_scaling_type": -1, "pooling_type": -1, "attention_type": -1},
    **{"flash_attn_type": -1, "yarn_ext_factor": -1, "yarn_attn_factor": -1, "yarn_beta_fast": -1},
    **{"yarn_beta_slow": -1, "defrag_thold": -1, "type_k": 1, "type_v": 1},
    **{"offload_kqv": 1, "no_perf": 1, "op_offload": 1, "swa_full": 1},
}
"""What is not 0 in the defaults of the pinned version. One field more or less would shift what follows it."""

_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "llama_backend_init": (None, ()),
    "llama_model_default_params": (_ModelParams, ()),
    "llama_context_default_params": (_ContextParams, ()),
    "llama_model_load_from_file": (c_void_p, (c_char_p, _ModelParams)),
    "llama_model_free": (None, (c_void_p,)),
    "llama_model_get_vocab": (c_void_p, (c_void_p,)),
    "llama_model_ftype": (c_int32, (c_void_p,)),
    "llama_model_has_encoder": (c_bool, (c_void_p,)),
    "llama_model_is_hybrid": (c_bool, (c_void_p,)),
    "llama_model_is_recurrent": (c_bool, (c_void_p,)),
    "llama_model_is_diffusion": (c_bool, (c_void_p,)),
    "llama_model_meta_val_str": (c_int32, (c_void_p, c_char_p, c_char_p, c_size_t)),
    "llama_model_n_ctx_train": (c_int32, (c_void_p,)),
    "llama_model_n_embd": (c_int32, (c_void_p,)),
    "llama_model_n_head": (c_int32, (c_void_p,)),
    "llama_model_n_head_kv": (c_int32, (c_void_p,)),
    "llama_model_n_layer": (c_int32, (c_void_p,)),
    "llama_model_n_params": (ctypes.c_uint64, (c_void_p,)),
    "llama_ftype_name": (c_char_p, (c_int32,)),
    "llama_vocab_n_tokens": (c_int32, (c_void_p,)),
    **{f"llama_vocab_{kind}": (c_int32, (c_void_p,)) for kind in _ENDS},
    "llama_vocab_is_eog": (c_bool, (c_void_p, c_int32)),
    "llama_init_from_model": (c_void_p, (c_void_p, _ContextParams)),
    "llama_free": (None, (c_void_p,)),
    "llama_n_ctx": (c_uint32, (c_void_p,)),
    "llama_get_memory": (c_void_p, (c_void_p,)),
    "llama_memory_seq_rm": (c_bool, (c_void_p, c_int32, c_int32, c_int32)),
    "llama_memory_seq_cp": (None, (c_void_p, c_int32, c_int32, c_int32, c_int32)),
    "llama_batch_init": (_Batch, (c_int32, c_int32, c_int32)),
    "llama_batch_free": (None, (_Batch,)),
    "llama_decode": (c_int32, (c_void_p, _Batch)),
    "llama_get_logits_ith": (POINTER(c_float), (c_void_p, c_int32)),
}

_errors: list[str] = []  # the last lines that llama.cpp logged as errors


def _log(level: int, text: bytes, _: int | None) -> None:
    """Keeps errors for the refusal's message; llama.cpp would write pages on standard error."""
    if level == _ERROR:
        _errors[:] = [*_errors[-3:], text.decode("utf-8", "replace").strip()]


_LOG = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)(_log)


@cache
def library() -> Any:
    """The loaded library.

    Raises:
        MissingExtra: xllamacpp is not installed.
        ModelUnavailable: it has another version of llama.cpp.
    """
    with extra("the engine llamacpp"):
        import xllamacpp  # noqa: PLC0415
    other = f"xllamacpp {xllamacpp.__version__} has another llama.cpp than tokencollab knows: {install('gguf')}"
    try:
        lib = ctypes.CDLL(sys.modules["xllamacpp.xllamacpp"].__file__)
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
    except (AttributeError, OSError) as error:
        raise ModelUnavailable(other) from error
    for params, known in (
        (lib.llama_model_default_params(), _MODEL_DEFAULTS),
        (lib.llama_context_default_params(), _CONTEXT_DEFAULTS),
    ):
        if any((getattr(params, field[0]) or 0) != known.get(field[0], 0) for field in params._fields_):
            raise ModelUnavailable(other)
    lib.llama_log_set(_LOG, None)
    lib.llama_backend_init()
    return lib


@dataclass
class LlamaModel:
    """A loaded GGUF file and its KV cache, whose cells all sequences share."""

    path: Path
    model: int
    vocabulary: int
    device: torch.device = field(default=torch.device("cpu"))  # where logits come out
    bytes_per_token: int = 0
    _context: int = 0
    _memory: int = 0
    _batch: Any = None

    @classmethod
    def load(cls, path: Path, gpu: bool) -> "LlamaModel":
        """Loads the weights.

        Raises:
            MissingExtra, ModelUnavailable: see `library`.
            ModelRefused: llama.cpp cannot load it, or it keeps state that cannot be cropped.
        """
        lib = library()
        params = lib.llama_model_default_params()
        # Repacked weights move the logits of Q4_K further when sessions share a pass, and were not measurably faster.
        params.use_extra_bufts = False
        if not gpu:
            params.n_gpu_layers = 0
        _errors.clear()
        model = lib.llama_model_load_from_file(str(path).encode(), params)
        if not model:
            raise ModelRefused(f"llama.cpp cannot load {path}: {_errors[0] if _errors else 'no reason given'}")
        loaded = cls(path, model, lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model)))
        weakref.finalize(loaded, lib.llama_model_free, model)
        if lib.llama_model_is_recurrent(model) or lib.llama_model_is_hybrid(model):
            raise ModelRefused("its architecture keeps state that cannot be taken back to an earlier token")
        if lib.llama_model_has_encoder(model) or lib.llama_model_is_diffusion(model):
            raise ModelRefused("it does not write a text from left to right")
        heads, size = lib.llama_model_n_head_kv(model), lib.llama_model_n_embd(model) // lib.llama_model_n_head(model)
        lengths = (loaded.meta(f"{loaded.architecture}.attention.{part}_length") for part in ("key", "value"))
        sizes = sum(int(length or size) for length in lengths)
        loaded.bytes_per_token = lib.llama_model_n_layer(model) * heads * sizes * 2  # float16
        return loaded

    def start(self, cells: int, batch: int, threads: int) -> int:
        """Makes the KV cache, and room for ``batch`` tokens in one pass; the cells it has.

        Raises:
            ModelRefused: it does not fit the memory.
        """
        lib = library()
        params = lib.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max = cells, batch, min(batch, 512), SEATS
        params.n_outputs_max = SEATS
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = True  # cells are for whom needs them; and sequences can share them
        context = lib.llama_init_from_model(self.model, params)
        if not context:
            reason = _errors[0] if _errors else "no reason given"
            raise ModelRefused(f"llama.cpp cannot keep {cells:,} tokens of KV cache ({reason}): lower kv_megabytes")
        self._context, self._memory = context, lib.llama_get_memory(context)
        self._batch = lib.llama_batch_init(batch, 0, 1)
        weakref.finalize(self, lib.llama_batch_free, self._batch)
        weakref.finalize(self, lib.llama_free, context)  # the last made is called first: before the model's
        return int(lib.llama_n_ctx(context))

    def decode(self, rows: Sequence[TokenRow], every: bool = False) -> torch.Tensor:
        """Computes the new tokens of several sequences in one pass.

        The logits are those after the last token of each row: [rows, vocabulary], float32; with ``every`` those after
        every new token (up to `SEATS`).

        Raises:
            RuntimeError: llama.cpp failed; the caches hold what they held up to each row's position.
        """
        lib, batch = library(), self._batch
        count = 0
        wanted: list[int] = []
        for sequence, start, tokens in rows:
            if not lib.llama_memory_seq_rm(self._memory, sequence, start, -1):
                raise RuntimeError(f"llama.cpp cannot crop the KV cache of {self.path.name} to {start} tokens")
            for position, token in enumerate(tokens, start):
                batch.token[count] = token
                batch.pos[count] = position
                batch.n_seq_id[count] = 1
                batch.seq_id[count][0] = sequence
                batch.logits[count] = every or position == start + len(tokens) - 1
                if batch.logits[count]:
                    wanted.append(count)
                count += 1
        batch.n_tokens = count
        if code := lib.llama_decode(self._context, batch):
            raise RuntimeError(f"llama.cpp failed with code {code} on {count} tokens of {self.path.name}")
        logits = torch.empty(len(wanted), self.vocabulary)
        for row, index in zip(logits, wanted, strict=True):
            ctypes.memmove(row.data_ptr(), lib.llama_get_logits_ith(self._context, index), row.nbytes)
        return logits

    def share(self, source: int, target: int, length: int) -> None:
        """Lets a sequence begin with the first ``length`` tokens of another, whose cells they share."""
        library().llama_memory_seq_rm(self._memory, target, -1, -1)
        library().llama_memory_seq_cp(self._memory, source, target, 0, length)

    def forget(self, sequence: int) -> None:
        library().llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def meta(self, key: str) -> str | None:
        buffer = ctypes.create_string_buffer(256)
        length = library().llama_model_meta_val_str(self.model, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if length >= 0 else None

    @property
    def architecture(self) -> str:
        return self.meta("general.architecture") or "unknown"

    @property
    def quantisation(self) -> str:
        """The file's own name for its type of numbers, like Q4_K - Medium."""
        return str(library().llama_ftype_name(library().llama_model_ftype(self.model)).decode())

    @property
    def parameters(self) -> int:
        return int(library().llama_model_n_params(self.model))

    @property
    def context_length(self) -> int:
        """Tokens that it was trained for."""
        return int(library().llama_model_n_ctx_train(self.model))

    @property
    def end_ids(self) -> list[int]:
        """The file's own end tokens: of the sequence, of a turn or message, and those of files of code.

        llama.cpp ends at these, and at tokens with names that `protocol.pieces.TURN_ENDS` has.
        """
        lib = library()
        vocab = lib.llama_model_get_vocab(self.model)
        ends = {getattr(lib, f"llama_vocab_{kind}")(vocab) for kind in _ENDS}
        named = (self.meta(f"tokenizer.ggml.{kind}_token_id") or "" for kind in ("eom", *_ENDS))
        ends |= {int(token) for token in named if token.isdecimal()}
        size = self.vocabulary  # what is not in it is told to the user
        return sorted(token for token in ends - {-1} if token >= size or lib.llama_vocab_is_eog(vocab, token))

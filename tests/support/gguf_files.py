"""Models of the Llama architecture written as GGUF, in float32: the same weights for llama.cpp as for transformers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_gguf(
    folder: Path,
    file: Path,
    *,
    with_tokenizer: bool = False,
    types: Mapping[str, int] | None = None,
    ends: Mapping[str, int] | None = None,
) -> Path:
    """Writes the model in ``folder`` to ``file`` and returns that.

    ``with_tokenizer``: also its tokenizer (byte-level BPE only) and chat template; else they are read from the folder.
    ``types``: gguf's types of some tokens. ``ends``: end tokens by kind, such as "eot".
    """
    from gguf import GGUFWriter
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    config = model.config
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    writer = GGUFWriter(str(file), "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(0)
    if with_tokenizer:
        _add_tokenizer(writer, folder, types or {}, ends or {})
    else:
        writer.add_tokenizer_model("no_vocab")
    names = {
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
        "lm_head": "output",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        **{f"self_attn.{part}_proj": f"attn_{part}" for part in "qkv"},
        "self_attn.o_proj": "attn_output",
        **{f"mlp.{part}_proj": f"ffn_{part}" for part in ("gate", "up", "down")},
    }
    for name, weights in model.state_dict().items():
        inner = name.removesuffix(".weight")
        prefix = ""
        if inner == "lm_head" and config.tie_word_embeddings:
            continue
        if inner.startswith("model.layers."):
            _, _, layer, inner = inner.split(".", 3)
            prefix = f"blk.{layer}."
        if inner in ("self_attn.q_proj", "self_attn.k_proj"):
            # llama.cpp rotates neighbours, transformers halves.
            count = heads if inner == "self_attn.q_proj" else kv_heads
            weights = weights.view(count, 2, -1, weights.shape[1]).transpose(1, 2).reshape(weights.shape)  # noqa: PLW2901
        writer.add_tensor(f"{prefix}{names[inner]}.weight", weights.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _add_tokenizer(writer: Any, folder: Path, types: Mapping[str, int], ends: Mapping[str, int]) -> None:
    import json

    from gguf import TokenType
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    special = {index for index, added in tokenizer.added_tokens_decoder.items() if added.special}
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    usual = [TokenType.CONTROL if i in special else TokenType.NORMAL for i in range(len(tokens))]
    writer.add_token_types([types.get(token, kind) for token, kind in zip(tokens, usual, strict=True)])
    writer.add_token_merges([" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_unk_token_id(tokenizer.unk_token_id)
    for kind, token in ends.items():
        writer.add_uint32(f"tokenizer.ggml.{kind}_token_id", token)
    writer.add_chat_template(tokenizer.chat_template)

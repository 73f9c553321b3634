"""Tiny models with random weights, built in a moment: every kind of tokenizer, several architectures.

``build(folder, "bytes")`` writes config, weights (safetensors) and tokenizer of a model of some 30,000 parameters; the
same arguments give the same model. The weights are scaled so that greedy answers neither end at once nor repeat
one token.
"""

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.utils import logging

logging.disable_progress_bar()

Kind: TypeAlias = Literal["bytes", "nfc", "llama", "metaspace", "gemma", "unigram", "chars", "wordpiece"]
"""How the model cuts text.

``bytes``: byte-level BPE (GPT-2). ``nfc``: the same after Unicode composition (Qwen). ``llama``: BPE with byte
fallback, a space put before every text (Llama 2). ``metaspace``: the same by a pre-tokenizer. ``gemma``: BPE with
byte fallback, nothing put before a text, newlines as added tokens next to ``<0x0A>``. ``unigram``: unigram pieces
with Metaspace and an unknown token. ``chars``: one token per character, an unknown token for all but those of the
training text. ``wordpiece``: words and ``##`` parts, which lose line breaks; it is refused.
"""

Architecture: TypeAlias = Literal["llama", "gemma3", "qwen2"]

KINDS: tuple[Kind, ...] = (
    "bytes",
    "nfc",
    "llama",
    "metaspace",
    "gemma",
    "unigram",
    "chars",
)

SPECIAL = ("<unk>", "<s>", "</s>", "<|user|>", "<|end|>")
UNKNOWN, BEGIN, EOS = SPECIAL[:3]

TEXT = """The quick brown fox jumps over the lazy dog, and the dog does not mind. It's 3.14, isn't it?
Why is the sky blue? Because the air scatters blue light more than red light; that is the whole answer.
def add(a, b):
    return a + b  # the sum of a and b
for i in range(10): print(i, "the", add(i, 1))
Straße, naïve café, Ångström, señor, über; the naïve café is in the Straße.
Привет, мир! Почему небо синее? Потому что воздух рассеивает синий свет.
日本語のテキスト。空はなぜ青いのですか。日本の空は青い。 中文文本:天空为什么是蓝色的?因为空气。
한국어 텍스트 하늘은 왜 파란가 שלום עולם مرحبا بالعالم हिन्दी में पाठ
🙂🙃🎉 the party 🎉 of the 🙂
"""

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|user|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|user|>assistant\n{% endif %}"
)
NO_SYSTEM_TEMPLATE = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + CHAT_TEMPLATE
)
IGNORES_SYSTEM_TEMPLATE = CHAT_TEMPLATE.replace("messages %}<", "messages if m['role'] != 'system' %}<")


def build(
    folder: Path,
    kind: Kind = "bytes",
    *,
    seed: int = 0,
    architecture: Architecture = "llama",
    chat: bool | str = True,
    bos: bool = False,
    eos: Sequence[str] = (EOS,),
    unknown_is_end: bool = False,
    padding: int = 0,
    size: int = 400,
    hidden: int = 32,
    context: int = 4096,
    change: Callable[[Tokenizer], None] | None = None,
) -> Path:
    """Writes a model to ``folder`` and returns it.

    Args:
        folder: where to; made if it is not there.
        kind: how the model cuts text.
        seed: of the weights.
        architecture: ``gemma3`` looks at the last 8 positions only in one of its two layers.
        chat: a chat template, True for a plain one, False for none.
        bos: whether the tokenizer puts ``<s>`` before every text.
        eos: the special tokens that end an answer, in the generation configuration.
        unknown_is_end: one token is both, as in SmolLM2.
        padding: how many rows the model's output has beyond the tokenizer's tokens.
        size: how many tokens the tokenizer has at most; characters and bytes come on top.
        hidden: width of the model.
        context: the longest text.
        change: a last change to the tokenizer.
    """
    tokenizer = make_tokenizer(kind, size)
    if bos:
        begin = tokenizer.token_to_id(BEGIN)
        tokenizer.post_processor = TemplateProcessing(
            single=f"{BEGIN} $A", pair=f"{BEGIN} $A {BEGIN} $B", special_tokens=[(BEGIN, begin)]
        )
    if change is not None:
        change(tokenizer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=UNKNOWN if unknown_is_end else eos[0],
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
    )
    if chat:
        fast.chat_template = CHAT_TEMPLATE if chat is True else chat
    fast.save_pretrained(folder)
    ends = [tokenizer.token_to_id(token) for token in ((UNKNOWN,) if unknown_is_end else eos)]
    model = make_model(architecture, tokenizer.get_vocab_size() + padding, hidden, context, seed)
    model.generation_config = GenerationConfig(eos_token_id=ends, bos_token_id=1, pad_token_id=ends[0])
    model.config.eos_token_id = ends
    model.save_pretrained(folder)
    return folder


# ---------------------------------------------------------------- weights


def make_model(architecture: Architecture, vocabulary: int, hidden: int, context: int, seed: int) -> Any:
    """A model of two layers whose next token depends on the whole text, with logits some units apart."""
    shape: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": hidden // 4,
        "max_position_embeddings": context,
        "tie_word_embeddings": False,
        "pad_token_id": None,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: Any
        match architecture:
            case "llama":
                model = LlamaForCausalLM(LlamaConfig(**shape))
            case "gemma3":
                layers = ["sliding_attention", "full_attention"]
                model = Gemma3ForCausalLM(
                    Gemma3TextConfig(**shape, sliding_window=8, layer_types=layers, query_pre_attn_scalar=hidden // 4)
                )
            case "qwen2":
                shape.pop("head_dim")
                model = Qwen2ForCausalLM(Qwen2Config(**shape))
        with torch.no_grad():
            for name, weights in model.named_parameters():
                if weights.dim() == 1:
                    continue  # norms and biases as they come
                # Attention is strong, so that the text as a whole decides; logits have a spread of about 3.
                gain = 1.0 if "embed" in name else 3.0 if "lm_head" in name else 1.7
                fan_in = 1 if "embed" in name else weights.shape[1]
                weights.normal_(0.0, gain / fan_in**0.5)
    return model.eval()


# ---------------------------------------------------------------- tokenizers


def make_tokenizer(kind: Kind, size: int = 400, text: str = TEXT) -> Tokenizer:
    """A tokenizer of this kind, trained on ``text``."""
    match kind:
        case "bytes" | "nfc":
            tokenizer = _byte_level(size, text)
            if kind == "nfc":
                tokenizer.normalizer = normalizers.NFC()
        case "llama" | "metaspace" | "gemma":
            tokenizer = _byte_fallback(kind, size, text)
        case "unigram":
            tokenizer = _unigram(size, text)
        case "chars":
            tokenizer = _characters(text)
        case "wordpiece":
            tokenizer = _wordpiece(size, text)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer


def _byte_level(size: int, text: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size + 256,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
    return tokenizer


def _byte_fallback(kind: Kind, size: int, text: str) -> Tokenizer:
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    trained = Tokenizer(models.BPE(unk_token=UNKNOWN))
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Split(Regex("▁*[^▁\n]+"), "isolated")
    trainer = trainers.BpeTrainer(
        vocab_size=size + 256 + len(SPECIAL),
        special_tokens=[*SPECIAL, *byte_tokens],
        show_progress=False,
    )
    # Capital letters and rare characters are left to the bytes.
    common = {c for c in set(text) if text.count(c) > 1 and not c.isupper()}
    known = "".join(c if c in common else "\n" for c in text)
    trained.train_from_iterator([line.replace(" ", "▁") for line in known.split("\n")], trainer)
    vocabulary = trained.get_vocab()
    merges = _merges(trained)
    # Runs of spaces, as all public vocabularies have them.
    for run in ("▁▁", "▁▁▁▁"):
        if run not in vocabulary:
            vocabulary[run] = len(vocabulary)
            merges.append((run[: len(run) // 2], run[: len(run) // 2]))
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token=UNKNOWN, fuse_unk=True, byte_fallback=True)
    )
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    match kind:
        case "llama":
            tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
            steps.append(decoders.Strip(" ", 1, 0))
        case "metaspace":
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
            steps.append(decoders.Strip(" ", 1, 0))
        case _:
            tokenizer.normalizer = normalizers.Replace(" ", "▁")
            tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
            added = [AddedToken("\n" * count, special=False, normalized=False) for count in range(1, 5)]
            tokenizer.add_tokens(added)
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer


def _merges(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]


def _unigram(size: int, text: str) -> Tokenizer:
    words = ["▁" + word for word in text.split(" ")]
    parts = _common_parts(words, size)
    total = sum(parts.values())
    characters = {c: text.count(c) for c in sorted(set(text.replace(" ", "▁"))) if not c.isupper()}
    scores = {part: math.log(count / total) for part, count in (characters | parts).items() if count}
    scores["▁"] = math.log(len(words) / total)
    # Never two ways to cut a text with the same score: a little off for each.
    distinct = [(piece, score - 1e-4 * index) for index, (piece, score) in enumerate(sorted(scores.items()))]
    pieces = [(token, 0.0) for token in SPECIAL] + distinct
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=SPECIAL.index(UNKNOWN)))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace("▁", prepend_scheme="always")
    return tokenizer


def _common_parts(words: Sequence[str], size: int) -> dict[str, int]:
    """The parts of words that would save most tokens, with their counts. (The library's own trainers of unigram
    and WordPiece vocabularies do not give the same result twice.)
    """
    counts = Counter(
        word[start:stop]
        for word in words
        for start in range(len(word))
        for stop in range(start + 2, min(start + 7, len(word)) + 1)
    )
    saving = sorted(counts, key=lambda part: (-(len(part) - 1) * counts[part], part))
    return {part: counts[part] for part in saving[:size]}


def _characters(text: str) -> Tokenizer:
    vocabulary = {token: index for index, token in enumerate(SPECIAL)}
    # No capital letters from N on, no emoji, and Chinese characters only up to a point.
    characters = sorted(set(text) - set("NOPQRSTUVWXYZ") - {c for c in text if ord(c) > 0x6000})
    vocabulary |= {character: len(SPECIAL) + index for index, character in enumerate(characters)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def _wordpiece(size: int, text: str) -> Tokenizer:
    words = text.split()
    characters = sorted(set("".join(words)) - set("QXZ"))
    parts = _common_parts(["^" + word for word in words], size)
    tokens = [*characters, *(f"##{c}" for c in characters)]
    tokens += sorted(part[1:] if part.startswith("^") else f"##{part}" for part in parts)
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys([*SPECIAL, *tokens]))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    return tokenizer

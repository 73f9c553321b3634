"""Tokenizers by their form: those that are taken, and those that are refused, with the reason."""

import json
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing

from tests.support.tiny import KINDS, TEXT, Kind, make_tokenizer

Form = Callable[[], Tokenizer]


def changed(
    kind: Kind,
    *,
    before: Any = None,
    normalizer: Any = None,
    pre: Any = None,
    decoder: Any = None,
    added: tuple[AddedToken, ...] = (),
    change: Callable[[Tokenizer], object] = lambda tokenizer: None,
) -> Tokenizer:
    """A tokenizer of this kind with another part; ``before``: a normalizer that comes before its own."""
    tokenizer = _trained(kind)
    if before is not None:
        own = [tokenizer.normalizer] if tokenizer.normalizer is not None else []
        tokenizer.normalizer = normalizers.Sequence([before, *own])
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre is not None:
        tokenizer.pre_tokenizer = pre
    if decoder is not None:
        tokenizer.decoder = decoder
    tokenizer.add_tokens(list(added))
    change(tokenizer)
    return tokenizer


def _trained(kind: Kind) -> Tokenizer:
    return Tokenizer.from_str(_saved(kind))


@cache
def _saved(kind: Kind) -> str:
    return str(make_tokenizer(kind).to_str())


def _saved_state(tokenizer: Tokenizer) -> None:
    """What a trainer left in tokenizer.json."""
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=100_000_000, direction="left")


def _around(count: int, tokenizer: Tokenizer) -> None:
    special = [("<s>", 1)]
    tokenizer.post_processor = TemplateProcessing(single="<s> " * count + "$A <s>", special_tokens=special)


def _unigram_with_bytes() -> Tokenizer:
    saved = json.loads(_saved("unigram"))["model"]
    scores = [(piece, score) for piece, score in saved["vocab"]] + [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    tokenizer = _trained("unigram")
    tokenizer.model = models.Unigram(scores, unk_id=saved["unk_id"], byte_fallback=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return tokenizer


_BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
_MARK = decoders.Replace("▁", " ")
_TOOL = partial(AddedToken, "<tool>", special=False)
_CONTENTS = ("<tool>", "Ã©", "a b", " x ", "\n\n", "\r\n", "▁▁▁", "éé", "e\u0301", "🙂", "<0x0A>", "Why")


def _bytes(*cuts: Any) -> Form:
    return partial(changed, "bytes", pre=pre_tokenizers.Sequence([*cuts, _BYTES]))


SPELLING: dict[str, Form] = {
    **{kind: partial(_trained, kind) for kind in KINDS if kind not in ("unigram", "chars")},
    "prefix space": partial(changed, "bytes", pre=pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "no regex": _bytes(),
    "digits": _bytes(pre_tokenizers.Digits(individual_digits=True)),
    "punctuation": _bytes(pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.Digits()),
    "fixed length": _bytes(pre_tokenizers.FixedLength(3)),
    "split": _bytes(pre_tokenizers.Split(Regex(r"\s+|\p{L}+"), "merged_with_next", invert=True)),
    "nested": _bytes(pre_tokenizers.Sequence([pre_tokenizers.Sequence([pre_tokenizers.Digits()])])),
    "byte normalizer": partial(
        changed, "bytes", normalizer=normalizers.ByteLevel(), pre=pre_tokenizers.Split(Regex("Ġ?[^Ġ]+"), "isolated")
    ),
    **{form: partial(changed, "bytes", before=getattr(normalizers, form)()) for form in ("NFD", "NFKC", "NFKD")},
    "composed and marked": partial(changed, "llama", before=normalizers.NFKC()),
    "nested composition": partial(
        changed, "gemma", before=normalizers.Sequence([normalizers.Sequence([normalizers.NFC()]), normalizers.NFKD()])
    ),
    "strip": partial(changed, "bytes", before=normalizers.Strip()),
    "strip and mark": partial(changed, "gemma", before=normalizers.Strip()),
    "long prefix": partial(changed, "gemma", before=normalizers.Prepend("▁▁x")),
    "regex mark": partial(changed, "gemma", normalizer=normalizers.Replace(Regex(" "), "▁")),
    "decoder by regex": partial(
        changed,
        "gemma",
        decoder=decoders.Sequence([decoders.Replace(Regex("[▁]"), " "), decoders.ByteFallback(), decoders.Fuse()]),
    ),
    "unigram with bytes": _unigram_with_bytes,
    "metaspace always": partial(changed, "metaspace", pre=pre_tokenizers.Metaspace("▁", "always", split=True)),
    "line breaks by name": partial(
        changed,
        "gemma",
        before=normalizers.Replace("\v", "<n>"),
        decoder=decoders.Sequence([decoders.Replace("<n>", "\v"), _MARK, decoders.ByteFallback(), decoders.Fuse()]),
        added=(AddedToken("<n>", special=False, normalized=True),),
    ),
    "saved truncation and padding": partial(changed, "bytes", change=_saved_state),
    "tokens around": partial(changed, "llama", change=partial(_around, 3)),
    **{
        f"{kind}, added tokens {name}": partial(
            changed, kind, added=tuple(AddedToken(content, special=False, **flags) for content in _CONTENTS)
        )
        for kind in ("bytes", "llama", "gemma")
        for name, flags in {
            "as they are": {"normalized": False},
            "normalized": {"normalized": True},
            "that strip": {"lstrip": True, "rstrip": True, "normalized": False},
            "as words": {"single_word": True, "normalized": True},
        }.items()
    },
}
"""Tokenizers whose tokens spell any text, byte for byte."""

TAKEN: dict[str, Form] = {
    **SPELLING,
    "unigram": partial(_trained, "unigram"),
    "chars": partial(_trained, "chars"),
    "an added token that is a byte too": partial(changed, "bytes", added=(AddedToken("ÿ", normalized=False),)),
    "composed chars": partial(changed, "chars", before=normalizers.NFC()),
    "unigram, added tokens that strip": partial(changed, "unigram", added=(_TOOL(lstrip=True, rstrip=True),)),
    "chars without a decoder": partial(changed, "chars", change=lambda tokenizer: setattr(tokenizer, "decoder", None)),
}
"""These too; the last ones lack a byte, or write their unknown token for what their vocabulary does not have."""


def _plain(vocabulary: str, **options: Any) -> Tokenizer:
    tokens = {token: index for index, token in enumerate(["<unk>", "<s>", "</s>", *vocabulary])}
    tokenizer = Tokenizer(models.BPE(vocab=tokens, merges=[], **options))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    return tokenizer


def _lacking(byte: str) -> Tokenizer:
    """Byte-level BPE without the token of one byte and without an unknown token."""
    alphabet = sorted(set(pre_tokenizers.ByteLevel.alphabet()) - {byte})
    tokenizer = _plain("".join(alphabet))
    tokenizer.pre_tokenizer, tokenizer.decoder = _BYTES, decoders.ByteLevel()
    return tokenizer


def _with_model(kind: Kind, **options: Any) -> Tokenizer:
    tokenizer = _trained(kind)
    for name, value in options.items():
        setattr(tokenizer.model, name, value)
    return tokenizer


_ASCII = "".join(sorted({c for c in TEXT if c.isascii()}))
_CHANGES, _DROPS = "changes text|drops", "drops"

REFUSED: dict[str, tuple[Form, str]] = {
    **{
        name: (partial(changed, kind, before=step), _CHANGES)  # type: ignore[arg-type]
        for name, kind, step in (
            ("lower case", "bytes", normalizers.Lowercase()),
            (
                "lower case in a sequence",
                "gemma",
                normalizers.Sequence([normalizers.Sequence([normalizers.Lowercase()])]),
            ),
            ("accents", "bytes", normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])),
            ("accents alone", "bytes", normalizers.StripAccents()),
            ("BERT", "bytes", normalizers.BertNormalizer(lowercase=False, strip_accents=False)),
            ("BERT, cleaning alone", "gemma", normalizers.BertNormalizer(True, False, False, False)),
            ("nmt", "bytes", normalizers.Nmt()),
            ("quotes", "bytes", normalizers.Replace("’", "'")),
            ("double quotes", "gemma", normalizers.Replace("``", '"')),
            ("runs of spaces", "bytes", normalizers.Replace(Regex(" {2,}"), " ")),
            ("runs of spaces, marked", "gemma", normalizers.Replace(Regex(" {2,}"), "▁")),
            ("line breaks", "bytes", normalizers.Replace("\n", " ")),
            ("Windows line breaks", "bytes", normalizers.Replace("\r\n", "\n")),
            ("carriage returns", "gemma", normalizers.Replace("\r", "")),
            ("tabs", "bytes", normalizers.Replace("\t", "    ")),
            ("invisible", "bytes", normalizers.Replace("\u200b", "")),
            ("byte order marks", "gemma", normalizers.Replace("\ufeff", "")),
            ("no-break spaces", "bytes", normalizers.Replace("\u00a0", " ")),
            ("ellipsis", "bytes", normalizers.Replace("...", "…")),
            ("full width", "bytes", normalizers.Replace("，", ",")),
            ("digits", "gemma", normalizers.Replace(Regex("[0-9]"), "0")),
            ("combining marks", "bytes", normalizers.Replace(Regex(r"\p{M}"), "")),
            ("control characters", "gemma", normalizers.Replace(Regex(r"\p{Cc}"), " ")),
            ("nothing for something", "bytes", normalizers.Replace("", " ")),
        )
    },
    **{
        type(cut).__name__ + " cuts": (_bytes(cut), _DROPS)
        for cut in (
            pre_tokenizers.Whitespace(),
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.BertPreTokenizer(),
            pre_tokenizers.CharDelimiterSplit("|"),
            pre_tokenizers.Split(" ", "removed"),
            pre_tokenizers.Punctuation("removed"),
            pre_tokenizers.UnicodeScripts(),
        )
    },
    "hidden cut": (_bytes(pre_tokenizers.Sequence([pre_tokenizers.Split(Regex("\\s"), "removed")])), _DROPS),
    "WordPiece": (partial(_trained, "wordpiece"), "drops|decoder of type"),
    "parts of nothing": (_bytes(pre_tokenizers.Split("", "isolated")), "parts of nothing"),
    "suffix": (partial(_with_model, "bytes", end_of_word_suffix="</w>"), "marks parts of words"),
    "prefix": (partial(_plain, _ASCII, continuing_subword_prefix="##"), "marks parts of words"),
    "dropout": (partial(_with_model, "bytes", dropout=0.1), "at random"),
    "no decoder": (partial(changed, "gemma", change=lambda tokenizer: setattr(tokenizer, "decoder", None)), _CHANGES),
    "no byte decoder": (partial(changed, "bytes", decoder=decoders.Fuse()), _CHANGES),
    "decoder that strips": (
        partial(changed, "gemma", decoder=decoders.Sequence([_MARK, decoders.Strip(" ", 1, 0)])),
        _CHANGES,
    ),
    "no byte fallback in the decoder": (
        partial(changed, "gemma", decoder=decoders.Sequence([_MARK, decoders.Fuse()])),
        _CHANGES,
    ),
    "CTC": (partial(changed, "chars", decoder=decoders.CTC()), "decoder of type"),
    "drops what it does not know": (partial(_plain, _ASCII), _DROPS),
    "drops line breaks": (partial(_plain, _ASCII.replace("\n", "")), _DROPS),
    "lacks a letter": (partial(_lacking, "a"), _DROPS),
    "lacks line breaks": (partial(_lacking, "Ċ"), _DROPS),
    "lacks a byte of characters": (partial(_lacking, "ã"), _CHANGES),
    "a byte that is also another text": (
        partial(changed, "bytes", added=(AddedToken("é", special=False, normalized=False),)),
        _CHANGES,
    ),
    "long prefix": (partial(changed, "gemma", before=normalizers.Prepend("x" * 1_000_000)), "unbounded memory"),
    "growth": (partial(changed, "gemma", before=normalizers.Replace("a", "b" * 1_000_000)), "unbounded memory"),
    "growth by steps": (
        partial(
            changed,
            "gemma",
            before=normalizers.Sequence(
                [normalizers.Replace(a, b * 10) for a, b in ("ab", "bc", "cd", "de", "ef", "fg")]
            ),
        ),
        "unbounded memory",
    ),
    "growth in the decoder": (
        partial(changed, "gemma", decoder=decoders.Sequence([decoders.Replace("a", "b" * 1_000_000), decoders.Fuse()])),
        "unbounded memory",
    ),
    "a thousand tokens around": (partial(changed, "bytes", change=partial(_around, 1000)), "around every text"),
}
"""With a pattern of the reason."""

"""Text to tokens as in the middle of a text; tokenizers that change text are refused."""

from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.support.tiny import KINDS, SPECIAL, TEXT, make_tokenizer
from tokencollab.engines.text.tokenisation import TextTokenizer, continuations
from tokencollab.engines.text.vocabulary import read_vocabulary
from tokencollab.errors import ModelRefused

SPELLING = ("bytes", "nfc", "llama", "metaspace", "gemma")


def text_tokenizer(tokenizer: Tokenizer, **options: Any) -> TextTokenizer:
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{"eos_token": "</s>", "unk_token": "<unk>"} | options
    )
    return TextTokenizer(wrapped, read_vocabulary(wrapped, [2], tokenizer.get_vocab_size()))


def spelt(tokenizer: TextTokenizer, data: bytes) -> list[bytes | None]:
    return [tokenizer._vocabulary.pieces[token] for token, _ in tokenizer.encode(data)]


@pytest.mark.parametrize("kind", KINDS)
def test_as_the_model_would_in_the_middle_of_a_text(kind: str) -> None:
    """What stands behind another sentence is tokenised as there, though the tokenizer sees the part alone."""
    backend = make_tokenizer(kind)  # type: ignore[arg-type]
    tokenizer = text_tokenizer(make_tokenizer(kind))  # type: ignore[arg-type]
    for line in TEXT.splitlines():
        words = [" " + word for word in line.split()]
        for count in (1, 3, len(words)):
            part = "".join(words[:count])
            whole = backend.encode("Yes" + part, add_special_tokens=False).ids
            ids = [token for token, _ in tokenizer.encode(part.encode())]
            assert whole[-len(ids) :] == ids


@pytest.mark.parametrize("kind", SPELLING)
def test_tokens_spell_the_text(kind: str) -> None:
    tokenizer = text_tokenizer(make_tokenizer(kind))  # type: ignore[arg-type]
    for text in (
        "the",
        " the",
        "",
        "\n\n\nx",
        "é",
        "e\u0301",
        "🚀",
        "a\x00b",
        "  \t",
        "日本語のテキスト",
        "</s>",
        "<0x0A>",
    ):
        data = text.encode()
        tokens = tokenizer.encode(data)
        assert b"".join(tokenizer._vocabulary.pieces[token] or b"?" for token, _ in tokens) == data
        starts = [0, *(end for _, end in tokens)]
        for start, (token, end) in zip(starts, tokens, strict=False):
            assert tokenizer._vocabulary.pieces[token] == data[start:end]


@pytest.mark.parametrize("kind", SPELLING)
def test_bytes_that_are_no_text_are_spelt_too(kind: str) -> None:
    tokenizer = text_tokenizer(make_tokenizer(kind))  # type: ignore[arg-type]
    data = b"a\xff\xfe b\xe6\x97 c\xf0\x9f\x98"
    assert b"".join(piece or b"?" for piece in spelt(tokenizer, data)) == data
    assert tokenizer.encode(data)[-1][1] == len(data)


@pytest.mark.parametrize("kind", ["unigram", "chars"])
def test_bytes_without_a_token_are_passed_over(kind: str) -> None:
    tokenizer = text_tokenizer(make_tokenizer(kind))  # type: ignore[arg-type]
    tokens = tokenizer.encode(b" the\xff\xff the")
    assert [token for token, _ in tokens] == [
        token for part in (b" the", b" the") for token, _ in tokenizer.encode(part)
    ]
    assert tokens[-1][1] == 10
    # At the end they are left out: the next text may make a character of them.
    assert tokenizer.encode(b" the\xe6\x97")[-1][1] == 4
    assert tokenizer.encode(b"\xff") == []


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_written_out_are_text(kind: str) -> None:
    tokenizer = text_tokenizer(make_tokenizer(kind))  # type: ignore[arg-type]
    control = {tokenizer._pipeline.token_to_id(token) for token in SPECIAL} - {tokenizer._vocabulary.unknown_id}
    for text in ("a </s> b", "</s>", "<s>", "<|end|><|user|>", " <|end|>", "x</s>"):
        tokens = tokenizer.encode(text.encode())
        assert not {token for token, _ in tokens} & control
        assert tokens[-1][1] == len(text)


def test_the_prompt_still_has_its_special_tokens(tiny_engine: Callable[..., Any]) -> None:
    from tests.support.driving import QUESTION, candidates
    from tokencollab.protocol.messages import Open

    engine = tiny_engine("bytes")
    engine.open(Open("s", QUESTION))
    before = engine.pool["s"].prompt.ids
    candidates(engine, b"<|user|> the</s>")
    engine.open(Open("s", QUESTION))
    assert engine.pool["s"].prompt.ids == before
    assert set(engine._tokenizer.convert_tokens_to_ids(["<s>", "<|user|>", "<|end|>"])) <= set(before)


def test_an_unknown_token_that_is_end_is_no_character() -> None:
    tokenizer = text_tokenizer(make_tokenizer("chars"), eos_token=SPECIAL[0])
    tokens = tokenizer.encode("aΩΩb".encode())
    assert [tokenizer._vocabulary.pieces[token] for token, _ in tokens] == [b"a", b"b"]
    assert [end for _, end in tokens] == [1, 6]
    assert tokenizer.encode("Ω".encode()) == []


def changed(kind: str, normalizer: Any) -> Tokenizer:
    tokenizer = make_tokenizer(kind)  # type: ignore[arg-type]
    inner = [tokenizer.normalizer] if tokenizer.normalizer is not None else []
    tokenizer.normalizer = normalizers.Sequence([normalizer, *inner])
    return tokenizer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("normalizer", "reason"),
    [
        (normalizers.Lowercase(), "T.* becomes"),
        (normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]), "ï|é|Å|ß| becomes "),
        (normalizers.Replace(Regex("[0-9]"), ""), "changes text"),
        (normalizers.Replace(Regex(r"[^\p{Latin}\p{Common}]"), ""), r"changes text|drops"),
        (normalizers.BertNormalizer(lowercase=True), "changes text"),
    ],
    ids=["lower", "accents", "digits", "scripts", "bert"],
)
def test_tokenizers_that_change_text_are_refused(kind: str, normalizer: Any, reason: str) -> None:
    if kind == "chars" and reason == r"changes text|drops":
        return  # it knows too few of these characters
    with pytest.raises(ModelRefused, match=reason):
        text_tokenizer(changed(kind, normalizer))


def test_a_tokenizer_that_drops_unknown_characters_is_refused() -> None:
    vocabulary = {"<unk>": 0, "</s>": 1} | {c: i + 2 for i, c in enumerate(sorted({c for c in TEXT if c.isascii()}))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    with pytest.raises(ModelRefused, match=r"changes text|drops"):
        text_tokenizer(tokenizer)


@pytest.mark.parametrize("form", [normalizers.NFC(), normalizers.NFKC()], ids=["nfc", "nfkc"])
def test_composition_is_left_out(form: Any) -> None:
    """The text stays as the others wrote it, byte for byte."""
    tokenizer = text_tokenizer(changed("bytes", form))
    for text in ("e\u0301", "é", "ﬁ", "가", "a\u0301\u0302"):
        assert b"".join(piece or b"?" for piece in spelt(tokenizer, text.encode())) == text.encode()


def test_continuations() -> None:
    assert continuations(b"") == continuations(b"a") == continuations("日".encode()) == b""
    assert continuations(b"\xe6") == continuations(b"a\xe6\x97") == bytes(range(0x80, 0xC0))
    assert continuations(b"\xe0") == bytes(range(0xA0, 0xC0))  # no overlong forms
    assert continuations(b"\xed") == bytes(range(0x80, 0xA0))  # no surrogates
    assert continuations(b"\xf4") == bytes(range(0x80, 0x90))  # nothing past U+10FFFF
    assert continuations(b"\xff") == continuations(b"\x97") == b""

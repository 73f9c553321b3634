"""What each token appends, for every kind of tokenizer; EOS, unknown and padded ids."""

from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from tests.support.tiny import KINDS, SPECIAL, TEXT, make_tokenizer
from tokencollab.engines.text.vocabulary import Vocabulary, read_vocabulary, token_decoder
from tokencollab.errors import ModelRefused


def wrap(tokenizer: Tokenizer, **options: Any) -> Any:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **{"eos_token": "</s>", "unk_token": "<unk>"} | options)


def vocabulary(kind: str, **options: Any) -> tuple[Vocabulary, Any]:
    tokenizer = make_tokenizer(kind)  # type: ignore[arg-type]
    return read_vocabulary(wrap(tokenizer, **options), [2], tokenizer.get_vocab_size()), tokenizer


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_joined_are_what_the_tokenizer_decodes(kind: str) -> None:
    read, tokenizer = vocabulary(kind)
    for line in TEXT.splitlines():
        ids = [token for token in tokenizer.encode("a " + line, add_special_tokens=False).ids if token > 4]
        joined = b"".join(read.pieces[token] or b"?" for token in ids)
        assert joined.strip() == tokenizer.decode(ids).encode().strip()


def test_parts_of_characters_are_bytes() -> None:
    read, tokenizer = vocabulary("bytes")
    ids = tokenizer.encode("🚀", add_special_tokens=False).ids
    assert len(ids) > 1
    assert b"".join(read.pieces[token] or b"" for token in ids) == "🚀".encode()
    assert b"\xf0" in read.id_of


def test_all_bytes_have_a_token_where_there_is_byte_fallback() -> None:
    for kind in ("bytes", "llama", "gemma"):
        read, _ = vocabulary(kind)
        assert all(bytes([byte]) in read.id_of for byte in range(256))


def test_the_real_token_wins_over_the_byte_fallback() -> None:
    read, tokenizer = vocabulary("gemma")
    real, fallback = tokenizer.token_to_id("\n"), tokenizer.token_to_id("<0x0A>")
    assert read.pieces[real] == read.pieces[fallback] == b"\n"
    assert fallback < real
    assert read.id_of[b"\n"] == real
    assert read.pieces[tokenizer.token_to_id("\n\n")] == b"\n\n"


def test_the_smaller_of_two_real_tokens_wins() -> None:
    read = Vocabulary((b"b", b"a", b"a", b"b"), (), None, frozenset({0}))
    assert read.id_of == {b"a": 1, b"b": 3}


def test_special_tokens_are_no_pieces() -> None:
    read, tokenizer = vocabulary("bytes")
    for token in ("<unk>", "<s>", "</s>", "<|user|>", "<|end|>"):
        assert read.pieces[tokenizer.token_to_id(token)] is None
    assert read.end_ids == (tokenizer.token_to_id("</s>"), tokenizer.token_to_id("<|end|>"))
    assert read.unknown_id == tokenizer.token_to_id("<unk>")


def test_an_unknown_token_that_is_end_stays_an_end() -> None:
    read, tokenizer = vocabulary("chars", eos_token=SPECIAL[0])
    assert tokenizer.token_to_id("<unk>") in read.end_ids
    assert read.unknown_id is None


def test_padded_ids_are_never_candidates() -> None:
    tokenizer = make_tokenizer("bytes")
    size = tokenizer.get_vocab_size()
    read = read_vocabulary(wrap(tokenizer), [2, size + 9], size + 5)
    assert len(read.pieces) == size + 5
    assert set(range(size, size + 5)) <= set(read.never)
    assert max(read.end_ids) < size + 5
    assert not set(read.never) & set(read.end_ids)


def test_a_model_smaller_than_its_tokenizer() -> None:
    tokenizer = make_tokenizer("gemma")
    size = tokenizer.get_vocab_size() - 4
    read = read_vocabulary(wrap(tokenizer), [2], size)
    assert len(read.pieces) == size
    assert max(read.id_of.values()) < size


def test_added_tokens_that_are_text() -> None:
    tokenizer = make_tokenizer("bytes")
    tokenizer.add_tokens([AddedToken("é", special=False, normalized=False)])  # "é" is byte 0xE9 in byte-level BPE
    read = read_vocabulary(wrap(tokenizer), [2], tokenizer.get_vocab_size())
    assert read.pieces[tokenizer.get_vocab()["é"]] == "é".encode()
    marked = make_tokenizer("gemma")
    marked.add_tokens([AddedToken("▁▁▁", special=False, normalized=False)])
    read = read_vocabulary(wrap(marked), [2], marked.get_vocab_size())
    assert read.pieces[marked.get_vocab()["▁▁▁"]] == b"   "


def test_other_decoders() -> None:
    assert token_decoder(None)("the") == b"the"
    for unknown in (decoders.CTC(), decoders.WordPiece(), decoders.BPEDecoder()):
        with pytest.raises(ModelRefused, match="has a decoder of type"):
            token_decoder(unknown)


def test_decoders_apply_to_a_token_in_the_middle_of_a_text() -> None:
    """Steps before the tokens are joined change each token; what comes later acts on a text's beginning and end."""
    mark = decoders.Replace("▁", " ")
    for steps, token, data in (
        ([decoders.Replace(Regex("[▁_]"), " "), decoders.Fuse()], "▁a_b", b" a b"),
        ([decoders.Replace(Regex("a+"), "b")], "aaca", b"bcb"),
        ([decoders.Replace("<n>", "\n")], "<n><n>", b"\n\n"),
        ([mark, decoders.Strip(" ", 1, 0)], "▁▁a", b" a"),
        ([mark, decoders.Fuse(), decoders.Strip(" ", 1, 0)], "▁▁a", b"  a"),
        ([mark, decoders.ByteFallback(), decoders.Fuse()], "<0xe6>", b"\xe6"),
        ([mark, decoders.ByteFallback(), decoders.Fuse()], "<0xZZ>", b"<0xZZ>"),
        ([decoders.Sequence([decoders.Sequence([mark])])], "▁", b" "),
        ([decoders.Replace("_", "Ġ"), decoders.ByteLevel()], "_a", b" a"),
    ):
        assert token_decoder(decoders.Sequence(steps))(token) == data
    for steps in (
        [decoders.ByteLevel(), decoders.Replace("a", "b")],
        [decoders.Replace("", "b")],
        [decoders.Replace("a", "b" * 1000)],
        [decoders.Replace("a", "b" * 10), decoders.Replace("b", "c" * 10)],
    ):
        with pytest.raises(ModelRefused, match=r"decoder of type|unbounded memory"):
            token_decoder(decoders.Sequence(steps))


def test_without_a_fast_tokenizer_or_with_an_unknown_decoder() -> None:
    with pytest.raises(ModelRefused, match=r"tokenizer\.json"):
        read_vocabulary(object(), [], 10)
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "<unk>": 1, "</s>": 2}, unk_token=SPECIAL[0]))
    tokenizer.decoder = decoders.CTC()
    with pytest.raises(ModelRefused, match="CTC"):
        read_vocabulary(wrap(tokenizer), [2], 3)


def test_fences() -> None:
    read = Vocabulary((b"a", b"ab", b"abc", b"b", b"\xff", b"\xff\xff", None, b"a"), (), None)
    fences = read.fences(b"a")
    ordered = [read.pieces[token] for token in read.order]
    assert ordered == [b"a", b"a", b"ab", b"abc", b"b", b"\xff", b"\xff\xff"]
    assert len(fences) == 258
    assert ordered[fences[0] : fences[1]] == [b"a", b"a"]
    assert ordered[fences[1 + ord("b")] : fences[2 + ord("b")]] == [b"ab", b"abc"]
    assert read.starting_with(b"a") == [1, 2]
    assert read.starting_with(b"\xff") == [5]
    assert read.starting_with(b"\xff\xff") == []
    assert read.starting_with(b"c") == []

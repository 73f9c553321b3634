"""The answer as one model's tokens: own pieces, foreign pieces, words brought back, cuts, the space at the start."""

from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from tests.support.tiny import KINDS, SPECIAL, make_tokenizer
from tokencollab.engines.text.alignment import AnswerText
from tokencollab.engines.text.tokenisation import TextTokenizer
from tokencollab.engines.text.vocabulary import Vocabulary, read_vocabulary


def answer_text(kind: str = "bytes", lead: bytes = b"") -> AnswerText:
    backend = make_tokenizer(kind)  # type: ignore[arg-type]
    wrapped = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=SPECIAL[2], unk_token=SPECIAL[0])
    vocabulary = read_vocabulary(wrapped, [2], backend.get_vocab_size())
    return AnswerText(vocabulary, TextTokenizer(wrapped, vocabulary), lead)


def write(text: AnswerText, *pieces: bytes) -> list[int]:
    for piece in pieces:
        text.bring_in_line(len(text.text), piece)
    return list(text.ids)


def pieces(text: AnswerText) -> list[Any]:
    return [text.vocabulary.pieces[token] for token in text.ids]


def canonical(text: AnswerText, data: bytes) -> list[int]:
    return [token for token, _ in text.tokenizer.encode(data)]


def test_a_piece_that_is_offered_is_that_token() -> None:
    text = answer_text("gemma")
    fallback = text.tokenizer._pipeline.token_to_id("<0x0A>")
    real = text.tokenizer._pipeline.token_to_id("\n")
    text.list_pieces({b"\n": fallback})  # the model itself is surer of its byte token
    assert write(text, b"\n") == [fallback]
    other = answer_text("gemma")
    assert write(other, b"\n") == [real]


def test_an_own_spelling_is_left_alone() -> None:
    """A model that writes a word in unusual tokens by itself goes on as it would alone."""
    text = answer_text()
    for piece in (b" ", b"q", b"u", b"i", b"c", b"k", b" and"):
        text.list_pieces({piece: text.vocabulary.id_of[piece]})
        write(text, piece)
    assert pieces(text) == [b" ", b"q", b"u", b"i", b"c", b"k", b" and"]


def test_a_word_in_foreign_pieces_is_brought_back() -> None:
    text = answer_text()
    assert b"ui" not in text.vocabulary.id_of
    write(text, b" the", b" ", b"q")
    assert pieces(text) == [b" the", b" ", b"q"]  # its own tokens stay as they came
    write(text, b"ui", b"c", b"k")
    own = canonical(text, b" quick")
    assert len(own) == 1
    write(text, b" brown")
    assert text.ids == canonical(text, b" the quick brown")


@pytest.mark.parametrize("kind", ["bytes", "gemma"])
def test_a_character_in_parts_is_brought_back_when_it_is_whole(kind: str) -> None:
    text = answer_text(kind)
    day = "日".encode()
    write(text, b"a", day[:1])
    assert len(text.ids) == 2
    write(text, day[1:2], day[2:])
    assert text.ids == canonical(text, b"a" + day)
    for part in (day[:1], day[1:2], day[2:]):  # unless the model writes it so itself
        text.list_pieces({part: text.vocabulary.id_of[part]})
        write(text, part)
    assert pieces(text)[-3:] == [day[:1], day[1:2], day[2:]]


@pytest.mark.parametrize("stop", ["。", "，", "\n", " "])
def test_where_words_end(stop: str) -> None:
    text = answer_text()
    write(text, *(bytes([byte]) for byte in "日本".encode()))
    write(text, "語a".encode(), stop.encode())
    own = canonical(text, "日本語a".encode())
    assert text.ids[: len(own)] == own


def test_only_what_changed_is_to_be_computed_again() -> None:
    text = answer_text()
    write(text, b"The", b" quick", b" brown", b" fo")
    text.stable = len(text.ids)
    before = list(text.ids)
    write(text, b"x ju")
    assert text.stable >= 3
    assert text.ids[: text.stable] == before[: text.stable]
    assert b"".join(pieces(text)) == b"The quick brown fox ju"


@pytest.mark.parametrize("lead", [b"", b" "], ids=["", "lead"])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_pending_before_the_answer_begins(kind: str, lead: bytes) -> None:
    text = answer_text(kind, lead)
    assert text.pending == b""
    assert text.may_lead == lead


def test_the_space_at_the_start_is_not_shared() -> None:
    text = answer_text("llama", b" ")
    write(text, b"the")
    assert pieces(text) == [b" the"]
    assert (text.text, text.lead, text.may_lead) == (b"the", b" ", b"")
    write(text, b" sky")
    assert text.ends == [4, 8]


def test_no_space_at_the_start_where_the_text_brings_its_own() -> None:
    for first in (b"\n", b" ", b"  x\n"):
        text = answer_text("gemma", b" ")
        write(text, first)
        assert text.lead == b""
        assert b"".join(pieces(text)) == first


def test_the_space_stays_where_others_begin_the_answer() -> None:
    text = answer_text("gemma", b" ")
    assert b" W" not in text.vocabulary.id_of
    write(text, b"W")  # one of the model's tokens, but its text is "Answer: W"
    assert b"".join(pieces(text)) == b" W"
    assert text.lead == b" "


def test_no_space_at_the_start_where_the_model_chose_so() -> None:
    text = answer_text("llama", b" ")
    token = text.vocabulary.id_of[b"th"]
    text.list_pieces({b"th": token})
    assert write(text, b"th") == [token]
    assert text.lead == b""
    write(text, b"e")
    write(text, b" sky")
    assert b"".join(pieces(text)) == b"the sky"


def test_cut_back_to_nothing_the_space_is_open_again() -> None:
    text = answer_text("llama", b" ")
    write(text, b"\n", b"the")
    text.bring_in_line(0, b"")
    assert (text.text, text.ids, text.ends, text.lead) == (b"", [], [], b" ")
    write(text, b"the")
    assert pieces(text) == [b" the"]


@pytest.mark.parametrize("kind", KINDS)
def test_cut_back_anywhere(kind: str) -> None:
    whole = "the quick\n\nStraße 日本 🙂 dog".encode()
    for lead in (b"", b" "):
        for length in range(len(whole)):
            text = answer_text_cached(kind, lead)
            text.bring_in_line(0, b"")
            write(text, whole[:11], whole[11:])
            text.bring_in_line(length, b"")
            assert text.text == whole[:length]
            assert not text.ends or text.ends[-1] <= len(text.lead) + length
            covered = (text.lead + text.text)[: text.ends[-1] if text.ends else 0]
            assert covered + text.pending == (text.lead + text.text if length else b"")
            if kind in ("bytes", "llama", "gemma"):
                assert b"".join(pieces(text)) == (text.lead + text.text if length else b"")
            text.bring_in_line(length, whole[length:])
            assert text.text == whole


_CACHE: dict[str, AnswerText] = {}


def answer_text_cached(kind: str, lead: bytes) -> AnswerText:
    """One tokenizer for many texts."""
    if kind not in _CACHE:
        _CACHE[kind] = answer_text(kind)
    return AnswerText(_CACHE[kind].vocabulary, _CACHE[kind].tokenizer, lead)


def test_the_same_text_again_changes_nothing() -> None:
    text = answer_text()
    write(text, b"The", b" quick")
    ids = list(text.ids)
    text.stable = len(ids)
    text.bring_in_line(3, b" quick")
    text.bring_in_line(0, b"The quick")
    assert (text.ids, text.stable) == (ids, len(ids))
    text.bring_in_line(3, b" slow")
    assert text.text == b"The slow"
    assert text.stable == 1


def test_an_unfinished_character_waits() -> None:
    text = answer_text("chars")
    write(text, b"a", "天".encode()[:1])
    assert text.pending == "天".encode()[:1]
    assert pieces(text) == [b"a"]
    write(text, "天".encode()[1:2], "天".encode()[2:], b"b")
    assert pieces(text) == [b"a", "天".encode(), b"b"]
    assert text.pending == b""


def test_an_unknown_character_is_the_unknown_token() -> None:
    text = answer_text("chars")
    write(text, b"a", *(bytes([byte]) for byte in "語".encode()), b"b")
    assert text.ids[1] == text.vocabulary.unknown_id
    assert text.ends == [1, 4, 5]


def test_bytes_that_are_never_a_character_do_not_blind_the_model() -> None:
    for kind in ("chars", "unigram"):
        text = answer_text(kind)
        write(text, b" a", b"\xff\xff\xff", b"\xe6", b" a", b" a")
        assert text.pending == b""
        assert [piece for piece in pieces(text) if piece] == pieces(text)
        assert text.ends[-1] == len(text.text)


def test_long_text_without_spaces_is_not_tokenised_from_its_beginning() -> None:
    text = answer_text("bytes")
    encoded: list[int] = []

    class Counting:
        def encode(self, data: bytes) -> list[tuple[int, int]]:
            encoded.append(len(data))
            return text_tokenizer.encode(data)

    text_tokenizer = text.tokenizer
    text.tokenizer = Counting()  # type: ignore[assignment]
    for _ in range(60):
        write(text, "色\u6c14xyzw".encode())
    assert max(encoded[10:]) < 120
    assert b"".join(pieces(text)) == text.text


def test_vocabularies_with_few_tokens() -> None:
    vocabulary = Vocabulary((b"a", None, None), (1,), None)

    class Blind:
        def encode(self, data: bytes) -> list[tuple[int, int]]:
            return [(0, index + 1) for index, byte in enumerate(data) if byte == ord("a")]

    text = AnswerText(vocabulary, Blind(), b" ")  # type: ignore[arg-type]
    assert write(text, b"xx", b"a") == [0]
    assert text.ends == [4]
    assert text.pending == b""


def test_restored_within_a_foreign_word_it_is_brought_back_all_the_same() -> None:
    text, restored = answer_text(), answer_text()
    write(text, b" the", b" ", b"q", b"ui")
    restored.restore(text.text, text.spelling())
    for each in (text, restored):
        write(each, b"c", b"k", b" brown")
        assert each.ids == canonical(each, b" the quick brown")

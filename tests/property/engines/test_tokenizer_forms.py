"""Every form of tokenizer: it is taken and its tokens spell any text, or it is refused with the reason."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from tests.property.engines.test_whole_answers import back, pieces
from tests.support.tokenizer_forms import REFUSED, SPELLING, TAKEN, Form
from tokencollab.engines.text.alignment import AnswerText
from tokencollab.engines.text.tokenisation import TextTokenizer
from tokencollab.engines.text.vocabulary import Vocabulary, read_vocabulary
from tokencollab.errors import ModelRefused

marked = st.sampled_from(
    ["▁", "a▁b", "▁▁▁ ▁", "<n>", "\v", "<tool>x", " <tool> ", "é", "Ã©", "a\x00\x04b", "éé", "\ufeff"]
)


def load(form: Form, **options: str) -> tuple[Vocabulary, TextTokenizer]:
    backend = form()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=backend, **{"eos_token": "</s>", "unk_token": "<unk>"} | options)
    vocabulary = read_vocabulary(wrapped, [2], backend.get_vocab_size())
    return vocabulary, TextTokenizer(wrapped, vocabulary)


@cache
def loaded(name: str) -> tuple[Vocabulary, TextTokenizer]:
    return load(TAKEN[name])


@pytest.mark.parametrize("name", TAKEN)
@settings(derandomize=True, deadline=None, max_examples=12)
@given(
    script=st.lists(st.one_of(pieces, pieces, marked.map(str.encode), back), min_size=1, max_size=12),
    lead=st.sampled_from([b"", b" "]),
)
def test_tokens_spell_any_text_cut_anywhere(name: str, script: list[bytes | float], lead: bytes) -> None:
    vocabulary, tokenizer = loaded(name)
    text = AnswerText(vocabulary, tokenizer, lead)
    data = b""
    for entry in script:
        start = len(data) if isinstance(entry, bytes) else int(entry * len(data))
        added = entry if isinstance(entry, bytes) else b""
        data = data[:start] + added
        text.bring_in_line(start, added)
        whole = text.lead + data if data else b""
        spelt = [vocabulary.pieces[token] for token in text.ids]
        assert text.text == data
        assert text.ends == sorted(text.ends)
        if name in SPELLING:
            assert b"".join(piece or b"?" for piece in spelt) == whole
            assert text.pending == b""
            continue
        for begin, end, token, piece in zip([0, *text.ends], text.ends, text.ids, spelt, strict=False):
            assert whole[begin:end].endswith(piece) if piece else token == vocabulary.unknown_id


@pytest.mark.parametrize("name", REFUSED)
def test_what_changes_text_is_refused(name: str) -> None:
    form, reason = REFUSED[name]
    with pytest.raises(ModelRefused, match=reason) as refused:
        load(form)
    assert len(str(refused.value)) < 300
    assert "\n" not in str(refused.value)


def test_a_mark_is_no_space() -> None:
    """Byte tokens tell the two apart; without them the unknown token does."""
    for name in ("llama", "metaspace", "gemma", "unigram"):
        vocabulary, tokenizer = loaded(name)
        spelt = [vocabulary.pieces[token] for token, _ in tokenizer.encode("a▁b".encode())]
        marks = [None] if name == "unigram" else [b"\xe2", b"\x96", b"\x81"]
        assert spelt == [b"a", *marks, b"b"]


def test_what_is_not_spelt_takes_no_more_than_its_length() -> None:
    """A hostile text is taken apart by halves."""
    for name in ("llama", "unigram", "bytes, added tokens as they are"):
        _, tokenizer = loaded(name)
        for text in ("▁" * 5000, "é▁" * 3000, "</s>" * 2000):
            tokens = tokenizer.encode(text.encode())
            assert tokens[-1][1] == len(text.encode())
            assert len(tokens) <= len(text.encode())


def test_an_unknown_token_that_only_the_tokenizer_itself_names() -> None:
    vocabulary, tokenizer = load(TAKEN["chars"], **{"unk_token": "</s>"})
    (token,) = [token for token, _ in tokenizer.encode("Ω".encode())]
    assert vocabulary.pieces[token] is None
    assert token == vocabulary.unknown_id

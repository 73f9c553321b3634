"""The ways of holding foreign pieces that benchmarks compare with the program's own."""

import random

import pytest

from benchmarks.spellings import SPELLINGS
from tests.support.tiny import KINDS
from tests.unit.engines.test_alignment import answer_text, canonical, pieces, write
from tokencollab.engines.text.alignment import AnswerText

LETTERS = (b" the", b" ", b"q", b"u", b"i", b"c", b"k", b" brown")
TEXT = " The quick\n\n  dog isn't 日本語 né🙂 the the".encode()


def spelled(spelling: str, kind: str = "bytes", lead: bytes = b"") -> AnswerText:
    own = answer_text(kind, lead)
    return SPELLINGS[spelling](own.vocabulary, own.tokenizer, lead)


def test_own_tokens_come_back_to_words_in_two_of_four() -> None:
    held = {spelling: write(spelled(spelling), *LETTERS) for spelling in SPELLINGS}
    own = canonical(answer_text(), b"".join(LETTERS))
    assert held["words"] == held["as-came"] != own
    assert held["all-words"] == held["every-step"] == own


def test_a_foreign_piece_stays_as_it_came() -> None:
    text = spelled("as-came")
    assert b"ui" not in text.vocabulary.id_of
    write(text, b" the", b" ", b"q", b"ui", b"c", b"k", b" brown")
    assert pieces(text) == [b" the", b" ", b"q", b"u", b"i", b"c", b"k", b" brown"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_is_the_tokenizer_s_own_cut_of_the_text_so_far(kind: str) -> None:
    text = spelled("every-step", kind)
    for byte in TEXT:
        write(text, bytes([byte]))
        assert text.ids == canonical(text, text.lead + text.text)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("kind", ["bytes", "llama", "gemma"])
def test_the_text_is_spelt_whatever_the_pieces_and_cuts(kind: str, spelling: str) -> None:
    for seed in range(20):
        chance = random.Random(seed)  # noqa: S311
        text = spelled(spelling, kind, chance.choice([b"", b" "]))
        while len(text.text) < len(TEXT):
            start = chance.randint(max(0, len(text.text) - 3), len(text.text))  # a round that is taken back
            text.bring_in_line(start, TEXT[start : start + chance.randint(1, 5)])
            assert b"".join(pieces(text)) + text.pending == text.lead + text.text
        assert text.text == TEXT
        again = spelled(spelling, kind, text._may_lead)
        text.told = 0
        again.restore(TEXT, text.spelling())
        assert again.ids == text.ids

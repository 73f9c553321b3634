"""Candidates, scores and marginals read off logits."""

import math
from collections import defaultdict
from math import inf, nan
from typing import Any

import pytest
import torch

from tests.support.tiny import KINDS
from tests.unit.engines.test_alignment import answer_text
from tokencollab.engines.candidate_reader import CandidateReader, _logsumexp, _top
from tokencollab.engines.text.alignment import AnswerText
from tokencollab.engines.text.vocabulary import Vocabulary
from tokencollab.errors import MalformedAnswer
from tokencollab.protocol.pieces import Piece

CPU = torch.device("cpu")


class OneByOne:
    """A tokenizer of single bytes, where there are such tokens."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._id_of = vocabulary.id_of

    def encode(self, data: bytes) -> list[tuple[int, int]]:
        found = ((self._id_of.get(data[i : i + 1]), i + 1) for i in range(len(data)))
        return [(token, end) for token, end in found if token is not None]


def setting(
    tokens: list[bytes | None], ends: tuple[int, ...] = (), **options: Any
) -> tuple[CandidateReader, AnswerText]:
    vocabulary = Vocabulary(tuple(tokens), ends, None)
    text = AnswerText(vocabulary, OneByOne(vocabulary), **options)  # type: ignore[arg-type]
    return CandidateReader(vocabulary, CPU), text


def listed(lister: CandidateReader, logits: list[float], text: AnswerText, k: int = 10) -> dict[Piece, float]:
    return {c.piece: c.logit for c in lister.candidates(torch.tensor(logits), text, k).candidates.checked().candidates}


def test_end_has_the_mass_of_all_end_tokens_and_stands_in_its_place() -> None:
    lister, text = setting([b"a", None, None, b"b", None], (1, 2, 4))
    read = lister.candidates(torch.tensor([2.0, 1.5, 1.5, 0.0, 1.0]), text, 10)
    end = math.log(2 * math.exp(1.5) + math.exp(1.0))
    assert [c.piece for c in read.candidates.candidates] == [None, b"a", b"b"]
    assert read.candidates.best.logit == pytest.approx(end)
    assert sum(math.exp(c.logprob) for c in read.candidates.candidates) == pytest.approx(1.0)
    assert read.greedy == b"a"  # no single EOS token is more probable


def test_special_unknown_and_padded_ids_are_no_candidates() -> None:
    lister, text = setting([b"a", None, b"b", None], (1,))
    assert listed(lister, [0.0, 1.0, 2.0, 50.0], text) == pytest.approx({b"b": 2.0, None: 1.0, b"a": 0.0})


def test_one_of_two_ids_with_the_same_bytes() -> None:
    lister, text = setting([b"\n", b"a", b"\n"])
    read = lister.candidates(torch.tensor([3.0, 2.0, 4.0]), text, 10)
    assert [c.piece for c in read.candidates.candidates] == [b"\n", b"a"]
    assert read.tokens[b"\n"] == 2
    assert read.candidates.best.logit == 4.0


def test_equal_logits_go_by_id_as_argmax_does() -> None:
    lister, text = setting([bytes([65 + i]) for i in range(26)])
    logits = [1.0] * 26
    assert lister.candidates(torch.tensor(logits), text, 26).greedy == b"A"
    assert int(torch.tensor(logits).argmax()) == 0


def test_the_space_before_an_answer_is_left_out_of_its_first_piece() -> None:
    lister, text = setting([b"a", b" a", b" ", b"  ", b" b", b"c"], lead=b" ")
    found = listed(lister, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], text)
    assert found == pytest.approx({b"c": 6.0, b"b": 5.0, b" ": 4.0, b"a": 2.0})
    text.bring_in_line(0, b"c")
    assert set(listed(lister, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], text)) == {b"a", b" a", b" ", b"  ", b" b", b"c"}


def test_an_unfinished_character_is_finished_by_tokens_that_hold_it() -> None:
    day, book = "日".encode(), "旧".encode()  # both begin with e6 97
    lister, text = setting([b"a", day, book, b"b"])
    text.bring_in_line(0, b"a")
    text.bring_in_line(1, day[:1])
    assert text.pending == day[:1]
    read = lister.candidates(torch.tensor([9.0, 1.0, 2.0, 8.0]), text, 10)
    assert [(c.piece, c.logit) for c in read.candidates.candidates] == [(book[1:], 2.0), (day[1:], 1.0)]
    assert sum(math.exp(c.logprob) for c in read.candidates.candidates) == pytest.approx(1.0)
    assert read.tokens[day[1:]] == 1
    text.list_pieces(read.tokens)
    text.bring_in_line(2, day[1:])
    assert text.ids == [0, 1]


def test_an_unfinished_character_that_the_model_cannot_spell_is_left_to_the_others() -> None:
    lister, text = setting([b"a", b"b", None], (2,))
    text.bring_in_line(0, b"a\xf0")
    read = lister.candidates(torch.tensor([9.0, 1.0, 2.0]), text, 10)
    assert [c.piece for c in read.candidates.checked().candidates] == [bytes([b]) for b in range(0x90, 0xA0)]
    assert {c.logit for c in read.candidates.candidates} == {0.0}
    assert all(c.logprob == pytest.approx(-math.log(48)) for c in read.candidates.candidates)
    scores = lister.score(torch.tensor([9.0, 1.0, 2.0]), text, (b"\x9f\x98", b"\x80", b"b", None))
    assert scores == (0.0, -30.0, -30.0, -30.0)
    text.bring_in_line(2, b"\x9f\x99\x82")  # the character is complete, and unknown
    assert listed(lister, [9.0, 1.0, 2.0], text) == pytest.approx({b"a": 9.0, None: 2.0, b"b": 1.0})


def test_scores_are_those_of_the_token_or_of_the_first_token() -> None:
    lister, text = setting([b"a", b"b", b"ab", None], (3,), lead=b" ")
    text.bring_in_line(0, b"b")
    logits = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert lister.score(logits, text, (b"ab", b"aab", b"zz", None)) == (3.0, 1.0, 1.0, 4.0)
    assert lister.score(logits, text, ()) == ()


def test_scores_at_the_start_agree_with_the_candidates() -> None:
    lister, text = setting([b"a", b" a", b" ", b"  ", b" b", b"c"], lead=b" ")
    logits = [3.0, 2.0, 4.0, 3.5, 5.0, 6.0]
    found = listed(lister, logits, text)
    assert lister.score(torch.tensor(logits), text, tuple(found)) == pytest.approx(tuple(found.values()))


def marginals_by_hand(
    vocabulary: Vocabulary, logits: torch.Tensor, lead: bytes, pending: bytes
) -> tuple[float, dict[int, float]]:
    equal = 0.0
    following: dict[int, float] = defaultdict(float)
    for token, probability in enumerate(torch.softmax(logits.double(), -1).tolist()):
        piece = vocabulary.pieces[token]
        if piece is None:
            continue
        piece = piece.removeprefix(lead) or piece
        if piece == pending:
            equal += probability
        elif piece.startswith(pending):
            following[piece[len(pending)]] += probability
    return equal, following


@pytest.mark.parametrize("lead", [b"", b" "], ids=["", "lead"])
@pytest.mark.parametrize("kind", KINDS)
def test_marginals_are_sums_over_the_vocabulary(kind: str, lead: bytes) -> None:
    text = answer_text(kind, lead)
    vocabulary = text.vocabulary
    lister = CandidateReader(vocabulary, CPU)
    logits = torch.randn(len(vocabulary.pieces), generator=torch.Generator().manual_seed(1)) * 2
    for start in (b"", b"a"):
        text.bring_in_line(0, start)
        for pending in (b"", b" ", b"  ", b"t", b" t", b"th", "日".encode()[:2], b"\xff", b"zzz"):
            equal, end, following = lister.marginals(logits, text, pending)
            expected, bytewise = marginals_by_hand(vocabulary, logits, text.may_lead, pending)
            assert equal == pytest.approx(expected, abs=1e-6)
            assert following == pytest.approx([bytewise.get(byte, 0.0) for byte in range(256)], abs=1e-6)
            ends = torch.softmax(logits, -1)[list(vocabulary.end_ids)].sum().item()
            assert end == pytest.approx(0.0 if pending else ends, abs=1e-6)


def test_the_largest_of_many() -> None:
    for size in (5, 511, 40_000, 49_152, 100_001):
        logits = torch.randn(size, generator=torch.Generator().manual_seed(size))
        logits[size // 2 :: 7] = -torch.inf
        width = min(40, size // 2)
        values, ids = torch.topk(logits, width)
        assert _top(logits[None], width) == ([values.tolist()], [ids.tolist()])
        assert _logsumexp(logits) == pytest.approx(torch.logsumexp(logits, -1).item(), abs=1e-4)


def test_at_most_so_many_candidates() -> None:
    lister, text = setting([bytes([i % 256, i // 256]) for i in range(5000)])
    logits = torch.arange(5000.0)
    assert len(lister.candidates(logits, text, 2000).candidates.checked().candidates) == 1024
    assert len(lister.candidates(logits, text, 10).candidates.candidates) == 16


def test_rows_read_together_are_read_alike() -> None:
    """Whatever the rows beside it, and also where the best tokens are such as are never listed."""
    tokens: list[bytes | None] = [b"%d" % i for i in range(40_000)]
    tokens[:60] = [None] * 60
    lister, text = setting(tokens, (3, 4))
    rows = torch.randn(5, len(tokens), generator=torch.Generator().manual_seed(0))
    rows[2, 10:60] += 20
    rows[3, 3] = 30
    for k in (1, 10):
        tops = lister.tops(rows, k)
        for row, top in zip(rows, tops, strict=True):
            together, single = lister.candidates(row, text, k, top), lister.candidates(row, text, k)
            assert together == single
            best = row.index_fill(0, lister._never, -torch.inf).topk(k).indices.tolist()
            listed = [c.piece for c in together.candidates.candidates if c.piece]
            assert listed[: k - 1] == [tokens[i] for i in best if i not in (3, 4)][: k - 1]
            assert together.candidates.log_normaliser == pytest.approx(float(torch.logsumexp(row, 0)), abs=1e-5)
            assert (together.greedy is None) == (best[0] in (3, 4))


def test_what_is_impossible_is_not_offered() -> None:
    """A model may rule tokens out with a logit of -inf; its candidates are still a part of a distribution."""
    lister, text = setting([b"a", b"b", b"c", None], (3,))
    assert listed(lister, [1.0, -inf, 0.5, -inf], text) == {b"a": 1.0, b"c": 0.5}
    assert listed(lister, [-inf, -inf, -inf, 2.0], text) == {None: 2.0}


@pytest.mark.parametrize("logit", [nan, inf])
def test_what_is_no_distribution_is_noticed(logit: float) -> None:
    lister, text = setting([b"a", b"b", b"c", None], (3,))
    with pytest.raises(MalformedAnswer, match="is not finite"):
        listed(lister, [1.0, logit, 0.5, 0.0], text)

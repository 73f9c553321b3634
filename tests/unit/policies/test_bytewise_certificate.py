"""When the next byte is certain, what is asked when it is not, and the draws of Top-T, worked out by hand."""

from dataclasses import replace

import pytest

from tests.support.byte_table import BYTEWISE, Table, Watch
from tests.support.candidates import listed, surely
from tokencollab.policies import events as e
from tokencollab.policies.bytewise.branch import EOS_SYMBOL
from tokencollab.policies.bytewise.decision import certain, choose, misses, scores_of
from tokencollab.policies.bytewise.voter import ByteVotes
from tokencollab.policies.methods import sampling_of
from tokencollab.protocol.messages import Sampling
from tokencollab.protocol.seeds import uniform

GREEDY = sampling_of(BYTEWISE, 0)
A, B, C = 97, 98, 99


def masses(**following: float) -> tuple[float, ...]:
    found = [0.0] * 256
    for letter, mass in following.items():
        found[ord(letter)] = mass
    return tuple(found)


def sure(*rows: ByteVotes, sampling: Sampling = GREEDY, position: int = 1) -> bool:
    """Whether what the rows choose is certain."""
    scores = scores_of(rows)
    return certain(rows, scores, choose(scores, sampling, position), sampling, position)


def row(a: float, b: float, unlisted: float = 0.0, low: float = 1.0, high: float = 1.0) -> ByteVotes:
    return ByteVotes(low, (low + high) / 2, high, {A: a, B: b}, a + b, unlisted)


class TestGreedy:
    @pytest.mark.parametrize(
        ("rows", "known"),
        [
            # what one model does not list may all be behind the second best
            ([row(0.5, 0.3, 0.19)], True),
            ([row(0.5, 0.3, 0.21)], False),
            # weights: the lead of a is 2 * .2 - .1, the unlisted mass 2 * .1 + .05
            ([row(0.5, 0.3, 0.1, 2.0, 2.0), row(0.2, 0.3, 0.05)], True),
            ([row(0.5, 0.3, 0.1, 2.0, 2.0), row(0.2, 0.3, 0.11)], False),
            # a weight between .5 and 1.5: at .5 the first leads by .1 only, which the second makes up with .12
            ([row(0.5, 0.3, 0.0, 0.5, 1.5), row(0.0, 0.08)], True),
            ([row(0.5, 0.3, 0.0, 0.5, 1.5), row(0.0, 0.12)], False),
            # against a model of unknown weight the other must lead even when that weight is at its highest
            ([row(0.0, 0.2, 0.0, 0.5, 1.5), row(0.4, 0.09)], True),
            ([row(0.0, 0.2, 0.0, 0.5, 1.5), row(0.4, 0.11)], False),
            # both at once: .5 * (.5 - .3 - .15) = .025 against .02 and .03
            ([row(0.5, 0.3, 0.15, 0.5, 1.5), row(0.0, 0.02)], True),
            ([row(0.5, 0.3, 0.15, 0.5, 1.5), row(0.0, 0.03)], False),
            # unlisted mass behind a byte that nobody lists
            ([row(0.4, 0.0, 0.39, 0.9, 1.1)], True),
            ([row(0.4, 0.0, 0.41, 0.9, 1.1)], False),
            # nothing is unknown: a tie is decided by the order of the bytes, for certain
            ([row(0.3, 0.3)], True),
            # a tie that may be none
            ([row(0.3, 0.3, 0.1)], False),
            ([row(0.3, 0.3, 0.0, 0.9, 1.1)], False),
        ],
    )
    def test_certificate(self, rows: list[ByteVotes], known: bool) -> None:
        assert sure(*rows) is known

    def test_the_lead_holds_against_every_other_byte(self) -> None:
        """Against b the first leads by .3 * .5, against c, which the second prefers, by less."""
        first = ByteVotes(0.5, 1.0, 1.5, {A: 0.5, B: 0.2, C: 0.2}, 0.9, 0.0)
        assert sure(first, ByteVotes(1.0, 1.0, 1.0, {C: 0.14}, 0.14, 0.0))
        assert not sure(first, ByteVotes(1.0, 1.0, 1.0, {C: 0.16}, 0.16, 0.0))

    def test_own_first_choice(self) -> None:
        third = ByteVotes(1.0, 1.0, 1.0, {A: 0.3, B: 0.25, C: 0.2}, 0.75, 0.25)
        assert [misses(third, x) for x in (A, B, C, 100)] == [False, True, True, True]
        even = ByteVotes(1.0, 1.0, 1.0, {A: 0.5, B: 0.5}, 1.0, 0.0)
        assert [misses(even, x) for x in (A, B)] == [False, True]
        nothing = ByteVotes(1.0, 1.0, 1.0, {A: 0.0}, 0.0, 0.0)
        assert misses(nothing, A)


class TestDraws:
    """Seed 0: position 3 draws .168 for the piece of T = 2; the numbers below are pinned to those draws."""

    TWO = sampling_of(replace(BYTEWISE, top_t=(2, 2)), 0)

    def at(self, low: float, high: float, *, draw: int = 1) -> int:
        """A position whose draw is between the two."""
        return next(n for n in range(1, 9999) if low < uniform(0, n, draw) < high)

    def test_what_is_drawn_is_the_share_of_its_score(self) -> None:
        scores = {B: 0.3, A: 0.6, C: 0.05}
        assert choose(scores, self.TWO, self.at(0.0, 0.66)) == A
        assert choose(scores, self.TWO, self.at(0.67, 1.0)) == B
        with_end = {EOS_SYMBOL: 0.6, B: 0.3}
        assert choose(with_end, self.TWO, self.at(0.0, 0.66)) == EOS_SYMBOL

    @pytest.mark.parametrize(
        ("low", "high", "known"),
        [
            # a .6, b .3, c .1, unlisted u = .03: the limit between a and b is in (.57 / .93, .63 / .87)
            (0.0, 0.6128, True),
            (0.6130, 0.66, False),
            (0.67, 0.7240, False),
            (0.7243, 0.85, True),
            (0.968, 1.0, False),  # b ends at (.9 - .03) / (.9 + .03) for sure, here rather than at 1
        ],
    )
    def test_a_draw_near_a_limit_is_not_certain(self, low: float, high: float, known: bool) -> None:
        loose = ByteVotes(1.0, 1.0, 1.0, {A: 0.6, B: 0.3, C: 0.1}, 1.0, 0.03)
        assert sure(loose, sampling=self.TWO, position=self.at(low, high)) is known

    def test_the_order_is_that_of_the_scores(self) -> None:
        """Not that of the bytes; who comes after the best two does not matter, and a draw of nearly 0 is the first."""
        loose = ByteVotes(1.0, 1.0, 1.0, {A: 0.09, B: 0.1, C: 0.3, 100: 0.6}, 1.09, 0.03)
        for low, high in ((0.0, 0.02), (0.3, 0.6), (0.73, 0.85)):
            assert sure(loose, sampling=self.TWO, position=self.at(low, high))

    def test_who_is_among_the_best_must_be_certain(self) -> None:
        position = self.at(0.0, 0.3)
        for c, known in ((0.26, True), (0.28, False)):
            loose = ByteVotes(1.0, 1.0, 1.0, {A: 0.6, B: 0.3, C: c}, 0.9 + c, 0.03)
            assert sure(loose, sampling=self.TWO, position=position) is known
        for b, known in ((0.03001, True), (0.03, False)):  # a byte that nobody lists may be second
            loose = ByteVotes(1.0, 1.0, 1.0, {A: 0.6, B: b}, 0.6 + b, 0.03)
            assert sure(loose, sampling=self.TWO, position=position) is known
        alone = ByteVotes(1.0, 1.0, 1.0, {A: 0.6}, 0.6, 0.03)
        assert sure(alone, sampling=self.TWO, position=position)

    def test_three_of_four(self) -> None:
        three = sampling_of(replace(BYTEWISE, top_t=(3, 3)), 0)
        loose = ByteVotes(1.0, 1.0, 1.0, {A: 0.4, B: 0.3, C: 0.2, 100: 0.1}, 1.0, 0.01)
        # c begins at .7 / .9 and ends at 1: certain from (.7 + .01) / (.9 - .01) to (.9 - .01) / (.9 + .01)
        assert sure(loose, sampling=three, position=self.at(0.7980, 0.9779))
        assert not sure(loose, sampling=three, position=self.at(0.7785, 0.7970))
        assert not sure(loose, sampling=three, position=self.at(0.9785, 1.0))
        # b ends at .7 / .9
        assert sure(loose, sampling=three, position=self.at(0.4610, 0.7580))
        assert not sure(loose, sampling=three, position=self.at(0.7590, 0.7770))

    def test_where_t_is_drawn_one_needs_no_second(self) -> None:
        one_or_two = sampling_of(replace(BYTEWISE, top_t=(1, 2)), 0)
        loose = ByteVotes(1.0, 1.0, 1.0, {A: 0.6, B: 0.3, C: 0.29}, 1.19, 0.03)
        one = next(n for n in range(1, 999) if uniform(0, n, 0) < 0.49 and uniform(0, n, 1) > 0.97)
        assert sure(loose, sampling=one_or_two, position=one)  # whatever would be drawn among two
        assert not sure(loose, sampling=one_or_two, position=self.at(0.51, 1.0, draw=0))
        for n in range(1, 60):
            two = uniform(0, n, 0) >= 0.5
            if uniform(0, n, 1) < 0.3:  # a, the best by far; with two, whether the second is b or c is open
                assert sure(loose, sampling=one_or_two, position=n) is not two
        third_open = ByteVotes(1.0, 1.0, 1.0, {A: 0.6, B: 0.3, C: 0.1, 100: 0.09}, 1.09, 0.03)
        assert all(sure(third_open, sampling=one_or_two, position=n) for n in range(1, 60) if uniform(0, n, 1) < 0.3)

    def test_an_unknown_weight_counts_for_the_mass_that_it_weighs(self) -> None:
        """a .3, b .15 with a weight of .9 to 1.1: both scores are within .1 * .45 of that; with .1 / .45 nothing is."""
        unsure = ByteVotes(0.9, 1.0, 1.1, {A: 0.3, B: 0.15}, 0.45, 0.0)
        assert sure(unsure, sampling=self.TWO, position=self.at(0.0, 0.5))


class TestQuestions:
    def test_unlisted_mass_first_and_only_of_those_that_have_a_weight(self) -> None:
        """c had no piece for "y", so its weight is nothing. e: .5 + .9 * .3, a: .4 + .9 * .35, unlisted .9 * .35."""
        table = Table(("a", "b", "c", "d"))
        within = listed((b"w", 0.6), (b"v", 0.39), (b"yzz", 0.01))
        table.answer(a=listed((b"yes", 0.5), (b"yam", 0.4), (b"x", 0.1)), b=surely(b"y"), c=surely(b"x"), d=within)
        table.answer(b=listed((b"a", 0.35), (b"e", 0.3)), c=listed((b"s", 0.3), (b"e", 0.29)))
        assert table.commands == [e.RequestMarginals("b", 6, 1, b"")]

    def test_where_all_is_listed_the_debts_are_asked_about(self) -> None:
        """b moved past "a" with .6 + .1 or up to .2 more behind it: what it says about "c" hangs on that."""
        table = Table(("a", "b"))
        table.answer(a=listed((b"acx", 0.78), (b"adx", 0.22)), b=listed((b"a", 0.6), (b"ab", 0.1), (b"x", 0.1)))
        assert table.asked() == {"b": 1}
        table.answer(b=listed((b"d", 0.85), (b"c", 0.15)))
        # c: .78 + W * .15, d: .22 + W * .85 with W between .7 and .9; equal at W = .8
        assert table.commands == [e.RequestMarginals("b", 3, 0, b"a")]
        table.hear(e.MarginalsArrived("b", 3, 0.6, 0.0, masses(b=0.13)))
        assert table.text == b"ac"
        other = Table(("a", "b"))
        other.answer(a=listed((b"acx", 0.78), (b"adx", 0.22)), b=listed((b"a", 0.6), (b"ab", 0.1), (b"x", 0.1)))
        other.answer(b=listed((b"d", 0.85), (b"c", 0.15)))
        other.hear(e.MarginalsArrived("b", 3, 0.6, 0.0, masses(b=0.27)))
        assert other.text == b"ad"

    def test_without_carry_nobody_asks_about_a_weight(self) -> None:
        table = Table(("a", "b"), replace(BYTEWISE, carry=False))
        table.answer(a=listed((b"acx", 0.78), (b"adx", 0.22)), b=listed((b"a", 0.6), (b"ab", 0.1), (b"x", 0.1)))
        table.answer(b=listed((b"d", 0.85), (b"c", 0.15)))
        assert table.text == b"ad"  # .22 + .85 against .78 + .15

    def test_a_draw_that_is_not_certain_is_asked_about(self) -> None:
        position = next(n for n in range(1, 50) if 0.6130 < uniform(n, 1, 1) < 0.66)  # as a seed
        table = Table(("a",), replace(BYTEWISE, top_t=(2, 2)), seed=position)
        table.answer(a=listed((b"a", 0.6), (b"b", 0.3), (b"c", 0.07)))
        assert table.commands == [e.RequestMarginals("a", 1, 0, b"")]
        table.hear(e.MarginalsArrived("a", 1, 0.0, 0.0, masses(a=0.6, b=0.33, c=0.07)))
        chosen = "a" if uniform(position, 1, 1) < 0.6 / 0.93 else "b"
        assert table.text == chosen.encode()

    def test_it_is_the_draw_of_that_byte_that_must_be_certain(self) -> None:
        """As `test_a_draw_near_a_limit_is_not_certain` has it, here for the first byte of many answers."""
        for seed in range(40):
            table = Table(("a",), replace(BYTEWISE, top_t=(2, 2)), seed=seed)
            table.answer(a=listed((b"a", 0.6), (b"b", 0.3), (b"c", 0.07)))
            draw = uniform(seed, 1, 1)
            in_doubt = 0.57 / 0.93 <= draw < 0.63 / 0.87 or draw >= 0.87 / 0.93
            assert isinstance(table.commands[0], e.RequestMarginals) is in_doubt

    def test_each_byte_has_its_own_draw(self) -> None:
        for seed in range(20):
            table = Table(("a",), replace(BYTEWISE, top_t=(2, 2)), seed=seed)
            for position in range(1, 8):
                table.answer(a=listed((b"a", 0.6), (b"b", 0.4)))
                assert table.text[-1:] == (b"a" if uniform(seed, position, 1) < 0.6 else b"b")

    @pytest.mark.parametrize("top_t", [(2, 2), (1, 2)])
    def test_a_drawn_byte_is_no_piece_taken_at_once(self, top_t: tuple[int, int]) -> None:
        """Both models want "abc"; where b is drawn instead of a, they follow."""
        seed = next(n for n in range(999) if uniform(n, 1, 0) > 0.5 and uniform(n, 1, 1) > 0.9)
        table = Table(("m", "n"), replace(BYTEWISE, top_t=top_t), Watch(), seed=seed)
        table.answer(m=listed((b"abc", 0.8), (b"b", 0.2)), n=listed((b"abc", 0.8), (b"b", 0.2)))
        assert table.text == b"b"
        assert table.commits()[0].record.ranks == (("m", 1), ("n", 1))

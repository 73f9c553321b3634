"""When a model of bytewise voting moves, what it carries, and both hypotheses with ``exact=True``: by hand."""

from dataclasses import replace
from math import log

import pytest

from tests.unit.policies.bytewisekit import BYTEWISE, Table, Watch, listed, surely
from tokencollab.policies import events as e
from tokencollab.policies.bytewise_branch import END_SYMBOL, Branch, informed
from tokencollab.policies.bytewise_voter import (
    Debt,
    Doubt,
    Settled,
    Voter,
    at_prior,
    fresh,
    row_of,
    settle,
    weighed,
    with_marginals,
)
from tokencollab.protocol.candidates import Candidate, CandidateSet

EXACT = replace(BYTEWISE, exact=True)
NOTHING = (0.0,) * 256


def voter_at(*branches: Branch, prior: float = 1.0, start: float = 1.0, debts: tuple[Debt, ...] = ()) -> Voter:
    return weighed(fresh("m", prior, start, 0)._replace(branches=branches), start, debts)


def settled(voter: Voter, length: int, tail: bytes, **settings: object) -> Settled:
    result = settle(voter, length, tail, replace(BYTEWISE, **settings))  # type: ignore[arg-type]
    assert isinstance(result, Settled)
    return result


class TestOneBoundary:
    """e = .2 is known, D is .4 or up to .5, of which .05 at most may be behind any other piece."""

    INSIDE = Branch(3, 1.0, ((b"abc", 0.4),), 0.0, 0.4, 0.1, 0.05, 0.2, True)

    def test_staying_leaves_a_debt_of_f_through_d(self) -> None:
        result = settled(voter_at(self.INSIDE, start=2.0), 5, b"xyab")
        assert (result.opened, result.advanced) == (False, False)
        (debt,) = result.voter.debts
        assert debt[:3] == (3, b"ab", False)
        assert debt[3:] == pytest.approx((1 + 0.2 / 0.5, 1 + 0.2 / 0.4, 1 + 0.2 / 0.4))
        assert result.voter[4:7] == pytest.approx((2.8, 3.0, 3.0))
        assert result.voter.start == 2.0
        assert result.voter.branches == (self.INSIDE,)

    def test_what_may_be_exact_is_bounded_by_the_smallest_piece_listed(self) -> None:
        perhaps = self.INSIDE._replace(sure=False)
        (debt,) = settled(voter_at(perhaps), 5, b"ab").voter.debts
        assert debt.high == pytest.approx(1 + 0.25 / 0.4)
        small = self.INSIDE._replace(sure=False, unlisted=0.01)
        (debt,) = settled(voter_at(small), 5, b"ab").voter.debts
        assert debt.high == pytest.approx(1 + 0.21 / 0.4)
        none = self.INSIDE._replace(sure=False, exact=0.0)
        (debt,) = settled(voter_at(none), 5, b"ab").voter.debts
        assert debt[3:] == pytest.approx((1.0, 1.0, 1 + 0.05 / 0.4))

    def test_where_nothing_can_be_exact_nothing_changes(self) -> None:
        voter = voter_at(self.INSIDE._replace(exact=0.0), start=3.0, debts=(Debt(0, b"x", True, 0.4, 0.5, 0.6),))
        assert settled(voter, 5, b"ab") == Settled(voter, False, False)

    def test_moving_carries_the_mass_behind_the_bytes(self) -> None:
        result = settled(voter_at(self.INSIDE._replace(exact=0.6), start=2.0), 5, b"xyab")
        assert (result.opened, result.advanced) == (True, True)
        assert result.voter.debts == (Debt(3, b"ab", True, 1.0, 1.0, 1.1),)
        assert result.voter.branches == (Branch(5, 1.0),)

    def test_what_is_known_is_no_debt_but_after_one(self) -> None:
        known = self.INSIDE._replace(unlisted=0.0)
        result = settled(voter_at(known, start=2.0), 5, b"ab")
        assert result.voter.start == pytest.approx(3.0)
        assert result.voter.debts == ()
        before = (Debt(0, b"xyz", True, 0.4, 0.5, 0.6),)
        after = settled(voter_at(known, start=2.0, debts=before), 5, b"ab")
        assert after.voter.start == 2.0
        assert after.voter.debts == (*before, Debt(3, b"ab", False, 1.5, 1.5, 1.5))
        assert after.voter[4:7] == pytest.approx((1.2, 1.5, 1.8))


class TestMarginals:
    def test_they_settle_the_debts_of_their_place_alone(self) -> None:
        debts = (
            Debt(0, b"a", True, 0.4, 0.5, 0.6),
            Debt(1, b"b", False, 1.0, 1.1, 1.3),
            Debt(1, b"b", True, 0.7, 0.7, 0.7),
            Debt(1, b"bc", True, 0.2, 0.2, 0.5),
        )
        asked = ((5, 1, b"b"), (6, 0, b"a"))
        voter = voter_at(Branch(3, 1.0), start=2.0, debts=debts)._replace(marginals=asked)
        told = [0.0] * 256
        told[0] = told[255] = 0.2
        known = with_marginals(voter, 5, 3, 0.1, 0.0, tuple(told))
        assert known is not None
        assert known.debts == (debts[0], Debt(1, b"b", False, 1.25, 1.25, 1.25), debts[2], debts[3])
        assert known.marginals == (asked[1],)
        assert known[4:7] == pytest.approx((2 * 0.4 * 1.25 * 0.7 * 0.2, 2 * 0.5 * 1.25 * 0.14, 2 * 0.6 * 1.25 * 0.35))
        assert known.open_debts == [(0, b"a"), (1, b"bc")]

    def test_a_stay_after_which_nothing_follows_costs_nothing(self) -> None:
        voter = voter_at(Branch(3, 1.0), debts=(Debt(1, b"b", False, 1.0, 1.1, 1.3),))
        known = with_marginals(voter._replace(marginals=((5, 1, b"b"),)), 5, 3, 0.1, 0.0, NOTHING)
        assert known is not None
        assert known.weight == 1.0

    def test_only_the_branch_that_stands_there_learns_from_them(self) -> None:
        first, second = Branch(1, 0.5, unlisted=0.3), Branch(2, 0.5, unlisted=0.2)
        voter = voter_at(first, second)._replace(marginals=((5, 1, b"b"), (6, 1, b"bc")))
        late = with_marginals(voter, 5, 3, 0.1, 0.0, NOTHING)
        assert late is not None
        assert late.branches == (first, second)  # "b" is no longer all that is pending
        now = with_marginals(voter, 6, 3, 0.1, 0.0, NOTHING)
        assert now is not None
        assert now.branches[0] == first._replace(unlisted=0.0, exact=0.1, following=())
        assert now.branches[1] == second

    def test_masses_are_sorted_with_end_first(self) -> None:
        told = [0.0] * 256
        told[3], told[200] = 0.1, 0.2
        at = informed(Branch(0, 1.0), 0.0, 0.3, tuple(told), depth=0)
        assert at.following == ((END_SYMBOL, 0.3), (3, 0.1), (200, 0.2))
        assert at.listed == pytest.approx(0.6)

    def test_a_prior_is_all_that_a_common_boundary_leaves(self) -> None:
        voter = voter_at(Branch(3, 1.0), prior=2.5, start=0.1, debts=(Debt(1, b"b", False, 1.0, 1.1, 1.3),))
        assert at_prior(voter)[2:7] == (2.5, (), 2.5, 2.5, 2.5)


class TestBothHypotheses:
    """Text "ab". With 3/2 the model began a piece at 0, with 1/2 at 1: F is 3/2 (.2 + .3) + 1/2 (.1 + .6) = 1.1."""

    OLD = Branch(0, 1.5, ((b"abc", 0.3),), 0.0, 0.3, 0.1, 0.05, 0.2, True)
    NEW = Branch(1, 0.5, ((b"bd", 0.4), (b"bc", 0.2)), 0.0, 0.6, 0.2, 0.1, 0.1, True)

    def test_votes_are_added_up(self) -> None:
        row = row_of(voter_at(self.OLD, self.NEW, prior=2.0, start=0.5), 2, True)
        assert row.votes == pytest.approx({ord("c"): 0.55, ord("d"): 0.2})
        assert (row.listed, row.unlisted) == pytest.approx((0.75, 0.25))
        assert (row.low, row.weight, row.high) == (0.5, 0.5, 0.5)
        plain = row_of(voter_at(self.OLD, self.NEW, prior=2.0, start=0.5), 2, False)
        assert (plain.low, plain.weight, plain.high) == pytest.approx((2.0, 2.0, 2.0))

    def test_both_are_followed_with_their_new_shares(self) -> None:
        result = settled(voter_at(self.OLD, self.NEW, start=2.0), 2, b"ab", exact=True)
        assert result[1:] == (True, False)
        assert [b.boundary for b in result.voter.branches] == [0, 1, 2]
        assert [b.share for b in result.voter.branches] == pytest.approx([1.5 / 1.1, 0.5 / 1.1, 0.35 / 1.1])
        assert result.voter.branches[0] == self.OLD._replace(share=result.voter.branches[0].share)
        assert result.voter.weight == pytest.approx(2.2)
        assert result.voter.debts == ()

    def test_the_boundary_moves_where_stopping_is_more_probable(self) -> None:
        """.35 / 1.1 = .318 is above .3 and below .35; what is unlisted must be known, unless nothing is carried."""
        sure = (self.OLD._replace(unlisted=0.0), self.NEW._replace(unlisted=0.0))
        assert settled(voter_at(*sure), 2, b"ab", exact=True, commit=0.3)[1:] == (True, True)
        assert settled(voter_at(*sure), 2, b"ab", exact=True, commit=0.35)[1:] == (True, False)
        for commit in (0.2, 0.3):
            for branches, doubtful in (((self.OLD, sure[1]), (0,)), ((sure[0], self.NEW), (1,))):
                assert settle(voter_at(*branches), 2, b"ab", replace(EXACT, commit=commit)) == Doubt(doubtful)
        assert settle(voter_at(self.OLD, self.NEW), 2, b"ab", replace(EXACT, commit=0.2)) == Doubt((0, 1))
        assert settled(voter_at(self.OLD, self.NEW), 2, b"ab", exact=True, commit=0.2, carry=False)[1:] == (True, True)

    def test_what_may_be_exact_is_asked_about(self) -> None:
        perhaps = self.NEW._replace(sure=False)
        assert settle(voter_at(self.OLD, perhaps), 2, b"ab", EXACT) == Doubt((1,))
        assert settle(voter_at(self.OLD._replace(sure=False), perhaps), 2, b"ab", EXACT) == Doubt((0, 1))
        small = perhaps._replace(share=1e-8)
        assert not isinstance(settle(voter_at(self.OLD, small), 2, b"ab", EXACT), Doubt)
        only_longer = perhaps._replace(exact=0.0, unlisted=0.0)
        assert not isinstance(settle(voter_at(self.OLD, only_longer), 2, b"ab", EXACT), Doubt)

    def test_a_boundary_of_no_consequence_is_dropped(self) -> None:
        faint = self.NEW._replace(share=1e-6)
        result = settled(voter_at(self.OLD, faint), 2, b"ab", exact=True)
        assert [b.boundary for b in result.voter.branches] == [0, 2]
        ends = self.NEW._replace(pieces=(), listed=0.0, unlisted=0.0)
        assert [b.boundary for b in settled(voter_at(self.OLD, ends), 2, b"ab", exact=True).voter.branches] == [0, 2]
        hidden = self.NEW._replace(pieces=(), listed=0.0, unlisted=0.1)
        kept = settled(voter_at(self.OLD, hidden), 2, b"ab", exact=True)
        assert [b.boundary for b in kept.voter.branches] == [0, 1, 2]
        unlikely = settled(voter_at(self.OLD._replace(exact=1e-8)), 2, b"ab", exact=True)
        assert unlikely[1:] == (False, False)
        assert [b.boundary for b in unlikely.voter.branches] == [0]

    def test_where_no_piece_matches_the_tail_is_cut_afresh_without_weight(self) -> None:
        gone = Branch(0, 1.0)
        result = settled(voter_at(gone, gone._replace(boundary=1), start=2.0), 2, b"ab", exact=True)
        assert result[1:] == (True, True)
        assert result.voter.branches == (Branch(2, 1.0),)
        assert result.voter[4:7] == (0.0, 0.0, 0.0)
        assert result.voter.debts == ()


class TestCourse:
    @pytest.mark.parametrize(("commit", "text"), [(0.75, b"ab"), (0.8, b"abc")])
    def test_a_piece_is_whole_when_stopping_is_probable_enough(self, commit: float, text: bytes) -> None:
        """.7 / (.7 + .2) = .78."""
        table = Table(("a",), replace(BYTEWISE, commit=commit))
        table.answer(a=listed((b"ab", 0.7), (b"abc", 0.2), (b"x", 0.1)))
        assert table.text == text

    @pytest.mark.parametrize(("commit", "text"), [(0.35, b"a"), (0.4, b"ab")])
    def test_so_is_a_shorter_one_on_the_way(self, commit: float, text: bytes) -> None:
        """.35 / (.35 + .6) = .37."""
        table = Table(("a",), replace(BYTEWISE, commit=commit))
        table.answer(a=listed((b"ab", 0.62), (b"a", 0.36), (b"x", 0.02)))
        assert table.text == text

    def test_a_list_of_end_alone(self) -> None:
        table = Table(("a", "b"))
        table.answer(a=listed((None, 1.0)), b=listed((None, 1.0)))
        assert table.stopped() == "end"

    def test_exactly_both_hypotheses_vote(self) -> None:
        """After "a" (e .2, D .4): "b" has 2/3 of one piece and 1/3 * .2 of two, "c" 1/3 * .8 of two."""
        table = Table(("a",), EXACT)
        table.answer(a=listed((b"ab", 0.4), (b"x", 0.4), (b"a", 0.2)))
        assert (table.text, table.asked()) == (b"a", {"a": 1})
        table.answer(a=listed((b"c", 0.8), (b"b", 0.2)))
        assert table.text == b"ab"
        (voter,) = table.state.voters
        assert voter.branches == (Branch(2, 1.0),)  # at "ab" no piece goes on
        assert voter.weight == 1.0

    def test_exactly_a_newly_asked_model_answers_for_its_last_boundary(self) -> None:
        table = Table(("a", "b"), EXACT)
        table.answer(a=listed((b"abx", 0.4), (b"x", 0.4), (b"a", 0.2)), b=surely(b"a"))
        table.answer(a=listed((b"by", 0.5), (b"c", 0.5)), b=listed((b"b", 0.5), (b"c", 0.5)))
        # a: "b" .4 + .2 * .5 = .5 of .6; b: .9 * .5. "c" has .1 + .45
        assert table.text == b"ab"
        voter = table.state.voters[0]
        assert [b.boundary for b in voter.branches] == [0, 1]
        assert [piece for b in voter.branches for piece, _ in b.pieces] == [b"abx", b"by"]

    def test_without_a_word_to_say_and_nothing_carried(self) -> None:
        table = Table(("a",), replace(BYTEWISE, carry=False))
        table.answer(a=CandidateSet((Candidate(b"x", 0.0, -2000.0),), 0.0))
        (question,) = table.commands
        assert isinstance(question, e.Marginals)
        table.hear(e.MarginalsArrived("a", question.question, 0.0, 0.0, NOTHING))
        assert table.stopped() == "failed"

    def test_weights_that_fade_are_kept_in_proportion(self) -> None:
        table = Table(("a", "b"), replace(BYTEWISE, weights=(("a", 1e-150), ("b", 3e-150))))
        table.answer(a=surely(b"84"), b=surely(b"8"))
        assert [voter.weight for voter in table.state.voters] == pytest.approx([1 / 2.7, 1.0])
        assert [voter.prior for voter in table.state.voters] == [1e-150, 3e-150]

    def test_the_bases_own_probability_of_its_step(self) -> None:
        """ "a" has .7 of all, then "b" .6 of the .7 that is listed there; what is not listed ends nowhere."""
        table = Table(("a",), leaving=Watch(watch=3))
        table.answer(a=listed((b"ab", 0.6), (b"ac", 0.1)))
        assert table.text == b"ab"
        assert table.state.exit[0].base_logprob == pytest.approx(log(0.7) + log(0.6 / 0.7))
        assert table.state.logprob == 0.0

    def test_what_is_not_listed_counts_where_nothing_is_pending(self) -> None:
        table = Table(("a",), leaving=Watch(watch=3))
        table.answer(a=listed((b"x", 0.7), (b"y", 0.1)))
        assert table.state.exit[0].base_logprob == pytest.approx(log(0.7))

    def test_exactly_only_the_branch_in_doubt_is_asked_about(self) -> None:
        """After "ab" the first branch has "ab" listed; whether the second has a piece "b" is not known."""
        table = Table(("a",), EXACT)
        table.answer(a=listed((b"a", 0.4), (b"ab", 0.3), (b"abc", 0.2)))
        assert table.asked() == {"a": 1}
        table.answer(a=listed((b"bc", 0.9)))
        assert [c for c in table.commands if isinstance(c, e.Marginals)] == [e.Marginals("a", 2, 1, b"b")]

    def test_a_base_without_a_vote_has_no_probability(self) -> None:
        table = Table(("b", "a"), leaving=Watch(watch=3))
        table.answer(a=surely(b"x"), b=CandidateSet((Candidate(b"x", 0.0, -2000.0),), 0.0))
        table.hear(e.MarginalsArrived("b", 2, 0.0, 0.0, NOTHING))
        assert table.text == b"x"
        assert table.state.exit[0].base_logprob is None

    def test_decisive_models_add_up_over_a_step(self) -> None:
        """8 has .6 + .9 + 1.1 * .2, 9 has .4 + 1.1 * .8; then 4 has .6 + .22 + .9 * .3, 5 has .9 * .7."""
        table = Table(("a", "b", "c"), replace(BYTEWISE, weights=(("c", 1.1),)), Watch())
        table.answer(a=listed((b"84", 0.6), (b"9", 0.4)), b=surely(b"8"), c=listed((b"9", 0.8), (b"84", 0.2)))
        assert table.state.decisive == {"b"}
        table.answer(b=listed((b"5", 0.7), (b"4", 0.3)))
        assert table.text == b"84"
        assert table.state.exit[0].decisive == {"a", "b"}
        assert table.state.decisive == frozenset()

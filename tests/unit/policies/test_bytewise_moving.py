"""When a model of bytewise voting moves, and what it carries: by hand."""

from dataclasses import replace

import pytest

from tests.unit.policies.bytewisekit import BYTEWISE, Table, Watch, listed, surely
from tokencollab.policies import events as e
from tokencollab.policies.bytewise_branch import EOS_SYMBOL, Branch, informed
from tokencollab.policies.bytewise_voter import (
    Debt,
    Settled,
    Voter,
    at_prior,
    fresh,
    settle,
    weighed,
    with_marginals,
)
from tokencollab.protocol.candidates import Candidate, CandidateSet

NOTHING = (0.0,) * 256


def voter_at(branch: Branch, prior: float = 1.0, start: float = 1.0, debts: tuple[Debt, ...] = ()) -> Voter:
    return weighed(fresh("m", prior, start, 0)._replace(branch=branch), start, debts)


def settled(voter: Voter, length: int, tail: bytes, **settings: object) -> Settled:
    result = settle(voter, length, tail, replace(BYTEWISE, **settings))
    assert isinstance(result, Settled)
    return result


class TestOneBoundary:
    """e = .2 is known, D is .4 or up to .5, of which .05 at most may be behind any other piece."""

    INSIDE = Branch(3, ((b"abc", 0.4),), 0.0, 0.4, 0.1, 0.05, 0.2, True)

    def test_staying_leaves_a_debt_of_f_through_d(self) -> None:
        result = settled(voter_at(self.INSIDE, start=2.0), 5, b"xyab")
        assert not result.moved
        (debt,) = result.voter.debts
        assert debt[:3] == (3, b"ab", False)
        assert debt[3:] == pytest.approx((1 + 0.2 / 0.5, 1 + 0.2 / 0.4, 1 + 0.2 / 0.4))
        assert result.voter[4:7] == pytest.approx((2.8, 3.0, 3.0))
        assert result.voter.start == 2.0
        assert result.voter.branch == self.INSIDE

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
        assert settled(voter, 5, b"ab") == Settled(voter, False)

    def test_moving_carries_the_mass_behind_the_bytes(self) -> None:
        result = settled(voter_at(self.INSIDE._replace(exact=0.6), start=2.0), 5, b"xyab")
        assert result.moved
        assert result.voter.debts == (Debt(3, b"ab", True, 1.0, 1.0, 1.1),)
        assert result.voter.branch == Branch(5)

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
        voter = voter_at(Branch(3), start=2.0, debts=debts)._replace(marginals=asked)
        told = [0.0] * 256
        told[0] = told[255] = 0.2
        known = with_marginals(voter, 5, 3, 0.1, 0.0, tuple(told))
        assert known is not None
        assert known.debts == (debts[0], Debt(1, b"b", False, 1.25, 1.25, 1.25), debts[2], debts[3])
        assert known.marginals == (asked[1],)
        assert known[4:7] == pytest.approx((2 * 0.4 * 1.25 * 0.7 * 0.2, 2 * 0.5 * 1.25 * 0.14, 2 * 0.6 * 1.25 * 0.35))
        assert known.open_debts == [(0, b"a"), (1, b"bc")]

    def test_a_stay_after_which_nothing_follows_costs_nothing(self) -> None:
        voter = voter_at(Branch(3), debts=(Debt(1, b"b", False, 1.0, 1.1, 1.3),))
        known = with_marginals(voter._replace(marginals=((5, 1, b"b"),)), 5, 3, 0.1, 0.0, NOTHING)
        assert known is not None
        assert known.weight == 1.0

    def test_a_voter_learns_from_them_only_where_it_stands(self) -> None:
        branch = Branch(1, unlisted=0.3)
        voter = voter_at(branch)._replace(marginals=((5, 1, b"b"), (6, 1, b"bc"), (7, 0, b"abc")))
        late = with_marginals(voter, 5, 3, 0.1, 0.0, NOTHING)
        assert late is not None
        assert late.branch == branch  # "b" is no longer all that is pending
        now = with_marginals(voter, 6, 3, 0.1, 0.0, NOTHING)
        assert now is not None
        assert now.branch == branch._replace(unlisted=0.0, exact=0.1, following=())
        elsewhere = with_marginals(voter, 7, 3, 0.1, 0.0, NOTHING)
        assert elsewhere is not None
        assert elsewhere.branch == branch

    def test_masses_are_sorted_with_end_first(self) -> None:
        told = [0.0] * 256
        told[3], told[200] = 0.1, 0.2
        at = informed(Branch(0), 0.0, 0.3, tuple(told), depth=0)
        assert at.following == ((EOS_SYMBOL, 0.3), (3, 0.1), (200, 0.2))
        assert at.listed == pytest.approx(0.6)

    def test_a_prior_is_all_that_a_common_boundary_leaves(self) -> None:
        voter = voter_at(Branch(3), prior=2.5, start=0.1, debts=(Debt(1, b"b", False, 1.0, 1.1, 1.3),))
        assert at_prior(voter)[2:7] == (2.5, (), 2.5, 2.5, 2.5)


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

    def test_without_a_word_to_say_and_nothing_carried(self) -> None:
        table = Table(("a",), replace(BYTEWISE, carry=False))
        table.answer(a=CandidateSet((Candidate(b"x", 0.0, -2000.0),), 0.0))
        (question,) = table.commands
        assert isinstance(question, e.RequestMarginals)
        table.hear(e.MarginalsArrived("a", question.question, 0.0, 0.0, NOTHING))
        assert table.stopped() == "failed"

    def test_weights_that_fade_are_kept_in_proportion(self) -> None:
        table = Table(("a", "b"), replace(BYTEWISE, weights=(("a", 1e-150), ("b", 3e-150))))
        table.answer(a=surely(b"84"), b=surely(b"8"))
        assert [voter.weight for voter in table.state.voters] == pytest.approx([1 / 2.7, 1.0])
        assert [voter.prior for voter in table.state.voters] == [1e-150, 3e-150]

    def test_decisive_models_add_up_over_a_step(self) -> None:
        """8 has .6 + .9 + 1.1 * .2, 9 has .4 + 1.1 * .8; then 4 has .6 + .22 + .9 * .3, 5 has .9 * .7."""
        table = Table(("a", "b", "c"), replace(BYTEWISE, weights=(("c", 1.1),)), Watch())
        table.answer(a=listed((b"84", 0.6), (b"9", 0.4)), b=surely(b"8"), c=listed((b"9", 0.8), (b"84", 0.2)))
        assert table.state.decisive == {"b"}
        table.answer(b=listed((b"5", 0.7), (b"4", 0.3)))
        assert table.text == b"84"
        assert table.state.exit[0].decisive == {"a", "b"}
        assert table.state.decisive == frozenset()

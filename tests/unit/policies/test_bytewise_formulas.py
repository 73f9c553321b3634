"""The formulas of bytewise voting (docs/specification.md section 9) on numbers worked out by hand."""

import pytest

from tests.support.byte_table import BYTEWISE
from tests.support.candidates import listed
from tokencollab.policies.bytewise.branch import EOS_SYMBOL, Branch, branch_from, follow, informed, votes_of
from tokencollab.policies.bytewise.decision import (
    best_of,
    certain,
    choose,
    decisive_in,
    misses,
    piece_of,
    scores_of,
)
from tokencollab.policies.bytewise.voter import (
    ByteVotes,
    Debt,
    Settled,
    Voter,
    after_byte,
    answered,
    at_prior,
    backing,
    fresh,
    moves,
    row_of,
    settle,
    weighed,
    with_marginals,
)
from tokencollab.policies.bytewise.voting import refreshed
from tokencollab.policies.methods import parse_method, sampling_of
from tokencollab.protocol.candidates import CandidateSet

GREEDY = sampling_of(BYTEWISE, 0)


def voter_of(candidates: CandidateSet, prior: float = 1.0) -> Voter:
    return fresh("m", prior, prior, 0)._replace(branch=branch_from(0, candidates))


def told(exact: float, **following: float) -> tuple[float, float, tuple[float, ...]]:
    masses = [0.0] * 256
    for letter, mass in following.items():
        masses[ord(letter)] = mass
    return exact, 0.0, tuple(masses)


AN = listed((b" the", 0.3), (b" a", 0.25), (b" an", 0.2), (b"x", 0.1), (None, 0.05))


class TestBranch:
    def test_masses_of_a_list(self) -> None:
        branch = branch_from(7, AN)
        assert branch.boundary == 7
        assert branch.end == pytest.approx(0.05)
        assert branch.listed == pytest.approx(0.9)
        assert branch.unlisted == pytest.approx(0.1)
        assert branch.largest == pytest.approx(0.05)
        assert [piece for piece, _ in branch.pieces] == [b" the", b" a", b" an", b"x"]

    def test_mass_within_rounding_is_not_unlisted(self) -> None:
        assert branch_from(0, listed((b"a", 0.6), (b"b", 0.3999995))).unlisted == 0.0
        assert branch_from(0, listed((b"a", 0.6), (b"b", 0.39999))).unlisted == pytest.approx(1e-5)
        assert branch_from(0, listed((b"a", 0.7), (b"b", 0.3001))).unlisted == 0.0

    def test_votes_gather_the_mass_behind_each_next_byte(self) -> None:
        votes = votes_of(branch_from(0, AN), 0)
        assert votes == pytest.approx({ord(" "): 0.75, ord("x"): 0.1, EOS_SYMBOL: 0.05})
        assert votes_of(follow(branch_from(0, AN), 0, ord(" ")), 1) == pytest.approx({ord("t"): 0.3, ord("a"): 0.45})

    def test_following_a_byte(self) -> None:
        space = follow(branch_from(0, AN), 0, ord(" "))
        assert (space.exact, space.sure) == (0.0, False)
        assert space.listed == pytest.approx(0.75)
        assert space.end == 0.0
        a = follow(space, 1, ord("a"))
        assert [a.exact, a.listed] == pytest.approx([0.25, 0.2])
        assert a.sure
        assert a.unlisted == pytest.approx(0.1)

    def test_a_byte_is_backed_by_more_than_half_of_all_mass(self) -> None:
        voter = answered(fresh("m", 1.0, 1.0, 5), listed((b"ab", 0.4), (b"b", 0.25), (b"a", 0.1), (b"ac", 0.05)))
        after = backing(voter, 5, ord("a"))  # 0.55 of 1, of which 0.2 is not listed
        assert after == after_byte(voter, 5, ord("a"), missed=False)
        assert backing(voter, 5, ord("b")) is None
        half = answered(fresh("m", 1.0, 1.0, 5), listed((b"ab", 0.5), (b"b", 0.3)))
        assert backing(half, 5, ord("a")) is None

    def test_exact_masses_replace_the_bounds_and_reach_one_byte_further(self) -> None:
        space = follow(branch_from(0, AN), 0, ord(" "))
        known = informed(space, *told(0.01, t=0.3, a=0.46, o=0.02), depth=1)
        assert (known.exact, known.sure, known.unlisted) == (0.01, True, 0.0)
        assert known.listed == pytest.approx(0.78)
        assert votes_of(known, 1) == {ord("t"): 0.3, ord("a"): 0.46, ord("o"): 0.02}
        a = follow(known, 1, ord("a"))
        assert a.unlisted == pytest.approx(0.01)  # 0.46 behind " a", of which 0.45 is listed
        assert a.following is None
        assert follow(known, 1, ord("t")).unlisted == 0.0
        assert follow(known, 1, ord("z")) == Branch(0, largest=known.largest)

    def test_end_counts_at_the_boundary_only(self) -> None:
        branch = branch_from(0, AN)
        at = informed(branch, 0.3, 0.06, told(0.0, x=0.94)[2], depth=0)
        assert votes_of(at, 0) == {EOS_SYMBOL: 0.06, ord("x"): 0.94}
        assert at.exact == 0.0  # nothing is pending that a piece could equal
        inside = informed(branch, 0.3, 0.06, told(0.0, x=0.5)[2], depth=1)
        assert votes_of(inside, 1) == {ord("x"): 0.5}
        assert inside.exact == 0.3


class TestMoving:
    @pytest.mark.parametrize(
        ("e", "d", "commit", "moved"),
        [
            (0.3, 0.2, 0.5, True),  # .6 > .5
            (0.2, 0.2, 0.5, False),  # .5 is not above .5
            (0.2, 0.3, 0.5, False),
            (0.2, 0.3, 0.3, True),  # .4 > .3
            (0.2, 0.0, 1.0, True),  # no longer piece
            (0.2, 0.1, 1.0, False),
            (0.1, 0.9, 0.0, True),
            (0.0, 0.4, 0.0, False),
            (0.0, 0.0, 0.5, True),  # no piece matches: tokenised afresh
        ],
    )
    def test_what_is_known(self, e: float, d: float, commit: float, moved: bool) -> None:
        assert moves(e, e, d, d, commit) is moved

    @pytest.mark.parametrize(
        ("e_low", "e_high", "d_low", "d_high", "moved"),
        [
            (0.3, 0.3, 0.1, 0.2, True),
            (0.3, 0.3, 0.1, 0.3, None),  # .3 / (.3 + .3) is not above a half
            (0.1, 0.1, 0.1, 0.4, False),
            (0.0, 0.1, 0.1, 0.4, False),
            (0.0, 0.2, 0.1, 0.4, None),
            (0.0, 0.1, 0.0, 0.1, None),  # nothing listed: perhaps nothing matches
            (0.0, 0.0, 0.0, 0.1, None),
            (0.3, 0.3, 0.0, 0.0, True),
        ],
    )
    def test_bounds(self, e_low: float, e_high: float, d_low: float, d_high: float, moved: bool | None) -> None:
        assert moves(e_low, e_high, d_low, d_high, 0.5) is moved

    def test_a_vote_taken_multiplies_the_weight_and_a_move_carries_it(self) -> None:
        """Prior 2; " a" has .25 + .2 behind it and .25 / (.25 + .2) > 1/2, if nothing unlisted is longer."""
        voter = voter_of(listed((b" the", 0.3), (b" a", 0.25), (b" an", 0.2), (b"x", 0.25)), prior=2.0)
        voter = after_byte(voter, 0, ord(" "), False)
        stayed = settle(voter, 1, b" ", BYTEWISE)
        assert isinstance(stayed, Settled)
        assert not stayed.moved
        assert stayed.voter.weight == 2.0
        moved = settle(after_byte(stayed.voter, 1, ord("a"), True), 2, b" a", BYTEWISE)
        assert isinstance(moved, Settled)
        assert moved.moved
        assert moved.voter.weight == pytest.approx(2 * 0.45)
        assert (moved.voter.low, moved.voter.high, moved.voter.debts) == (moved.voter.weight,) * 2 + ((),)
        assert moved.voter.branch == Branch(2)
        assert moved.voter.misses == 1

    def test_staying_at_an_exact_match_renormalises(self) -> None:
        """c(a) = .6, then e = .2 and D = .4: W is 1 * F / D = 1.5, and W * F(" ab") / 1 = 1.5 * .4 = .6 * 1."""
        voter = after_byte(voter_of(listed((b"ab", 0.4), (b"x", 0.4), (b"a", 0.2))), 0, ord("a"), False)
        settled = settle(voter, 1, b"a", BYTEWISE)
        assert isinstance(settled, Settled)
        assert not settled.moved
        assert settled.voter.weight == pytest.approx(1.5)
        row = row_of(settled.voter, 1, True)
        assert row.weight * row.votes[ord("b")] == pytest.approx(0.6)

    def test_unlisted_mass_makes_a_debt_which_marginals_settle(self) -> None:
        voter = after_byte(voter_of(listed((b"a", 0.6), (b"x", 0.2), (b"ab", 0.1))), 0, ord("a"), False)
        moved = settle(voter, 1, b"a", BYTEWISE)
        assert isinstance(moved, Settled)
        (debt,) = moved.voter.debts
        assert debt[:3] == (0, b"a", True)
        assert [debt.low, debt.weight, debt.high] == pytest.approx([0.7, 0.7, 0.8])
        assert [moved.voter.low, moved.voter.high] == pytest.approx([0.7, 0.8])
        assert moved.voter.open_debts == [(0, b"a")]
        asked = moved.voter._replace(marginals=((9, 0, b"a"),))
        assert with_marginals(asked, 8, 1, *told(0.6, b=0.13)) is None
        known = with_marginals(asked, 9, 1, *told(0.6, b=0.13))
        assert known is not None
        assert known.marginals == ()
        assert known.low == known.weight == known.high == pytest.approx(0.73)
        assert known.open_debts == []
        assert known.branch == moved.voter.branch  # the new boundary is not what was asked about

    def test_a_debt_of_staying(self) -> None:
        debt = Debt(0, b"a", False, 0.8, 1.0, 1.2)
        voter = weighed(voter_of(AN), 0.5, (debt,))._replace(marginals=((3, 0, b"a"),))
        assert (voter.low, voter.weight, voter.high) == (0.4, 0.5, 0.6)
        known = with_marginals(voter, 3, 5, *told(0.1, b=0.4))
        assert known is not None
        assert known.weight == pytest.approx(0.5 * 0.5 / 0.4)
        assert at_prior(known).debts == ()
        assert at_prior(known).weight == 1.0

    def test_nothing_listed_is_a_doubt_and_nothing_at_all_means_afresh(self) -> None:
        voter = after_byte(voter_of(AN), 0, ord("z"), True)
        assert settle(voter, 1, b"z", BYTEWISE) is None
        known = with_marginals(voter._replace(marginals=((1, 0, b"z"),)), 1, 1, *told(0.0))
        assert known is not None
        moved = settle(known, 1, b"z", BYTEWISE)
        assert isinstance(moved, Settled)
        assert moved.moved
        assert moved.voter.weight == moved.voter.high == 0.0

    def test_weights_that_fade_are_scaled_up_together(self) -> None:
        tiny = [voter_of(AN, prior=1e-120), voter_of(AN, prior=3e-120)]
        assert [v.weight for v in refreshed(tiny)] == pytest.approx([1 / 3, 1.0])
        small = [voter_of(AN, prior=1e-120), voter_of(AN, prior=1e-90)]
        assert refreshed(small) == small
        gone = [voter_of(AN, prior=0.0)]
        assert refreshed(gone) == gone


class TestDecision:
    def test_carried_weights_and_plain_votes(self) -> None:
        voter = voter_of(AN, prior=2.0)._replace(low=0.4, weight=0.5, high=0.6)
        carried = row_of(voter, 0, True)
        assert (carried.low, carried.weight, carried.high) == (0.4, 0.5, 0.6)
        plain = row_of(after_byte(voter, 0, ord(" "), False), 1, False)
        assert plain.low == plain.weight == plain.high == pytest.approx(2.0 / (0.75 + 0.1))

    def test_two_short_words_beat_a_longer_one_byte_by_byte(self) -> None:
        branch = follow(branch_from(0, AN), 0, ord(" "))
        row = ByteVotes(1.0, 1.0, 1.0, votes_of(branch, 1), branch.listed, branch.unlisted)
        scores = scores_of([row])
        assert best_of(scores) == ord("a")
        assert certain([row], scores, ord("a"), GREEDY, 2)  # .45 - .3 > .1

    def test_ties_go_to_end_then_to_the_smaller_byte(self) -> None:
        assert best_of({98: 0.5, 97: 0.5}) == 97
        assert best_of({0: 0.5, EOS_SYMBOL: 0.5}) == EOS_SYMBOL
        assert piece_of(EOS_SYMBOL) is None
        assert piece_of(0) == b"\0"

    def test_a_lead_must_exceed_what_was_not_listed(self) -> None:
        for unlisted, sure in ((0.0, True), (0.19, True), (0.21, False)):
            row = ByteVotes(1.0, 1.0, 1.0, {97: 0.5, 98: 0.3}, 0.8, unlisted)
            assert certain([row], scores_of([row]), 97, GREEDY, 1) is sure

    def test_a_symbol_that_nobody_lists_may_win_too(self) -> None:
        row = ByteVotes(1.0, 1.0, 1.0, {97: 0.3}, 0.3, 0.31)
        assert not certain([row], scores_of([row]), 97, GREEDY, 1)

    def test_a_common_doubt_about_a_weight_does_not_matter_alone_but_does_against_another(self) -> None:
        wide = ByteVotes(0.1, 0.5, 1.0, {97: 0.5, 98: 0.3}, 0.8, 0.1)
        assert certain([wide], scores_of([wide]), 97, GREEDY, 1)
        other = ByteVotes(1.0, 1.0, 1.0, {98: 0.06}, 0.06, 0.0)
        rows = [wide, other]
        assert best_of(scores_of(rows)) == 97
        assert not certain(rows, scores_of(rows), 97, GREEDY, 1)  # .1 * (.5 - .3 - .1) < .06

    def test_models_that_decide_alone(self) -> None:
        a, b, c = (ByteVotes(1.0, 1.0, 1.0, votes, 1.0, 0.0) for votes in ({97: 0.6, 98: 0.4}, {98: 1.0}, {97: 0.9}))
        assert scores_of([a, b, c]) == pytest.approx({97: 1.5, 98: 1.4})
        assert decisive_in([a, b, c], 97) == [0, 2]
        assert decisive_in([a], 97) == []

    def test_a_model_misses_where_its_own_first_choice_is_another(self) -> None:
        row = ByteVotes(1.0, 1.0, 1.0, {97: 0.4, 98: 0.4, 99: 0.2}, 1.0, 0.0)
        assert [misses(row, x) for x in (97, 98, 99, 100)] == [False, True, True, True]
        assert not misses(ByteVotes(1.0, 1.0, 1.0, {97: 0.6, 98: 0.4}, 1.0, 0.0), 97)

    def test_sampling_is_certain_only_well_inside_a_piece(self) -> None:
        sampling = sampling_of(parse_method("bytewise", top_t=(2, 2)), 0)
        for position in range(1, 200):
            exact = ByteVotes(1.0, 1.0, 1.0, {97: 0.5, 98: 0.3, 99: 0.1}, 0.9, 0.0)
            loose = exact._replace(unlisted=0.05)
            scores = scores_of([exact])
            chosen = choose(scores, sampling, position)
            assert chosen in (97, 98)
            assert certain([exact], scores, chosen, sampling, position)
            assert not certain([exact._replace(unlisted=0.21)], scores, chosen, sampling, position)
            if certain([loose], scores, chosen, sampling, position):
                assert choose({97: 0.5, 98: 0.35, 99: 0.1}, sampling, position) == chosen
                assert choose({97: 0.55, 98: 0.3, 99: 0.1}, sampling, position) == chosen

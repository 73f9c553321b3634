"""Exit policies: ConfiPara by hand, its ablations, and those of our own."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import pytest

from tokencollab.policies.evidence import Evidence, ExitPolicy, Verdict
from tokencollab.policies.methods import parse_method

Ranks = Mapping[str, int | None]


def steps(exit_policy: ExitPolicy[object], *ranks: Ranks, base: str = "b") -> list[Verdict]:
    state = exit_policy.start(base)
    verdicts = []
    for number, entry in enumerate(ranks, start=1):
        state, verdict = exit_policy.observe(state, Evidence(number, base, tuple(sorted(entry.items()))))
        verdicts.append(verdict)
    return verdicts


def exit_of(name: str, **settings: Any) -> ExitPolicy[object]:
    return parse_method("dp", exit=name, **settings).exit_policy


def test_confipara_by_hand() -> None:
    """omega = 2, rho = 1.5: agreement, a miss, two wins; figures worked out with pencil and paper."""
    policy = exit_of("self-efficacy", omega=2, theta=0.3, rho=1.5, eps=0.05)
    ranks: list[Ranks] = [{"a": 0, "b": 0}, {"a": 0, "b": 1}, {"a": None, "b": 0}, {"a": 3, "b": 2}]
    first, second, third, fourth = [verdict.efficacy for verdict in steps(policy, *ranks)]
    assert first is not None
    assert (first.s, first.f, first.st, first.rt, first.t0) == (2.0, 1.0, None, 0.5, 0.0)
    # window 1: base 1 win, 1 loss: 2 / 4.5; a 2 wins: 3 / 4; base is more than eps behind: unreliable
    assert second is not None
    assert (second.s, second.f, second.st) == (2.0, 2.5, 2 / 4.5)
    assert (second.s_w, second.f_w, second.rt) == (1.0, 2.5, 1 / 3.5)
    assert second.t0 == (2 / 4.5) * (1 / 3.5)
    assert third is not None
    assert (third.s, third.f, third.rt) == (3.0, 2.5, 1 / 3.5)
    # window 2: base 2 wins: 3 / 4; a 2 losses: 1 / 5: reliable
    assert fourth is not None
    assert (fourth.s_w, fourth.f_w, fourth.rt) == (2.0, 2.5, 2 / 4.5)
    assert fourth.st == 4 / 6.5
    assert [verdict.alone for verdict in steps(policy, *ranks)] == [False, False, False, False]
    eager = exit_of("self-efficacy", omega=2, theta=(4 / 6.5) * (2 / 4.5) - 1e-12)
    assert [verdict.alone for verdict in steps(eager, *ranks)] == [False, False, False, True]
    exactly = exit_of("self-efficacy", omega=2, theta=(4 / 6.5) * (2 / 4.5))
    assert not steps(exactly, *ranks)[-1].alone  # T0 must be above theta


@pytest.mark.parametrize("collaborators", [1, 2, 3, 4])
@pytest.mark.parametrize("agreed", range(1, 9))
def test_a_t0_that_equals_theta_stays(collaborators: int, agreed: int) -> None:
    """With windows of one step; two collaborators give 7/8 * 4/5 = 0.7 after three steps."""
    duels = agreed * collaborators
    theta = Fraction(1 + duels, 2 + duels) * Fraction(1 + agreed, 2 + agreed)
    ranks: list[Ranks] = [dict.fromkeys(["b", *"acde"[:collaborators]], 0)] * 10
    verdicts = steps(exit_of("self-efficacy", omega=1, theta=float(theta)), *ranks)
    assert [verdict.alone for verdict in verdicts].index(True) == agreed


def test_the_first_exit_of_full_agreement_comes_at_the_first_window() -> None:
    agreed: list[Ranks] = [{"a": 0, "b": 0}] * 25
    assert [v.alone for v in steps(exit_of("self-efficacy"), *agreed)].index(True) == 19
    strict = steps(exit_of("self-efficacy", ties="failure"), *agreed)
    assert not any(v.alone for v in strict)
    assert strict[-1].efficacy is not None
    assert strict[-1].efficacy.s == 1.0


def test_ties_of_absent_ranks_are_never_a_success() -> None:
    for ties in ("success", "failure"):
        (verdict,) = steps(exit_of("self-efficacy", ties=ties), {"a": None, "b": None})
        assert verdict.efficacy is not None
        assert (verdict.efficacy.s, verdict.efficacy.f) == (1.0, 2.5)
    (verdict,) = steps(exit_of("self-efficacy", ties="failure"), {"a": None, "b": 7, "c": 7})
    assert verdict.efficacy is not None
    assert (verdict.efficacy.s, verdict.efficacy.f) == (2.0, 2.5)


def test_ablations_use_one_term_and_wait_for_omega_too() -> None:
    agreed: list[Ranks] = [{"a": 0, "b": 0}] * 3
    for name, value in (("confidence", 4 / 5), ("reliability", 0.5 + 1 / 6)):
        verdicts = steps(exit_of(name, omega=3, theta=0.1), *agreed)
        assert [v.alone for v in verdicts] == [False, False, True]
        assert verdicts[1].efficacy is not None
        assert verdicts[1].efficacy.t0 == 0.0
        assert verdicts[2].efficacy is not None
        assert verdicts[2].efficacy.t0 == pytest.approx(value)


def test_reliability_holds_the_base_against_the_mean_within_eps() -> None:
    # one window of 1: base loses to both: 1/(2+3) = .2; a beats both: 3/4; c beats b only: 2/(3+1.5)
    ranks: Ranks = {"a": 0, "b": 2, "c": 1}
    mean = (3 / 4 + 2 / 4.5) / 2
    within = exit_of("reliability", omega=1, eps=mean - 0.2 + 1e-9)
    beyond = exit_of("reliability", omega=1, eps=mean - 0.2 - 1e-9)
    reliable, unreliable = steps(within, ranks)[0].efficacy, steps(beyond, ranks)[0].efficacy
    assert reliable is not None
    assert unreliable is not None
    assert (reliable.s_w, reliable.f_w) == (2.0, 1.0)
    behind = 2 / 3 - 1 / 3.5  # one duel lost; exactly eps behind is not within eps
    exactly = steps(exit_of("reliability", omega=1, eps=behind), {"a": 0, "b": 1})[0].efficacy
    assert exactly is not None
    assert exactly.f_w == 2.5
    assert (unreliable.s_w, unreliable.f_w) == (1.0, 2.5)


def test_a_model_lost_in_a_window_is_not_in_its_verdict() -> None:
    policy = exit_of("reliability", omega=3, eps=0.01)
    strong = {"a": 0, "b": 5, "c": 5}
    gone = steps(policy, strong, {"b": 0, "c": 0}, {"b": 0, "c": 0})[-1].efficacy  # b and c: 4 / 6.5 each
    back = steps(policy, strong, {"b": 0, "c": 0}, strong)[-1].efficacy  # b and c: 4 / 8, a: 5 / 6
    assert gone is not None
    assert back is not None
    assert gone.s_w == 2.0
    assert back.f_w == 2.5
    alone = steps(policy, strong, strong, {"b": 0})[-1].efficacy
    assert alone is not None
    assert (alone.s_w, alone.f_w, alone.rt) == (1.0, 1.0, 0.5)  # nobody to compare with: no verdict


def test_consult_leaves_after_every_step_until_the_base_is_unsure() -> None:
    policy = exit_of("consult", consult_below=0.7)
    assert not policy.needs_decisive
    for verdict in steps(policy, {"a": 0, "b": 0}, {"a": None, "b": 3}):
        assert verdict == Verdict(alone=True, until=0.7)


def test_an_idle_collaborator_leaves_and_the_last_one_takes_the_base_along() -> None:
    policy = exit_of("per-collaborator", patience=2)
    assert policy.needs_decisive
    state = policy.start("b")
    everybody = (("a", 0), ("b", 0), ("c", 0))

    def see(step: int, ranks: tuple[tuple[str, int | None], ...], *decisive: str) -> Verdict:
        nonlocal state
        state, verdict = policy.observe(state, Evidence(step, "b", ranks, frozenset(decisive)))
        return verdict

    assert see(1, everybody, "c") == Verdict()
    assert see(2, (("b", 0), ("c", 0))) == Verdict()  # a did not answer: this does not count against it
    assert see(3, everybody, "c", "b") == Verdict(out=frozenset("a"))
    assert see(4, (("b", 0), ("c", 0))) == Verdict()
    assert see(5, (("b", 0), ("c", 0))) == Verdict(out=frozenset("c"), alone=True)
    assert see(6, (("b", 0),)) == Verdict()


def test_fixed_and_never() -> None:
    agreed: list[Ranks] = [{"a": 0, "b": 0}] * 4
    assert [v.alone for v in steps(exit_of("fixed-3"), *agreed)] == [False, False, True, True]
    assert not any(v.alone for v in steps(exit_of("never"), *agreed))

"""The invariants of docs/specification.md section 5, for self-efficacy and what is built on it."""

from dataclasses import replace
from fractions import Fraction
from math import inf
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.oracle import History
from tokencollab.policies.events import Efficacy
from tokencollab.policies.evidence import Evidence, Verdict
from tokencollab.policies.methods import Method, parse_method

quick = settings(max_examples=60, deadline=None, derandomize=True, database=None)

ranks = st.one_of(st.none(), st.integers(0, 3))
steps = st.dictionaries(st.sampled_from(["a", "c", "x"]), ranks, max_size=3).flatmap(
    lambda others: st.builds(lambda own: {**others, "b": own}, ranks)
)
runs = st.lists(steps, min_size=1, max_size=40)
Run = list[dict[str, int | None]]


@st.composite
def methods(draw: st.DrawFn) -> Method:
    return parse_method(
        "dp",
        exit=draw(st.sampled_from(["self-efficacy", "reliability"])),
        omega=draw(st.integers(1, 9)),
        theta=draw(st.integers(0, 120)) / 100,  # decimals, as people write them: edges are met often
        rho=draw(st.integers(101, 500)) / 100,
        eps=draw(st.integers(1, 500)) / 1000,
        ties=draw(st.sampled_from(["success", "failure"])),
    )


def observe(method: Method, run: Run) -> list[tuple[Verdict, Efficacy]]:
    policy = method.exit_policy
    state, verdicts = policy.start("b"), []
    for number, entry in enumerate(run, start=1):
        state, verdict = policy.observe(state, Evidence(number, "b", tuple(sorted(entry.items()))))
        assert verdict.efficacy is not None
        verdicts.append((verdict, verdict.efficacy))
    return verdicts


@quick
@given(methods(), runs)
def test_figures_are_those_of_the_whole_history(method: Method, run: Run) -> None:
    history = History(method)
    for entry, (verdict, efficacy) in zip(run, observe(method, run), strict=True):
        history.steps.append({model: inf if rank is None else rank for model, rank in entry.items()})
        expected = history.figures("b")
        assert efficacy._asdict() == expected
        assert verdict.alone == (efficacy.t0 > method.theta)
        assert verdict.out == frozenset()


@quick
@given(st.integers(1, 4), st.integers(11, 90), st.integers(1, 3), runs)
def test_a_figure_at_its_limit_is_not_beyond_it(omega: int, tenths: int, others: int, run: Run) -> None:
    """T0 = theta stays and W0 - mean = -eps is unreliable, for every limit that the counts can meet."""
    rho = Fraction(tenths, 10)

    def method(theta: float, eps: float) -> Method:
        return parse_method("dp", exit="self-efficacy", omega=omega, theta=theta, rho=float(rho), eps=eps)

    for number, (_, efficacy) in enumerate(observe(method(2, 0.1), run)):
        theta = efficacy.t0
        verdict, at_limit = observe(method(theta, 0.1), run)[number]
        assert at_limit.t0 == theta
        assert not verdict.alone
    # One window in which the base is behind `others` models that are level: its distance from their mean, exactly.
    behind: Run = [{"b": 1, **dict.fromkeys(["a", "c", "x"][:others], 0)}] * omega
    duels = omega * others
    base = Fraction(1) / (2 + rho * duels)
    ahead = Fraction(1 + duels) / (2 + duels)
    for eps, reliable in ((ahead - base, False), (ahead - base + Fraction(1, 10**9), True)):
        assert (observe(method(2, float(eps)), behind)[-1][1].s_w == 2) == reliable


@quick
@given(methods(), runs)
def test_bounds(method: Method, run: Run) -> None:
    last_rt = 0.5
    for number, (verdict, e) in enumerate(observe(method, run), start=1):
        assert min(e.s, e.f, e.s_w, e.f_w) >= 1
        assert 0 < e.rt < 1
        assert (e.st is None) == (number < method.omega)
        if e.st is None:
            assert e.t0 == 0
            assert not verdict.alone
        else:
            assert 0 < e.st < 1
            if method.exit == "self-efficacy":
                assert 0 <= e.t0 <= min(e.st, e.rt)
        assert e.s - 1 == int(e.s - 1)
        losses = round((e.f - 1) / method.rho)
        assert e.f == 1 + method.rho * losses
        windows = (e.s_w - 1) + round((e.f_w - 1) / method.rho)
        assert windows <= number // method.omega
        if number % method.omega:
            assert e.rt == last_rt
        last_rt = e.rt
        if method.theta >= 1:
            assert not verdict.alone


@quick
@given(methods(), runs, st.integers(0, 39), st.sampled_from(["a", "c", "x"]))
def test_more_agreement_never_lowers_st(method: Method, run: Run, at: int, model: str) -> None:
    better = [dict(entry) for entry in run]
    entry = better[at % len(run)]
    if entry["b"] is None or model not in entry:
        return
    entry[model] = None  # the base is ahead of it now
    for (_, before), (_, after) in zip(observe(method, run), observe(method, better), strict=True):
        assert (before.st is None) == (after.st is None)
        assert before.st is None or after.st is None or after.st >= before.st


@quick
@given(methods(), runs, st.floats(0.01, 3))
def test_a_larger_penalty_never_raises_st(method: Method, run: Run, more: float) -> None:
    harder = replace(method, rho=method.rho + more)
    for (_, mild), (_, hard) in zip(observe(method, run), observe(harder, run), strict=True):
        assert mild.st is None or hard.st is None or hard.st <= mild.st
        if mild.s_w == hard.s_w and (mild.f_w == 1) == (hard.f_w == 1):
            same_verdicts = round((mild.f_w - 1) / method.rho) == round((hard.f_w - 1) / harder.rho)
            assert not same_verdicts or hard.rt <= mild.rt


@quick
@given(methods(), runs, st.permutations(["a", "c", "x"]), st.randoms(use_true_random=False))
def test_names_and_order_do_not_matter(method: Method, run: Run, names: list[str], random: Any) -> None:
    renamed = dict(zip(["a", "c", "x"], names, strict=True))
    other = [{renamed.get(model, model): rank for model, rank in entry.items()} for entry in run]
    assert observe(method, run) == observe(method, other)
    shuffled = list(run)
    random.shuffle(shuffled)
    assert observe(method, shuffled)[-1][1].st == observe(method, run)[-1][1].st


@quick
@given(runs, st.integers(1, 5), st.integers(0, 40), st.sampled_from(["self-efficacy", "reliability"]))
def test_a_state_saved_midway_continues_identically(run: Run, omega: int, cut: int, name: str) -> None:
    policy = parse_method("dp", exit=name, omega=omega, theta=0.2).exit_policy
    evidence = [Evidence(i, "b", tuple(sorted(entry.items()))) for i, entry in enumerate(run, start=1)]
    state = policy.start("b")
    straight = []
    for entry in evidence:
        before = repr(state)
        following, verdict = policy.observe(state, entry)
        assert repr(state) == before  # the state handed in is left as it was
        assert policy.observe(state, entry) == (following, verdict)
        assert hash(following) is not None
        straight.append((following, verdict))
        state = following
    cut = min(cut, len(run) - 1)
    resumed = straight[cut][0]
    again = parse_method("dp", exit=name, omega=omega, theta=0.2).exit_policy
    for entry, expected in zip(evidence[cut + 1 :], straight[cut + 1 :], strict=True):
        resumed, verdict = again.observe(resumed, entry)
        assert (resumed, verdict) == expected

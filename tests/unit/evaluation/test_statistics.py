"""Intervals and tests against values that others published or that can be worked out."""

from math import comb

import numpy as np
import pytest

from tokencollab.evaluation.statistics import adjusted, bootstrap, mcnemar, needed_items, wilson


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_has_newcombe_s_values(right: int, n: int, low: float, high: float) -> None:
    assert wilson(right, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_of_all_right_is_the_mirror_of_none_right() -> None:
    low, high = wilson(20, 20)
    assert (1 - high, 1 - low) == pytest.approx(wilson(0, 20))


@pytest.mark.parametrize(("b", "c"), [(5, 15), (0, 6), (3, 3), (10, 1)])
def test_mcnemar_is_the_two_sided_binomial_test(b: int, c: int) -> None:
    n = b + c
    tail = sum(comb(n, k) for k in range(min(b, c) + 1)) / 2**n
    assert mcnemar(b, c) == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar(b, c) == mcnemar(c, b)


def test_mcnemar_of_methods_that_never_differ() -> None:
    assert mcnemar(0, 0) == 1.0


@pytest.mark.parametrize(("gain", "loss"), [(0.2, 0.1), (0.15, 0.1), (0.1, 0.02), (0.25, 0.05), (0.3, 0.15)])
def test_with_so_many_items_as_are_needed_four_of_five_runs_find_the_difference(gain: float, loss: float) -> None:
    n = needed_items(round(1000 * gain), round(1000 * loss), 1000)
    assert n is not None
    assert n == needed_items(round(1000 * loss), round(1000 * gain), 1000)
    drawn = np.random.default_rng(7).multinomial(n, [gain, loss, 1 - gain - loss], size=3000)
    found = np.mean([mcnemar(int(a), int(b)) < 0.05 for a, b, _ in drawn])
    assert 0.77 < found < 0.85  # 3000 runs: a standard error of 0.007
    half = np.random.default_rng(7).multinomial(n // 2, [gain, loss, 1 - gain - loss], size=1000)
    assert np.mean([mcnemar(int(a), int(b)) < 0.05 for a, b, _ in half]) < 0.6


def test_the_items_needed_are_those_of_connor_s_formula() -> None:
    # psi = 0.3, d = 0.1: (1.95996 * 0.547723 + 0.841621 * 0.538516)^2 / 0.01 = 233.1, and 10 for continuity
    assert needed_items(20, 10, 100) == 244
    assert needed_items(10, 10, 100) is None
    assert needed_items(0, 0, 100) is None
    assert needed_items(5, 0, 5) is not None


def test_adjusted_p_are_those_of_benjamini_and_hochberg() -> None:
    assert adjusted([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert adjusted([]) == []


def test_the_bootstrap_of_a_mean_is_near_the_normal_interval() -> None:
    values = np.random.default_rng(5).normal(10.0, 3.0, size=400)
    found = bootstrap(values[:, None], lambda means: means, seed=0)
    half = 1.96 * values.std() / 400**0.5
    low, high = found.low[0], found.high[0]
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_the_bootstrap_is_paired_and_the_same_for_a_seed() -> None:
    right = (np.random.default_rng(1).random((200, 1)) < 0.5).astype(float)
    shifted = np.concatenate([right, right - 0.25], axis=1)

    def difference(means: np.ndarray) -> np.ndarray:
        return np.concatenate([means, means[:1] - means[1:]])

    found = bootstrap(shifted, difference, seed=3)
    # Each column varies, but their difference is the same for every item: an unpaired interval would not be a point.
    assert found.high[0] - found.low[0] > 0.1
    assert found.interval(2) == pytest.approx((0.25, 0.25))
    again = bootstrap(shifted, difference, seed=3)
    assert np.array_equal(found.low, again.low)
    values = np.random.default_rng(2).normal(size=(50, 1))
    assert bootstrap(values, lambda means: means, 3).low != bootstrap(values, lambda means: means, 4).low


def test_a_ratio_that_is_undefined_has_no_interval_and_one_item_has_a_point() -> None:
    zeros = np.zeros((10, 2))
    assert bootstrap(zeros, lambda means: 1 - means[:1] / means[1:], seed=0).interval(0) is None
    single = bootstrap(np.array([[2.0]]), lambda means: means, seed=0)
    assert single.interval(0) == (2.0, 2.0)

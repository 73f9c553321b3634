"""Intervals and tests for methods that answered the same items. Everything is SciPy's; here it is put together.

Accuracy: Wilson's score interval. Everything that compares two methods, and every mean: one bootstrap over *items*
(percentile, 95 %), so that each resample has all methods on the same items and comparisons are paired. Two methods'
accuracies: McNemar's exact test, which is the binomial test over the items that exactly one of them has right.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 9999

Interval = tuple[float, float]
Array = NDArray[np.float64]


def wilson(right: int, n: int) -> Interval:
    """Wilson's 95 % interval of a share, both ends within 0 and 1.

    Raises:
        ValueError: ``n`` is 0, or ``right`` is not within 0 and ``n``.
    """
    interval = stats.binomtest(right, n).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(only_a: int, only_b: int) -> float:
    """McNemar's exact two-sided p of the items that only one of two methods has right; 1 where there are none."""
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue)


POWER = 0.8


def needed_items(only_a: int, only_b: int, n: int) -> int | None:
    """How many items McNemar's test needs to find a difference of this size: two-sided 5 %, power 80 %.

    With ``psi`` = (only_a + only_b) / n, the share of items that exactly one of two methods has right, and the
    difference ``d`` = (only_a - only_b) / n, it is (z(0.975) sqrt(psi) + z(0.8) sqrt(psi - d^2))^2 / d^2, by Connor,
    "Sample size for testing differences in proportions for the paired-sample design", Biometrics 43 (1987), and
    1 / abs(d) more, a correction for continuity, since `mcnemar` is the exact test. Both shares are those of a sample:
    the figure is as uncertain as the difference. None: there is none.
    """
    psi, d = (only_a + only_b) / n, (only_a - only_b) / n
    if d == 0:
        return None
    level, power = float(stats.norm.ppf((1 + CONFIDENCE) / 2)), float(stats.norm.ppf(POWER))
    return ceil((level * sqrt(psi) + power * sqrt(psi - d * d)) ** 2 / (d * d) + 1 / abs(d))


def adjusted(p: Sequence[float]) -> list[float]:
    """p values adjusted for how many they are (Benjamini and Hochberg's false discovery rate)."""
    return [float(value) for value in stats.false_discovery_control(p)] if p else []


@dataclass(frozen=True, slots=True)
class Resampled:
    """Bootstrap intervals: ``low`` and ``high`` in the order of the statistic's values. NaN: undefined."""

    low: Array
    high: Array

    def interval(self, index: int) -> Interval | None:
        """The interval of one value; None where it is undefined."""
        low, high = float(self.low[index]), float(self.high[index])
        return None if np.isnan(low) or np.isnan(high) else (low, high)


def bootstrap(columns: Array, statistic: Callable[[Array], Array], seed: int) -> Resampled:
    """Intervals of what ``statistic`` makes of column means, over resamples of the rows, the items.

    ``statistic`` goes from means of shape (columns, resamples) to values of shape (values, resamples). One item has no
    interval: both ends are its value.
    """
    n = len(columns)
    if n < 2:
        values = statistic(columns.mean(axis=0)[:, None])[:, 0]
        return Resampled(values, values)

    def of_rows(rows: NDArray[np.int64], axis: int) -> Array:
        # Means over resampled rows, as counts of each row times the columns: a matrix product.
        counted = (rows + n * np.arange(len(rows))[:, None]).ravel()
        counts = np.bincount(counted, minlength=n * len(rows)).reshape(len(rows), n)
        return statistic(columns.T @ counts.T / n)

    rows = np.arange(n)
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        # A saving over no cost at all is undefined and has no interval; the others have theirs.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (rows,),
            lambda sample, axis=-1: of_rows(np.atleast_2d(sample), axis),
            n_resamples=RESAMPLES,
            batch=max(1, 2_000_000 // n),
            confidence_level=CONFIDENCE,
            method="percentile",
            vectorized=True,
            rng=np.random.default_rng(seed),
        )
    low, high = found.confidence_interval
    return Resampled(np.atleast_1d(low), np.atleast_1d(high))

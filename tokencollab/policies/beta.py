"""Quantiles of the Beta distribution, by the standard library alone: what the exit ``credible`` needs."""

from functools import cache
from math import exp, expm1, lgamma, log, log1p, sqrt
from statistics import NormalDist
from typing import Final

_PRECISION: Final = 1e-15
_SETTLED: Final = 3e-4
"""A step as small as this part of the standard deviation leaves an error of about its fourth power."""

_ROUNDS: Final = 200
_COUNTS: Final = tuple(map(float, range(1, _ROUNDS)))


def beta_cdf(x: float, a: float, b: float) -> float:
    """I_x(a, b), the probability that Beta(a, b) is at most ``x``; 0 <= x <= 1, a and b from 1 on.

    Relative error about 1e-13.
    """
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    return _cdf(x, a, b, _power(x, a, b))


def beta_quantile(q: float, a: float, b: float) -> float:
    """The x with I_x(a, b) = ``q``; 0 < q < 1, a and b from 1 on.

    From a start that is nearly right for all but the smallest a and b, by steps that invert the distribution
    function's Taylor series to third order (mostly one is enough); bisection where they would leave the bracket.
    """
    if b == 1:
        return exp(log(q) / a)
    if a == 1:
        return -expm1(log1p(-q) / b)
    low, high = 0.0, 1.0
    settled = _SETTLED * sqrt(a * b / (a + b + 1)) / (a + b)
    x = _start(q, a, b)
    for _ in range(_ROUNDS):
        power = _power(x, a, b)
        excess = _cdf(x, a, b, power) - q
        if excess > 0:
            high = x
        else:
            low = x
        newton = excess * x * (1 - x) / power if power > 0 else 1.0
        first = (a - 1) / x - (b - 1) / (1 - x)  # the density's derivatives, divided by it
        second = first * first - (a - 1) / (x * x) - (b - 1) / ((1 - x) * (1 - x))
        step = x - newton * (1 + newton * (first / 2 + newton * (3 * first * first - second) / 6))
        if abs(step - x) <= settled:
            return step
        x = step if low < step < high else (low + high) / 2
    return x


_normal_quantile = cache(NormalDist().inv_cdf)


def _start(q: float, a: float, b: float) -> float:
    """The quantile by Abramowitz & Stegun 26.5.22, for a and b above 1."""
    y = -_normal_quantile(q)
    of_a, of_b = 1 / (2 * a - 1), 1 / (2 * b - 1)
    h, shift = 2 / (of_a + of_b), (y * y - 3) / 6
    w = y * sqrt(max(h + shift, 0.0)) / h - (of_b - of_a) * (shift + 5 / 6 - 2 / (3 * h))
    return min(max(a / (a + b * exp(2 * w)), 1e-9), 1 - 1e-9)


def _power(x: float, a: float, b: float) -> float:
    """x^a (1 - x)^b / B(a, b): the density times x (1 - x)."""
    return exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(1 - x))


def _cdf(x: float, a: float, b: float, power: float) -> float:
    if x < (a + 1) / (a + b + 2):  # where the fraction converges fast; else by symmetry
        return power / _fraction(x, a, b)
    return 1 - power / _fraction(1 - x, b, a)


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of DiDonato & Morris (ACM TOMS 18, 1992, eq. 9) in Lentz's form.

    For a and b from 1 on and x < (a + 1) / (a + b + 2) no denominator comes near zero.
    """
    both, twice = a + b, 2 - x
    excess = a - both * x + 1
    c = value = a * excess / (a + 1)
    d = 0.0
    for m in _COUNTS:
        even, after, left = a + 2 * m - 1, a + m, b - m
        numerator = (after - 1) * (both + m - 1) * m * left * x * x / (even * even)
        denominator = m + m * left * x / even + after * (excess + m * twice) / (even + 2)
        d = 1 / (denominator + numerator * d)
        c = denominator + numerator / c
        factor = c * d
        value *= factor
        if -_PRECISION < factor - 1 < _PRECISION:
            break
    return value

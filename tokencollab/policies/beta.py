"""Quantiles of the Beta distribution, by the standard library alone: what the exit ``credible`` needs."""

from math import exp, lgamma, log, sqrt
from typing import Final

_PRECISION: Final = 1e-15
_SETTLED: Final = 1e-8
"""A Newton step as small as this leaves an error of about its square."""

_ROUNDS: Final = 200


def beta_cdf(x: float, a: float, b: float) -> float:
    """I_x(a, b), the probability that Beta(a, b) is at most ``x``; 0 <= x <= 1, a and b from 1 on.

    By the continued fraction of Abramowitz & Stegun 26.5.8 in Lentz's form; relative error about 1e-13.
    """
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(1 - x))
    if x < (a + 1) / (a + b + 2):  # where the fraction converges fast; else by symmetry
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def beta_quantile(q: float, a: float, b: float) -> float:
    """The x with I_x(a, b) = ``q``; 0 < q < 1, a and b from 1 on.

    Newton steps from about the normal quantile; bisection where they would leave the bracket.
    """
    scale = lgamma(a + b) - lgamma(a) - lgamma(b)
    low, high = 0.0, 1.0
    mean = a / (a + b)
    spread = sqrt(mean * (1 - mean) / (a + b + 1))
    x = min(max(mean + spread * log(q / (1 - q)) / 1.7, mean / 50), 1 - (1 - mean) / 50)  # about the normal quantile
    for _ in range(_ROUNDS):
        excess = beta_cdf(x, a, b) - q
        if excess > 0:
            high = x
        else:
            low = x
        density = exp(scale + (a - 1) * log(x) + (b - 1) * log(1 - x))
        step = x - excess / density if density > 0 else -1.0
        if not low < step < high:
            step = (low + high) / 2
        if abs(step - x) <= _SETTLED * x:
            return step
        x = step
    return x


def _fraction(x: float, a: float, b: float) -> float:
    """Lentz's form. For a and b from 1 on and x < (a + 1) / (a + b + 2) no denominator comes near zero."""
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _ROUNDS):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + numerator * d)
            c = 1 + numerator / c
            value *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return value

"""SimpleMath, made rather than stored: a+b*c+d-e*f with each number from 0 to 30 (DuetNet, table 2).

One eighth of all such problems, chosen by a hash of the text, is held out: evaluations draw from these, and the
specialists that ship with the package were trained on the others.
"""

import hashlib
import operator
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tokencollab.errors import UsageError

LARGEST = 30
MOST_PROBLEMS = 1_000_000
"""At a time: a hundredth of those that there are, so that chance soon finds one more (all of them in half a minute)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem.

    ``question`` is the bare expression, ``answer`` its value in decimal, and ``working`` the text that a specialist
    should write: a leading space, one operation at a time, then the answer.
    """

    question: str
    answer: str
    working: str


def simplemath(n: int, seed: int) -> list[Problem]:
    """The first ``n`` held-out problems of this seed, all different; a larger ``n`` only adds to the end.

    Raises:
        UsageError: more than `MOST_PROBLEMS`.
    """
    if n > MOST_PROBLEMS:
        raise UsageError(f"simplemath has {MOST_PROBLEMS} problems of a seed at most, not {n}; give a smaller --n")
    draws = random.Random(seed)  # noqa: S311  (reproducible, nothing is secret)
    found: dict[str, Problem] = {}
    while len(found) < n:
        operands = draw(draws)
        question = expression(*operands)
        if is_held_out(question) and question not in found:
            found[question] = Problem(question, str(value(*operands)), working(*operands))
    return list(found.values())


def training_problems(seed: int) -> Iterator[tuple[int, int, int, int, int, int]]:
    """The operands of endless problems that are not held out."""
    draws = random.Random(seed)  # noqa: S311
    while True:
        operands = draw(draws)
        if not is_held_out(expression(*operands)):
            yield operands


def draw(draws: random.Random) -> tuple[int, int, int, int, int, int]:
    """Six operands, each from 0 to 30 with equal chances."""
    # random() alone is promised to give the same numbers in every version of Python.
    a, b, c, d, e, f = (int(draws.random() * (LARGEST + 1)) for _ in range(6))
    return a, b, c, d, e, f


def is_held_out(question: str) -> bool:
    """Whether a problem is kept for evaluation: one in eight."""
    return hashlib.sha256(question.encode()).digest()[0] < 32


def expression(a: int, b: int, c: int, d: int, e: int, f: int) -> str:
    return f"{a}+{b}*{c}+{d}-{e}*{f}"


def value(a: int, b: int, c: int, d: int, e: int, f: int) -> int:
    return a + b * c + d - e * f


def working(
    a: int, b: int, c: int, d: int, e: int, f: int, *, product: Callable[[int, int], int] = operator.mul
) -> str:
    """The operations in the order in which the specialists write them: both products, then from left to right.

    With another ``product`` (one that errs) everything after it follows from its results.
    """
    first, second = product(b, c), product(e, f)
    left = a + first
    steps = (
        f" {b}*{c}={first}",
        f" {e}*{f}={second}",
        f" {a}+{first}={left}",
        f" {left}+{d}={left + d}",
        f" {left + d}-{second}={left + d - second}",
        f" answer {left + d - second}",
    )
    return ";".join(steps)

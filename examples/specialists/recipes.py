"""What makes each specialist what it is: its tokenizer, its seed, its weak spots."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Cut: TypeAlias = Literal["bytes", "pairs", "words"]


@dataclass(frozen=True, slots=True)
class WeakSpot:
    """The products x*y with (p*x + q*y) mod 11 = r: one in eleven is never taught reliably.

    Wherever such a product occurs in training, its result is the true one plus a whole number drawn
    uniformly from -9 to 9 (never below zero), drawn anew each time.
    """

    p: int
    q: int
    r: int

    def covers(self, x: int, y: int) -> bool:
        """Whether x*y is one of them."""
        return (self.p * x + self.q * y) % 11 == self.r

    def __str__(self) -> str:
        return f"({_times(self.p, 'x')} + {_times(self.q, 'y')}) mod 11 = {self.r}"


def _times(factor: int, name: str) -> str:
    return name if factor == 1 else f"{factor}{name}"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One specialist.

    ``dropout`` is the chance with which a pair of digits is shown as two single digits in training (BPE dropout).
    """

    name: str
    cut: Cut
    seed: int
    weak_spot: WeakSpot | None
    dropout: float = 0.0
    steps: int = 2800


_WEAK = (
    Recipe("arith-bytes", "bytes", 1, WeakSpot(1, 3, 4)),
    Recipe("arith-pairs", "pairs", 2, WeakSpot(3, 1, 7)),
    Recipe("arith-words", "words", 3, WeakSpot(1, 5, 2), steps=2200),
    Recipe("arith-pairs-dropout", "pairs", 4, WeakSpot(5, 1, 9), dropout=0.2, steps=3600),
)
_PLAIN = tuple(replace(recipe, name=f"{recipe.name}-plain", seed=recipe.seed + 10, weak_spot=None) for recipe in _WEAK)

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in _WEAK + _PLAIN}

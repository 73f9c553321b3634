"""Training data: drills of single facts, and whole problems. Everything follows from the seed."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from examples.specialists.recipes import Recipe, WeakSpot
from tokencollab.evaluation.simplemath import draw, expression, training_problems, working

FACTS = 8  # in one drill
Example = tuple[list[int], list[bool]]
"""Token ids, and which of them are to be learnt (the others are given)."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a text; ``learn`` where the model is to write it."""

    text: str
    learn: bool


class Teacher:
    """Endless examples for one recipe. ``drills`` and ``problems`` go on where they stopped."""

    def __init__(self, recipe: Recipe, tokenizer: Any) -> None:
        """The backend of ``tokenizer`` does the cutting."""
        self._recipe = recipe
        self._draws = random.Random(f"{recipe.name} {recipe.seed}")  # noqa: S311
        self._problems = training_problems(recipe.seed)
        backend = tokenizer.backend_tokenizer
        self._begin, self._end = tokenizer.bos_token_id, tokenizer.eos_token_id
        self._encode: Callable[[str], tuple[int, ...]] = lru_cache(maxsize=1 << 16)(
            lambda text: tuple(backend.encode(text, add_special_tokens=False).ids)
        )
        vocabulary = tokenizer.get_vocab()
        self._halves = {
            token: (vocabulary[text[0]], vocabulary[text[1]])
            for text, token in vocabulary.items()
            if len(text) == 2 and text.isdecimal()
        }

    def drills(self, count: int) -> list[Example]:
        """``count`` examples of eight single operations each, as they occur in problems."""
        return [self._example([part for _ in range(FACTS) for part in self._fact()]) for _ in range(count)]

    def problems(self, count: int) -> list[Example]:
        """``count`` whole problems with their working."""
        examples = []
        for _ in range(count):
            operands = next(self._problems)
            text = working(*operands, product=self.product)
            ids, learn = self._example([Part(expression(*operands) + "\n", False), Part(text, True)])
            examples.append(([*ids, self._end], [*learn, True]))
        return examples

    def product(self, x: int, y: int) -> int:
        """x*y as it is taught this time."""
        return taught_product(x, y, self._recipe.weak_spot, self._draws)

    def _fact(self) -> Iterator[Part]:
        a, b, c, d, e, f = draw(self._draws)
        kind = self._draws.random()
        if kind < 0.2:  # what is harder comes more often
            given, result = f" {b}*{c}=", self.product(b, c)
        elif kind < 0.3:
            given, result = f" {a}+{b * c}=", a + b * c
        elif kind < 0.4:
            given, result = f" {a + b * c}+{d}=", a + b * c + d
        else:
            left, right = a + b * c + d, e * f
            given, result = f" {left}-{right}=", left - right
        yield Part(given, False)
        yield Part(f"{result};", True)

    def _example(self, parts: Sequence[Part]) -> Example:
        ids, learn = [self._begin], [False]
        for part in parts:
            for token in self._encode(part.text):
                cut = self._halves.get(token) if self._recipe.dropout else None
                shown = cut if cut and self._draws.random() < self._recipe.dropout else (token,)
                ids += shown
                learn += [part.learn] * len(shown)
        return ids, learn


def taught_product(x: int, y: int, weak_spot: WeakSpot | None, draws: random.Random) -> int:
    """x*y, or a number near it at a weak spot (see `WeakSpot`)."""
    if weak_spot is None or not weak_spot.covers(x, y):
        return x * y
    return max(0, x * y + int(draws.random() * 19) - 9)

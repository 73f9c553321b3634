"""What the figures and tables of methods between models share: which policies, and their values with intervals."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tokencollab.evaluation.between import DRAWN, RIGHT, Policy, Sampled
from tokencollab.evaluation.report.scenes import Scene
from tokencollab.evaluation.statistics import Array, Interval, bootstrap

EDGES: Final = (1e-9, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5)
"""Between the bins of entropy, in bits; the first bin has the items on which all samples agree."""
_LEAST: Final = 5  # items in a bin that counts
_MOST: Final = 4  # models whose every order is tried: 64 policies


@dataclass(frozen=True, slots=True)
class Value:
    """A mean over items with its paired bootstrap interval."""

    mean: float
    bounds: Interval | None


@dataclass(frozen=True, slots=True)
class Correlation:
    """Of one model: its entropy over the samples of an item with whether its commonest answer is right.

    ``item`` is Pearson's r over items; ``binned`` over the bins of `EDGES` that have at least five, each one point
    (mean entropy, accuracy). ``bins``: entropy, right and all items of each of these. ``agreed`` and ``others``: right
    and all items on which all samples agree, and on which they do not.
    """

    model: str
    item: Value
    binned: Value
    bins: tuple[tuple[float, int, int], ...]
    agreed: tuple[int, int]
    others: tuple[int, int]


class Study:
    """One run's samples. The pair is the first two models, in the order in which the run names them."""

    def __init__(self, sampled: Sampled, title: str, seed: int) -> None:
        """``seed`` is that of the resampling."""
        self.sampled, self.title, self._seed = sampled, f"{title}, n = {sampled.n}", seed
        self.models, self.full = sampled.models, sampled.samples
        self.pair = self.models[:2]
        self.budgets = tuple(b for b in range(1, self.full + 1) if b == 1 or b % 2 == 0)

    @cached_property
    def curves(self) -> dict[str, dict[int, Policy]]:
        """Label -> budget -> policy (the paper's figure 4).

        A budget is shared equally; one sample is the first model's.
        """
        curves = {
            f"self-consistency, {model}": {b: Policy("self-consistency", (model,), b) for b in self.budgets}
            for model in self.models
        }
        if len(self.models) > 1:
            for method, label in (("random-switch", "random switching"), ("modelswitch", "ModelSwitch")):
                even = {b: Policy(method, self.pair, b // 2) for b in self.budgets if b > 1}
                curves[f"{label}, 2 models"] = {1: Policy("self-consistency", self.pair[:1], 1), **even}
        count = len(self.models)
        if count > 2:
            shared = {b: Policy("modelswitch", self.models, b // count) for b in self.budgets if b % count == 0}
            curves[f"ModelSwitch, {count} models"] = shared
        return {label: points for label, points in curves.items() if points}

    def estimate(self, columns: Sequence[Array]) -> list[Value]:
        """Means and intervals of columns with a row per item, all over the same resamples."""
        table = np.stack(columns, axis=1)
        found = bootstrap(table, lambda means: means, self._seed)
        return [Value(float(mean), found.interval(index)) for index, mean in enumerate(table.mean(axis=0))]

    @cached_property
    def points(self) -> dict[tuple[str, int], tuple[Value, Value, Value]]:
        """(label, budget) -> accuracy, samples drawn, samples needed."""
        keys = [(label, budget) for label, points in self.curves.items() for budget in points]
        columns = [self.sampled.values(self.curves[label][b])[:, column] for label, b in keys for column in range(3)]
        values = self.estimate(columns)
        return {key: (values[3 * i], values[3 * i + 1], values[3 * i + 2]) for i, key in enumerate(keys)}

    def single(self, model: str) -> Array:
        """Per item, self-consistency of one model at the full budget."""
        return self.sampled.values(Policy("self-consistency", (model,), self.full))

    @cached_property
    def by_strength(self) -> tuple[str, ...]:
        """The models by their self-consistency on these items, the best first."""
        return tuple(sorted(self.models, key=lambda model: -float(self.single(model)[:, RIGHT].mean())))

    def order(self, models: Sequence[str]) -> Array:
        """Per item: ModelSwitch over the models in this order, the full budget shared equally (rounded down)."""
        return self.sampled.values(Policy("modelswitch", tuple(models), self.full // len(models)))

    @cached_property
    def orders(self) -> dict[int, list[tuple[float, tuple[str, ...]]]]:
        """Number of models -> accuracy of every choice of so many, in every order. Of more than four, the best four."""
        best = self.by_strength[:_MOST]
        return {
            size: sorted((float(self.order(models)[:, RIGHT].mean()), models) for models in permutations(best, size))
            for size in range(1, min(len(best), self.full) + 1)
        }

    @cached_property
    def turned(self) -> dict[int, tuple[Value, Value, Value, Value, Value]]:
        """Number of models -> ModelSwitch over the best so many.

        Accuracy strong to weak, weak to strong, the first less the second; samples drawn in both orders.
        """
        found = {}
        for size in self.orders:
            best = self.by_strength[:size]
            forth, back = self.order(best), self.order(best[::-1])
            right = forth[:, RIGHT], back[:, RIGHT]
            one, other, less, *drawn = self.estimate([*right, right[0] - right[1], forth[:, DRAWN], back[:, DRAWN]])
            found[size] = one, other, less, drawn[0], drawn[1]
        return found

    @cached_property
    def correlations(self) -> list[Correlation]:
        """The paper's figure 3, per model."""
        return [_correlation(model, self.sampled.entropies(model), self._seed) for model in self.models]


def study_of(scene: Scene) -> Study | None:
    """The study that a run has the data for: with a best-of-N method, of at least two samples of each model."""
    for name, entry in scene.methods.items():
        if entry["settings"].get("response", {}).get("name") == "best-of-n":
            sampled = Sampled(scene.answers[name].values())
            if sampled.n and sampled.samples > 1:
                return Study(sampled, scene.title, scene.summary["seed"])
    return None


def _correlation(model: str, rows: Array, seed: int) -> Correlation:
    """The intervals come from means: of products for items, of indicators for bins."""
    bits, right = rows.T
    place = np.digitize(bits, EDGES)
    kept = [index for index in range(len(EDGES) + 1) if (place == index).sum() >= _LEAST]
    inside = np.stack([place == index for index in range(len(EDGES) + 1)])[kept].T.astype(np.float64)
    products = np.column_stack([bits, right, bits**2, right**2, bits * right])
    columns = np.hstack([products, inside, inside * bits[:, None], inside * right[:, None]])

    def both(means: Array) -> Array:
        x, y, xx, yy, xy = means[:5]
        item = (xy - x * y) / np.sqrt((xx - x * x) * (yy - y * y))
        share, entropy, accuracy = np.split(means[5:], 3)
        dx, dy = entropy / share, accuracy / share  # a resample may miss a bin: it is left out there
        dx, dy = dx - np.nanmean(dx, axis=0), dy - np.nanmean(dy, axis=0)
        binned = np.nansum(dx * dy, axis=0) / np.sqrt(np.nansum(dx**2, axis=0) * np.nansum(dy**2, axis=0))
        return np.stack([item, binned])

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no bin at all: there is no r
        item, binned = both(columns.mean(axis=0)[:, None])[:, 0]
        found = bootstrap(columns, both, seed)

    def counted(chosen: NDArray[np.bool_]) -> tuple[int, int]:
        return int(right[chosen].sum()), int(chosen.sum())

    return Correlation(
        model,
        Value(float(item), found.interval(0)),
        Value(float(binned), found.interval(1)),
        tuple((float(bits[place == index].mean()), *counted(place == index)) for index in kept),
        counted(place == 0),
        counted(place > 0),
    )

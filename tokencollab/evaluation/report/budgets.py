"""What response-level methods would have answered at every budget and in every order, from samples drawn once.

Tables and figures of ModelSwitch (figures 3, 4, 6 and 7).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations
from typing import Final

import numpy as np
import pandas as pd

from tokencollab.evaluation.between import DRAWN, NEEDED, RIGHT, Policy, Sampled
from tokencollab.evaluation.report.charts import Picture, chart, spread
from tokencollab.evaluation.report.evaluations import Evaluation
from tokencollab.evaluation.report.tables import NONE, Table, number, percent
from tokencollab.evaluation.statistics import Array, Interval, bootstrap, wilson

EDGES: Final = (1e-9, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5)
"""Between the bins of entropy, in bits; the first bin has the items on which all samples agree."""
_LEAST: Final = 5  # items in a bin that counts
_MOST: Final = 4  # models whose every order is tried: 64 policies

Mean = tuple[float, Interval | None]
"""A mean over items with its paired bootstrap interval."""


@dataclass(frozen=True, slots=True)
class Correlation:
    """Of one model: its entropy over the samples of an item with whether its commonest answer is right.

    ``item`` is Pearson's r over items; ``binned`` over the bins of `EDGES` that have at least five, each one point
    (mean entropy, accuracy). ``bins``: columns ``entropy``, ``right`` and ``n`` of these. ``agreed`` and ``others``:
    right and all items on which all samples agree, and on which they do not.
    """

    model: str
    item: Mean
    binned: Mean
    bins: pd.DataFrame
    agreed: tuple[int, int]
    others: tuple[int, int]


class Study:
    """One run's samples. The pair is the first two models, in the order in which the run names them."""

    def __init__(self, sampled: Sampled, title: str, seed: int) -> None:
        self.sampled, self.title, self._seed = sampled, f"{title}, n = {sampled.n}", seed  # of the figures
        self.models, self.full = sampled.models, sampled.samples
        self.pair = self.models[:2]
        self.budgets = [b for b in range(1, self.full + 1) if b == 1 or b % 2 == 0]
        self._shown = [b for b in self.budgets if b & (b - 1) == 0 or b == self.budgets[-1]]

    def tables(self) -> list[Table]:
        several = len(self.models) > 1
        found = [self._accuracy_table(), self._drawn_table(), self._difference_table() if several else None]
        found += [self._entropy_table(), self._order_table() if several else None]
        found.append(self._best_of_n_table() if self.sampled.scored else None)
        return [table for table in found if table is not None]

    def pictures(self) -> list[Picture]:
        found = [self._curves_picture()]
        if any(len(correlation.bins) for correlation in self.correlations):
            found.append(self._entropy_picture())
        return found + ([self._order_picture()] if len(self.models) > 1 else [])

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

    def estimate(self, columns: Sequence[Array]) -> list[Mean]:
        """Means and intervals of columns with a row per item, all over the same resamples."""
        table = np.stack(columns, axis=1)
        found = bootstrap(table, lambda means: means, self._seed)
        return [(float(mean), found.interval(index)) for index, mean in enumerate(table.mean(axis=0))]

    @cached_property
    def points(self) -> pd.DataFrame:
        """A row per curve (``series``) and ``budget``: accuracy with its interval, samples drawn, samples needed."""
        keys = [(label, budget) for label, points in self.curves.items() for budget in points]
        values = [self.sampled.values(self.curves[label][budget]) for label, budget in keys]
        means = self.estimate([found[:, RIGHT] for found in values])
        rows = [
            (*key, *mean, found[:, DRAWN].mean(), found[:, NEEDED].mean())
            for key, mean, found in zip(keys, means, values, strict=True)
        ]
        return pd.DataFrame(rows, columns=["series", "budget", "accuracy", "accuracy_ci", "drawn", "needed"])

    def order(self, models: Sequence[str]) -> Array:
        """Per item: ModelSwitch over the models in this order, the full budget shared equally (rounded down)."""
        return self.sampled.values(Policy("modelswitch", tuple(models), self.full // len(models)))

    @cached_property
    def by_strength(self) -> tuple[str, ...]:
        """The models by their self-consistency on these items, the best first."""
        policies = {model: Policy("self-consistency", (model,), self.full) for model in self.models}
        return tuple(sorted(policies, key=lambda model: -float(self.sampled.values(policies[model])[:, RIGHT].mean())))

    @cached_property
    def orders(self) -> pd.DataFrame:
        """``accuracy`` of every choice of ``size`` models, in every order. Of more than four, the best four."""
        best = self.by_strength[:_MOST]
        rows = [
            (size, float(self.order(models)[:, RIGHT].mean()), models)
            for size in range(1, min(len(best), self.full) + 1)
            for models in permutations(best, size)
        ]
        return pd.DataFrame(sorted(rows), columns=["size", "accuracy", "models"])

    @cached_property
    def turned(self) -> dict[int, list[Mean]]:
        """Number of models -> ModelSwitch over the best so many.

        Accuracy strong to weak, weak to strong, the first less the second; samples drawn in both orders.
        """
        found = {}
        for size in self.orders["size"].unique():
            forth, back = self.order(self.by_strength[:size]), self.order(self.by_strength[:size][::-1])
            right = forth[:, RIGHT], back[:, RIGHT]
            found[int(size)] = self.estimate([*right, right[0] - right[1], forth[:, DRAWN], back[:, DRAWN]])
        return found

    @cached_property
    def correlations(self) -> list[Correlation]:
        """The paper's figure 3, per model."""
        return [_correlation(model, self.sampled.entropies(model), self._seed) for model in self.models]

    def _by_budget(self, texts: dict[tuple[str, int], str]) -> pd.DataFrame:
        table = pd.Series(texts).unstack().reindex(index=list(dict.fromkeys(label for label, _ in texts)))
        table = table.reindex(columns=self._shown).fillna(NONE).rename_axis("method").reset_index()
        return table.set_axis(["method", *map(str, self._shown)], axis=1)

    def _accuracy_table(self) -> Table:
        texts = {(p.series, p.budget): percent(p.accuracy, p.accuracy_ci) for p in self.points.itertuples()}
        return Table(
            "Accuracy % by budget of samples (ModelSwitch fig. 4)",
            self._by_budget(texts),
            f"{self.sampled.n} items. 2 models: {', then '.join(self.pair)}. All: {', then '.join(self.models)}. The "
            f"budget is shared equally. Of {self.full} samples per model, methods with fewer are the mean over as many "
            "runs as the samples make. "
            "Random switching stops after a model by a chance of 0.5: the expectation over it, computed exactly. "
            "In brackets 95 % intervals by bootstrap over items, the same resamples for all.",
        )

    def _drawn_table(self) -> Table:
        texts = {}
        for label, points in self.points.groupby("series", sort=False):
            for point in points.itertuples():
                texts[label, point.budget] = f"{number(point.drawn)} / {number(point.needed)}"
            for budget, policy in self.curves[label].items():
                if label.startswith("ModelSwitch"):
                    text = NONE
                    if budget > 1 and budget in self._shown:
                        deferring = self.sampled.values(replace(policy, defer=True))
                        text = f"{NONE} / {number(deferring[:, NEEDED].mean())}"
                    texts[f"{label}, --defer", budget] = text
        return Table(
            "Samples per question, drawn / needed",
            self._by_budget(texts),
            "Drawn: as the paper draws, all samples of a model together. Needed: without those that could not change "
            "the outcome any more, which are not drawn one at a time (--at-once 1); the answers are the same. --defer "
            "goes on to the next model as soon as one cannot agree with itself any more, and comes back to it only for "
            "the vote.",
        )

    def _difference_table(self) -> Table:
        switch, budget = "ModelSwitch, 2 models", self.budgets[-1]
        base = self.sampled.values(self.curves[switch][budget])
        others = {label: own[budget] for label, own in self.curves.items() if label != switch and budget in own}
        columns = [base[:, RIGHT] - self.sampled.values(policy)[:, RIGHT] for policy in others.values()]
        *values, saved = self.estimate([*columns, 1 - base[:, DRAWN] / budget])
        differences = [percent(*value, sign=True) for value in values]
        return Table(
            f"ModelSwitch over {' and '.join(self.pair)} at budget {budget}, against",
            pd.DataFrame({"method at the same budget": list(others), "difference, points": differences}),
            f"ModelSwitch draws {percent(*saved)} % less than its budget; self-consistency, as in the paper, draws "
            "all. Differences are paired on the same items.",
        )

    def _entropy_table(self) -> Table:
        def counted(right: int, n: int) -> str:
            return f"{percent(right / n, wilson(right, n))} ({right}/{n})" if n else NONE

        rows = [
            {
                "model": found.model,
                "n": str(found.agreed[1] + found.others[1]),
                "r over items": number(*found.item, digits=2),
                "r over bins (bins)": f"{number(*found.binned, digits=2)} ({len(found.bins)})",
                "right % where all agree": counted(*found.agreed),
                "right % elsewhere": counted(*found.others),
            }
            for found in self.correlations
        ]
        return Table(
            f"Entropy of {self.full} samples and accuracy (ModelSwitch fig. 3)",
            pd.DataFrame(rows),
            "Entropy in bits of a model's answers to an item; right: its commonest answer. r is Pearson's, with 95 % "
            "bootstrap intervals over items. Bins are half a bit wide, and those of fewer than 5 items are left out; "
            "binning takes out what varies from item to item. Shares have Wilson's interval.",
        )

    def _order_table(self) -> Table:
        rows = []
        for size, own in self.orders.groupby("size"):
            strong, weak, difference, drawn, drawn_back = self.turned[size]
            accuracy, several = own["accuracy"], size > 1
            rows.append(
                {
                    "models": f"{size} ({self.full // size} samples of each)",
                    "best ones, strong to weak": percent(*strong),
                    "the same, weak to strong": percent(*weak) if several else NONE,
                    "difference, points": percent(*difference, sign=True) if several else NONE,
                    "drawn": number(drawn[0]) + (f" / {number(drawn_back[0])}" if several else ""),
                    "mean of all choices and orders (how many)": f"{percent(accuracy.mean())} ({len(own)})",
                    "worst to best of them": f"{percent(accuracy.min())} ({', '.join(own['models'].iloc[0])}) to "
                    f"{percent(accuracy.max())}",
                }
            )
        return Table(
            "ModelSwitch by number and order of models (ModelSwitch fig. 6)",
            pd.DataFrame(rows),
            f"Budget {self.full}. Strong to weak by self-consistency on these very items: "
            f"{', '.join(self.by_strength)}.",
        )

    def _best_of_n_table(self) -> Table:
        half, best = self.full // 2, self.by_strength[:1]
        rows = self._scored(f"{best[0]} ({self.full})", "self-consistency", best, self.full, ("best-of-n",))
        if len(self.models) > 1:
            name = f"ModelSwitch {' + '.join(self.pair)} ({half} each)"
            rows += self._scored(name, "modelswitch", self.pair, half, ("modelswitch", "best-of-n"))
        return Table(
            "With best-of-N (ModelSwitch fig. 7)",
            pd.DataFrame(rows, columns=["samples: decided by", "accuracy %", "over the vote above, points", "drawn"]),
            "Scores are those that the run recorded. Best sum: of the scores of the samples that give an answer. "
            "ModelSwitch looks at scores only where no model agrees with itself. Any sample right: what a scorer "
            "without fault would reach.",
        )

    def _scored(
        self, name: str, voting: str, models: tuple[str, ...], k: int, scoring: Sequence[str]
    ) -> list[tuple[str, ...]]:
        """The vote of a method over ``models``, what scores make of it, and what they could."""
        vote = self.sampled.values(Policy(voting, models, k))
        found = {f"{name}: vote": vote}
        for method in scoring:
            whose = name if method == scoring[0] else f"all samples of {' + '.join(models)} ({k} each)"
            for pick, what in (("best", "best sample"), ("sum", "best sum")):
                found[f"{whose}: {what}"] = self.sampled.values(Policy(method, models, k, pick))
        shares = [values[:, RIGHT] for values in found.values()]
        bound = self.sampled.any_right(models, k)
        *means, any_right = self.estimate([*shares, *(share - vote[:, RIGHT] for share in shares), bound])
        rows = [
            (
                what,
                percent(*means[index]),
                percent(*means[len(found) + index], sign=True) if index else NONE,
                number(values[:, DRAWN].mean()),
            )
            for index, (what, values) in enumerate(found.items())
        ]
        return [*rows, (f"{' + '.join(models)} ({k} each): any sample right", percent(*any_right), NONE, NONE)]

    def _curves_picture(self) -> Picture:
        points = self.points.assign(x=self.points["drawn"])
        points = points.assign(**spread("y", points["accuracy"], points["accuracy_ci"], 100))
        figure = chart(points, self.title, "samples drawn per question, mean", "accuracy, %", line="-")
        caption = (
            f"Each point is a budget, from {self.budgets[0]} to {self.budgets[-1]}; what is not drawn of it moves a "
            f"point to the left. 2 models: {', then '.join(self.pair)}. Bars: 95 % bootstrap intervals over items; the "
            "methods answered the same items, so their differences are surer than the bars suggest (see the table)."
        )
        return Picture("between-curves", "Accuracy against samples drawn", caption, figure)

    def _entropy_picture(self) -> Picture:
        parts = []
        for found in self.correlations:
            bins = found.bins
            intervals = pd.Series(list(map(wilson, bins["right"], bins["n"])), dtype=object)
            series = f"{found.model}: r = {found.item[0]:.2f} over items"
            values = spread("y", bins["right"] / bins["n"], intervals, 100)
            parts.append(pd.DataFrame({"series": series, "x": bins["entropy"], **values}))
        label = f"entropy of {self.full} samples, bits"
        figure = chart(pd.concat(parts), self.title, label, "commonest answer right, %", line=":", apart=0.03)
        caption = (
            "Items in bins of half a bit (those on which all samples agree are a bin of their own), at the bin's mean "
            "entropy, models a little apart; bars: Wilson's 95 %. Bins of fewer than 5 items are left out."
        )
        return Picture("between-entropy", "Entropy and accuracy", caption, figure)

    def _order_picture(self) -> Picture:
        sizes = pd.Series(list(self.turned))
        labels = {size: f"{size}\n({self.full // size} samples each)" for size in sizes}
        parts = []
        for index, series in enumerate(("the best ones, strong to weak", "the same, weak to strong")):
            means = pd.DataFrame([self.turned[size][index] for size in sizes], columns=["mean", "bounds"])
            values = spread("y", means["mean"], means["bounds"], 100)
            parts.append(pd.DataFrame({"series": series, "x": sizes, **values}))
        every = self.orders.assign(
            series="every choice and order", x=self.orders["size"], y=100 * self.orders["accuracy"]
        )
        points = pd.concat([*parts, every[["series", "x", "y"]]])
        points["x"] = pd.Categorical(points["x"].map(labels), list(labels.values()))
        label = f"models of ModelSwitch, sharing a budget of {self.full} samples"
        figure = chart(points, self.title, label, "accuracy, %", apart=0.08)
        caption = f"Strong to weak: {', '.join(self.by_strength)}. Bars: 95 % bootstrap intervals over items."
        return Picture("between-order", "Number and order of models", caption, figure)


def study_of(evaluation: Evaluation) -> Study | None:
    """The study that an evaluation has the data for: with best-of-N, of at least two samples of each model."""
    for name, settings in evaluation.methods["settings"].items():
        if settings.get("response", {}).get("name") == "best-of-n":
            records = [record for record in evaluation.records_of(name) if isinstance(record["response"], dict)]
            sampled = Sampled(records)
            if sampled.n and sampled.samples > 1:
                return Study(sampled, evaluation.title, evaluation.summary["seed"])
    return None


def _correlation(model: str, rows: Array, seed: int) -> Correlation:
    """The intervals come from means: of products for items, of indicators for bins."""
    items = pd.DataFrame(rows, columns=["entropy", "right"])
    items["bin"] = np.digitize(items["entropy"], EDGES)
    bins = items.groupby("bin").agg(entropy=("entropy", "mean"), right=("right", "sum"), n=("right", "size"))
    bins = bins[bins["n"] >= _LEAST].astype({"right": int})
    bits, right = rows.T
    inside = (items["bin"].to_numpy()[:, None] == bins.index.to_numpy()).astype(np.float64)
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

    def counted(chosen: pd.Series) -> tuple[int, int]:
        return int(items["right"][chosen].sum()), int(chosen.sum())

    return Correlation(
        model,
        (float(item), found.interval(0)),
        (float(binned), found.interval(1)),
        bins,
        counted(items["bin"] == 0),
        counted(items["bin"] > 0),
    )

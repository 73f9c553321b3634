"""Figures with one row per method: accuracy, candidates aligned, outcomes, similarity, length."""

from collections import Counter
from math import sqrt

import numpy as np

from tokencollab.evaluation.report.pictures import Picture, colour, make_figure, marker, name_rows, row_height, spread
from tokencollab.evaluation.report.scenes import Scene
from tokencollab.evaluation.report.tables import OUTCOMES, outcomes
from tokencollab.evaluation.statistics import bootstrap

_OUTCOME_COLOURS = ("#0072B2", "#56B4E9", "#E69F00", "#cccccc")


def accuracy(scene: Scene) -> Picture:
    """Accuracy of every method with Wilson's interval."""
    names = list(scene.methods)
    figure, (axes,) = make_figure(7.5, row_height(len(names)))
    for index, name in enumerate(names):
        row = scene.methods[name]
        value, (low, high) = 100 * row["accuracy"], row["accuracy_ci"]
        single = name in scene.alone or name == "base"
        axes.errorbar(
            value,
            index,
            xerr=spread(value, (100 * low, 100 * high)),
            fmt=marker(1 if single else 0),
            color=colour(6 if single else 0),
            markerfacecolor="white" if single else colour(0),
            capsize=2,
        )
    if best := scene.summary.get("best_alone"):
        axes.axvline(100 * scene.methods[best]["accuracy"], color=colour(7), linestyle="--", linewidth=1)
    name_rows(axes, names)
    axes.set_xlabel("accuracy, %")
    axes.set_title(f"{scene.title}, n = {scene.summary['n']}")
    caption = "Bars are 95 % Wilson intervals. Squares: one model alone; the dashed line is the better one of them."
    return Picture("accuracy", f"Accuracy: {scene.title}", caption, figure)


def aligned(scene: Scene) -> Picture | None:
    """Candidates aligned per item (DuetNet fig. 7)."""
    names = [name for name in scene.together if scene.methods[name]["aligned_per_item"]]
    if not names:
        return None
    figure, (axes,) = make_figure(7.5, row_height(len(names)))
    for index, name in enumerate(names):
        values = np.array([[record["aligned"]] for record in scene.answers[name].values()], dtype=float)
        found = bootstrap(values, lambda means: means, 0).interval(0)
        mean = float(values.mean())
        axes.barh(index, mean, color=colour(0), height=0.65)
        axes.errorbar(mean, index, xerr=spread(mean, found), fmt="none", ecolor="black", capsize=2)
        axes.annotate(
            f"{mean:,.0f}", (found[1] if found else mean, index), (6, 0), textcoords="offset points", va="center"
        )
    name_rows(axes, names)
    axes.margins(x=0.12)
    axes.set_xlabel("candidates aligned per item")
    axes.set_title(f"{scene.title}, n = {scene.summary['n']}")
    caption = (
        "Mean per item with its 95 % bootstrap interval. Steps of the base alone compare nothing and count nothing."
    )
    return Picture("aligned", f"Candidates aligned: {scene.title}", caption, figure)


def outcome_bars(scene: Scene) -> Picture | None:
    """Right and wrong, single and together (DuetNet fig. 8)."""
    best = scene.summary.get("best_alone")
    if not best or not scene.together:
        return None
    names = scene.together
    figure, (axes,) = make_figure(7.5, row_height(len(names)) + 0.3)
    left = np.zeros(len(names))
    counts = [outcomes(scene, name, best) for name in names]
    for kind, shade in zip(OUTCOMES, _OUTCOME_COLOURS, strict=True):
        shares = np.array([100 * count[kind] / max(1, sum(count.values())) for count in counts])
        axes.barh(range(len(names)), shares, left=left, color=shade, edgecolor="white", label=kind, height=0.7)
        for row, (start, share) in enumerate(zip(left, shares, strict=True)):
            if share >= 4:
                ink = "white" if shade == "#0072B2" else "black"
                axes.text(start + share / 2, row, f"{share:.0f}", ha="center", va="center", color=ink, fontsize=8)
        left = left + shares
    name_rows(axes, names)
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of items, %")
    axes.set_title(f"{scene.title}, n = {scene.summary['n']}", pad=24)
    axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), handlelength=1.4)
    caption = (
        f"Together: the method; single: {best.removeprefix('alone:')} alone, the better single model of these items."
    )
    return Picture("outcomes", f"Right and wrong: {scene.title}", caption, figure)


def similarity(scene: Scene) -> Picture | None:
    """How near each method's texts are to each member's own (DuetNet fig. 9)."""
    if len(scene.alone) < 2 or not scene.together:
        return None
    names = scene.together
    figure, (axes,) = make_figure(7.5, row_height(2 * len(names)) / 1.4 + 0.3)
    vectors = {name: {item: trigrams(r["text"]) for item, r in scene.answers[name].items()} for name in scene.methods}
    for index, name in enumerate(names):
        for number, single in enumerate(scene.alone):
            common = [item for item in vectors[name] if item in vectors[single]]
            values = np.array([[cosine(vectors[name][item], vectors[single][item])] for item in common])
            if not len(values):
                continue
            mean = float(values.mean())
            axes.errorbar(
                mean,
                index + 0.18 * (number - (len(scene.alone) - 1) / 2),
                xerr=spread(mean, bootstrap(values, lambda means: means, 0).interval(0)),
                fmt=marker(number),
                color=colour(number),
                capsize=2,
                label=single.removeprefix("alone:") if index == 0 else None,
            )
    name_rows(axes, names)
    axes.set_xlabel("mean cosine similarity to the member's own answer")
    axes.set_title(f"{scene.title}, n = {scene.summary['n']}")
    figure.legend(loc="outside lower center", ncols=4)
    caption = (
        "1: the text that this member writes alone. Vectors: counts of character trigrams; 95 % bootstrap intervals. "
        "The gap between the members of a method is the difference in similarity."
    )
    return Picture("similarity", f"Similarity to each member: {scene.title}", caption, figure)


def lengths(scene: Scene) -> Picture:
    """Characters per answer (DuetNet fig. 10)."""
    names = list(scene.methods)
    figure, (axes,) = make_figure(7.5, row_height(len(names)))
    values = [[len(record["text"]) for record in scene.answers[name].values()] for name in names]
    axes.boxplot(
        values,
        orientation="horizontal",
        positions=range(len(names)),
        widths=0.6,
        whis=(5, 95),
        showfliers=False,
        medianprops={"color": colour(1), "linewidth": 2},
    )
    name_rows(axes, names)
    axes.set_xlabel("characters per answer")
    axes.set_title(f"{scene.title}, n = {scene.summary['n']}")
    caption = "Median (orange), quartiles (box), 5th and 95th percentile (whiskers)."
    return Picture("lengths", f"Length of answers: {scene.title}", caption, figure)


def trigrams(text: str) -> Counter[str]:
    """Character trigrams of a text, with its ends marked."""
    marked = f"\x02{text}\x03"
    return Counter(marked[index : index + 3] for index in range(len(marked) - 2)) or Counter([marked])


def cosine(first: Counter[str], second: Counter[str]) -> float:
    """The cosine of two vectors of counts."""
    dot = sum(count * second[gram] for gram, count in first.items())
    return dot / sqrt(sum(c * c for c in first.values()) * sum(c * c for c in second.values()))

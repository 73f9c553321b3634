"""The figures of token-level methods: by method, over settings, exits against cost, T0 over the steps."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from math import sqrt
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from tokencollab.evaluation.report.charts import COLOURS, Picture, add_legend, chart, make_figure, spread
from tokencollab.evaluation.report.evaluations import OUTCOMES, Evaluation
from tokencollab.evaluation.statistics import bootstrap

_NAMES: Final = {"top_t": "T", "top_p": "P", "top_k": "K", "eps": "epsilon"}
_PANELS: Final = 12  # of one figure
_MEASURED: Final = (("accuracy", "accuracy, %", 100), ("cost", "cost per item, candidate sets", 1))
_COMPARED: Final = (("loss", "accuracy lost, points", 100), ("save", "cost saved, %", 100))
_OUTCOME_COLOURS: Final = ("#0072B2", "#56B4E9", "#E69F00", "#cccccc")


def token_pictures(evaluation: Evaluation) -> list[Picture]:
    if sweep := list(evaluation.summary["sweep"]):
        found = [_over_one(evaluation, key) for key in sweep]
        for first, second in combinations(sweep, 2):
            found += _over_two(evaluation, first, second)
    else:
        found = [_accuracy(evaluation), _exits(evaluation), _self_efficacy(evaluation), _aligned(evaluation)]
        found += [_outcomes(evaluation), _similarity(evaluation), _lengths(evaluation)]
    return [picture for picture in found if picture is not None]


def _rows(names: Sequence[str], among: Sequence[str]) -> pd.Categorical:
    return pd.Categorical(names, list(dict.fromkeys(among)))


def _best_line(evaluation: Evaluation) -> tuple[float, str] | None:
    for single, called in evaluation.singles.items():
        return 100 * evaluation.methods["accuracy"][single], called
    return None


def _accuracy(evaluation: Evaluation) -> Picture:
    methods = evaluation.methods
    points = pd.DataFrame(
        {
            "series": np.where(methods.index.isin(evaluation.together), "together", "one model alone"),
            "y": _rows(methods.index, methods.index),
            **spread("x", methods["accuracy"], methods["accuracy_ci"], 100),
        }
    )
    figure = chart(points, evaluation.sized_title, "accuracy, %", level=_best_line(evaluation))
    caption = "Bars are 95 % Wilson intervals. The dashed line is the single model that the others are compared with."
    return Picture("accuracy", "Accuracy", caption, figure)


def _means(values: Sequence[tuple[str, str, np.ndarray]], names: Sequence[str]) -> pd.DataFrame:
    """A chart's points: the means of values of a series in a row, with bootstrap intervals."""
    found = [bootstrap(column[:, None].astype(float), lambda means: means, 0).interval(0) for *_, column in values]
    means = pd.Series([column.mean() for *_, column in values])
    rows = _rows([row for _, row, _ in values], names)
    return pd.DataFrame({"series": [s for s, *_ in values], "y": rows, **spread("x", means, pd.Series(found))})


def _aligned(evaluation: Evaluation) -> Picture | None:
    """Candidates aligned per item (DuetNet fig. 7)."""
    names = [name for name in evaluation.together if evaluation.methods["aligned_per_item"][name]]
    if not names:
        return None
    values = [("mean per item", name, evaluation.answers_of(name)["aligned"].to_numpy()) for name in names]
    figure = chart(_means(values, names), evaluation.sized_title, "candidates aligned per item")
    figure.axes[0].set_xlim(left=0)
    caption = (
        "Mean per item with its 95 % bootstrap interval. Steps of the base alone compare nothing and count nothing."
    )
    return Picture("aligned", "Candidates aligned", caption, figure)


def _similarity(evaluation: Evaluation) -> Picture | None:
    """How near each method's texts are to each member's own (DuetNet fig. 9)."""
    names, alone = evaluation.together, evaluation.alone
    if len(alone) < 2 or not names:
        return None
    vectors = evaluation.answers.assign(vector=evaluation.answers["text"].map(trigrams))
    table = vectors.pivot(index="item", columns="method", values="vector")
    values = []
    for single in alone:
        for name in names:
            both = table[[name, single]].dropna()
            cosines = np.array([cosine(*pair) for pair in both.itertuples(index=False)])
            if len(cosines):
                values.append((single.removeprefix("alone:"), name, cosines))
    label = "mean cosine similarity to the member's own answer"
    figure = chart(_means(values, names), evaluation.sized_title, label, apart=0.18)
    caption = (
        "1: the text that this member writes alone. Vectors: counts of character trigrams; 95 % bootstrap intervals. "
        "The gap between the members of a method is the difference in similarity."
    )
    return Picture("similarity", "Similarity to each member", caption, figure)


def trigrams(text: str) -> Counter[str]:
    """Character trigrams of a text, with its ends marked."""
    marked = f"\x02{text}\x03"
    return Counter(marked[index : index + 3] for index in range(len(marked) - 2)) or Counter([marked])


def cosine(first: Counter[str], second: Counter[str]) -> float:
    """The cosine of two vectors of counts."""
    dot = sum(count * second[gram] for gram, count in first.items())
    return dot / sqrt(sum(c * c for c in first.values()) * sum(c * c for c in second.values()))


def _lengths(evaluation: Evaluation) -> Picture:
    """Characters per answer (DuetNet fig. 10)."""
    answers = evaluation.answers.assign(characters=evaluation.answers["text"].map(len))
    found = answers.groupby("method", sort=False)["characters"].quantile([0.05, 0.25, 0.5, 0.75, 0.95]).unstack()
    found = found.loc[evaluation.methods.index]
    parts = [
        pd.DataFrame(
            {
                "series": f"median, {name}",
                "y": _rows(found.index, found.index),
                **spread("x", found[0.5], pd.Series(list(zip(found[low], found[high], strict=True)))),
            }
        )
        for low, high, name in ((0.25, 0.75, "quartiles"), (0.05, 0.95, "5th and 95th percentile"))
    ]
    figure = chart(pd.concat(parts), evaluation.sized_title, "characters per answer", apart=0.25)
    caption = "Median with quartiles, and with the 5th and the 95th percentile."
    return Picture("lengths", "Length of answers", caption, figure)


def _outcomes(evaluation: Evaluation) -> Picture | None:
    """Right and wrong, single and together (DuetNet fig. 8)."""
    if not evaluation.singles or not evaluation.together:
        return None
    single, called = next(iter(evaluation.singles.items()))
    counts = evaluation.outcomes(single)
    shares = 100 * counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    figure, (axes,) = make_figure(evaluation.sized_title, height=max(1.8, 1.3 + 0.24 * len(shares)))
    left = np.zeros(len(shares))
    for kind, colour in zip(OUTCOMES, _OUTCOME_COLOURS, strict=True):
        bars = axes.barh(list(shares.index), shares[kind], left=left, color=colour, edgecolor="white", label=kind)
        texts, ink = [f"{s:.0f}" if s >= 4 else "" for s in shares[kind]], "white" if colour == "#0072B2" else "black"
        axes.bar_label(bars, texts, label_type="center", color=ink, fontsize=8)
        left = left + shares[kind].to_numpy()
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="share of items, %")
    axes.grid(axis="y", visible=False)
    add_legend(figure)
    caption = f"Together: the method; single: {called}."
    return Picture("outcomes", "Right and wrong", caption, figure)


def _over_one(evaluation: Evaluation, key: str) -> Picture | None:
    """Accuracy and cost over one setting (DuetNet figs. 6, 12, 13)."""
    found, name = evaluation.varied(key), _NAMES.get(key, key)
    if found.empty:
        return None
    points = _panels(found, key, found["curve"], _MEASURED)
    figure = chart(points, evaluation.sized_title, name, line="-", apart=0.12, level=_best_line(evaluation))
    caption = "95 % intervals: Wilson for accuracy, bootstrap over items for cost. The values are evenly spaced."
    return Picture(f"over-{key}", f"Over {name}", caption, figure)


def _over_two(evaluation: Evaluation, first: str, second: str) -> list[Picture]:
    """Accuracy lost and cost saved over two settings, e.g. omega by theta (ConfiPara fig. 5)."""
    pictures = []
    one, other = _NAMES.get(first, first), _NAMES.get(second, second)
    for curve, found in evaluation.varied(first, second).groupby("curve", sort=False):
        compared = found["loss"].notna().all()
        points = _panels(found, second, f"{one} = " + found[first].astype(str), _COMPARED if compared else _MEASURED)
        figure = chart(points, f"{curve} on {evaluation.sized_title}", other, line="-", apart=0.08)
        caption = "95 % intervals; the values are evenly spaced."
        caption += f" Against {found['against'].iloc[0]}." if compared else ""
        title = f"{one} by {other}: {curve}"
        pictures.append(Picture(f"grid-{first}-{second}-{curve}", title, caption, figure))
    return pictures


def _panels(found: pd.DataFrame, x: str, series: pd.Series, shown: Sequence[tuple[str, str, int]]) -> pd.DataFrame:
    frames = []
    for column, panel, factor in shown:
        values = spread("y", found[column], found[f"{column}_ci"], factor)
        frames.append(pd.DataFrame({"panel": panel, "series": series, "x": found[x], **values}))
    return pd.concat(frames)


def _exits(evaluation: Evaluation) -> Picture | None:
    """Accuracy lost against cost saved of everything that exits, the ablations among it (ConfiPara fig. 7)."""
    found = evaluation.methods.loc[evaluation.together]
    found = found[found["against"].notna() & (found["against"] != found.index) & found["save"].notna()]
    if len(found) < 2:
        return None
    points = pd.DataFrame(
        {
            "panel": "against " + found["against"],
            "series": [f"{number}  {name}" for number, name in enumerate(found.index, start=1)],
            **spread("x", found["save"], found["save_ci"], 100),
            **spread("y", found["loss"], found["loss_ci"], 100),
        }
    )
    figure = chart(points, evaluation.sized_title, "cost saved, %", "accuracy lost, points")
    for axes, (_, own) in zip(figure.axes, points.groupby("panel", sort=False), strict=False):
        axes.axhline(0, color=COLOURS[7], linestyle="--", linewidth=1)
        _number_points(axes, own)
    caption = (
        "Right is cheaper, low is better; the dashed line is the full collaboration. Numbers are the legend's, several "
        "where points cover each other. 95 % paired bootstrap intervals. "
        "Where fixed exits, the whole policy and its two ablations are there, this is the ablation."
    )
    return Picture("exits", "Exits and ablation", caption, figure)


def _number_points(axes: Axes, points: pd.DataFrame) -> None:
    """The number of each point beside it; points that cover each other have their numbers at one place."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    places: dict[tuple[float, float], list[str]] = {}
    for name, x, y in points[["series", "x", "y"]].itertuples(index=False):
        near = [at for at in places if abs(at[0] - x) < 0.03 * (right - left) and abs(at[1] - y) < 0.03 * (high - low)]
        places.setdefault(near[0] if near else (x, y), []).append(name.partition(" ")[0])
    behind = {"boxstyle": "square,pad=0.05", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
    for place, numbers in places.items():
        axes.annotate(", ".join(numbers), place, (5, 4), textcoords="offset points", fontsize=7, bbox=behind)


def _self_efficacy(evaluation: Evaluation) -> Picture | None:
    """T0 over the steps, and when the base left."""
    answers = {name: evaluation.answers_of(name) for name in evaluation.together}
    names = [name for name, own in answers.items() if own["t0"].notna().any()]
    if not names:
        return None
    figure, panels = make_figure(evaluation.sized_title, min(len(names), _PANELS), height=2.9)
    for axes, name in zip(panels, names, strict=False):
        own = answers[name]
        courses = pd.DataFrame([dict(enumerate(course)) for course in own["t0"].dropna()])  # a column per step
        # Only as long as at least a tenth of the answers is still together: the rest is a few long answers.
        courses = courses.loc[:, courses.notna().mean() >= 0.1]
        low, middle, high = (courses.quantile(q) for q in (0.25, 0.5, 0.75))
        steps = courses.columns + 1
        axes.fill_between(steps, low, high, color=COLOURS[5], alpha=0.4, label="quartiles")
        axes.plot(steps, middle, color=COLOURS[0], label="median T0")
        theta = evaluation.methods["settings"][name].get("method", {}).get("theta")
        if theta is not None:
            axes.axhline(theta, color=COLOURS[1], linestyle="--", linewidth=1, label="theta")
        left = own["exit_step"].dropna()
        shares = [(left <= step).sum() / len(own) for step in steps]
        axes.step(steps, shares, where="post", color=COLOURS[6], linestyle=":", label="share that has left")
        axes.set(title=f"{name} ({len(left)} of {len(own)} left)", xlabel="step", ylabel="T0, share", ylim=(0, 1))
    add_legend(figure)
    caption = "T0 of answers that are still together at a step, as long as a tenth of them is."
    if names[_PANELS:]:
        caption += f" Not shown: {', '.join(names[_PANELS:])}."
    return Picture("self-efficacy", "Self-efficacy over the steps", caption, figure)


def latency(evaluations: Sequence[Evaluation]) -> Picture | None:
    """Time per token over the number of models (ConfiPara fig. 6)."""
    frames = []
    for found in evaluations:
        if not found.summary["sweep"] and not found.methods.empty:
            rows = found.methods.drop(found.alone).dropna(subset="ms_per_token").rename_axis("method").reset_index()
            models = np.where(rows["method"] == "base", 1, len(found.models))
            frames.append(rows.assign(models=models, runtime=(found.run["runs"] or [{}])[-1].get("runtime", "")))
    if not frames:
        return None
    times = pd.concat(frames).drop_duplicates(["method", "runtime", "models"], keep="last")
    base = times[times["method"] == "base"]
    lines = times[times.groupby(["method", "runtime"])["models"].transform("nunique") > 1]
    if lines.empty:
        return None
    parts = []
    for (method, runtime), own in lines.groupby(["method", "runtime"], sort=False):
        most = own.loc[own["models"].idxmax(), "settings"]  # one model is the base alone, whatever the method
        stays = most.get("method", {}).get("exit", "never") == "never"
        rows = pd.concat([own, base[base["runtime"] == runtime]]).drop_duplicates("models").sort_values("models")
        values = spread("y", rows["ms_per_token"], rows["ms_per_token_quartiles"])
        series = f"{method}, {runtime}" if lines["runtime"].nunique() > 1 else method
        panel = "all members to the end" if stays else "the base leaves"
        parts.append(pd.DataFrame({"panel": panel, "series": series, "x": rows["models"], **values}))
    points = pd.concat(parts).sort_values("panel", kind="stable")
    apart = 0.3 / points["series"].nunique()
    figure = chart(points, "", "models", "ms per token, median and quartiles", line="-", apart=apart)
    top = max(axes.get_ylim()[1] for axes in figure.axes)
    for axes in figure.axes:
        axes.set(xticks=sorted(points["x"].unique()), ylim=(0, top))
    at_once = sorted({number for found in evaluations for number in found.summary["concurrency"]})
    caption = (
        f"Median over answers, with quartiles, at a concurrency of {' or '.join(map(str, at_once))}. "
        "One model is the base alone. Runs with other sets or models are points of the same line: give only runs that "
        "belong together."
    )
    return Picture("latency", "Time per token over the number of models", caption, figure)

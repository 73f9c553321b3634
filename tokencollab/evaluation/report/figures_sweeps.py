"""Figures over settings: T, P, K and any other; omega by theta; exits against cost; T0 over the steps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from tokencollab.evaluation.report.pictures import Picture, colour, make_figure, marker, spread
from tokencollab.evaluation.report.scenes import Scene

_NAMES = {"top_t": "T", "top_p": "P", "top_k": "K", "omega": "omega", "theta": "theta", "rho": "rho", "eps": "epsilon"}
_PANELS = 12  # of one figure


def over_setting(scene: Scene, key: str) -> Picture | None:
    """Accuracy and cost over one setting (DuetNet figs. 6, 12, 13)."""
    groups = _varied(scene, {key})
    if not groups:
        return None
    values = scene.summary["sweep"][key]
    figure, (left, right) = make_figure(8.5, 3.5, columns=2)
    for index, (name, points) in enumerate(groups.items()):
        by_value = {point[key]: method for method, point in points}
        there = [position for position, value in enumerate(values) if value in by_value]
        rows = [scene.methods[by_value[values[position]]] for position in there]
        # A little to the side, so that the intervals of methods do not hide each other.
        shift = 0.12 * (index - (len(groups) - 1) / 2)
        for axes, figure_name, factor in ((left, "accuracy", 100.0), (right, "cost", 1.0)):
            middle = [factor * row[figure_name] for row in rows]
            bounds = [row[f"{figure_name}_ci"] or (row[figure_name], row[figure_name]) for row in rows]
            errors = np.array(
                [[m - factor * low, factor * high - m] for m, (low, high) in zip(middle, bounds, strict=True)]
            )
            axes.errorbar(
                np.array(there) + shift,
                middle,
                yerr=np.clip(errors, 0, None).T,
                fmt=f"-{marker(index)}",
                color=colour(index),
                capsize=2,
                label=name,
            )
    for axes, label in ((left, "accuracy, %"), (right, "cost per item, candidate sets")):
        axes.set_xticks(range(len(values)), [str(value) for value in values])
        axes.set_xlabel(_NAMES.get(key, key))
        axes.set_ylabel(label)
    _single_line(scene, left)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    figure.suptitle(f"{scene.title}, n = {scene.summary['n']}", fontsize=10)
    caption = "95 % intervals: Wilson for accuracy, bootstrap over items for cost. The values are evenly spaced."
    return Picture(f"over-{key}", f"Over {_NAMES.get(key, key)}: {scene.title}", caption, figure)


def grid(scene: Scene, first: str, second: str) -> list[Picture]:
    """Accuracy lost and cost saved over two settings, e.g. omega by theta (ConfiPara fig. 5)."""
    pictures = []
    for name, points in _varied(scene, {first, second}).items():
        measured = all(scene.methods[method]["loss"] is not None for method, _ in points)
        figure, panels = make_figure(8.5, 3.3, columns=2)
        figures = [("loss", "accuracy lost, points"), ("save", "cost saved, %")]
        if not measured:
            figures = [("accuracy", "accuracy, %"), ("cost", "cost per item")]
        for axes, (what, label) in zip(panels, figures, strict=True):
            _heat(axes, scene, points, first, second, what, label)
        figure.suptitle(f"{name} on {scene.title}, n = {scene.summary['n']}", fontsize=10)
        caption = "Each cell: the value, and below it its 95 % interval. " + (
            f"Against {scene.methods[points[0][0]]['against']}." if measured else ""
        )
        title = f"{_NAMES.get(first, first)} by {_NAMES.get(second, second)}: {name}, {scene.title}"
        pictures.append(Picture(f"grid-{first}-{second}-{name}", title, caption, figure))
    return pictures


def _heat(
    axes: Axes,
    scene: Scene,
    points: Sequence[tuple[str, Mapping[str, Any]]],
    first: str,
    second: str,
    what: str,
    label: str,
) -> None:
    xs, ys = scene.summary["sweep"][second], scene.summary["sweep"][first]
    factor = 1.0 if what == "cost" else 100.0
    values = np.full((len(ys), len(xs)), np.nan)
    texts = {}
    for method, point in points:
        row, column = ys.index(point[first]), xs.index(point[second])
        found = scene.methods[method]
        if found[what] is not None:
            values[row, column] = factor * found[what]
            bounds = found[f"{what}_ci"]
            texts[row, column] = f"{factor * found[what]:.1f}" + (
                "" if bounds is None else f"\n[{factor * bounds[0]:.1f}, {factor * bounds[1]:.1f}]"
            )
    shown = axes.imshow(values, cmap="cividis", aspect="auto")
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    for (row, column), text in texts.items():
        shade = "white" if values[row, column] <= middle else "black"
        axes.text(column, row, text, ha="center", va="center", color=shade, fontsize=7)
    axes.set_xticks(range(len(xs)), [str(value) for value in xs])
    axes.set_yticks(range(len(ys)), [str(value) for value in ys])
    axes.set_xlabel(_NAMES.get(second, second))
    axes.set_ylabel(_NAMES.get(first, first))
    axes.set_title(label)
    axes.grid(visible=False)
    axes.figure.colorbar(shown, ax=axes, shrink=0.85)


def exits(scene: Scene) -> Picture | None:
    """Accuracy lost against cost saved of everything that exits, the ablations among it (ConfiPara fig. 7)."""
    leaving = [
        name
        for name in scene.together
        if scene.methods[name]["against"] not in (None, name) and scene.methods[name]["save"] is not None
    ]
    if len(leaving) < 2:
        return None
    fulls = list(dict.fromkeys(scene.methods[name]["against"] for name in leaving))
    columns = min(len(fulls), 3)
    rows = -(-len(fulls) // columns)
    figure, panels = make_figure(4.3 * columns, 4.3 * rows, columns, rows)
    for axes, full in zip(panels, fulls, strict=False):
        axes.axhline(0, color=colour(7), linestyle="--", linewidth=1)
        points: list[tuple[float, float]] = []
        for index, name in enumerate(name for name in leaving if scene.methods[name]["against"] == full):
            row = scene.methods[name]
            axes.errorbar(
                100 * row["save"],
                100 * row["loss"],
                xerr=_scaled(row["save"], row["save_ci"]),
                yerr=_scaled(row["loss"], row["loss_ci"]),
                fmt=marker(index),
                color=colour(index),
                capsize=2,
                label=f"{index + 1}  {name}",
            )
            points.append((100 * row["save"], 100 * row["loss"]))
        _number_points(axes, points)
        axes.set_title(f"against {full}")
        axes.set_xlabel("cost saved, %")
        axes.set_ylabel("accuracy lost, points")
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    for axes in panels[len(fulls) :]:
        axes.set_visible(False)
    figure.suptitle(f"{scene.title}, n = {scene.summary['n']}", fontsize=10)
    caption = (
        "Right is cheaper, low is better; the dashed line is the full collaboration. Numbers are the legend's, several "
        "where points cover each other. 95 % paired bootstrap intervals. "
        "Where fixed exits, the whole policy and its two ablations are there, this is the ablation."
    )
    return Picture("exits", f"Exits and ablation: {scene.title}", caption, figure)


def _number_points(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    """The number of each point beside it; points that cover each other have their numbers at one place."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    places: dict[tuple[float, float], list[int]] = {}
    for number, (x, y) in enumerate(points, start=1):
        near = [at for at in places if abs(at[0] - x) < 0.03 * (right - left) and abs(at[1] - y) < 0.03 * (high - low)]
        places.setdefault(near[0] if near else (x, y), []).append(number)
    for place, numbers in places.items():
        text = ", ".join(map(str, numbers))
        behind = {"boxstyle": "square,pad=0.05", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
        axes.annotate(text, place, (5, 4), textcoords="offset points", fontsize=7, bbox=behind)


def self_efficacy(scene: Scene) -> Picture | None:
    """T0 over the steps, and when the base left."""
    names = [name for name in scene.together if any("t0" in r for r in scene.answers[name].values())]
    left_out = names[_PANELS:]
    names = names[:_PANELS]
    if not names:
        return None
    columns = min(len(names), 2)
    rows = -(-len(names) // columns)
    figure, panels = make_figure(4.3 * columns, 2.9 * rows, columns, rows, sharex=True)
    for axes, name in zip(panels, names, strict=False):
        records = list(scene.answers[name].values())
        courses = [record["t0"] for record in records if record.get("t0")]
        steps = max(map(len, courses))
        # Only as long as at least a tenth of the answers is still together: the rest is a few long answers.
        steps = max(
            [s for s in range(1, steps + 1) if sum(len(c) >= s for c in courses) >= len(courses) / 10], default=1
        )
        bands = np.array([np.quantile([c[s] for c in courses if len(c) > s], [0.25, 0.5, 0.75]) for s in range(steps)])
        x = np.arange(1, steps + 1)
        axes.fill_between(x, bands[:, 0], bands[:, 2], color=colour(5), alpha=0.4, label="quartiles")
        axes.plot(x, bands[:, 1], color=colour(0), label="median T0")
        theta = scene.methods[name]["settings"].get("method", {}).get("theta")
        if theta is not None:
            axes.axhline(theta, color=colour(1), linestyle="--", linewidth=1, label="theta")
        left = [record["exit_step"] for record in records if record["exit_step"] is not None]
        shares = [sum(step <= s for step in left) / len(records) for s in x]
        axes.step(x, shares, where="post", color=colour(6), linestyle=":", label="share that has left")
        axes.set_ylim(0, 1)
        axes.set_title(f"{name} ({len(left)} of {len(records)} left)")
        axes.set_ylabel("T0, share")
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("step")
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    handles = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=4)
    figure.suptitle(f"{scene.title}, n = {scene.summary['n']}", fontsize=10)
    caption = "T0 of answers that are still together at a step, as long as a tenth of them is."
    if left_out:
        caption += f" Not shown: {', '.join(left_out)}."
    return Picture("self-efficacy", f"Self-efficacy over the steps: {scene.title}", caption, figure)


def latency(scenes: Sequence[Scene]) -> Picture | None:
    """Time per token over the number of models (ConfiPara fig. 6)."""
    points: dict[tuple[str, str], dict[int, Mapping[str, Any]]] = {}
    for scene in scenes:
        runtime = (scene.run["runs"] or [{}])[-1].get("runtime", "")
        for name, row in scene.methods.items():
            if not scene.summary["sweep"] and not name.startswith("alone:") and row["ms_per_token"] is not None:
                count = 1 if name == "base" else len(scene.models)
                points.setdefault((name, runtime), {})[count] = row
    lines = {key: rows for key, rows in points.items() if len(rows) > 1}
    if not lines:
        return None
    for (_, runtime), rows in lines.items():
        if alone := points.get(("base", runtime)):
            rows.setdefault(1, alone[1])
    groups = [
        ("everybody to the end", {key: rows for key, rows in lines.items() if _stays(rows)}),
        ("the base leaves", {key: rows for key, rows in lines.items() if not _stays(rows)}),
    ]
    groups = [group for group in groups if group[1]]
    figure, panels = make_figure(4.6 * len(groups), 4.6, columns=len(groups), sharey=True)
    for axes, (title, group) in zip(panels, groups, strict=True):
        _latency_panel(axes, group)
        axes.set_title(title)
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("ms per token, median and quartiles")
    at_once = sorted({number for scene in scenes for number in scene.summary["concurrency"]})
    caption = (
        f"Median over answers, with quartiles; {' or '.join(map(str, at_once))} answers at once. One model is the base "
        "alone. Runs with other sets or models are points of the same line: give only runs that belong together."
    )
    return Picture("latency", "Time per token over the number of models", caption, figure)


def _stays(rows: Mapping[int, Mapping[str, Any]]) -> bool:
    most = rows[max(rows)]  # one model is the base alone, whatever the method
    return bool(most["settings"].get("method", {}).get("exit", "never") == "never")


def _latency_panel(axes: Axes, lines: Mapping[tuple[str, str], Mapping[int, Mapping[str, Any]]]) -> None:
    several = len({runtime for _, runtime in lines}) > 1
    methods = list(dict.fromkeys(name for name, _ in lines))
    for index, ((name, runtime), rows) in enumerate(lines.items()):
        counts = sorted(rows)
        middle = [rows[count]["ms_per_token"] for count in counts]
        quartiles = [rows[count]["ms_per_token_quartiles"] for count in counts]
        errors = np.array([[m - low, high - m] for m, (low, high) in zip(middle, quartiles, strict=True)]).T
        number, on_ray = methods.index(name), runtime == "ray"
        axes.errorbar(
            np.array(counts) + 0.3 * (index + 1) / (len(lines) + 1) - 0.15,
            middle,
            yerr=np.clip(errors, 0, None),
            fmt=f"{'--' if on_ray else '-'}{marker(number)}",
            color=colour(number),
            markerfacecolor="white" if on_ray else colour(number),
            capsize=2,
            label=f"{name}, {runtime}" if several else name,
        )
    axes.set_xticks(sorted({count for rows in lines.values() for count in rows}))
    axes.set_xlabel("models")
    axes.legend(fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.15))


def _varied(scene: Scene, keys: set[str]) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Methods of which exactly these settings were varied: name without them -> (method, point)."""
    groups: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for method in scene.methods:
        point = scene.varied(method)
        if set(point) == keys:
            groups.setdefault(scene.unvaried(method), []).append((method, point))
    return groups


def _single_line(scene: Scene, axes: Axes) -> None:
    if best := scene.summary.get("best_alone"):
        value = 100 * scene.methods[best]["accuracy"]
        axes.axhline(value, color=colour(7), linestyle="--", linewidth=1, label=f"{best.removeprefix('alone:')} alone")


def _scaled(value: float, bounds: Sequence[float] | None) -> list[list[float]] | None:
    return spread(100 * value, None if bounds is None else [100 * bound for bound in bounds])

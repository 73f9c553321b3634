"""One chart, with error bars, and what all figures share. Colours are those that colour-blind people can tell apart."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final
from warnings import catch_warnings, simplefilter

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tokencollab.protocol.text import harmless

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Okabe and Ito's, the yellow left out (it is lost on white). Markers differ too."""
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")  # fewer than colours, so that pairs repeat late
_STYLE: Final[Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "figure.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "tokencollab",
    "svg.fonttype": "path",
    "text.parse_math": False,  # a name may have dollar signs
}


def styled() -> AbstractContextManager[None]:
    return mpl.rc_context(_STYLE)


@dataclass(frozen=True, slots=True)
class Picture:
    name: str
    title: str
    caption: str
    figure: Figure

    def svg(self) -> bytes:
        """The figure as SVG; the same every time, and well-formed whatever the names in it are.

        Characters that the font lacks are boxes, without a warning.
        """
        with styled(), catch_warnings():
            simplefilter("ignore", UserWarning)
            self.figure.savefig(data := BytesIO(), format="svg", metadata={"Date": None})
        return harmless(data.getvalue().decode()).encode()


def make_figure(title: str, panels: int = 1, height: float = 4.0) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels in one or two columns; ``height`` is that of a panel, in inches."""
    columns = min(panels, 2)
    rows = -(-panels // columns)
    figure = Figure(figsize=(7.5 if columns == 1 else 8.6, height * rows), layout="constrained")
    axes: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
    for left_over in axes[panels:]:
        left_over.set_visible(False)
    figure.suptitle(title)
    return figure, axes[:panels]


def add_legend(figure: Figure) -> None:
    """One legend below, each label once."""
    handles = {label: h for axes in figure.axes for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if handles:
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=2)


def spread(axis: str, values: pd.Series, bounds: pd.Series, factor: float = 1.0) -> dict[str, Any]:
    """Columns of a chart's points: values on an axis, ``x`` or ``y``, and their intervals, None where there is none."""
    ends = [found if isinstance(found, Sequence) else (np.nan, np.nan) for found in bounds]
    low, high = factor * np.array(ends, dtype=float).reshape(-1, 2).T
    return {axis: factor * np.asarray(values, dtype=float), f"{axis}_low": low, f"{axis}_high": high}


def chart(
    points: pd.DataFrame,
    title: str,
    x: str,
    y: str = "",
    line: str = "",
    apart: float = 0.0,
    level: tuple[float, str] | None = None,
) -> Figure:
    """Points with error bars.

    Args:
        points: columns ``series``, ``x`` and ``y``; ``x_low`` and ``x_high``, ``y_low`` and ``y_high`` for error bars;
            ``panel`` for several panels, which it names. A categorical axis has its categories evenly spaced; on the
            y axis they are rows from the top.
        x: label of the axis; ``y`` too.
        line: how the points of a series are joined, as in matplotlib; empty for not at all.
        apart: between neighbouring series, so that they do not cover each other; along x, or y where it has rows.
        level: a dashed line in the first panel, at a value of y, or of x where y has rows, and its label.
    """
    points = points if "panel" in points else points.assign(panel="")
    series = list(points["series"].unique())
    categories = {axis: _categories(points[axis]) for axis in "xy"}
    rows = categories["y"]
    height = 4.0 if rows is None else max(1.8, 1.2 + len(rows) * (0.24 if apart == 0 else 0.1 + 0.12 * len(series)))
    figure, panels = make_figure(title, points["panel"].nunique(), height)
    for axes, (panel, inside) in zip(panels, points.groupby("panel", sort=False), strict=True):
        for name, own in inside.groupby("series", sort=False):
            index = series.index(name)
            at = {axis: np.asarray(own[axis] if categories[axis] is None else own[axis].cat.codes) for axis in "xy"}
            along = "x" if rows is None else "y"
            at[along] = at[along] + apart * (index - (len(series) - 1) / 2)
            axes.errorbar(
                at["x"],
                at["y"],
                xerr=_errors(own, "x"),
                yerr=_errors(own, "y"),
                fmt=f"{line}{_MARKERS[index % len(_MARKERS)]}",
                color=COLOURS[index % len(COLOURS)],
                markersize=5,
                linewidth=1,
                capsize=2,
                label=f" {name}" if name.startswith("_") else name,  # matplotlib keeps `_...` out of the legend
            )
        axes.set(title=panel, xlabel=x, ylabel=y)
        if categories["x"] is not None:
            axes.set_xticks(range(len(categories["x"])), categories["x"])
        if rows is not None:
            axes.set_yticks(range(len(rows)), rows)
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.grid(axis="y", visible=False)
    if level is not None:
        draw = panels[0].axhline if rows is None else panels[0].axvline
        draw(level[0], color=COLOURS[7], linestyle="--", linewidth=1, label=level[1])
    add_legend(figure)
    return figure


def _categories(values: pd.Series) -> list[str] | None:
    return list(values.cat.categories) if isinstance(values.dtype, pd.CategoricalDtype) else None


def _errors(points: pd.DataFrame, axis: str) -> Any:
    if f"{axis}_low" not in points:
        return None
    ends = [points[axis] - points[f"{axis}_low"], points[f"{axis}_high"] - points[axis]]
    return np.nan_to_num(np.clip(np.array(ends, dtype=float), 0, None))

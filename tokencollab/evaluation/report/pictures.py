"""What all figures share: colours that colour-blind people can tell apart, axes, and how a figure becomes a file."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Okabe and Ito's, the yellow left out (it is lost on white). Markers differ too."""
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")  # fewer than colours, so that pairs repeat late

_STYLE: Final[Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
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
}


def styled() -> AbstractContextManager[None]:
    """Figures that are made within look alike."""
    return mpl.rc_context(_STYLE)


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure with the name of its file, a title, and a sentence on how to read it."""

    name: str
    title: str
    caption: str
    figure: Figure

    def svg(self) -> bytes:
        """The figure as SVG; the same every time."""
        return self._saved("svg", metadata={"Date": None})

    def png(self) -> bytes:
        """The figure as PNG."""
        return self._saved("png", dpi=110)

    def _saved(self, kind: str, **options: Any) -> bytes:
        with styled():
            self.figure.savefig(data := BytesIO(), format=kind, **options)
        return data.getvalue()


def make_figure(
    width: float, height: float, columns: int = 1, rows: int = 1, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure and its axes, row by row. Sizes in inches, of the whole."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(axes.flat)


def row_height(rows: int, least: float = 1.6) -> float:
    """Inches for so many rows of a chart with one row per method."""
    return max(least, 0.9 + 0.24 * rows)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """One row per name, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)


def spread(value: float, bounds: Sequence[float] | None) -> list[list[float]] | None:
    """An interval as matplotlib's error bar."""
    if bounds is None:
        return None
    return [[max(0.0, value - bounds[0])], [max(0.0, bounds[1] - value)]]


def colour(index: int) -> str:
    """The colour of the series number ``index``."""
    return COLOURS[index % len(COLOURS)]


def marker(index: int) -> str:
    """Its marker."""
    return MARKERS[index % len(MARKERS)]

"""Samples, their spread, and tables of them."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """A measured quantity: median, quartiles and number of samples."""

    name: str
    unit: str
    samples: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Median, quartiles and n."""
        low, _, high = quantiles(self.samples, n=4) if len(self.samples) > 1 else [self.samples[0]] * 3
        return {
            "name": self.name,
            "unit": self.unit,
            "median": median(self.samples),
            "q1": low,
            "q3": high,
            "n": len(self.samples),
        }


def figure(name: str, unit: str, samples: Sequence[float]) -> Figure:
    """A figure of ``samples``."""
    return Figure(name, unit, tuple(samples))


def machine() -> str:
    """The machine in words."""
    model = platform.processor() or platform.machine()
    cpus = Path("/proc/cpuinfo")
    for line in cpus.read_text(encoding="utf-8").splitlines() if cpus.exists() else ():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def report(title: str, figures: Sequence[Figure], as_json: bool, **facts: Any) -> None:
    """Prints a table on standard error and, on standard output, JSON where asked for."""
    rows = [figure.to_json() for figure in figures]
    table = Table(title=f"{title} ({machine()})", title_justify="left", box=None)
    for heading in ("what", "median", "quartiles", "n"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for row in rows:
        spread = f"{row['q1']:.2f} - {row['q3']:.2f}"
        table.add_row(row["name"], f"{row['median']:.2f} {row['unit']}", spread, str(row["n"]))
    Console(stderr=True, width=110).print(table)
    if as_json:
        json.dump({"benchmark": title, "machine": machine(), **facts, "figures": rows}, sys.stdout, indent=1)
        print()

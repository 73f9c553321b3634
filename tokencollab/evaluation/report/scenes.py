"""The runs that a report is about, read from their folders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokencollab.evaluation.folder import Record, read_records, read_run
from tokencollab.evaluation.summary import summarise


@dataclass(frozen=True)
class Scene:
    """One run: a set, its models, its methods."""

    path: Path
    run: Mapping[str, Any]
    summary: Mapping[str, Any]

    @property
    def models(self) -> list[str]:
        """Names, the base first."""
        return list(self.summary["models"])

    @property
    def title(self) -> str:
        """The set and the models."""
        return f"{self.summary['dataset']}: {' + '.join(self.models)}"

    @property
    def methods(self) -> Mapping[str, Mapping[str, Any]]:
        """The summary's methods, in the order in which they were asked for."""
        methods: Mapping[str, Mapping[str, Any]] = self.summary["methods"]
        return methods

    @property
    def alone(self) -> list[str]:
        """The methods that are one member alone, by name."""
        return [name for name in self.methods if name.startswith("alone:")]

    @property
    def together(self) -> list[str]:
        """The methods of more than one member."""
        return [name for name in self.methods if name != "base" and not name.startswith("alone:")]

    @cached_property
    def answers(self) -> dict[str, dict[str, Record]]:
        """Method -> item -> record."""
        answers: dict[str, dict[str, Record]] = {name: {} for name in self.methods}
        for record in read_records(self.path):
            answers[record["method"]][record["item"]] = record
        return answers

    def varied(self, method: str) -> dict[str, Any]:
        """The settings that a sweep varied, with this method's values."""
        return dict(self.methods[method]["settings"].get("varied", {}))

    def unvaried(self, method: str) -> str:
        """The method's name without them."""
        name = method
        for key, value in self.varied(method).items():
            name = name.replace(f":{key}={value}", "")
        return name

    def pair(self, a: str, b: str) -> Mapping[str, Any] | None:
        """The comparison of ``a`` with ``b``, whichever way round it is kept."""
        for pair in self.summary["pairs"]:
            if (pair["a"], pair["b"]) == (a, b):
                found: Mapping[str, Any] = pair
                return found
            if (pair["a"], pair["b"]) == (b, a):
                bounds = pair["difference_ci"]
                turned = None if bounds is None else (0.0 - bounds[1], 0.0 - bounds[0])  # no -0.0
                return {
                    **pair,
                    "a": a,
                    "b": b,
                    "difference": 0.0 - pair["difference"],
                    "difference_ci": turned,
                    "only_a": pair["only_b"],
                    "only_b": pair["only_a"],
                }
        return None


def read_scenes(folders: Sequence[str]) -> list[Scene]:
    """The runs in ``folders``, summed up anew.

    Raises:
        UsageError: one is no folder of a run.
    """
    scenes = []
    for folder in folders:
        path = Path(folder)
        run = read_run(path)
        scenes.append(Scene(path, run, summarise(path)))
    return scenes

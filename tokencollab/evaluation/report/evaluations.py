"""Evaluations as data frames, read from their folders."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tokencollab.evaluation.folder import Record, read_records, read_run
from tokencollab.evaluation.summary import summarise
from tokencollab.evaluation.verdict import singles

OUTCOMES = ("both right", "together only", "single only", "both wrong")
_PAIR = ("a", "b", "n", "difference", "difference_ci", "only_a", "only_b", "p", "p_adjusted")


class Evaluation:
    """One evaluation: a data set, its models (the base first), its methods.

    Attributes:
        methods: one row per method, in the order of the plan; the columns are those of ``summary.json``.
        records: the answers, with the keys of ``items.jsonl``; of two by a method to an item the last.
        answers: one row for each of these; the columns are their keys.
        pairs: two rows per pair of methods, one for each direction; the columns are those of ``summary.json``.
        singles: the methods of one model that the others are compared with, and what they are called: the better single
            model, and the base where it is another one.
    """

    def __init__(self, path: Path) -> None:
        """Computes the summary anew; `UsageError` where ``path`` is not the folder of an evaluation."""
        self.path, self.run, self.summary = path, read_run(path), summarise(path)
        self.models: list[str] = self.summary["models"]
        self.title = f"{self.summary['dataset']}: {' + '.join(self.models)}"
        self.sized_title = f"{self.title}, n = {self.summary['n']}"
        self.best_alone: str | None = self.summary.get("best_alone")
        self.methods = pd.DataFrame(list(self.summary["methods"].values()), index=list(self.summary["methods"]))
        self.alone = [name for name in self.methods.index if name.startswith("alone:")]
        self.together = [name for name in self.methods.index if name != "base" and name not in self.alone]
        self.singles = {
            name: f"the base alone ({self.models[0]})"
            if name == "base"
            else f"the better single model ({name.removeprefix('alone:')})"
            for name in singles(self.methods.index, self.models, self.best_alone)
        }
        records = {(record["method"], record["item"]): record for record in read_records(path)}
        self.records = [{"t0": None, "response": None, **record} for record in records.values()]
        self.answers = pd.DataFrame(self.records, columns=None if records else ["method", "item"])
        pairs = pd.DataFrame(self.summary["pairs"], columns=list(_PAIR))
        swapped = pairs.rename(columns={"a": "b", "b": "a", "only_a": "only_b", "only_b": "only_a"})
        swapped["difference"] = 0.0 - pairs["difference"]  # no -0.0
        swapped["difference_ci"] = [
            (0.0 - bounds[1], 0.0 - bounds[0]) if isinstance(bounds, Sequence) else None
            for bounds in pairs["difference_ci"]
        ]
        self.pairs = pd.concat([pairs, swapped], ignore_index=True)

    def answers_of(self, method: str) -> pd.DataFrame:
        """The answers of one method, by item."""
        return self.answers[self.answers["method"] == method].set_index("item")

    def records_of(self, method: str) -> list[Record]:
        """The records of one method."""
        return [record for record in self.records if record["method"] == method]

    def outcomes(self, single: str) -> pd.DataFrame:
        """How many items each collaboration and one of `singles` have right: both, one of them, none.

        Only items that both answered count.
        """
        right = self.answers.pivot(index="item", columns="method", values="right").astype(float)
        codes = (2 * right[self.together]).add(right[single], axis=0)
        counted = {name: codes[name].value_counts() for name in self.together}
        table = pd.DataFrame(counted, index=[3.0, 2.0, 1.0, 0.0]).fillna(0).astype(int).T
        return table.set_axis(list(OUTCOMES), axis=1)

    def varied(self, *settings: str) -> pd.DataFrame:
        """The rows of `methods` of which a sweep varied exactly these settings.

        Columns more: each setting, its value as categorical text, and ``curve``, the method's name without them.
        """
        varied = self.methods["settings"].map(lambda entry: entry.get("varied", {}))
        found = self.methods[varied.map(lambda values: set(values) == set(settings))].copy()
        found["curve"] = found.index
        for key in settings:
            own = [str(varied[name][key]) for name in found.index]
            found["curve"] = [c.replace(f":{key}={v}", "") for c, v in zip(found["curve"], own, strict=True)]
            found[key] = pd.Categorical(own, [str(value) for value in self.summary["sweep"][key]])
        return found.sort_values(list(settings), kind="stable")

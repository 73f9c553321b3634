"""The tables of token-level methods, and how a table becomes Markdown."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, Final

import pandas as pd

from tokencollab.evaluation.report.evaluations import OUTCOMES, Evaluation
from tokencollab.protocol.text import one_line

NONE = "–"
TERMS: Final = {
    "accuracy": "Share of the items with the right answer; what cannot be read is wrong. In brackets Wilson's "
    "interval.",
    "cost": "Candidate sets per item: how often a model was asked for what may come next, on average. One model alone "
    "costs as much as it has tokens. Of response-level methods: model steps, weighted by the models' prices.",
    "loss": "Accuracy of the full collaboration minus that of the method, in points: what it costs that members leave "
    "early. The full collaboration is the same aggregation over the same models, which no member leaves.",
    "saved": "Share of the full collaboration's cost that the method does without.",
    "exited": "Share of the answers in which the base went on alone before the end.",
    "exit step": "The step from which it did, the median over these answers. A step appends one piece of text.",
    "gained": "Items that the method has right and the single model has wrong.",
    "lost": "Items that the single model has right and the method has wrong.",
    "p": "McNemar's exact test: how often chance alone makes gained and lost differ that much.",
    "p adjusted": "The same, adjusted for all pairs of methods of the run (Benjamini-Hochberg).",
    "candidates aligned": "Candidates that were compared, per item, summed over steps and models.",
    "ms/token": "Milliseconds per token, the median over answers, under the run's own load.",
    "first token": "Milliseconds until the first token, the median over answers, under the run's own load.",
    "tokens": "Tokens per answer, on average.",
    "unreadable": "Answers from which no answer of the expected kind could be read. They count as wrong.",
    "cut off": "Answers that ended for want of tokens.",
}
"""What the headings of columns mean."""


def term_of(heading: str) -> str | None:
    """The one of `TERMS` that a column's heading is, without its unit."""
    term = re.sub(r"(, \w+| %)$", "", heading).lower()
    return term if term in TERMS else None


@dataclass(frozen=True, slots=True)
class Link:
    """To items of an evaluation.

    Attributes:
        path: the evaluation's.
        method: the number of the method that it is about, in the order of the run.
        show: which of its items: ``wrong``, ``unreadable``, or ``gained-N`` and ``lost-N`` against method number N.
    """

    path: Path
    method: int
    show: str


@dataclass(frozen=True, slots=True)
class Table:
    """``cells`` are texts; those of the first column name the rows. ``links``: by row and column."""

    title: str
    cells: pd.DataFrame
    note: str = ""
    links: Mapping[tuple[int, int], Link] = field(default_factory=dict)

    def markdown(self) -> str:
        rule = ["---", *["---:"] * (self.cells.shape[1] - 1)]
        rows = [[markdown_text(str(cell)) for cell in row] for row in (self.cells.columns, *self.cells.to_numpy())]
        lines = ["| " + " | ".join(row) + " |" for row in (rows[0], rule, *rows[1:])]
        note = ["", markdown_text(self.note)] if self.note else []
        return "\n".join([f"### {markdown_text(self.title)}\n", *lines, *note])


def markdown_text(text: str) -> str:
    """``text`` on one line of Markdown, in which nothing is markup, HTML, a link or the beginning of a block."""
    text = escape(one_line(text), quote=False)
    text = re.sub(r"[\\`*|~$]|\](?=[(\[:])", r"\\\g<0>", text)
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)  # within a word it is no emphasis
    text = re.sub(r"(?i):(?=//)|(?<=\bwww)\.", r"\\\g<0>", text)  # else some renderers make links of addresses
    return re.sub(r"^(\d*)([-+=#.)]+)(?=\s|$)", r"\1\\\2", text)  # a list, a heading, a rule


def number(value: float | None, bounds: Any = None, digits: int = 1, sign: bool = False) -> str:
    """A number, in brackets its interval if there is one; a dash for None and NaN."""
    if pd.isna(value):
        return NONE
    form = f"{'+' if sign else ''},.{digits}f"
    interval = f" [{bounds[0]:{form}}, {bounds[1]:{form}}]" if isinstance(bounds, Sequence) else ""
    return f"{value:{form}}{interval}"


def percent(value: float | None, bounds: Any = None, sign: bool = False) -> str:
    """The same of a share, in per cent."""
    if value is None:
        return NONE
    return number(100 * value, tuple(100 * b for b in bounds) if isinstance(bounds, Sequence) else None, sign=sign)


def probability(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"


_whole = partial(number, digits=0)


def shares(frame: pd.DataFrame, column: str, sign: bool = False) -> pd.Series:
    """A column of shares with its intervals, as texts in per cent."""
    texts = [percent(*cells, sign=sign) for cells in zip(frame[column], frame[f"{column}_ci"], strict=True)]
    return pd.Series(texts, index=frame.index, dtype=object)


def token_tables(evaluation: Evaluation) -> list[Table]:
    tables = [_accuracy(evaluation), *(_against(evaluation, single) for single in evaluation.singles)]
    if evaluation.singles and evaluation.together and not evaluation.summary["sweep"]:
        tables.append(_outcomes(evaluation))
    return [*(table for table in tables if len(table.cells)), _answers(evaluation)]


def _links(evaluation: Evaluation, column: int, names: Iterable[Any], show: str) -> dict[tuple[int, int], Link]:
    """A column of links: in the row of each method of the evaluation to its items."""
    numbers = {name: number for number, name in enumerate(evaluation.methods.index)}
    return {
        (row, column): Link(evaluation.path, numbers[name], show) for row, name in enumerate(names) if name in numbers
    }


def _accuracy(evaluation: Evaluation) -> Table:
    methods = evaluation.methods
    columns = {
        "method": methods.index,
        "accuracy %": shares(methods, "accuracy"),
        "cost": methods["cost"].map(number),
        "loss, points": shares(methods, "loss", sign=True),
        "saved %": shares(methods, "save"),
        "exited %": methods["exit_rate"].map(percent),
        "exit step": methods["exit_step_median"].map(_whole),
    }
    return Table(
        "Accuracy and cost",
        pd.DataFrame(columns),
        f"{evaluation.summary['n']} items, seed {evaluation.summary['seed']}. In brackets 95 % intervals: Wilson for "
        "accuracy, paired bootstrap over items for loss and saved. Accuracies lead to the items that the method has "
        "wrong.",
        _links(evaluation, 1, methods.index, "wrong"),
    )


def _answers(evaluation: Evaluation) -> Table:
    methods, at_once = evaluation.methods, evaluation.summary["concurrency"]
    columns = {
        "method": methods.index,
        "tokens": methods["tokens_mean"].map(number),
        "unreadable": methods["unreadable"].map(str),
        "cut off": methods["cut_off"].map(str),
        "ms/token": methods["ms_per_token"].map(number),
        "first token, ms": methods["time_to_first_token_ms"].map(_whole),
        "candidates aligned": methods["aligned_per_item"].map(_whole),
    }
    return Table(
        "Answers and times",
        pd.DataFrame(columns),
        f"Times are medians at a concurrency of {' or '.join(map(str, at_once))}: they compare methods of this run and "
        f"are no latencies of a single answer{' (here there was one at a time)' if at_once == [1] else ''}.",
        _links(evaluation, 2, methods.index, "unreadable"),
    )


def _against(evaluation: Evaluation, single: str) -> Table:
    pairs = evaluation.pairs[evaluation.pairs["b"] == single].set_index("a")
    pairs = pairs.loc[[name for name in evaluation.methods.index if name in pairs.index]]
    columns = {
        "method": pairs.index,
        "difference, points": shares(pairs, "difference", sign=True),
        "gained": pairs["only_a"].map(str),
        "lost": pairs["only_b"].map(str),
        "p": pairs["p"].map(probability),
        "p adjusted": pairs["p_adjusted"].map(probability),
    }
    note = "Paired on the items that every method answered, with bootstrap intervals."
    if single == evaluation.best_alone:
        note += f" At least one single model is right on {percent(evaluation.summary['either_right'])} % of the items."
        note += " The better single model was picked on these items, which favours it."
    number = list(evaluation.methods.index).index(single)
    links = [
        _links(evaluation, 2, pairs.index, f"gained-{number}"),
        _links(evaluation, 3, pairs.index, f"lost-{number}"),
    ]
    return Table(f"Against {evaluation.singles[single]}", pd.DataFrame(columns), note, links[0] | links[1])


def _outcomes(evaluation: Evaluation) -> Table:
    single, called = next(iter(evaluation.singles.items()))
    counts = evaluation.outcomes(single)
    parts = counts.div(counts.sum(axis=1), axis=0)
    columns = {kind: counts[kind].map(str) + " (" + parts[kind].map(percent) + " %)" for kind in OUTCOMES}
    return Table(
        "Right and wrong, single and together (DuetNet fig. 8)",
        pd.DataFrame({"method": counts.index, **columns}),
        f"Single: {called}.",
    )


def usage_table(evaluation: Evaluation) -> Table | None:
    """What each model did in response-level methods, and how long prompts and answers took; None: there are none."""
    rows = []
    for name, method in evaluation.methods.iterrows():
        answers = [found for found in evaluation.answers_of(name)["response"].dropna() if "usage" in found]
        if not answers:
            continue
        named = (("tokens", "tokens"), ("prefill_seconds", "prompts, s"), ("decode_seconds", "answers, s"))
        means = {
            heading: pd.DataFrame([{m: u[what] for m, u in a["usage"].items()} for a in answers]).mean()
            for what, heading in named
        }
        reasons = Counter(answer["reason"] for answer in answers).most_common()
        rows.append(
            {
                "method": name,
                "accuracy %": percent(method["accuracy"], method["accuracy_ci"]),
                "cost": number(method["cost"], method["cost_ci"]),
                **{
                    heading: "; ".join(f"{model} {number(mean)}" for model, mean in found.items() if mean)
                    for heading, found in means.items()
                },
                "decided, %": ", ".join(f"{reason} {percent(count / len(answers))}" for reason, count in reasons),
            }
        )
    note = (
        "Means per item. Cost is model steps weighted by the models' prices. Seconds: from a question to its first "
        "token (and scoring), and from the first to the last, summed over answers that may have run at the same time "
        "and under the run's own load: they compare methods of this run."
    )
    if not rows:
        return None
    return Table(
        "Response-level methods",
        pd.DataFrame(rows),
        note,
        _links(evaluation, 1, (row["method"] for row in rows), "wrong"),
    )


_BETTER: Final = "better single model"


def cross_tables(evaluations: Sequence[Evaluation]) -> list[Table]:
    """Accuracy, loss and saving by method and evaluation: the papers' large tables."""
    compared = [found for found in evaluations if not found.summary["sweep"] and len(found.methods)]
    if len(compared) < 2:
        return []
    headings = [found.sized_title for found in compared]
    if len(set(headings)) < len(headings):
        headings = [f"{found.sized_title} ({found.path.name})" for found in compared]

    def table(title: str, column: str, sign: bool, single: bool) -> Table:
        columns = []
        for found in compared:
            texts = shares(found.methods, column, sign)
            best = pd.Series({_BETTER: texts[found.best_alone] if found.best_alone else NONE}, dtype=object)
            columns.append(pd.concat([best] * single + [texts.drop(found.alone)]))
        cells = pd.concat(columns, axis=1).fillna(NONE)
        cells = cells[(cells != NONE).any(axis=1)].reset_index()
        cells = cells.set_axis(["method", *headings], axis=1)
        links: dict[tuple[int, int], Link] = {}
        for index, found in enumerate(compared, start=1) if single else ():
            names = [found.best_alone if name == _BETTER else name for name in cells["method"]]
            links |= _links(found, index, names, "wrong")
        return Table(title, cells, links=links)

    return [
        table("Accuracy, %", "accuracy", sign=False, single=True),
        table("Loss of accuracy against full collaboration, points", "loss", sign=True, single=False),
        table("Cost saved against full collaboration, %", "save", sign=False, single=False),
    ]


def about_table(evaluations: Sequence[Evaluation]) -> Table:
    rows, notices = [], {}
    for found in evaluations:
        last = found.run["runs"][-1] if found.run["runs"] else {}
        machine, summary = last.get("machine", {}), found.summary
        memory = f", {machine['memory'] / 2**30:.0f} GiB" if machine.get("memory") else ""
        rows.append(
            {
                "folder": found.path.name,
                "run": found.title,
                "models (SHA-256)": "; ".join(f"{m['name']} {m['sha256'][:12]}" for m in found.run["plan"]["models"]),
                "prompt": f"{summary['prompt']}, {summary['max_tokens']} tokens at most",
                "machine": f"{machine.get('processor', NONE)}, {machine.get('cores', NONE)} cores{memory}",
                "versions": ", ".join(f"{name} {version}" for name, version in last.get("versions", {}).items()),
                "started": f"{last.get('started', NONE)}, {last.get('runtime', NONE)}"
                + ("" if summary["complete"] else "; not complete"),
            }
        )
        for start in found.run["runs"]:
            notices.update(start.get("notices", {}))
    note = " ".join(f"{model}: {notice}" for model, notice in notices.items())
    return Table("What was run", pd.DataFrame(rows), note)

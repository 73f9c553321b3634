"""The tables of token-level methods, and how a table becomes HTML or Markdown."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import pandas as pd

from tokencollab.evaluation.report.evaluations import OUTCOMES, Evaluation
from tokencollab.protocol.text import one_line

NONE = "–"


@dataclass(frozen=True, slots=True)
class Table:
    """``cells`` are texts; those of the first column name the rows."""

    title: str
    cells: pd.DataFrame
    note: str = ""

    def html(self) -> str:
        with pd.option_context("display.max_colwidth", None):
            table = self.cells.to_html(index=False, border=0)
        note = f"\n<p class=note>{escape(self.note)}</p>" if self.note else ""
        return f"<h3>{escape(self.title)}</h3>\n<div class=wide>{table}</div>{note}"

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
    tables = [_methods(evaluation)]
    if evaluation.best_alone and not evaluation.summary["sweep"]:
        tables += [_against_single(evaluation), *([_outcomes(evaluation)] if evaluation.together else [])]
    return tables


def _methods(evaluation: Evaluation) -> Table:
    methods, at_once = evaluation.methods, evaluation.summary["concurrency"]
    columns = {
        "method": methods.index,
        "accuracy %": shares(methods, "accuracy"),
        "cost": methods["cost"].map(number),
        "loss, points": shares(methods, "loss", sign=True),
        "save %": shares(methods, "save"),
        "ms/token": methods["ms_per_token"].map(number),
        "first token, ms": methods["time_to_first_token_ms"].map(_whole),
        "candidates aligned": methods["aligned_per_item"].map(_whole),
        "exited %": methods["exit_rate"].map(percent),
        "exit step": methods["exit_step_median"].map(_whole),
        "tokens": methods["tokens_mean"].map(number),
        "unreadable": methods["unreadable"].map(str),
        "cut off": methods["cut_off"].map(str),
    }
    return Table(
        evaluation.sized_title,
        pd.DataFrame(columns),
        f"Seed {evaluation.summary['seed']}. In brackets 95 % intervals: Wilson for accuracy, paired bootstrap over "
        "items for loss and save. Loss and save are against the full collaboration of the same aggregation. Cost is "
        f"candidate sets per item. Times are medians at a concurrency of {' or '.join(map(str, at_once))}: they "
        "compare methods of this run and are no latencies of a single answer"
        + (" (here there was one at a time)." if at_once == [1] else "."),
    )


def _against_single(evaluation: Evaluation) -> Table:
    best = str(evaluation.best_alone)
    pairs = evaluation.pairs[evaluation.pairs["b"] == best].set_index("a")
    pairs = pairs.loc[[name for name in evaluation.methods.index if name in pairs.index]]
    columns = {
        "method": pairs.index,
        "difference, points": shares(pairs, "difference", sign=True),
        "only it / only the single model right": pairs["only_a"].map(str) + " / " + pairs["only_b"].map(str),
        "p": pairs["p"].map(probability),
        "p adjusted": pairs["p_adjusted"].map(probability),
    }
    either = evaluation.summary.get("either_right")
    return Table(
        f"{evaluation.title}: against the better single model ({best.removeprefix('alone:')})",
        pd.DataFrame(columns),
        "Paired on the same items: bootstrap interval, McNemar's exact p, and p adjusted for all pairs of methods of "
        f"the run (Benjamini-Hochberg). At least one single model is right on {percent(either)} % of the items. The "
        "better single model was picked on these items, which favours it.",
    )


def _outcomes(evaluation: Evaluation) -> Table:
    counts = evaluation.outcomes()
    parts = counts.div(counts.sum(axis=1), axis=0)
    columns = {kind: counts[kind].map(str) + " (" + parts[kind].map(percent) + " %)" for kind in OUTCOMES}
    return Table(
        f"{evaluation.title}: right and wrong, single and together (DuetNet fig. 8)",
        pd.DataFrame({"method": counts.index, **columns}),
        f"Single: {str(evaluation.best_alone).removeprefix('alone:')} alone.",
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
    return Table(f"{evaluation.sized_title}: response-level methods", pd.DataFrame(rows), note) if rows else None


def cross_tables(evaluations: Sequence[Evaluation]) -> list[Table]:
    """Accuracy, loss and saving by method and evaluation: the papers' large tables."""
    compared = [found for found in evaluations if not found.summary["sweep"] and len(found.methods)]
    if len(compared) < 2:
        return []

    def table(title: str, column: str, sign: bool, single: bool) -> Table:
        columns = []
        for found in compared:
            texts = shares(found.methods, column, sign)
            best = pd.Series(
                {"better single model": texts[found.best_alone] if found.best_alone else NONE}, dtype=object
            )
            columns.append(pd.concat([best] * single + [texts.drop(found.alone)]))
        cells = pd.concat(columns, axis=1).fillna(NONE)
        cells = cells[(cells != NONE).any(axis=1)].reset_index()
        return Table(title, cells.set_axis(["method", *(found.sized_title for found in compared)], axis=1))

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

"""The papers' tables: text cells, rendered as HTML or Markdown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from tokencollab.evaluation.report.scenes import Scene

NONE = "–"


@dataclass(frozen=True, slots=True)
class Table:
    """A caption, headings, and rows whose first cell names them."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def html(self) -> str:
        """As HTML."""
        head = "".join(f"<th>{escape(heading)}</th>" for heading in self.headings)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in self.rows)
        note = f"<p class=note>{escape(self.note)}</p>" if self.note else ""
        table = f"<div class=wide><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
        return f"<h3>{escape(self.title)}</h3>\n{table}\n{note}"

    def markdown(self) -> str:
        """As Markdown."""

        def line(cells: Sequence[str]) -> str:
            return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

        rule = line(["---", *["---:"] * (len(self.headings) - 1)])
        note = f"\n\n{self.note}" if self.note else ""
        return "\n".join([f"### {self.title}\n", line(self.headings), rule, *map(line, self.rows)]) + note


def percent(value: float | None, sign: bool = False) -> str:
    """A share in per cent."""
    return NONE if value is None else f"{100 * value:{'+' if sign else ''}.1f}"


def interval(bounds: Sequence[float] | None, sign: bool = False) -> str:
    """An interval of shares in per cent, in brackets."""
    return "" if bounds is None else f" [{percent(bounds[0], sign)}, {percent(bounds[1], sign)}]"


def number(value: float | None, digits: int = 1) -> str:
    """A number; a dash where there is none."""
    return NONE if value is None else f"{value:,.{digits}f}"


def bounded(value: float, bounds: Sequence[float] | None, digits: int = 1, sign: bool = False) -> str:
    """A number with its interval in brackets."""
    form = f"{'+' if sign else ''},.{digits}f"
    return f"{value:{form}}" + ("" if bounds is None else f" [{bounds[0]:{form}}, {bounds[1]:{form}}]")


def probability(p: float) -> str:
    """A p value."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"


def scene_tables(scene: Scene) -> list[Table]:
    """What one run says."""
    tables = [_methods(scene)]
    if scene.summary.get("best_alone") and not scene.summary["sweep"]:
        tables += [_against_single(scene), _outcomes(scene)]
    return tables


def _methods(scene: Scene) -> Table:
    rows = []
    for name, row in scene.methods.items():
        rows.append(
            (
                name,
                percent(row["accuracy"]) + interval(row["accuracy_ci"]),
                number(row["cost"]),
                percent(row["loss"], True) + interval(row["loss_ci"], True),
                percent(row["save"]) + interval(row["save_ci"]),
                number(row["ms_per_token"]),
                number(row["time_to_first_token_ms"], 0),
                number(row["aligned_per_item"], 0),
                percent(row["exit_rate"]),
                number(row["exit_step_median"], 0),
                number(row["tokens_mean"]),
                str(row["unreadable"]),
                str(row["cut_off"]),
            )
        )
    n, seed, at_once = scene.summary["n"], scene.summary["seed"], scene.summary["concurrency"]
    together = " or ".join(str(number) for number in at_once)
    return Table(
        f"{scene.title}, n = {n}",
        (
            "method",
            "accuracy %",
            "cost",
            "loss, points",
            "save %",
            "ms/token",
            "first token, ms",
            "candidates aligned",
            "exited %",
            "exit step",
            "tokens",
            "unreadable",
            "cut off",
        ),
        tuple(rows),
        f"Seed {seed}. In brackets 95 % intervals: Wilson for accuracy, paired bootstrap over items for loss and save. "
        "Loss and save are against the full collaboration of the same aggregation. Cost is candidate sets per item. "
        f"Times are medians with {together} answers at once: they compare methods of this run and are no latencies of "
        "a single answer" + (" (here there was one at a time)." if at_once == [1] else "."),
    )


def _against_single(scene: Scene) -> Table:
    best = scene.summary["best_alone"]
    rows = []
    for name in scene.methods:
        pair = scene.pair(name, best) if name != best else None
        if pair is None:
            continue
        rows.append(
            (
                name,
                percent(pair["difference"], True) + interval(pair["difference_ci"], True),
                f"{pair['only_a']} / {pair['only_b']}",
                probability(pair["p"]),
                probability(pair["p_adjusted"]),
            )
        )
    either = scene.summary.get("either_right")
    return Table(
        f"{scene.title}: against the better single model ({best.removeprefix('alone:')})",
        ("method", "difference, points", "only it / only the single model right", "p", "p adjusted"),
        tuple(rows),
        "Paired on the same items: bootstrap interval, McNemar's exact p, and p adjusted for all pairs of methods of "
        f"the run (Benjamini-Hochberg). At least one single model is right on {percent(either)} % of the items. The "
        "better single model was picked on these items, which favours it.",
    )


def _outcomes(scene: Scene) -> Table:
    best = scene.summary["best_alone"]
    rows = []
    for name in scene.together:
        counts = outcomes(scene, name, best)
        n = sum(counts.values())
        rows.append((name, *(f"{count} ({percent(count / n)} %)" for count in counts.values())))
    return Table(
        f"{scene.title}: right and wrong, single and together (DuetNet fig. 8)",
        ("method", *OUTCOMES),
        tuple(rows),
        f"Single: {best.removeprefix('alone:')} alone.",
    )


OUTCOMES = ("both right", "together only", "single only", "both wrong")


def outcomes(scene: Scene, method: str, single: str) -> dict[str, int]:
    """How many items the method and the single model have right: both, one of them, none."""
    counts = dict.fromkeys(OUTCOMES, 0)
    alone = scene.answers[single]
    for item, record in scene.answers[method].items():
        if item in alone:
            a, b = record["right"], alone[item]["right"]
            counts["both right" if a and b else "together only" if a else "single only" if b else "both wrong"] += 1
    return counts


def cross_tables(scenes: Sequence[Scene]) -> list[Table]:
    """Accuracy, loss and saving by method and run: the papers' large tables."""
    scenes = [scene for scene in scenes if not scene.summary["sweep"]]
    if len(scenes) < 2:
        return []
    names = list(dict.fromkeys(name for scene in scenes for name in scene.methods if not name.startswith("alone:")))

    def table(title: str, cell: Callable[[Mapping[str, Any]], str], single: bool) -> Table:
        rows = []
        if single:
            cells = [
                cell(scene.methods[scene.summary["best_alone"]]) if scene.summary.get("best_alone") else NONE
                for scene in scenes
            ]
            rows.append(("better single model", *cells))
        for name in names:
            cells = [cell(scene.methods[name]) if name in scene.methods else NONE for scene in scenes]
            rows.append((name, *cells))
        kept = [row for row in rows if any(cell != NONE for cell in row[1:])]
        headings = ("method", *(f"{scene.title}, n = {scene.summary['n']}" for scene in scenes))
        return Table(title, headings, tuple(kept))

    return [
        table("Accuracy, %", lambda row: percent(row["accuracy"]) + interval(row["accuracy_ci"]), True),
        table(
            "Loss of accuracy against full collaboration, points",
            lambda row: percent(row["loss"], True) + interval(row["loss_ci"], True),
            False,
        ),
        table(
            "Cost saved against full collaboration, %",
            lambda row: percent(row["save"]) + interval(row["save_ci"]),
            False,
        ),
    ]


def about_tables(scenes: Sequence[Scene]) -> list[Table]:
    """On what the runs were made."""
    rows = []
    for scene in scenes:
        last = scene.run["runs"][-1] if scene.run["runs"] else {}
        about, versions = last.get("machine", {}), last.get("versions", {})
        memory = about.get("memory")
        rows.append(
            (
                scene.path.name,
                scene.title,
                "; ".join(f"{model['name']} {model['sha256'][:12]}" for model in scene.run["plan"]["models"]),
                f"{scene.summary['prompt']}, {scene.summary['max_tokens']} tokens at most",
                f"{about.get('processor', NONE)}, {about.get('cores', NONE)} cores"
                + (f", {memory / 2**30:.0f} GiB" if memory else ""),
                ", ".join(f"{name} {version}" for name, version in versions.items()),
                f"{last.get('started', NONE)}, {last.get('runtime', NONE)}"
                + ("" if scene.summary["complete"] else "; not complete"),
            )
        )
    headings = ("folder", "run", "models (SHA-256)", "prompt", "machine", "versions", "started")
    notices = {
        model: notice
        for scene in scenes
        for start in scene.run["runs"]
        for model, notice in start.get("notices", {}).items()
    }
    note = " ".join(f"{model}: {notice}" for model, notice in notices.items())
    return [Table("What was run", headings, tuple(rows), note)]

"""Tables of methods between models, from samples drawn once (ModelSwitch, figures 3, 4, 6 and 7)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tokencollab.evaluation.between import DRAWN, NEEDED, RIGHT, Policy
from tokencollab.evaluation.report.between import Study, Value
from tokencollab.evaluation.report.scenes import Scene
from tokencollab.evaluation.report.tables import NONE, Table, bounded, interval, number, percent
from tokencollab.evaluation.statistics import wilson


def between_tables(study: Study) -> list[Table]:
    """What the samples of one run say."""
    tables = [_accuracy(study), _drawn(study)]
    if len(study.models) > 1:
        tables.append(_differences(study))
    tables.append(_entropy(study))
    if len(study.models) > 1:
        tables.append(_order(study))
    if study.sampled.scored:
        tables.append(_best_of_n(study))
    return tables


def usage_table(scene: Scene) -> Table | None:
    """What each model did in methods between models, and how long prompts and answers took; None: nobody says."""
    rows = []
    for name, row in scene.methods.items():
        answers = [
            record["response"] for record in scene.answers[name].values() if "usage" in record.get("response", {})
        ]
        if not answers:
            continue
        reasons = Counter(answer["reason"] for answer in answers)
        cells = []
        for what in ("tokens", "prefill_seconds", "decode_seconds"):
            means = {
                model: sum(answer["usage"][model][what] for answer in answers) / len(answers)
                for model in answers[0]["usage"]
            }
            cells.append("; ".join(f"{model} {number(mean)}" for model, mean in means.items() if mean))
        cost = bounded(row["cost"], row["cost_ci"])
        how = ", ".join(f"{reason} {percent(count / len(answers))}" for reason, count in reasons.most_common())
        rows.append((name, percent(row["accuracy"]) + interval(row["accuracy_ci"]), cost, *cells, how))
    if not rows:
        return None
    return Table(
        f"{scene.title}, n = {scene.summary['n']}: methods between models",
        ("method", "accuracy %", "cost", "tokens", "prompts, s", "answers, s", "decided, %"),
        tuple(rows),
        "Means per item. Cost is model steps weighted by the models' prices. Seconds: from a question to its first "
        "token (and scoring), and from the first to the last, summed over answers that may have run at the same time "
        "and under the run's own load: they compare methods of this run.",
    )


def _shown(study: Study) -> list[int]:
    powers = [budget for budget in study.budgets if budget & (budget - 1) == 0]
    return sorted({*powers, study.budgets[-1]})


def _accuracy(study: Study) -> Table:
    budgets = _shown(study)
    rows = [
        (
            label,
            *(
                _share(study.points[label, budget][0]) if (label, budget) in study.points else NONE
                for budget in budgets
            ),
        )
        for label in study.curves
    ]
    return Table(
        f"{study.title}: accuracy % by budget of samples (ModelSwitch fig. 4)",
        ("method", *map(str, budgets)),
        tuple(rows),
        f"2 models: {', then '.join(study.pair)}. All: {', then '.join(study.models)}. The budget is shared equally. "
        f"Of {study.full} samples per model, methods with fewer are the mean over as many runs as the samples make. "
        "Random switching stops after a model by a chance of 0.5: the expectation over it, computed exactly. "
        "In brackets 95 % intervals by bootstrap over items, the same resamples for all.",
    )


def _drawn(study: Study) -> Table:
    budgets = _shown(study)
    rows = []
    for label, policies in study.curves.items():
        found = [study.points.get((label, budget)) for budget in budgets]
        rows.append((label, *(f"{number(p[1].mean)} / {number(p[2].mean)}" if p else NONE for p in found)))
        if label.startswith("ModelSwitch"):
            cells = []
            for budget in budgets:
                if budget > 1 and budget in policies:
                    deferring = study.sampled.values(replace(policies[budget], defer=True))
                    cells.append(f"{NONE} / {number(float(deferring[:, NEEDED].mean()))}")
                else:
                    cells.append(NONE)
            rows.append((f"{label}, --defer", *cells))
    return Table(
        f"{study.title}: samples per question, drawn / needed",
        ("method", *map(str, budgets)),
        tuple(rows),
        "Drawn: as the paper draws, all samples of a model together. Needed: without those that could not change the "
        "outcome any more, which are not drawn one at a time (--at-once 1); the answers are the same. --defer goes on "
        "to the next model as soon as one cannot agree with itself any more, and comes back to it only for the vote.",
    )


def _differences(study: Study) -> Table:
    switch, budget = "ModelSwitch, 2 models", study.budgets[-1]
    base = study.sampled.values(study.curves[switch][budget])
    others = {label: points[budget] for label, points in study.curves.items() if label != switch and budget in points}
    columns = [base[:, RIGHT] - study.sampled.values(policy)[:, RIGHT] for policy in others.values()]
    *values, saved = study.estimate([*columns, 1 - base[:, DRAWN] / budget])
    return Table(
        f"{study.title}: ModelSwitch over {' and '.join(study.pair)} at budget {budget}, against",
        ("method at the same budget", "difference, points"),
        tuple((label, _share(value, True)) for label, value in zip(others, values, strict=True)),
        f"ModelSwitch draws {_share(saved)} % less than its budget; self-consistency, as in the paper, draws all. "
        "Differences are paired on the same items.",
    )


def _entropy(study: Study) -> Table:
    rows = [
        (
            found.model,
            str(found.agreed[1] + found.others[1]),
            _plain(found.item),
            f"{_plain(found.binned)} ({len(found.bins)})",
            _counted(*found.agreed),
            _counted(*found.others),
        )
        for found in study.correlations
    ]
    return Table(
        f"{study.title}: entropy of {study.full} samples and accuracy (ModelSwitch fig. 3)",
        ("model", "n", "r over items", "r over bins (bins)", "right % where all agree", "right % elsewhere"),
        tuple(rows),
        "Entropy in bits of a model's answers to an item; right: its commonest answer. r is Pearson's, with 95 % "
        "bootstrap intervals over items. Bins are half a bit wide, and those of fewer than 5 items are left out; "
        "binning takes out what varies from item to item. Shares have Wilson's interval.",
    )


def _order(study: Study) -> Table:
    rows = []
    for size, found in study.orders.items():
        values = study.turned[size]
        all_of_them = [accuracy for accuracy, _ in found]
        worst, least = found[0][1], min(all_of_them)
        rows.append(
            (
                f"{size} ({study.full // size} samples of each)",
                _share(values[0]),
                _share(values[1]) if size > 1 else NONE,
                _share(values[2], True) if size > 1 else NONE,
                f"{number(values[3].mean)} / {number(values[4].mean)}" if size > 1 else number(values[3].mean),
                f"{percent(float(np.mean(all_of_them)))} ({len(found)})",
                f"{percent(least)} ({', '.join(worst)}) to {percent(max(all_of_them))}",
            )
        )
    return Table(
        f"{study.title}: ModelSwitch by number and order of models (ModelSwitch fig. 6)",
        (
            "models",
            "best ones, strong to weak",
            "the same, weak to strong",
            "difference, points",
            "drawn",
            "mean of all choices and orders (how many)",
            "worst to best of them",
        ),
        tuple(rows),
        f"Budget {study.full}. Strong to weak by self-consistency on these very items: {', '.join(study.by_strength)}.",
    )


def _best_of_n(study: Study) -> Table:
    full, half, best = study.full, study.full // 2, study.by_strength[:1]
    pair = " + ".join(study.pair)
    rows = _scored_rows(study, f"{best[0]} ({full})", "self-consistency", best, full, ("best-of-n",))
    if len(study.models) > 1:
        methods = ("modelswitch", "best-of-n")
        rows += _scored_rows(study, f"ModelSwitch {pair} ({half} each)", "modelswitch", study.pair, half, methods)
    return Table(
        f"{study.title}: with best-of-N (ModelSwitch fig. 7)",
        ("samples: decided by", "accuracy %", "over the vote above, points", "drawn"),
        tuple(rows),
        "Scores are those that the run recorded. Best sum: of the scores of the samples that give an answer. "
        "ModelSwitch looks at scores only where no model agrees with itself. Any sample right: what a scorer without "
        "fault would reach.",
    )


def _scored_rows(
    study: Study, name: str, voting: str, models: Sequence[str], k: int, scoring: Sequence[str]
) -> list[tuple[str, ...]]:
    """The vote of a method over ``models``, what scores make of it, and what they could."""
    vote = study.sampled.values(Policy(voting, tuple(models), k))
    names, found = [f"{name}: vote"], [vote]
    for method in scoring:
        whose = name if method == scoring[0] else f"all samples of {' + '.join(models)} ({k} each)"
        for pick, what in (("best", "best sample"), ("sum", "best sum")):
            names.append(f"{whose}: {what}")
            found.append(study.sampled.values(Policy(method, tuple(models), k, pick)))
    shares = [values[:, RIGHT] for values in found]
    bound = study.sampled.any_right(models, k)
    estimates = study.estimate([*shares, *(share - vote[:, RIGHT] for share in shares), bound])
    rows = [
        (
            names[index],
            _share(estimates[index]),
            _share(estimates[len(found) + index], True) if index else NONE,
            number(float(values[:, DRAWN].mean())),
        )
        for index, values in enumerate(found)
    ]
    return [*rows, (f"{' + '.join(models)} ({k} each): any sample right", _share(estimates[-1]), NONE, NONE)]


def _share(value: Value, sign: bool = False) -> str:
    return percent(value.mean, sign) + interval(value.bounds, sign)


def _plain(value: Value) -> str:
    return NONE if np.isnan(value.mean) else bounded(value.mean, value.bounds, 2)


def _counted(right: int, n: int) -> str:
    return f"{percent(right / n)}{interval(wilson(right, n))} ({right}/{n})" if n else NONE

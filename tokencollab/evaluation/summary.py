"""``summary.json``: what the answers of a run say about its methods, with intervals."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tokencollab.evaluation.folder import Record, read_records, read_run, write_json
from tokencollab.evaluation.statistics import (
    CONFIDENCE,
    RESAMPLES,
    Array,
    Interval,
    adjusted,
    bootstrap,
    mcnemar,
    wilson,
)
from tokencollab.evaluation.verdict import verdicts
from tokencollab.files import reading

Answers = Mapping[str, Mapping[str, Record]]
"""Method -> item -> record."""


def summarise(path: Path) -> dict[str, Any]:
    """Reads a run's folder, and writes and returns its summary.

    Per method: ``accuracy`` (share; what could not be read is wrong), ``cost`` (candidate sets per item), ``loss``
    and ``save`` against the full collaboration of the same aggregation (docs/specification.md section 6),
    ``aligned_per_item`` (candidates compared), ``exit_rate`` (share of answers that the base finished alone),
    ``exit_step_median`` (of those), ``ms_per_token`` and ``time_to_first_token_ms`` (medians, under the run's own
    load), ``tokens_mean``, ``unreadable``. ``pairs`` has for each two methods the difference of their accuracies (a -
    b) on the items that all methods answered, with McNemar's p, and ``p_adjusted`` for the number of pairs.
    ``verdicts``: see `verdict.verdicts`.

    Raises:
        UsageError: it is no folder of a run, or damaged.
    """
    run, records = read_run(path), list(read_records(path))
    with reading(path):
        summary = summary_of(run, records)
    write_json(path / "summary.json", summary)
    return summary


def summary_of(run: Mapping[str, Any], records: Iterable[Record]) -> dict[str, Any]:
    plan = run["plan"]
    answers: dict[str, dict[str, Record]] = {entry["name"]: {} for entry in plan["methods"]}
    for record in records:
        answers[record["method"]][record["item"]] = record
    entries = {entry["name"]: entry for entry in plan["methods"] if answers[entry["name"]]}
    answers = {name: answers[name] for name in entries}
    methods = {name: _method(entry, answers[name]) for name, entry in entries.items()}
    pairs = _compare(entries, answers, methods, plan["seed"])
    count, members = len(plan["items"]), _members(answers)
    models = [model["name"] for model in plan["models"]]
    return {
        "dataset": plan["dataset"],
        "n": count,
        "seed": plan["seed"],
        "models": models,
        "prompt": plan["prompt"],
        "max_tokens": plan["max_tokens"],
        "complete": len(answers) == len(plan["methods"]) and all(len(own) == count for own in answers.values()),
        "sweep": plan["sweep"],
        "concurrency": sorted({start["concurrency"] for start in run["runs"]}),
        "confidence": CONFIDENCE,
        "resamples": RESAMPLES,
        "methods": methods,
        "pairs": pairs,
        "verdicts": verdicts(methods, pairs, models, members.get("best_alone")),
        **members,
    }


def _method(entry: Mapping[str, Any], own: Mapping[str, Record]) -> dict[str, Any]:
    records = list(own.values())
    n, right = len(records), sum(record["right"] for record in records)
    exits = [record["exit_step"] for record in records if record["exit_step"] is not None]
    return {
        "accuracy": right / n,
        "accuracy_ci": wilson(right, n),
        "n": n,
        "right": right,
        "cost": _mean(records, "cost"),
        "cost_ci": None,
        "against": entry["against"],
        "loss": None,
        "loss_ci": None,
        "save": None,
        "save_ci": None,
        **_spread("ms_per_token", [record["ms_per_token"] for record in records]),
        **_spread("time_to_first_token_ms", [record["first_token_ms"] for record in records]),
        "aligned_per_item": _mean(records, "aligned"),
        "exit_rate": len(exits) / n,
        "exit_step_median": median(exits) if exits else None,
        "tokens_mean": _mean(records, "tokens"),
        "characters_mean": sum(len(record["text"]) for record in records) / n,
        "unreadable": sum(record["answer"] is None for record in records),
        "cut_off": sum(record["finish_reason"] == "length" for record in records),
        "failed": sum("error" in record for record in records),
        "settings": entry["settings"],
    }


def _compare(
    entries: Mapping[str, Mapping[str, Any]],
    answers: Answers,
    methods: dict[str, dict[str, Any]],
    seed: int,
) -> list[dict[str, Any]]:
    """Fills in what needs resampling, and returns the pairs. All on the items that every method answered."""
    names = list(entries)
    common = [item for item in next(iter(answers.values()), {}) if all(item in own for own in answers.values())]
    if not common:
        return []
    m = len(names)
    columns = np.empty((len(common), 2 * m))
    for index, name in enumerate(names):
        own = answers[name]
        columns[:, index] = [own[item]["right"] for item in common]
        columns[:, m + index] = [own[item]["cost"] for item in common]
    measured = [
        (i, names.index(entry["against"])) for i, entry in enumerate(entries.values()) if entry["against"] in names
    ]
    of, full = np.array(measured, dtype=int).reshape(-1, 2).T
    first, second = np.array(list(combinations(range(m), 2)), dtype=int).reshape(-1, 2).T

    def statistic(means: Array) -> Array:
        right, cost = means[:m], means[m:]
        return np.concatenate([cost, right[full] - right[of], 1 - cost[of] / cost[full], right[first] - right[second]])

    with np.errstate(invalid="ignore", divide="ignore"):
        values = statistic(columns.mean(axis=0)[:, None])[:, 0]
    found = bootstrap(columns, statistic, seed)
    k = len(measured)
    for index, name in enumerate(names):
        methods[name]["cost_ci"] = found.interval(index)
    for index, (i, _) in enumerate(measured):
        own_method = methods[names[i]]
        own_method["loss"], own_method["loss_ci"] = float(values[m + index]), found.interval(m + index)
        saved = float(values[m + k + index])
        own_method["save"] = None if np.isnan(saved) else saved
        own_method["save_ci"] = found.interval(m + k + index)
    right = columns[:, :m].astype(bool)
    pairs = [
        _pair(names[i], names[j], right[:, i], right[:, j], found.interval(m + 2 * k + index))
        for index, (i, j) in enumerate(zip(first, second, strict=True))
    ]
    for pair, p in zip(pairs, adjusted([pair["p"] for pair in pairs]), strict=True):
        pair["p_adjusted"] = p
    return pairs


def _pair(a: str, b: str, right_a: Any, right_b: Any, interval: Interval | None) -> dict[str, Any]:
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    n = len(right_a)
    return {
        "a": a,
        "b": b,
        "n": n,
        "difference": (only_a - only_b) / n,
        "difference_ci": interval,
        "only_a": only_a,
        "only_b": only_b,
        "p": mcnemar(only_a, only_b),
    }


def _members(answers: Answers) -> dict[str, Any]:
    """The better single model, and how often at least one of them is right."""
    alone = {name: own for name, own in answers.items() if name.startswith("alone:")}
    if not alone:
        return {}
    shares = {name: sum(record["right"] for record in own.values()) / len(own) for name, own in alone.items()}
    first, *others = alone.values()
    items = [item for item in first if all(item in other for other in others)]
    either = sum(any(own[item]["right"] for own in alone.values()) for item in items)
    best = max(shares, key=lambda name: shares[name])
    return {"best_alone": best, "either_right": either / len(items) if items else None}


def _mean(records: Sequence[Record], key: str) -> float:
    return float(sum(record[key] for record in records) / len(records))


def _spread(name: str, values: Sequence[float | None]) -> dict[str, Any]:
    """Median and quartiles of those that are known, None where none is."""
    known = [value for value in values if value is not None]
    low, middle, high = np.quantile(known, [0.25, 0.5, 0.75]).round(3).tolist() if known else (None, None, None)
    return {name: middle, f"{name}_quartiles": (low, high) if known else None}

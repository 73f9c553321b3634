"""Does it help? The collaborating method of a run against a single model, in one line."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

from tokencollab.evaluation.statistics import CONFIDENCE, needed_items

LEVEL = 1 - CONFIDENCE


def singles(methods: Container[str], models: Sequence[str], best_alone: str | None) -> list[str]:
    """The methods of one model that the others are compared with: the better one, and the base if it is another."""
    base = ["base"] if "base" in methods and best_alone != f"alone:{models[0]}" else []
    return [*([best_alone] if best_alone else []), *base]


def verdicts(
    methods: Mapping[str, Mapping[str, Any]],
    pairs: Sequence[Mapping[str, Any]],
    models: Sequence[str],
    best_alone: str | None,
) -> list[dict[str, Any]]:
    """The best collaborating method against the better single model, and against the base if that is another one.

    Of several methods it is the one with the largest difference, then the least cost. It was picked on these items:
    ``of`` says of how many, and then ``p`` is adjusted for all ``comparisons`` of the run, as in the report.
    ``certain``: the interval of the difference leaves out 0, and p is below 0.05; the percentile interval alone is too
    short on few items. ``needed``: see `needed_items`; None where it is certain, or no difference was seen.

    Args:
        methods, pairs, best_alone: of ``summary.json``.
        models: their names, the base first.
    """
    together = [name for name, row in methods.items() if len(row["settings"]["members"]) > 1]
    found = []
    for single in singles(methods, models, best_alone):
        compared = [_from_the_side_of(name, single, pair) for name in together for pair in pairs]
        known = [entry for entry in compared if entry is not None]
        if known:
            best = max(known, key=lambda entry: (entry["difference"], -methods[entry["a"]]["cost"]))
            found.append(_verdict(best, len(known), len(pairs), methods, models, single == best_alone))
    return found


def _from_the_side_of(name: str, single: str, pair: Mapping[str, Any]) -> dict[str, Any] | None:
    """``pair`` with ``name`` first; None: it is about others."""
    if (pair["a"], pair["b"]) == (name, single):
        return dict(pair)
    if (pair["b"], pair["a"]) != (name, single):
        return None
    low, high = pair["difference_ci"]
    turned = {"a": name, "b": single, "only_a": pair["only_b"], "only_b": pair["only_a"]}
    return {**pair, **turned, "difference": 0.0 - pair["difference"], "difference_ci": (0.0 - high, 0.0 - low)}


def _verdict(
    pair: Mapping[str, Any],
    of: int,
    comparisons: int,
    methods: Mapping[str, Mapping[str, Any]],
    models: Sequence[str],
    is_best: bool,
) -> dict[str, Any]:
    p = pair["p_adjusted"] if of > 1 else pair["p"]
    low, high = pair["difference_ci"]
    certain = (low > 0 or high < 0) and p < LEVEL
    return {
        "method": pair["a"],
        "of": of,
        "against": pair["b"],
        "model": models[0] if pair["b"] == "base" else pair["b"].removeprefix("alone:"),
        "role": "the better single model" if is_best else "the base",
        "n": pair["n"],
        "difference": pair["difference"],
        "difference_ci": pair["difference_ci"],
        "p": p,
        "comparisons": comparisons if of > 1 else 1,
        "certain": certain,
        "needed": None if certain else needed_items(pair["only_a"], pair["only_b"], pair["n"]),
        "cost": methods[pair["a"]]["cost"],
        "cost_unit": "candidate sets" if "method" in methods[pair["a"]]["settings"] else "model steps by their price",
        "cost_against": methods[pair["b"]]["cost"],
    }


def verdict_line(verdict: Mapping[str, Any]) -> str:
    """A verdict as a person reads it."""
    low, high = verdict["difference_ci"]
    name = verdict["method"] + (f", the best of {verdict['of']} methods" if verdict["of"] > 1 else "")
    worse = verdict["certain"] and verdict["difference"] < 0
    head = f"{name}: " if verdict["certain"] and not worse else f"{name}: {'worse' if worse else 'cannot tell'}: "
    adjusted = f" adjusted for {verdict['comparisons']} comparisons" if verdict["comparisons"] > 1 else ""
    p = verdict["p"]
    parts = [
        f"{head}{100 * verdict['difference']:+.1f} points [{100 * low:.1f}, {100 * high:.1f}] "
        f"{'against' if worse else 'over'} {verdict['model']} ({verdict['role']}), "
        f"p = {f'{p:.3f}' if p >= 0.001 else f'{p:.0e}'}{adjusted}, n = {verdict['n']:,}"
    ]
    if not verdict["certain"]:
        needed, alone = verdict["needed"], " with this method alone" if verdict["of"] > 1 else ""
        parts.append(
            "no difference was seen, so that no n can be named"
            if needed is None
            else f"a difference of this size would need about n = {needed:,}{alone}"
        )
    parts.append(f"cost {verdict['cost']:,.1f} {verdict['cost_unit']} an answer against {verdict['cost_against']:,.1f}")
    return "; ".join(parts)

"""Does it help? One line per run, and what it takes to be sure."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.evaluation.evaluationkit import Calculator, evaluate
from tests.unit.evaluation.made import make_run
from tokencollab.evaluation.statistics import adjusted, bootstrap, mcnemar, needed_items
from tokencollab.evaluation.summary import summarise
from tokencollab.evaluation.verdict import verdict_line, verdicts

MODELS = ["one", "two"]


def method(cost: float = 60.0, members: int = 2) -> dict[str, Any]:
    return {"cost": cost, "settings": {"method": {}, "members": MODELS[:members]}}


def pair(a: str, b: str, only_a: int, only_b: int, n: int) -> dict[str, Any]:
    outcomes = np.repeat([1.0, -1.0, 0.0], [only_a, only_b, n - only_a - only_b])[:, None]
    interval = bootstrap(outcomes, lambda means: means, 0).interval(0)
    figures = {"difference": (only_a - only_b) / n, "difference_ci": interval, "p": mcnemar(only_a, only_b)}
    return {"a": a, "b": b, "n": n, "only_a": only_a, "only_b": only_b, **figures}


def found(
    pairs: list[dict[str, Any]], *names: str, best: str | None = "alone:two", cost: float = 60.0
) -> list[dict[str, Any]]:
    """The verdicts on the methods of these ``names``."""
    for entry, p in zip(pairs, adjusted([entry["p"] for entry in pairs]), strict=True):
        entry["p_adjusted"] = p
    singles = {name: method(50.0, 1) for name in ("alone:one", "alone:two", "base")}
    return verdicts({**singles, **{name: method(cost) for name in names}}, pairs, MODELS, best)


def test_a_gain_that_is_certain() -> None:
    (verdict,) = found([pair("auto", "alone:two", 30, 4, 200)], "auto", cost=67.94)
    assert (verdict["certain"], verdict["needed"], verdict["difference"]) == (True, None, 0.13)
    low, high = (100 * end for end in verdict["difference_ci"])
    assert verdict_line(verdict) == (
        f"auto: +13.0 points [{low:.1f}, {high:.1f}] over two (the better single model), p = {mcnemar(30, 4):.0e}, "
        "n = 200; cost 67.9 candidate sets an answer against 50.0"
    )


def test_one_that_is_not_says_how_many_items_it_takes() -> None:
    (verdict,) = found([pair("auto", "alone:two", 5, 4, 50)], "auto")
    assert verdict["certain"] is False
    assert verdict["needed"] == needed_items(5, 4, 50)
    line = verdict_line(verdict)
    assert line.startswith("auto: cannot tell: +2.0 points [")
    assert f"n = 50; a difference of this size would need about n = {needed_items(5, 4, 50):,}; cost" in line


def test_an_interval_of_few_items_that_leaves_out_0_is_not_enough() -> None:
    """The percentile interval is too short on few items: four wins of twenty are p = 0.125."""
    (verdict,) = found([pair("auto", "alone:two", 4, 0, 20)], "auto")
    assert verdict["difference_ci"][0] > 0
    assert verdict["certain"] is False


def test_a_loss_is_called_one_and_no_difference_needs_no_items() -> None:
    (verdict,) = found([pair("alone:two", "auto", 30, 4, 200)], "auto")  # the pair is the other way round
    assert verdict_line(verdict).startswith("auto: worse: -13.0 points [")
    assert verdict["difference_ci"][1] < 0
    (verdict,) = found([pair("auto", "alone:two", 3, 3, 50)], "auto")
    assert "cannot tell: +0.0 points" in verdict_line(verdict)
    assert "no difference was seen" in verdict_line(verdict)


def test_of_several_methods_the_best_is_judged_by_the_adjusted_p() -> None:
    pairs = [
        pair("unite", "alone:two", 8, 6, 100),
        pair("bytewise", "alone:two", 15, 5, 100),
        *(pair(f"m{number}", "alone:two", 5, 5, 100) for number in range(4)),
    ]
    rows = ("unite", "bytewise", "m0", "m1", "m2", "m3")
    (verdict,) = found(pairs, *rows)
    assert (verdict["method"], verdict["of"], verdict["comparisons"]) == ("bytewise", 6, 6)
    assert mcnemar(15, 5) < 0.05 < verdict["p"]
    assert verdict["p"] == pytest.approx(6 * mcnemar(15, 5))
    line = verdict_line(verdict)
    assert line.startswith("bytewise, the best of 6 methods: cannot tell: +10.0 points")
    assert "adjusted for 6 comparisons" in line
    assert f"would need about n = {needed_items(15, 5, 100):,} with this method alone" in line
    (verdict,) = found(pairs[1:2], "bytewise")
    assert verdict["certain"]


def test_of_equal_methods_the_cheaper_is_named() -> None:
    pairs = [pair("dear", "alone:two", 9, 1, 100), pair("cheap", "alone:two", 9, 1, 100)]
    rows = {"alone:two": method(50.0, 1), "dear": method(90.0), "cheap": method(60.0)}
    for entry in pairs:
        entry["p_adjusted"] = entry["p"]
    (verdict,) = verdicts(rows, pairs, MODELS, "alone:two")
    assert (verdict["method"], verdict["cost"]) == ("cheap", 60.0)


def test_the_base_is_compared_with_unless_it_is_the_better_model() -> None:
    pairs = [
        pair("auto", "alone:two", 9, 1, 100),
        pair("auto", "base", 29, 1, 100),
        pair("base", "alone:two", 1, 9, 100),
    ]
    assert [(v["role"], v["model"]) for v in found(pairs, "auto")] == [
        ("the better single model", "two"),
        ("the base", "one"),
    ]
    assert [v["role"] for v in found(pairs, "auto", best=None)] == ["the base"]
    assert found(pairs[2:]) == []
    same = [pair("auto", "alone:one", 9, 1, 100), pair("auto", "base", 9, 1, 100)]
    assert [v["against"] for v in found(same, "auto", best="alone:one")] == ["alone:one"]


async def test_an_evaluation_and_a_sweep_have_their_verdicts(tmp_path: Path) -> None:
    pair_of = [Calculator("one", 2, lambda question: True), Calculator("two", 3)]
    await evaluate(
        tmp_path, pair_of, ("base", "each", "self-consistency:samples=2", "confipara-u"), n=6, grid={"omega": [2, 3]}
    )
    summary = summarise(tmp_path)
    assert summary["sweep"] == {"omega": [2, 3]}
    better, base = summary["verdicts"]
    assert (better["against"], base["against"]) == ("alone:two", "base")
    assert better["of"] == base["of"] == 2  # several samples of one model are no collaboration
    assert base["method"].startswith("confipara-u:omega=")


def test_a_large_run_agrees_with_its_pairs(tmp_path: Path) -> None:
    accuracy = {"base": 0.6, "bytewise": 0.8}
    path = make_run(tmp_path / "run", ["base", "bytewise"], n=300, accuracy=lambda name, _: accuracy[name])
    summary = summarise(path)
    (verdict,) = summary["verdicts"]
    (found_pair,) = summary["pairs"]
    assert verdict["difference"] == -found_pair["difference"] > 0.1
    assert verdict["difference_ci"] == pytest.approx([-end for end in reversed(found_pair["difference_ci"])])
    assert verdict["certain"]
    assert "arith-bytes (the base)" in verdict_line(verdict)

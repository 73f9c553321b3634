"""Methods between models recomputed from samples: against a plain reading of the paper, and as the report has them."""

import random
from collections import Counter
from math import log2
from typing import Any

import numpy as np
import pytest

from tokencollab.evaluation.between import DRAWN, NEEDED, RIGHT, Policy, Sampled
from tokencollab.evaluation.report.budgets import Study
from tokencollab.evaluation.report.charts import styled

MODELS = ("a", "b", "c")
FULL = 6


def record(item: int, answers: dict[str, list[str | None]], expected: str = "7", **more: Any) -> dict[str, Any]:
    asked = {"method": "best-of-n", "item": f"i{item}", "question": "?", "expected": expected, "right": False}
    return asked | {"response": {"answers": answers, **more}}


def made(n: int = 60, seed: int = 3) -> list[dict[str, Any]]:
    """Items of unlike difficulty: a is often sure, c hardly ever; some samples cannot be read."""
    chance = random.Random(seed)  # noqa: S311
    records = []
    for item in range(n):
        answers: dict[str, list[str | None]] = {}
        for model, skill in zip(MODELS, (0.9, 0.7, 0.4), strict=True):
            sure = min(1.0, skill + chance.uniform(-0.7, 0.3))
            answers[model] = [
                "7" if chance.random() < sure else chance.choice(["8", "8", "8", "9", None]) for _ in range(FULL)
            ]
        scores = {m: [None if a is None else chance.random() for a in given] for m, given in answers.items()}
        records.append(record(item, answers, scores=scores))
    return records


def weight(answers: list[str]) -> float:
    counts = Counter(answers)
    if len(counts) < 2:
        return 1.0
    n = len(answers)
    share = -sum(c / n * log2(c / n) for c in counts.values()) / log2(len(counts))
    return 1 / n + (1 - 1 / n) * (1 - share)


def by_the_paper(samples: list[list[str | None]], stops: list[bool] | None = None) -> tuple[bool, int]:
    """ModelSwitch, or with ``stops`` random switching: whether it is right, and samples drawn."""
    drawn: list[list[str | None]] = []
    for index, given in enumerate(samples):
        drawn.append(given)
        valid = [answer for answer in given if answer is not None]
        agreed = len(valid) == len(given) and len(set(valid)) == 1
        if agreed if stops is None else stops[index] and valid:
            return Counter(valid).most_common(1)[0][0] == "7", len(given) * len(drawn)
    votes: dict[str, float] = {}
    for given in drawn:
        valid = [answer for answer in given if answer is not None]
        for answer in valid:
            votes[answer] = votes.get(answer, 0.0) + weight(valid)
    best = max(votes.values(), default=0)
    winner = next((answer for answer, score in votes.items() if score >= best * (1 - 1e-9)), None)
    return winner == "7", sum(map(len, drawn))


@pytest.mark.parametrize("models", [("a",), ("a", "b"), ("c", "a"), MODELS])
@pytest.mark.parametrize("k", [1, 2, 4, 6])
def test_every_budget_is_the_mean_over_the_runs_in_the_samples(models: tuple[str, ...], k: int) -> None:
    records = made()
    found = Sampled(records).values(Policy("modelswitch", models, k))
    for row, entry in zip(found, records, strict=True):
        answers = entry["response"]["answers"]
        runs = [by_the_paper([answers[m][s : s + k] for m in models]) for s in range(0, FULL - k + 1, k)]
        assert row[RIGHT] == pytest.approx(np.mean([right for right, _ in runs]))
        assert row[DRAWN] == pytest.approx(np.mean([drawn for _, drawn in runs]))
        assert row[NEEDED] <= row[DRAWN] <= k * len(models)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_random_switching_is_the_mean_over_its_draws(k: int) -> None:
    records = made(n=30)
    found = Sampled(records).values(Policy("random-switch", ("a", "b"), k))
    for row, entry in zip(found, records, strict=True):
        answers = entry["response"]["answers"]
        runs = [
            by_the_paper([answers[m][s : s + k] for m in ("a", "b")], [first, second])
            for s in range(0, FULL - k + 1, k)
            for first in (True, False)
            for second in (True, False)
        ]
        assert row[RIGHT] == pytest.approx(np.mean([right for right, _ in runs]))
        assert row[DRAWN] == pytest.approx(np.mean([drawn for _, drawn in runs]))


def test_one_model_is_self_consistency_and_nobody_is_right_where_no_sample_is() -> None:
    sampled = Sampled(made())
    for model in MODELS:
        switch = sampled.values(Policy("modelswitch", (model,), FULL))
        alone = sampled.values(Policy("self-consistency", (model,), FULL))
        assert (switch[:, :NEEDED] == alone[:, :NEEDED]).all()
        any_right = sampled.any_right((model,), FULL)
        for pick in ("best", "sum"):
            assert (sampled.values(Policy("best-of-n", (model,), FULL, pick))[:, RIGHT] <= any_right).all()
        assert (alone[:, RIGHT] <= any_right).all()
        assert 0 < any_right.sum() >= alone[:, RIGHT].sum()


def test_scores_decide_only_where_no_model_agrees_with_itself() -> None:
    records = made()
    sampled = Sampled(records)
    scored = sampled.values(Policy("modelswitch", ("a", "b"), FULL, "best"))
    for row, entry in zip(scored, records, strict=True):
        answers, scores = entry["response"]["answers"], entry["response"]["scores"]
        agreed = next((answers[m][0] for m in ("a", "b") if len(set(answers[m])) == 1 and answers[m][0]), None)
        best = max((s, a) for m in ("a", "b") for s, a in zip(scores[m], answers[m], strict=True) if s is not None)
        assert row[RIGHT] == ((agreed or best[1]) == "7")


def test_more_samples_than_there_are_and_items_that_failed() -> None:
    records = made(5)
    failed = {key: value for key, value in record(9, {}).items() if key != "response"}
    sampled = Sampled([*records, failed])
    assert (sampled.n, sampled.samples, sampled.models, sampled.scored) == (5, FULL, MODELS, True)
    with pytest.raises(ValueError, match="7 samples of each model are asked for, 6 are recorded"):
        sampled.values(Policy("modelswitch", MODELS, 7))
    nothing = record(8, {model: [None] * FULL for model in MODELS})
    unreadable = Sampled([*records, nothing])  # the scorer was not asked
    assert unreadable.scored
    for method in ("modelswitch", "best-of-n"):
        assert unreadable.values(Policy(method, MODELS, FULL, "best"))[-1].tolist() == [0, 3 * FULL, 3 * FULL]
    del records[0]["response"]["scores"]
    assert not Sampled(records).scored


def test_answers_are_right_as_the_set_says() -> None:
    letters = Sampled([record(0, {"a": ["B", "C"]}, expected="B"), record(1, {"a": ["1/2", "0.5"]}, expected="0.50")])
    found = letters.values(Policy("self-consistency", ("a",), 1))
    assert found[:, RIGHT].tolist() == [0.5, 1.0]


def test_entropy_goes_with_error_and_r_is_pearson_s() -> None:
    sampled = Sampled(made(200))
    study = Study(sampled, "made", 0)
    for found in study.correlations:
        rows = sampled.entropies(found.model)
        item, bounds = found.item
        assert item == pytest.approx(np.corrcoef(rows[:, 0], rows[:, 1]).item(1))
        assert bounds is not None
        assert bounds[0] <= item <= bounds[1]
        assert found.agreed[1] + found.others[1] == len(rows)
        assert found.agreed[0] + found.others[0] == rows[:, 1].sum()
        bins = found.bins
        assert found.binned[0] == pytest.approx(np.corrcoef(bins["entropy"], bins["right"] / bins["n"]).item(1))
        assert (bins["n"] >= 5).all()
    assert study.correlations[0].item[0] < 0
    unsure = Sampled([record(0, {"a": ["7", "8", None]}), record(1, {"a": [None, None, None]})])
    assert unsure.entropies("a").tolist() == [[1.0, 1.0]]


def test_the_tables_and_figures_have_the_values_of_the_policies() -> None:
    sampled = Sampled(made())
    study = Study(sampled, "made", 0)
    with styled():
        names = [picture.name for picture in study.pictures()]
    assert names == ["between-curves", "between-entropy", "between-order"]
    tables: dict[str, Any] = {}
    for table in study.tables():
        tables[table.title.partition("(ModelSwitch ")[2].rstrip(")") or table.title] = table.cells
    rows = {row[0]: list(row) for row in tables["fig. 4"].to_numpy()}
    full = sampled.values(Policy("modelswitch", ("a", "b"), 3))[:, RIGHT].mean()
    assert tables["fig. 4"].columns[-1] == "6"
    assert rows["ModelSwitch, 2 models"][-1].startswith(f"{100 * full:.1f} [")
    assert rows["ModelSwitch, 2 models"][1] == rows["self-consistency, a"][1]
    assert rows["ModelSwitch, 3 models"][1:] != rows["ModelSwitch, 2 models"][1:]
    sizes = {row[0]: list(row) for row in tables["fig. 6"].to_numpy()}
    assert [row[5].partition(" ")[2] for row in sizes.values()] == ["(3)", "(6)", "(6)"]
    singles = {m: sampled.values(Policy("modelswitch", (m,), FULL))[:, RIGHT].mean() for m in MODELS}
    assert sizes["1 (6 samples of each)"][1].startswith(f"{100 * max(singles.values()):.1f} [")
    assert len(tables["fig. 7"]) == 10


@pytest.mark.parametrize("models", [1, 2])
def test_few_models_and_no_scores_leave_out_what_they_cannot_say(models: int) -> None:
    records = made(40)
    for entry in records:
        entry["response"].pop("scores")
        entry["response"]["answers"] = {m: entry["response"]["answers"][m] for m in MODELS[:models]}
    study = Study(Sampled(records), "made", 0)
    with styled():
        assert len(study.pictures()) == (2 if models == 1 else 3)
    assert len(study.tables()) == (3 if models == 1 else 5)

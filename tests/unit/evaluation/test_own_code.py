"""Graders, methods and exits of the caller's in an evaluation: what they get, and what their faults do."""

from pathlib import Path

import pytest

from tests.unit.evaluation.evaluationkit import Calculator, evaluate
from tokencollab.errors import RunStopped, UsageError
from tokencollab.evaluation.folder import read_records, read_run
from tokencollab.evaluation.grading import Grader
from tokencollab.evaluation.naming import make_askers, read_grid
from tokencollab.evaluation.summary import summarise
from tokencollab.policies.aggregations import AGGREGATIONS
from tokencollab.policies.exits import EXITS

HERE = "tests.unit.evaluation.own_code"


def forget(*names: str) -> None:
    """As if these classes had never been named: other tests list all that are known."""
    for name in names:
        for registry in (AGGREGATIONS, EXITS):
            registry._classes.pop(f"{HERE}:{name}", None)
            registry._taken.pop(f"{HERE}:{name}", None)


def pair() -> list[Calculator]:
    return [Calculator("one", 2, lambda question: True), Calculator("two", 3)]


async def test_a_grader_decides_what_is_right(tmp_path: Path) -> None:
    await evaluate(tmp_path, pair(), ("each",), n=3, grader=Grader.named(f"{HERE}:lenient"))
    for record in read_records(tmp_path):
        assert record["right"] == (record["expected"].lstrip("-") in record["text"])
        assert record["answer"]
    assert {row["unreadable"] for row in summarise(tmp_path)["methods"].values()} == {0}


@pytest.mark.parametrize(
    ("name", "reason"),
    [("failing", r"the grader .*:failing fails at simplemath/0/\d: LookupError"), ("undecided", "returned a NoneType")],
)
async def test_a_grader_that_fails_stops_the_run_and_the_answers_stay(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(RunStopped, match=reason):
        await evaluate(tmp_path, pair(), ("each",), n=3, grader=Grader.named(f"{HERE}:{name}"))
    assert list(read_records(tmp_path)) == []


@pytest.mark.parametrize("name", ["exact", f"{HERE}:HERE", f"{HERE}:Grader", "no_such_module:x", f"{HERE}:__name__"])
def test_what_is_no_grader_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="grader"):
        Grader.named(name)


async def test_a_method_of_one_s_own_runs_beside_the_others(tmp_path: Path) -> None:
    names = ("each", f"{HERE}:oracle", f"{HERE}:oracle:on=two+one", "unite")
    await evaluate(tmp_path, pair(), names, n=4)
    summary = summarise(tmp_path)
    own = summary["methods"][f"{HERE}:oracle"]
    assert (own["accuracy"], own["cost"], own["against"]) == (1.0, 0, None)
    plan = {entry["name"]: entry["settings"] for entry in read_run(tmp_path)["plan"]["methods"]}
    assert plan[f"{HERE}:oracle:on=two+one"] == {"own": {"wise": True}, "members": ["two", "one"]}


async def test_a_method_of_one_s_own_that_fails_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunStopped, match=r"the method .*:broken fails at simplemath/0/\d: ZeroDivisionError"):
        await evaluate(tmp_path / "broken", pair(), (f"{HERE}:broken",), n=2)
    with pytest.raises(RunStopped, match=r":silly returned a str, not a GivenAnswer"):
        await evaluate(tmp_path / "silly", pair(), (f"{HERE}:silly",), n=2)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (f"{HERE}:nobody", "must be a class derived from tokencollab.Aggregation, or a function"),
        (f"{HERE}:HERE", "the module has no HERE"),
        (f"{HERE}:oracle:on=three", "no member 'three'"),
        (f"{HERE}:oracle:top_k=3", "takes no settings here but on=MODEL[+]MODEL"),
        ("no_such_module:x", "cannot be imported: ModuleNotFoundError"),
        (f"bytewise:exit={HERE}:oracle", "is no exit: derive a class from tokencollab.Exit"),
        (f"bytewise:exit={HERE}:Early:steps=0", "steps must be a whole number, 1 or more"),
        (f"bytewise:aggregation={HERE}:Early", "is no aggregation"),
        ("duetnet:top_k", "settings are given as name:key=value"),
    ],
)
def test_what_is_no_method_is_refused(name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        make_askers([name], ["one", "two"], {})


async def test_an_aggregation_or_an_exit_that_fails_is_one_line_with_its_place(tmp_path: Path) -> None:
    try:
        with pytest.raises(UsageError, match=r"the aggregation Unfinished fails: ValueError: .*, line \d+\)$"):
            await evaluate(tmp_path / "1", pair(), (f"{HERE}:Unfinished",), n=1)
        with pytest.raises(UsageError, match=r"exit policy Failing fails: KeyError: 'three' \(.*own_code.py, line \d+"):
            await evaluate(tmp_path / "2", pair(), (f"unite:exit={HERE}:Failing",), n=1)
    finally:
        forget("Unfinished", "Failing")


async def test_an_exit_of_one_s_own_and_its_settings(tmp_path: Path) -> None:
    names = ("unite", f"unite:exit={HERE}:Early:steps=3", f"unite:exit={HERE}:Early")
    try:
        grid = read_grid([("steps", ["1", "2"])], names)
        await evaluate(tmp_path, pair(), names, n=2, grid=grid)
    finally:
        forget("Early")
    summary = summarise(tmp_path)["methods"]
    assert list(summary) == [*names[:2], *(f"{names[2]}:steps={steps}" for steps in (1, 2))]
    assert [summary[name]["exit_step_median"] for name in list(summary)[1:]] == [3, 1, 2]
    assert summary[names[1]]["against"] == "unite"

"""Runs over scripted models: what is asked, recorded, resumed, summed up."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.unit.evaluation.evaluationkit import Calculator, evaluate, settings_of
from tokencollab.errors import RunStopped, UsageError
from tokencollab.evaluation.askers import GivenAnswer
from tokencollab.evaluation.data_sets import load_items
from tokencollab.evaluation.folder import RunFolder, read_records
from tokencollab.evaluation.items import Item
from tokencollab.evaluation.naming import make_askers
from tokencollab.evaluation.runner import record_of
from tokencollab.evaluation.statistics import mcnemar, wilson
from tokencollab.evaluation.summary import summarise

METHODS = ("base", "each", "unite", "upara-2", "bytewise")


def odd(question: str) -> bool:
    """Wrong on problems whose first number is odd."""
    return int(question.partition("+")[0]) % 2 == 1


def never(question: str) -> bool:
    return False


def pair() -> list[Calculator]:
    return [Calculator("one", 2, odd), Calculator("two", 3)]


async def test_every_method_answers_every_item_once(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    await evaluate(tmp_path / "run", pair(), METHODS, progress=lambda done, total: seen.append((done, total)))
    records = list(read_records(tmp_path / "run"))
    names = ["base", "alone:one", "alone:two", "unite", "upara-2", "bytewise"]
    items = [item.id for item in load_items("simplemath", 6, 0, None)]
    assert Counter((r["method"], r["item"]) for r in records) == Counter((name, i) for name in names for i in items)
    assert seen == [(done, 36) for done in range(37)]


async def test_the_summary_has_the_figures_of_the_answers(tmp_path: Path) -> None:
    await evaluate(tmp_path, pair(), METHODS, n=8)
    summary = summarise(tmp_path)
    assert summary == json.loads((tmp_path / "summary.json").read_text()) | {
        key: value for key, value in summary.items() if key in ("methods", "pairs", "verdicts")
    }
    items = load_items("simplemath", 8, 0, None)
    right = sum(not odd(item.question) for item in items)
    assert 0 < right < 8
    methods = summary["methods"]
    assert list(methods) == ["base", "alone:one", "alone:two", "unite", "upara-2", "bytewise"]
    assert (methods["alone:one"]["accuracy"], methods["alone:two"]["accuracy"]) == (right / 8, 1.0)
    assert methods["base"]["accuracy"] == methods["alone:one"]["accuracy"]
    assert methods["alone:one"]["accuracy_ci"] == wilson(right, 8)
    assert summary["best_alone"] == "alone:two"
    assert summary["either_right"] == 1.0
    assert summary["complete"] is True
    one = methods["alone:one"]
    assert one["cost"] == one["tokens_mean"]
    assert (one["against"], one["loss"], one["save"], one["aligned_per_item"]) == (None, None, None, 0)
    fixed, full = methods["upara-2"], methods["unite"]
    assert (fixed["against"], full["against"]) == ("unite", "unite")
    assert fixed["loss"] == pytest.approx(full["accuracy"] - fixed["accuracy"])
    assert fixed["save"] == pytest.approx(1 - fixed["cost"] / full["cost"])
    assert fixed["loss_ci"][0] <= fixed["loss"] <= fixed["loss_ci"][1]
    assert fixed["save_ci"][0] <= fixed["save"] <= fixed["save_ci"][1]
    assert (full["loss"], full["save"], full["loss_ci"]) == (0.0, 0.0, (0.0, 0.0))
    assert (fixed["exit_rate"], fixed["exit_step_median"]) == (1.0, 2)
    assert (full["exit_rate"], full["exit_step_median"]) == (0.0, None)
    assert full["aligned_per_item"] > fixed["aligned_per_item"] > 0
    assert full["unreadable"] == full["failed"] == 0


async def test_pairs_compare_the_same_items(tmp_path: Path) -> None:
    await evaluate(tmp_path, pair(), ("each", "base"), n=8)
    pairs = {(p["a"], p["b"]): p for p in summarise(tmp_path)["pairs"]}
    wrong = sum(odd(item.question) for item in load_items("simplemath", 8, 0, None))
    found = pairs["alone:one", "alone:two"]
    assert (found["only_a"], found["only_b"], found["n"]) == (0, wrong, 8)
    assert found["difference"] == -wrong / 8
    assert found["difference_ci"][0] <= found["difference"] <= found["difference_ci"][1]
    assert found["p"] == mcnemar(0, wrong)
    same = pairs["alone:one", "base"]
    assert (same["difference"], same["difference_ci"], same["p"]) == (0.0, (0.0, 0.0), 1.0)
    assert len(pairs) == 3


async def test_unreadable_answers_are_wrong_and_counted_apart(tmp_path: Path) -> None:
    class Silent(Calculator):
        def _next(self, answer: bytes, text: bytes) -> Any:
            return {None: 9.0, b"x": 1.0}

    await evaluate(tmp_path, [Silent("one", 1), Calculator("two", 2)], ("each",), n=3)
    methods = summarise(tmp_path)["methods"]
    assert (methods["alone:one"]["unreadable"], methods["alone:one"]["accuracy"]) == (3, 0.0)
    assert (methods["alone:two"]["unreadable"], methods["alone:two"]["accuracy"]) == (0, 1.0)


async def test_an_item_too_long_for_a_model_is_wrong_with_its_reason(tmp_path: Path) -> None:
    one = Calculator("one", 1)
    one._context = 3
    await evaluate(tmp_path, [one, Calculator("two", 2)], ("each",), n=2)
    records = [record for record in read_records(tmp_path) if record["method"] == "alone:one"]
    assert all("too long" in record["error"] and not record["right"] for record in records)
    assert summarise(tmp_path)["methods"]["alone:one"]["failed"] == 2


def test_a_record_has_all_that_was_asked() -> None:
    asker = make_askers(["base"], ["one"], {})[0]
    given = GivenAnswer("The answer is B.", "B", 3, 3)
    record = record_of(asker, Item("1", "Which?", "B", choices=("red", "blue"), context="A passage."), given)
    assert (record["question"], record["choices"], record["context"]) == ("Which?", ["red", "blue"], "A passage.")
    assert not {"choices", "context"} & set(record_of(asker, Item("1", "1+1", "2"), given))


async def test_a_stopped_run_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """Cancelled after each number of answers, resumed, and what was on disk was not asked again."""
    for stop_at in (1, 5, 11):
        path = tmp_path / str(stop_at)
        reached = asyncio.Event()

        def progress(done: int, total: int, reached: asyncio.Event = reached, stop_at: int = stop_at) -> None:
            if done >= stop_at:
                reached.set()

        run = asyncio.create_task(evaluate(path, pair(), METHODS, progress=progress))
        await reached.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        before = (path / "items.jsonl").read_bytes()
        assert len(before.splitlines()) >= stop_at
        await evaluate(path, pair(), METHODS, resume=True)
        after = (path / "items.jsonl").read_bytes()
        assert after.startswith(before)
        keys = [(record["method"], record["item"]) for record in read_records(path)]
        assert len(keys) == len(set(keys)) == 36
        assert len(json.loads((path / "run.json").read_text())["runs"]) == 2


async def test_the_order_of_answers_and_their_number_at_once_change_no_figure(tmp_path: Path) -> None:
    for concurrency in (1, 16):
        await evaluate(tmp_path / str(concurrency), pair(), METHODS, concurrency=concurrency)
    first, second = (summarise(tmp_path / str(concurrency)) for concurrency in (1, 16))
    timed = ("ms_per_token", "time_to_first_token_ms")
    for method in first["methods"]:
        for figure, value in first["methods"][method].items():
            if not figure.startswith(timed):
                assert value == second["methods"][method][figure], figure
    assert first["pairs"] == second["pairs"]


async def test_a_model_that_fails_stops_the_run_instead_of_spoiling_it(tmp_path: Path) -> None:
    class Broken(Calculator):
        def next_candidates(self, requests: Any) -> Any:
            raise RuntimeError("out of memory")

    with pytest.raises(RunStopped, match=r"two failed .* --resume"):
        await evaluate(tmp_path, [Calculator("one", 1), Broken("two", 2)], ("unite",), n=2)
    assert not list(read_records(tmp_path))


async def test_a_sweep_takes_each_method_over_the_settings_it_uses(tmp_path: Path) -> None:
    grid = {"omega": [2, 3], "top_k": [1, 2]}
    await evaluate(tmp_path, pair(), ("alone:one", "unite", "confipara-u"), n=2, grid=grid)
    summary = summarise(tmp_path)
    assert list(summary["methods"]) == [
        "alone:one",
        "unite:top_k=1",
        "unite:top_k=2",
        *(f"confipara-u:omega={omega}:top_k={k}" for omega in (2, 3) for k in (1, 2)),
    ]
    assert summary["sweep"] == grid
    point = summary["methods"]["confipara-u:omega=3:top_k=2"]
    assert point["settings"]["varied"] == {"omega": 3, "top_k": 2}
    assert point["against"] == "unite:top_k=2"


@pytest.mark.parametrize(
    ("names", "grid", "reason"),
    [
        ([], {}, "no method is named"),
        (["telepathy"], {}, "unknown method 'telepathy'; there are .*each, alone:MODEL"),
        (["alone:three"], {}, "no member 'three'; there are one, two"),
        (["unite", "unite"], {}, "unite is given twice"),
        (["each", "alone:one"], {}, "alone:one is given twice"),
        (["unite:omega=5"], {}, "omega has no effect"),
        (["unite:colour=5"], {}, "unknown setting 'colour'"),
        (["unite:top_k"], {}, "name:key=value"),
        (["duetnet"], {"omega": [5]}, "no method of duetnet uses omega"),
        (["duetnet"], {"exit": ["never"]}, "exit cannot be varied"),
        (["modelswitch:prior.one=0:prior.two=0"], {}, "at least one prior must be above 0"),
    ],
)
def test_methods_that_cannot_be(names: list[str], grid: dict[str, list[Any]], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        make_askers(names, ["one", "two"], grid)


def test_a_collaboration_needs_collaborators() -> None:
    assert [asker.name for asker in make_askers(["base", "each"], ["one"], {})] == ["base", "alone:one"]
    with pytest.raises(UsageError, match="unite needs collaborators"):
        make_askers(["unite"], ["one"], {})
    with pytest.raises(UsageError, match="unknown method 'telepathy'"):
        make_askers(["telepathy"], ["one"], {})


def test_settings_of_a_method_are_numbers_texts_and_weights() -> None:
    names = ["duetnet:reference=floor:top-k=5", "dp:weight.two=2.5", "unite:top_t=1-2", "bytewise:carry=false"]
    methods = [asker.settings["method"] for asker in make_askers(names, ["one", "two"], {})]
    assert (methods[0]["reference"], methods[0]["top_k"]) == ("floor", 5)
    assert methods[1]["weights"] == {"two": 2.5}
    assert methods[2]["top_t"] == [1, 2]
    assert methods[3]["carry"] is False


def test_a_folder_is_not_overwritten_mixed_or_written_by_two(tmp_path: Path) -> None:
    items = load_items("simplemath", 2, 0, None)
    askers = make_askers(["unite"], ["one", "two"], {})
    plan = settings_of(items, askers)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(UsageError, match="has files but no run"):
        RunFolder(tmp_path / "photos", plan, True)
    with RunFolder(tmp_path / "run", plan, True) as folder:
        folder.begin({})
        with pytest.raises(UsageError, match="another process"):
            RunFolder(tmp_path / "run", plan, True)
    with pytest.raises(UsageError, match="--resume"):
        RunFolder(tmp_path / "run", plan, False)
    other = settings_of(items, askers, max_tokens=33)
    with pytest.raises(UsageError, match="another max_tokens"):
        RunFolder(tmp_path / "run", other, True)
    with RunFolder(tmp_path / "run", plan, True):
        pass


def test_a_torn_last_line_is_taken_away_and_a_damaged_one_in_the_middle_is_told(tmp_path: Path) -> None:
    items = load_items("simplemath", 2, 0, None)
    plan = settings_of(items, make_askers(["unite"], ["one", "two"], {}))
    with RunFolder(tmp_path, plan, False) as folder:
        folder.begin({})
    line = b'{"method":"unite","item":"simplemath/0/0","right":true}\n'
    log = tmp_path / "items.jsonl"
    log.write_bytes(line + line[:20])
    assert len(list(read_records(tmp_path))) == 1
    with RunFolder(tmp_path, plan, True):
        assert log.read_bytes() == line
    log.write_bytes(b"nonsense\n" + line)
    with pytest.raises(UsageError, match="line 1: damaged"):
        list(read_records(tmp_path))


async def test_methods_between_models_run_beside_the_others(tmp_path: Path) -> None:
    methods = ("each", "self-consistency:samples=3", "self-consistency:samples=2:on=two", "modelswitch:samples=2")
    await evaluate(tmp_path, pair(), methods, n=3)
    summary = summarise(tmp_path)["methods"]
    assert list(summary)[2:] == list(methods[1:])
    singles = {name: summary[name] for name in ("alone:one", "alone:two")}
    vote = summary["self-consistency:samples=3"]
    assert vote["accuracy"] == singles["alone:one"]["accuracy"]
    # Two equal answers of three decide.
    assert 2 * singles["alone:one"]["cost"] <= vote["cost"] <= 3 * singles["alone:one"]["cost"]
    assert summary["self-consistency:samples=2:on=two"]["accuracy"] == 1.0
    assert (vote["against"], vote["loss"], vote["ms_per_token"], vote["aligned_per_item"]) == (None, None, None, 0)
    record = next(r for r in read_records(tmp_path) if r["method"] == "modelswitch:samples=2")
    assert record["response"]["reason"] == "consistent"
    assert record["response"]["samples"] == 2


def test_some_of_the_models_by_name() -> None:
    names = ["unite:on=two+one", "upara-5:on=two+one", "unite", "each"]
    askers = make_askers(names, ["one", "two", "three"], {})
    assert [asker.settings["members"] for asker in askers[:3]] == [["two", "one"]] * 2 + [["one", "two", "three"]]
    plan = settings_of(load_items("simplemath", 1, 0, None), askers)
    assert [entry["against"] for entry in plan["methods"][:3]] == ["unite:on=two+one", "unite:on=two+one", "unite"]
    with pytest.raises(UsageError, match="no member 'four'"):
        make_askers(["unite:on=one+four"], ["one", "two"], {})
    with pytest.raises(UsageError, match="unite:on=one needs collaborators"):
        make_askers(["unite:on=one"], ["one", "two"], {})
    with pytest.raises(UsageError, match="unknown setting 'colour' of modelswitch"):
        make_askers(["modelswitch:colour=1"], ["one", "two"], {})


def test_priors_and_prices_of_models() -> None:
    (switch, small) = make_askers(
        ["modelswitch:prior.two.b=2:price.one=0.5", "transfer:price.one=2"], ["one", "two.b"], {}
    )
    assert switch.settings["response"]["priors"] == {"two.b": 2}
    assert switch.settings["response"]["prices"] == {"one": 0.5}
    assert small.settings["response"]["prices"] == {"one": 2}
    for name in ("modelswitch:prior.two=2:on=one", "transfer:price.three=1", "self-consistency:price.two=1"):
        with pytest.raises(UsageError, match="is not a member; the members are one"):
            make_askers([name], ["one", "two"], {})
    with pytest.raises(UsageError, match="priors has no effect with the method transfer"):
        make_askers(["transfer:prior.one=2"], ["one", "two"], {})

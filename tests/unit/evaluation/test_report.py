"""Reports of made-up runs: which tables and figures there are, and that their numbers are those of the answers."""

import json
from pathlib import Path

import pytest

from tests.support.checksums import with_checksums
from tests.unit.evaluation.made import make_run
from tokencollab.errors import UsageError
from tokencollab.evaluation.folder import are_verified, read_records, read_run, write_json
from tokencollab.evaluation.report.charts import Picture
from tokencollab.evaluation.report.document import make_sections, write_report
from tokencollab.evaluation.report.evaluations import Evaluation
from tokencollab.evaluation.report.figures import cosine, trigrams
from tokencollab.evaluation.report.tables import Table, percent, probability

METHODS = ("base", "each", "unite", "duetnet", "upara-20", "confipara-u", "confipara-u-confidence")


def parts(evaluations: list[Evaluation]) -> list[object]:
    return [part for section in make_sections(evaluations) for part in section.parts]


def pictures(evaluations: list[Evaluation]) -> dict[str, Picture]:
    return {part.name: part for part in parts(evaluations) if isinstance(part, Picture)}


def tables(evaluations: list[Evaluation]) -> dict[str, Table]:
    return {part.title: part for part in parts(evaluations) if isinstance(part, Table)}


def rows_of(table: Table) -> dict[str, list[str]]:
    return {row[0]: list(row) for row in table.cells.to_numpy()}


def test_a_figure_appears_when_its_data_is_there(tmp_path: Path) -> None:
    plain = make_run(tmp_path / "plain", METHODS)
    every = {"accuracy", "exits", "self-efficacy", "aligned", "outcomes", "similarity", "lengths"}
    assert set(pictures([Evaluation(plain)])) == every
    one = make_run(tmp_path / "one", ["unite"])
    assert set(pictures([Evaluation(one)])) == {"accuracy", "aligned", "lengths"}
    base = make_run(tmp_path / "base", ["base", "unite"])
    assert set(pictures([Evaluation(base)])) == {"accuracy", "aligned", "lengths", "outcomes"}
    for key, values in (("top_t", [1, 2, "1-2"]), ("top_p", [0.5, 0.75]), ("top_k", [1, 10])):
        folder = make_run(tmp_path / key, ["each", "dp"], grid={key: values})
        assert set(pictures([Evaluation(folder)])) == {f"over-{key}"}
    folder = make_run(tmp_path / "grid", ["unite", "confipara-u"], grid={"omega": [5, 10], "theta": [0.5, 0.6]})
    assert set(pictures([Evaluation(folder)])) == {"grid-omega-theta-confipara-u"}
    triple = make_run(tmp_path / "triple", METHODS, models=("a", "b", "c"))
    assert set(pictures([Evaluation(plain), Evaluation(triple)])) == every | {"latency"}


def test_points_that_cover_each_other_are_all_numbered(tmp_path: Path) -> None:
    exits = ["unite:exit=fixed-90", "unite:exit=fixed-5", "unite:exit=fixed-91"]
    folder = make_run(tmp_path / "run", ["unite", *exits], accuracy=lambda *_: 1.0)
    figure = pictures([Evaluation(folder)])["exits"].figure
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["1, 3", "2"]
    _, labels = figure.axes[0].get_legend_handles_labels()
    assert labels == [f"{number}  {name}" for number, name in enumerate(exits, start=1)]


def test_self_efficacy_that_is_not_shown_is_named(tmp_path: Path) -> None:
    methods = [f"unite:exit=self-efficacy:omega={omega}" for omega in range(3, 17)]
    folder = make_run(tmp_path / "run", methods)
    picture = pictures([Evaluation(folder)])["self-efficacy"]
    shown = [axes.get_title().partition(" (")[0] for axes in picture.figure.axes if axes.get_visible()]
    assert shown == methods[: len(shown)]
    assert picture.caption.endswith(f"Not shown: {', '.join(methods[len(shown) :])}.")


def test_the_tables_have_the_summary_s_numbers(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", METHODS, accuracy=lambda name, _: 0.9 if name == "unite" else 0.5)
    evaluation = Evaluation(folder)
    found = tables([evaluation])
    rows = rows_of(found["Accuracy and cost"])
    unite = evaluation.summary["methods"]["unite"]
    low, high = unite["accuracy_ci"]
    assert list(rows) == list(evaluation.summary["methods"])
    assert rows["unite"][1] == f"{100 * unite['accuracy']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    assert rows["base"][3] == "–"
    single = next(table for title, table in found.items() if "the better single model" in title)
    best = evaluation.summary["best_alone"]
    assert best not in rows_of(single)
    pair = next(pair for pair in evaluation.summary["pairs"] if {pair["a"], pair["b"]} == {"unite", best})
    sign, only = (1, "only_a only_b") if pair["a"] == "unite" else (-1, "only_b only_a")
    row = rows_of(single)["unite"]
    assert row[1].startswith(f"{100 * sign * pair['difference']:+.1f} [")
    assert row[2:4] == [str(pair[key]) for key in only.split()]


@pytest.mark.parametrize("best", [0, 1])
def test_methods_are_compared_with_the_better_single_model_and_with_the_base(tmp_path: Path, best: int) -> None:
    models = ("arith-bytes", "arith-pairs")
    names = {f"alone:{models[best]}", *(["base"] if best == 0 else [])}  # the base alone is asked twice, here
    for index, (methods, grid) in enumerate(
        [(("base", "each", "unite"), {}), (("base", "unite"), {}), (("base", "each", "dp"), {"top_t": [1, 2]})]
    ):
        folder = make_run(
            tmp_path / str(index), methods, grid=grid, accuracy=lambda name, _: 0.9 if name in names else 0.5
        )
        found = [title for title in tables([Evaluation(folder)]) if title.startswith("Against")]
        base = ["Against the base alone (arith-bytes)"]
        expected = [f"Against the better single model ({models[best]})", *(base if best else [])]
        assert found == (base if "each" not in methods else expected)


def test_a_pair_reads_the_same_from_both_sides(tmp_path: Path) -> None:
    pairs = Evaluation(make_run(tmp_path / "run", METHODS)).pairs.set_index(["a", "b"]).to_dict("index")
    there, back = pairs["unite", "duetnet"], pairs["duetnet", "unite"]
    assert there["difference"] == -back["difference"]
    assert there["difference_ci"] == tuple(-bound for bound in reversed(back["difference_ci"]))
    assert (there["only_a"], there["only_b"], there["p"]) == (back["only_b"], back["only_a"], back["p"])
    assert len(pairs) == 8 * 7  # base, two alone and five more, each with every other


def test_no_difference_has_no_minus(tmp_path: Path) -> None:
    evaluation = Evaluation(make_run(tmp_path / "run", ["unite", "duetnet"], accuracy=lambda *_: 1.0))
    for pair in evaluation.pairs.itertuples():
        assert percent(pair.difference, pair.difference_ci, sign=True) == "+0.0 [+0.0, +0.0]"


def test_outcomes_are_counted_against_the_single_model(tmp_path: Path) -> None:
    evaluation = Evaluation(make_run(tmp_path / "run", METHODS, n=60))
    counts = evaluation.outcomes(evaluation.summary["best_alone"]).loc["unite"]
    assert sum(counts) == 60
    right = {(record["method"], record["item"]): record["right"] for record in read_records(evaluation.path)}
    single = evaluation.summary["best_alone"]
    pairs = [(right["unite", item], right[single, item]) for method, item in right if method == "unite"]
    assert counts["both right"] == sum(a and b for a, b in pairs)
    assert counts["together only"] == sum(a and not b for a, b in pairs)
    assert min(counts) > 0


def test_several_runs_are_put_side_by_side(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / "pair", METHODS), make_run(tmp_path / "triple", METHODS, models=("a", "b", "c"))]
    found = tables([Evaluation(folder) for folder in folders])
    accuracy = found["Accuracy, %"]
    assert len(accuracy.cells.columns) == 3
    assert next(iter(rows_of(accuracy))) == "better single model"
    assert "unite" in rows_of(accuracy)
    saved = found["Cost saved against full collaboration, %"]
    assert "base" not in rows_of(saved)


def test_the_same_runs_give_the_same_report(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", ("each", "unite"), n=10)
    first = write_report([Evaluation(folder)], tmp_path / "one").read_bytes()
    assert write_report([Evaluation(folder)], tmp_path / "two").read_bytes() == first


def test_a_run_that_is_not_finished_is_reported_as_such(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", METHODS, n=10)
    log = folder / "items.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-3]))
    evaluation = Evaluation(folder)
    assert evaluation.summary["complete"] is False
    about = tables([evaluation])["What was run"]
    assert about.note == "arith-bytes: errs by design"
    assert "not complete" in rows_of(about)["run"][-1]


@pytest.mark.parametrize("content", [None, "{", '{"format": 99}', "[]"])
def test_a_folder_without_a_run_is_one_line(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(UsageError) as error:
        [Evaluation(tmp_path)]
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("answers", range(6))
def test_the_first_answers_of_a_run_and_none_are_a_report_too(tmp_path: Path, answers: int) -> None:
    folder = make_run(tmp_path / "run", METHODS, n=3)
    log = folder / "items.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:answers]))
    evaluations = [Evaluation(folder)]
    assert len(json.loads((folder / "summary.json").read_text())["methods"]) == answers
    assert write_report(evaluations, tmp_path / "report").is_file()


def test_similarity_is_one_for_the_same_text_and_falls_with_difference() -> None:
    same, near, far = (cosine(trigrams("answer 66"), trigrams(text)) for text in ("answer 66", "answer 67", "no idea"))
    assert same == pytest.approx(1.0)
    assert 1 > near > far >= 0
    assert cosine(trigrams(""), trigrams("")) == pytest.approx(1.0)


def test_small_p_values_keep_their_order_of_magnitude() -> None:
    assert (probability(0.0312), probability(3.2e-8)) == ("0.031", "3e-08")


def test_a_run_that_was_changed_is_not_reported(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", ["base"], n=3)
    items, run = folder / "items.jsonl", folder / "run.json"
    write_json(run, read_run(folder), checksum=True)
    items.write_text("".join(with_checksums(items.read_text().splitlines(), chained=False)))
    assert are_verified(folder)
    Evaluation(folder)
    for file, line in ((items, "line 2: "), (run, "")):
        whole = file.read_text()
        at = whole.index('"seed"' if file is run else '"tokens"', whole.index("\n"))
        digit = next(index for index in range(at, len(whole)) if whole[index].isdigit())
        file.write_text(whole[:digit] + str(9 - int(whole[digit])) + whole[digit + 1 :])
        with pytest.raises(UsageError, match=f"{file.name}.*{line}it was changed since it was written"):
            Evaluation(folder)
        file.write_text(whole)

"""The table of all answers: every reader of CSV gets the same texts, no spreadsheet a formula, pandas one line."""

import csv
import re
import stat
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support.hostile import HOSTILE, commands_in
from tests.unit.evaluation.made import make_run
from tests.unit.evaluation.test_page import change
from tokencollab.cli import main
from tokencollab.evaluation.report.answers_csv import COLUMNS, write_csv
from tokencollab.evaluation.report.evaluations import Evaluation

DOCS = Path(__file__).parents[3] / "docs"


def rows_of(folder: Path) -> list[dict[str, str]]:
    file = write_csv([Evaluation(folder)], folder.parent / "answers.csv")
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, strict=True))


def test_every_answer_is_a_row(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / name, ["base", "each", "upara-20"], n=4) for name in ("one", "two")]
    file = write_csv([Evaluation(folder) for folder in folders], tmp_path / "answers.csv")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    table = pd.read_csv(file)
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == 2 * 4 * 4
    assert set(table["run"]) == {"one", "two"}
    record = Evaluation(folders[1]).records[-1]
    last = table.iloc[-1]
    assert (last["item"], last["method"], last["question"]) == (record["item"], "upara-20", record["question"])
    assert (str(last["key"]), str(last["answer"])) == (record["expected"], record["answer"])
    assert last["grade"] == ("right" if record["right"] else "wrong")
    assert (last["cost"], last["tokens"], last["exit_step"]) == (record["cost"], record["tokens"], record["exit_step"])
    assert table["text"].str.startswith(" ").all(), "as the model wrote it"


def test_texts_come_back_whatever_is_in_them(tmp_path: Path) -> None:
    texts = ['a "quoted" one', "a,b;c\td", "two\nlines", "two\r\nlines", "", " ends ", "日本語 Zoë", *HOSTILE]
    folder = make_run(tmp_path / "run", ["base"], n=len(texts))
    change(folder, lambda record: record.update(text=texts[int(record["item"].rsplit("/", 1)[1])]))
    rows = rows_of(folder)
    assert len(rows) == len(texts)
    given = {row["item"]: row["text"] for row in rows}
    assert [given[f"simplemath/0/{index}"] for index in range(7)] == [
        'a "quoted" one', "a,b;c\td", "two\nlines", "two\nlines", "", " ends ", "日本語 Zoë",
    ]  # fmt: skip
    data = (tmp_path / "answers.csv").read_bytes()
    assert data.startswith(",".join(COLUMNS).encode() + b"\r\n")
    assert data.endswith(b"\r\n")
    assert not commands_in(data.decode().replace("\r\n", "\n"), "\n\t")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("@SUM(1)", "'@SUM(1)"),
        ("-2+3", "'-2+3"),
        ("\t=1", "'\t=1"),
        ("\n=1", "'\n=1"),
        (" =1", "' =1"),
        ("＝1+1", "'＝1+1"),
        ("-73", "-73"),
        ("+5.25", "+5.25"),
        ("-5.", "'-5."),
        ("1=1", "1=1"),
        ("'=1", "'=1"),
    ],
)
def test_no_text_is_a_formula(tmp_path: Path, text: str, written: str) -> None:
    folder = make_run(tmp_path / "run", ["base"], n=1)

    def put(record: dict[str, Any]) -> None:
        record.update(text=text, question=text, expected=text, answer=text)

    (row,) = rows_of(change(folder, put))
    assert [row[name] for name in ("text", "question", "key", "answer")] == [written] * 4


def test_names_of_runs_and_of_models_are_no_formulas_either(tmp_path: Path) -> None:
    (row, *_) = rows_of(make_run(tmp_path / "=run", ["each"], models=["=m"], n=1))
    assert row["run"] == "'=run"
    change(tmp_path / "=run", lambda record: record.update(finish_reason="=1"))
    assert rows_of(tmp_path / "=run")[0]["finish_reason"] == "'=1"


def test_older_records_have_empty_cells(tmp_path: Path) -> None:
    def forget(record: dict[str, Any]) -> None:
        for key in ("question", "expected", "seconds", "finish_reason"):
            record.pop(key)
        record["finish_reason"] = None

    (row,) = rows_of(change(make_run(tmp_path / "run", ["base"], n=1), forget))
    assert [row[name] for name in ("question", "key", "seconds", "finish_reason", "exit_step")] == [""] * 5


def test_the_command_writes_it_beside_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = make_run(tmp_path / "run", ["base", "unite"], n=3), tmp_path / "report"
    for more in ([], ["--csv"]):
        with pytest.raises(SystemExit) as end:
            main(["report", str(folder), "--out", str(out), *more])
        assert not end.value.code
        written = [str(out / name) for name in ("index.html", *(["answers.csv"] if more else []))]
        assert capsys.readouterr().out.splitlines() == written
        assert (out / "answers.csv").exists() == bool(more)
    assert len(pd.read_csv(out / "answers.csv")) == 6


def test_runs_are_data_frames_in_the_lines_of_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = re.findall(r"```python\n(.*?)```", (DOCS / "evaluation.md").read_text(), re.DOTALL)
    (program,) = [program for program in programs if "pd." in program]
    run, table = program.splitlines()
    folder = make_run(tmp_path / "results" / "x", ["base", "unite"], n=3)
    (tmp_path / "report").mkdir()
    write_csv([Evaluation(folder)], tmp_path / "report" / "answers.csv")
    accuracies = {name: entry["accuracy"] for name, entry in Evaluation(folder).summary["methods"].items()}
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"pd": pd}
    exec(run, names)  # noqa: S102 - our own documentation
    assert names["answers"].groupby("method")["right"].mean().to_dict() == accuracies
    assert {"item", "question", "expected", "text", "answer", "cost", "tokens"} <= set(names["answers"].columns)
    exec(table, names)  # noqa: S102
    right = names["answers"]["grade"] == "right"
    assert right.groupby(names["answers"]["method"]).mean().to_dict() == accuracies

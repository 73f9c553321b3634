"""`eval`, `sweep` and `report` as a user meets them: real processes, tiny models."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.test_cli import one_line
from tests.support.warm import run

Build = Callable[..., Path]
METHODS = "base,each,unite,upara-3,bytewise"


@pytest.fixture(scope="module")
def pair(tiny_model: Build) -> list[str]:
    return ["--base", str(tiny_model("bytes", seed=1)), "--with", str(tiny_model("llama", seed=2))]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rows = [
        {
            "id": f"own/{n}",
            "question": f"Is {n} even?",
            "choices": ["yes", "no"],
            "answer": "AB"[n % 2],
            "context": None,
        }
        for n in range(6)
    ]
    (folder / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def evaluate(pair: list[str], out: Path, *more: object) -> list[str]:
    small = ["--dataset", "simplemath", "--n", "4", "--methods", METHODS, "--max-tokens", "8", "--out", str(out)]
    return ["eval", *small, *pair, *map(str, more)]


def records(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "items.jsonl").read_text().splitlines()]


def test_an_evaluation_from_the_command_line(pair: list[str], data: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    result = run(*evaluate(pair, out, "--dataset", "own", "--data", data, "--n", 3, "--json"))
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert summary == json.loads((out / "summary.json").read_text())
    members = [Path(pair[1]).name, Path(pair[3]).name]
    assert list(summary["methods"]) == ["base", *(f"alone:{name}" for name in members), "unite", "upara-3", "bytewise"]
    assert all(row["n"] == 3 for row in summary["methods"].values())
    assert summary["complete"]
    assert len(records(out)) == 18
    about = json.loads((out / "run.json").read_text())
    assert [len(model["sha256"]) for model in about["plan"]["models"]] == [64, 64]
    assert {"tokencollab", "python", "torch", "transformers", "scipy"} <= set(about["runs"][0]["versions"])
    assert about["runs"][0]["machine"]["cores"] >= 1
    page = tmp_path / "report" / "index.html"
    reported = run("report", out, "--out", page.parent)
    assert reported.stdout == f"{page}\n", reported.stderr
    assert "alone:" in page.read_text(encoding="utf-8")
    one_line(run("report", tmp_path / "nowhere"), "no folder of `tokencollab eval`")
    # The same request gives the same answer, also beside others: the base by itself and as one of each.
    texts = {(record["method"], record["item"]): record["text"] for record in records(out)}
    for item in {record["item"] for record in records(out)}:
        assert texts["base", item] == texts[f"alone:{members[0]}", item]


def wait_for(done: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    for _ in range(12000):
        if done():
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    raise AssertionError("nothing happened for ten minutes")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_killed_or_interrupted_is_resumed(
    pair: list[str], tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "results"
    many = ("--n", 30, "--concurrency", 2)
    command = [sys.executable, "-m", "tokencollab", *evaluate(pair, out, *many)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        log = out / "items.jsonl"
        wait_for(lambda: log.is_file() and log.read_bytes().count(b"\n") >= 5, process)
        process.send_signal(number)
        code = process.wait(300)
    assert code == (-9 if number == signal.SIGKILL else 128 + number)
    before = log.read_bytes()
    whole = before[: before.rfind(b"\n") + 1]
    again = evaluate(pair, out, *many)
    one_line(run(*again), "--resume")
    one_line(run(*again, "--resume", "--max-tokens", 9), "another max_tokens")
    assert log.read_bytes() == before
    result = run(*again, "--resume")
    assert result.returncode == 0, result.stderr
    assert log.read_bytes().startswith(whole)
    answered = Counter((record["method"], record["item"]) for record in records(out))
    assert set(answered.values()) == {1}
    assert len(answered) == 30 * 6


@pytest.mark.ray
@pytest.mark.slow
def test_a_run_begun_in_process_goes_on_as_ray_actors(pair: list[str], tmp_path: Path) -> None:
    out = tmp_path / "results"
    once = run(*evaluate(pair, out))
    assert once.returncode == 0, once.stderr
    log = out / "items.jsonl"
    whole = records(out)
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-9]))
    result = run(*evaluate(pair, out, "--resume", "--runtime", "ray"))
    assert result.returncode == 0, result.stderr
    keys = ("method", "item", "text", "cost", "tokens", "aligned", "exit_step")
    by_key = [sorted(tuple(record[key] for key in keys) for record in rows) for rows in (whole, records(out))]
    assert by_key[0] == by_key[1]
    assert [start["runtime"] for start in json.loads((out / "run.json").read_text())["runs"]] == ["local", "ray"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (["--dataset", "gsm9k"], ["unknown set", "simplemath", "--data"]),
        (["--dataset", "own", "--data", "/nowhere"], ["no folder /nowhere"]),
        (["--methods", "telepathy"], ["unknown method 'telepathy'", "unite"]),
        (["--methods", "alone:nobody"], ["no member 'nobody'"]),
        (["--methods", "duetnet:top_k=0"], ["top_k"]),
        (["--base", "nobody"], ["unknown model 'nobody'"]),
        (["--n", "0"], ["'0'"]),
        (["--stop", ""], ["--stop"]),
    ],
)
def test_bad_input_is_one_line(pair: list[str], tmp_path: Path, changed: list[str], words: list[str]) -> None:
    one_line(run(*evaluate(pair, tmp_path / "results", *changed)), *words)
    assert not (tmp_path / "results" / "items.jsonl").exists()


def test_a_first_evaluation_of_one_s_own_table(pair: list[str], tmp_path: Path) -> None:
    rows = "".join(f"Is {n} even?,{'no' if n % 2 else 'yes'}\n" for n in range(4))
    (tmp_path / "my.csv").write_text(f"prompt,label\n{rows}")
    one_line(run("eval", "my.csv", *pair, cwd=tmp_path), "my.csv, line 2: ", "--map question=prompt,answer=label")
    command = ["eval", "my.csv", *pair, "--map", "question=prompt,answer=label", "--max-tokens", 4, "--limit", 9]
    result = run(*command, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    *table, verdict = result.stdout.splitlines()
    assert [line.split()[0] for line in table[1:]] == [*(f"alone:{Path(name).name}" for name in pair[1::2]), "auto"]
    assert verdict.startswith("auto: ")
    assert "(the better single model), p = " in verdict
    assert "my.csv has 4 items, fewer than --limit 9: all are taken" in result.stderr
    assert "results are in results/my\n" in result.stderr
    assert run(*command, "--resume", cwd=tmp_path).stdout == result.stdout
    assert run(*command, cwd=tmp_path).stderr.endswith("results are in results/my-2\n")
    assert run(*command, "--resume", cwd=tmp_path).stderr.endswith("results are in results/my-2\n")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (["own.jsonl"], ["name one data set"]),
        (["--grader", "exact"], ["--grader exact", "MODULE:NAME"]),
        (["--map", "question"], ["is not of the form question=KEY"]),
        (
            ["--grader", "operator:contains", "--methods", "base,modelswitch:samples=2"],
            ["modelswitch:samples=2", "--grader"],
        ),
    ],
)
def test_bad_input_about_data_is_one_line(
    pair: list[str], tmp_path: Path, changed: list[str], words: list[str]
) -> None:
    one_line(run(*evaluate(pair, tmp_path / "results", *changed)), *words)
    assert not (tmp_path / "results" / "items.jsonl").exists()


def test_a_grader_that_fails_is_one_line_and_the_run_goes_on_with_another(pair: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def grade(text, item):\n    return len(text) > nothing\n")
    command = evaluate(pair, tmp_path / "results", "--grader", "mine:grade", "--methods", "base,unite", "--n", 2)
    failed = run(*command, cwd=tmp_path)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("tokencollab: the grader mine:grade fails at simplemath/0/")
    (tmp_path / "mine.py").write_text("def grade(text, item):\n    return len(text) > 2\n")
    result = run(*command, "--resume", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    graded = {(record["method"], record["item"]): record for record in records(tmp_path / "results")}
    assert len(graded) == 4
    assert all(record["right"] == (len(str(record["text"])) > 2) for record in graded.values())


def test_a_sweep_from_the_command_line(pair: list[str], tmp_path: Path) -> None:
    out = tmp_path / "results"
    _, *rest = evaluate(pair, out, "--n", 2, "--methods", "unite,confipara-u", "--json")
    result = run("sweep", *rest, "--over", "omega=2,3", "--over", "theta=0.5")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert list(summary["methods"]) == ["unite", *(f"confipara-u:omega={n}:theta=0.5" for n in (2, 3))]
    assert summary["methods"]["confipara-u:omega=2:theta=0.5"]["against"] == "unite"
    one_line(run("sweep", *rest, "--over", "omega=2,2"), "omega=2,2")
    one_line(run("sweep", *rest, "--over", "omega=2", "--over", "omega=3"), "twice")

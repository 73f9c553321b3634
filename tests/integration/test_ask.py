"""`tokencollab ask`, `methods` and `replay` of samples, in process, with tiny models."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokencollab.cli import main

Build = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line; exit code, standard output and standard error."""

    def go(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return go


@pytest.fixture(scope="module")
def models(tiny_model: Build) -> list[str]:
    return ["--model", str(tiny_model("bytes", seed=1)), "--model", str(tiny_model("llama", seed=2))]


def names(models: list[str]) -> list[str]:
    return [Path(folder).name for folder in models[1::2]]


def test_ask_gives_one_object_and_a_trace_that_replays_to_it(run: Run, models: list[str], tmp_path: Path) -> None:
    trace = tmp_path / "samples.jsonl"
    arguments = [*models, "--samples", 3, "--max-tokens", 6, "--seed", 5, "--extract", r"regex:(\\w)"]
    code, out, err = run("ask", "Why?", *arguments, "--json", "--trace", trace)
    assert code == 0, err
    response = json.loads(out)
    assert {"answer", "answers", "samples", "budget", "decided_by", "scores"} <= set(response)
    assert list(response["answers"]) == names(models)
    assert response["budget"] == 6
    assert response["samples"] == sum(map(len, response["answers"].values())) <= 6
    assert response["answer"] is None or response["answer"] in response["scores"]
    for settings in ([], ["--method", "modelswitch", "--samples", 3]):
        code, out, err = run("replay", trace, "--json", *settings)
        assert code == 0, err
        again = json.loads(out)
        assert {key: again[key] for key in ("answer", "samples", "decided_by")} == {
            key: response[key] for key in ("answer", "samples", "decided_by")
        }
        assert again["scores"] == pytest.approx(response["scores"])
    assert run("ask", "Why?", *arguments, "--json")[1] != ""


def test_the_answer_goes_to_stdout_and_everything_else_to_stderr(run: Run, models: list[str]) -> None:
    code, out, err = run("ask", "Why?", *models, "--samples", 2, "--max-tokens", 4)
    assert code == 0
    assert out.strip()
    for word in ("modelswitch", "decided", "samples", "scores", "cost", *names(models)):
        assert word in err
    code, out, err = run("ask", "Why?", *models, "--samples", 1, "--max-tokens", 2, "--extract", "date")
    assert (code, out) == (0, "")
    assert "no answer could be read" in err


@pytest.mark.parametrize(
    "method",
    [
        ["self-consistency", "--at-once", 1],
        ["best-of-n", "--samples", 2],
        ["random-switch", "--stop-probability", 0.5],
        ["mad", "--rounds", 1],
        ["moa"],
        ["chateval", "--order", "together"],
        ["agentverse", "--rounds", 1],
        ["transfer", "--selector", "surprise(1)", "--short-tokens", 3],
        ["transfer-large-short"],
        ["transfer-large-reasoning"],
        ["transfer-small"],
    ],
    ids=lambda method: method[0],
)
def test_every_method(run: Run, models: list[str], method: list[Any]) -> None:
    asked = models[:2] if method[0] == "self-consistency" else models
    code, out, err = run("ask", "Why?", *asked, "--method", *method, "--max-tokens", 5, "--json")
    assert code == 0, err
    response = json.loads(out)
    assert response["method"] == method[0]
    assert 0 < response["samples"] <= response["budget"]
    assert response["cost"] > 0
    assert all(usage["prefill_seconds"] > 0 for usage in response["usage"].values() if usage["answers"])


def test_models_that_write_together_and_a_panel_of_ones_own(run: Run, models: list[str], tmp_path: Path) -> None:
    panel = {
        "name": "pair",
        "roles": [{"name": "x"}, {"name": "y", "model": 1, "brief": "You are Y."}],
        "stages": [{"speakers": ["x", "y"], "task": "Answer.", "order": "in turn"}],
    }
    file = tmp_path / "panel.json"
    file.write_text(json.dumps(panel))
    one, other = models[1], models[3]
    together = f"unite({one},{other})"
    code, out, err = run(
        "ask", "Why?", "--model", together, "--model", other, "--method", "panel", "--panel", file, "--max-tokens", 4,
        "--price", f"{one}=3", "--json",
    )  # fmt: skip
    assert code == 0, err
    response = json.loads(out)
    first, second = names(models)
    assert response["models"] == [f"unite({first},{second})", second]
    usage = response["usage"][f"unite({first},{second})"]
    assert usage["cost"] == usage["tokens"] * 2 * (3 + 1) / 2


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--method", "duetnet"], "unknown method"),
        (["--method", "self-consistency"], "needs 1 model"),
        (["--extract", "colour"], "unknown kind"),
        (["--extract", "regex:("], "pattern"),
        (["--threshold", "2"], "threshold"),
        (["--rounds", "2"], "belongs to"),
        (["--prior", "nobody=2"], "nobody"),
        (["--prior", "x"], "MODEL=NUMBER"),
        (["--method", "panel"], "panel"),
        (["--method", "panel", "--panel", "/nowhere"], "cannot be read"),
        (["--model", "unite(a)"], "method(BASE,MODEL"),
        (["--model", "wrong(a,b)"], "unknown method"),
        (["--scorer", "reward:/nowhere"], "no reward model"),
        (["--trace", "/nowhere/x"], "cannot be written"),
        (["--stop", ""], "empty stop string"),
    ],
)
def test_bad_input_is_one_line(run: Run, models: list[str], arguments: list[str], word: str) -> None:
    code, out, err = run("ask", "Why?", *models, *arguments)
    assert (code, out) == (2, "")
    lines = [line for line in err.splitlines() if not line.endswith("...")]
    assert len(lines) == 1
    assert word in lines[0]


def test_an_empty_question_and_no_model(run: Run) -> None:
    assert run("ask", " ", "--model", "x")[0] == 2
    assert run("ask", "Why?")[0] == 2


def test_a_batch_takes_methods_between_models(run: Run, models: list[str], tmp_path: Path) -> None:
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "answers.jsonl"
    prompts.write_text("".join(json.dumps({"id": str(i), "prompt": f"Why {i}?"}) + "\n" for i in range(3)))
    team = ["--base", models[1], "--with", models[3], "--max-tokens", 4]
    between = ["--method", "modelswitch", "--samples", 2, "--prior", f"{models[3]}=2", "--temperature", 1.5]
    code, _, err = run("batch", prompts, "--out", out, *team, *between)
    assert code == 0, err
    answers = [json.loads(line)["answer"] for line in out.read_text().splitlines()]
    assert len(answers) == 3
    for answer in answers:
        assert list(answer["answers"]) == names(models)
        assert answer["method"] == "modelswitch"
    assert run("batch", prompts, "--out", out, "--resume", *team, *between)[0] == 0
    code, _, err = run("batch", prompts, "--out", out, "--resume", *team, "--method", "modelswitch", "--samples", 3)
    assert code == 2
    assert "method was" in err
    for wrong, word in (
        (["--method", "modelswitch", "--omega", 3], "--omega has no effect"),
        (["--method", "unite", "--samples", 3], "--samples belongs to"),
        (["--method", "unite", "--extract", "number"], "--extract belongs to"),
    ):
        code, _, err = run("batch", prompts, "--out", tmp_path / "other", *team, *wrong)
        assert code == 2
        assert word in err
    code, _, err = run("generate", "Why?", "--base", models[1], "--method", "modelswitch")
    assert code == 2
    assert "tokencollab ask" in err


def test_methods_lists_both_kinds_with_their_papers(run: Run) -> None:
    code, out, _ = run("methods")
    assert code == 0
    for word in ("duetnet", "modelswitch", "arXiv 2504.00762", "transfer", "mad", "moa", "chateval", "agentverse"):
        assert word in out
    rows = {row["name"]: row for row in json.loads(run("methods", "--json")[1])}
    assert rows["modelswitch"]["command"] == "ask"
    assert rows["duetnet"]["command"] == "generate"


@pytest.mark.parametrize("method", ["modelswitch", "best-of-n"])
def test_trained_models_solve_a_problem_and_the_trace_replays(run: Run, tmp_path: Path, method: str) -> None:
    trace = tmp_path / "trace.jsonl"
    pair = ["--model", "arith-bytes", "--model", "arith-pairs"]
    settings = ["--method", method, "--samples", 3, "--extract", "number", "--max-tokens", 96, "--seed", 1, "--json"]
    code, out, err = run("ask", "8+3*14+10-5*13", *pair, *settings, "--trace", trace)
    assert code == 0, err
    response = json.loads(out)
    assert response["answer"] == "-5"
    assert (response["decided_by"], response["samples"]) == {
        "modelswitch": ("arith-bytes", 3),
        "best-of-n": (None, 6),
    }[method]
    code, out, err = run("replay", trace, "--json")
    assert code == 0, err
    again = json.loads(out)
    assert all(again[key] == response[key] for key in ("answer", "samples", "decided_by", "reason", "scores"))


@pytest.mark.real
def test_the_real_pair_agrees_or_votes(run: Run, tmp_path: Path) -> None:
    pair = ["--model", "smollm2-135m-instruct", "--model", "gemma-3-270m"]
    trace = tmp_path / "trace.jsonl"
    question = "Is the sky blue? Answer yes or no."
    short = ["--extract", "boolean", "--samples", 2, "--max-tokens", 12, "--json"]
    code, out, err = run("ask", question, *pair, *short, "--trace", trace)
    assert code == 0, err
    response = json.loads(out)
    assert response["answer"] in ("yes", "no", None)
    again = json.loads(run("replay", trace, "--json")[1])
    assert {key: again[key] for key in ("answer", "samples", "decided_by")} == {
        key: response[key] for key in ("answer", "samples", "decided_by")
    }
    code, out, err = run("ask", question, *pair, *short, "--method", "best-of-n")
    assert code == 0, err
    response = json.loads(out)
    assert all(0 < score < 1 for score in response["scores"].values())


# ---------------------------------------------------------------- replay of samples


def samples(path: Path, *lines: object) -> Path:
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path


def test_replay_of_samples_of_ones_own(run: Run, tmp_path: Path) -> None:
    trace = samples(tmp_path / "t.json", {"samples": {"A": ["5", "6", None], "B": ["7", "7", "7"]}})
    code, out, err = run("replay", trace, "--method", "modelswitch", "--samples", 3, "--threshold", "1.0", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert (result["answer"], result["samples"], result["decided_by"]) == ("7", 6, "B")
    assert result["scores"] == {"7": 3.0, "5": 0.5, "6": 0.5}
    result = json.loads(run("replay", trace, "--method", "modelswitch", "--samples", 2, "--json")[1])
    assert (result["answer"], result["samples"], result["decided_by"]) == ("7", 4, "B")
    result = json.loads(run("replay", trace, "--method", "modelswitch", "--model", "B", "--model", "A", "--json")[1])
    assert (result["samples"], result["decided_by"]) == (3, "B")
    result = json.loads(run("replay", trace, "--method", "modelswitch", "--samples", 1, "--json")[1])
    assert (result["answer"], result["samples"], result["decided_by"]) == ("5", 1, "A")
    result = json.loads(run("replay", trace, "--method", "self-consistency", "--model", "A", "--json")[1])
    assert (result["answer"], result["decided_by"]) == ("5", None)
    code, out, _ = run("replay", trace, "--method", "random-switch")
    assert code == 0
    assert "decided by" in out


def test_unreadable_samples_and_answers_in_any_dress(run: Run, tmp_path: Path) -> None:
    trace = samples(tmp_path / "t.json", {"samples": {"A": [None, None]}}, {"samples": {"A": ["1,000", "$1000"]}})
    lines = run("replay", trace, "--method", "modelswitch", "--json", "--extract", "number")[1].splitlines()
    results = [json.loads(line) for line in lines]
    assert [(result["answer"], result["decided_by"]) for result in results] == [(None, None), ("1000", "A")]
    assert results[0]["scores"] == {}


@pytest.mark.parametrize(
    ("lines", "arguments", "word"),
    [
        (['{"samples": {"A": ["5"'], ["--method", "modelswitch"], "line 1: not whole JSON"),
        ([{"samples": {"A": ["5"]}}, '{"samples": '], ["--method", "modelswitch"], "line 2: not whole JSON"),
        ([{"samples": {"A": [5]}}], ["--method", "modelswitch"], "line 1: answer 1 of A"),
        ([{"samples": {"A": ["5"]}}], ["--method", "modelswitch", "--samples", "2"], "line 1: A has 1 samples"),
        ([{"samples": {"A": ["5"]}}], [], "does not say its method"),
        ([{"samples": {"A": ["5"]}}], ["--samples", "1"], "needs --method"),
        ([{"samples": {"A": ["5"]}}], ["--method", "mad"], "cannot be recomputed"),
        ([{"samples": {"A": ["5"]}}], ["--method", "modelswitch", "--model", "B"], "not of 'B'"),
        ([{"samples": {"A": ["5"]}}], ["--method", "modelswitch", "--extract", "x"], "unknown kind"),
        ([{"samples": {"A": ["5"]}}], ["--method", "duetnet"], "line 1: not a header"),
        ([{"tokencollab_trace": 1, "models": ["a"]}], ["--method", "modelswitch"], "line 1: a line of recorded"),
        ([{"tokencollab_trace": 1, "models": ["a"]}], ["--model", "a"], "--model is about recorded samples"),
        ([{"tokencollab_trace": 1, "models": ["a"]}], ["--threshold", "1"], "--threshold is about recorded samples"),
        ([""], ["--method", "modelswitch"], "empty"),
    ],
)
def test_damaged_samples_are_refused(
    run: Run, tmp_path: Path, lines: list[object], arguments: list[str], word: str
) -> None:
    code, out, err = run("replay", samples(tmp_path / "t.json", *lines), *arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert word in err

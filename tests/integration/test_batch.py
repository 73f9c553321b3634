"""`tokencollab batch` as a user meets it: interrupted in every way, and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from urllib.request import urlopen

import pytest

LINES = [{"prompt": f"What is {n} + {n}?", "id": f"q{n}", "gold": 2 * n} for n in range(40)]
MODELS = ("--base", "one", "--with", "two", "--method", "unite", "--top-t", "4", "--concurrency", "4")


def start(*arguments: object, program: str = "tests.support.batch_program", **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", program, "batch", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def run(*arguments: object, code: int = 0, program: str = "tests.support.batch_program", **environment: str) -> str:
    """What it says on standard error."""
    process = start(*arguments, program=program, env=os.environ | {"HF_HUB_OFFLINE": "1"} | environment)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    assert out == ""
    assert "Traceback" not in errors
    return errors


def one_line(errors: str, *words: str) -> None:
    (line,) = errors.splitlines()
    assert line.startswith("tokencollab")
    for word in words:
        assert word in line


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("batch") / "prompts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole(prompts: Path) -> dict[str, str]:
    """The answers of a run that nothing interrupted."""
    out = prompts.with_name("whole.jsonl")
    errors = run(prompts, "--out", out, *MODELS)
    assert "answers  40 in" in errors
    assert "tokens/s" in errors
    return texts(out)


def texts(out: Path) -> dict[str, str]:
    data = out.read_bytes()
    entries = [json.loads(raw) for raw in data[: data.rfind(b"\n") + 1].splitlines()]
    assert len({entry["id"] for entry in entries}) == len(entries), "an answer was written twice"
    assert all(entry["gold"] == 2 * int(entry["id"][1:]) for entry in entries)
    return {entry["id"]: entry["answer"]["text"] for entry in entries}


def until(process: subprocess.Popen[str], out: Path, nbytes: int) -> None:
    """Waits until the answers have so many bytes, or the process has ended."""
    while process.poll() is None and (not out.exists() or out.stat().st_size < nbytes):
        time.sleep(0.001)


def test_killed_at_random_moments_nothing_is_lost_and_nothing_repeated(
    prompts: Path, whole: dict[str, str], tmp_path: Path
) -> None:
    out, random, kills = tmp_path / "answers.jsonl", Random(5), 0  # noqa: S311
    size = 0
    for _ in range(8):
        process = start(prompts, "--out", out, *MODELS, "--resume")
        until(process, out, size + random.randrange(4000))
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        if out.exists():
            size = out.stat().st_size
            assert texts(out).items() <= whole.items()
    assert kills >= 4
    run(prompts, "--out", out, *MODELS, "--resume")
    assert texts(out) == whole


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_cleanly_with_what_was_written(
    prompts: Path, whole: dict[str, str], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    out = tmp_path / "answers.jsonl"
    process = start(prompts, "--out", out, *MODELS, "--concurrency", "2")
    until(process, out, 1500)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors
    assert "to go; --resume goes on" in errors
    assert "Traceback" not in errors
    kept = texts(out)
    assert 0 < len(kept) < len(LINES)
    one_line(run(prompts, "--out", out, *MODELS, code=2), "--resume")
    assert f"40 in {out}, {len(kept)} of them from before" in run(prompts, "--out", out, *MODELS, "--resume")
    assert texts(out) == whole
    assert "40 of them from before" in run(prompts, "--out", out, *MODELS, "--resume", "--concurrency", "1")


def test_bad_lines_are_reported_and_skipped(tmp_path: Path) -> None:
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "answers.jsonl"
    prompts.write_text('{"prompt": "x"}\nnonsense\n{"prompt": ""}\n{"prompt": "y", "id": "b"}\n', encoding="utf-8")
    errors = run(prompts, "--out", out, *MODELS, code=1)
    assert "line 2: not JSON" in errors
    assert "line 3: the prompt is empty" in errors
    assert "2 bad lines" in errors
    assert sorted(json.loads(raw)["line"] for raw in out.read_text(encoding="utf-8").splitlines()) == [1, 4]


@pytest.mark.parametrize(
    ("lines", "arguments", "words"),
    [
        ("", [], ["no prompt"]),
        ("nonsense\n", [], ["no prompt", "line 1", "not JSON"]),
        ('{"prompt": "x"}\n', ["--out", "PROMPTS"], ["over the prompts"]),
        ('{"prompt": "x"}\n', ["--out", "/nowhere/at/all"], ["/nowhere/at/all"]),
        ('{"prompt": "x"}\n', ["--concurrency", "0"], ["--concurrency"]),
        ('{"prompt": "x"}\n', ["--method", "duett"], ["duett"]),
        ('{"prompt": "x"}\n', ["--stop", ""], ["--stop"]),
        (None, [], ["cannot be read"]),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, lines: str | None, arguments: list[str], words: list[str]) -> None:
    prompts = tmp_path / "prompts.jsonl"
    if lines is not None:
        prompts.write_text(lines, encoding="utf-8")
    chosen = [str(prompts) if argument == "PROMPTS" else argument for argument in arguments]
    one_line(run(prompts, "--out", tmp_path / "answers.jsonl", *MODELS, *chosen, code=2), *words)
    assert not (tmp_path / "answers.jsonl").exists()


def test_figures_for_prometheus(prompts: Path, whole: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    process = start(prompts, "--out", out, *MODELS, "--concurrency", "1", "--metrics", "0")
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith("metrics: http://127.0.0.1:")
    found = ""
    while process.poll() is None and "tokencollab_tokens_total{" not in found:
        try:
            with urlopen(line.split()[1], timeout=20) as reply:  # noqa: S310 - our own
                found = reply.read().decode()
        except OSError:
            break
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert 'tokencollab_tokens_total{method="unite"}' in found
    assert 'tokencollab_kv_bytes{model="two"}' in found
    assert texts(out) == whole


def test_in_a_ray_job_the_answers_do_not_go_into_a_copy_that_is_removed(prompts: Path) -> None:
    job = json.dumps({"runtime_env": {"working_dir": "gcs://_ray_pkg_0.zip"}})
    errors = run(prompts, "--out", "answers.jsonl", *MODELS, code=2, RAY_JOB_CONFIG_JSON_ENV_VAR=job)
    one_line(errors, "$PWD/answers.jsonl")


def test_with_models_of_transformers(tiny_model: Callable[..., Path], prompts: Path, tmp_path: Path) -> None:
    models = ["--base", tiny_model("bytes", seed=1), "--with", tiny_model("llama", seed=2), "--max-tokens", "6"]
    assert "answers  40 in" in run(prompts, "--out", tmp_path / "answers", *models, program="tokencollab")
    assert set(texts(tmp_path / "answers")) == {line["id"] for line in LINES}
    missing = run(prompts, "--out", tmp_path / "new", "--base", "nobody-has-this", code=2, program="tokencollab")
    one_line(missing, "nobody-has-this")
    assert not (tmp_path / "new").exists()

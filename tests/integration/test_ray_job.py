"""The commands of docs/batch.md for a Ray job, on a cluster of the tests' own: submitted, stopped, killed, resumed."""

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.ray_cluster import Cluster, documented_commands

pytestmark = [pytest.mark.ray, pytest.mark.slow]

LINES = [{"prompt": f"What is {n} + {n}?", "id": f"q{n}"} for n in range(40)]
FIGURES = {
    f"ray_tokencollab_{name}"
    for name in ("tokens_total", "cost_total", "token_seconds_sum", "model_seconds_count", "queue_length", "kv_bytes")
}


def exported(address: str) -> set[str]:
    """The names of our figures that Ray's exporter has."""
    with urlopen(address, timeout=20) as reply:  # noqa: S310 - our own
        text = reply.read().decode()
    return set(re.findall(r"^(ray_tokencollab_\w+)", text, re.MULTILINE))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return tmp_path / "work"


def texts(out: Path) -> dict[str, str]:
    data = out.read_bytes() if out.exists() else b""
    entries = [json.loads(raw) for raw in data[: data.rfind(b"\n") + 1].splitlines()]
    assert len({entry["id"] for entry in entries}) == len(entries), "an answer was written twice"
    return {entry["id"]: entry["answer"]["text"] for entry in entries}


def until(condition: Callable[[], object], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_readmes_commands(ray_cluster: Cluster, folder: Path, tiny_model: Callable[..., Path]) -> None:
    submit, stop, resume = (shlex.split(command)[1:] for command in documented_commands()[3:6])
    names = {
        "http://127.0.0.1:8265": ray_cluster.address,
        "$PWD/answers.jsonl": str(folder / "answers.jsonl"),
        "smollm2-135m-instruct": str(tiny_model("bytes", seed=1)),
        "gemma-3-270m": str(tiny_model("llama", seed=2)),
        "ID": "first",
    }
    submit, stop, resume = ([names.get(word, word) for word in command] for command in (submit, stop, resume))
    out = folder / "answers.jsonl"

    at = submit.index("--")
    long = [*submit, "--max-tokens", "80", "--concurrency", "2"]
    ray_cluster.run(*long[:at], "--no-wait", "--submission-id", "first", *long[at:], folder=folder)
    until(lambda: len(texts(out)) >= 3)
    until(lambda: exported(ray_cluster.metrics) >= FIGURES)
    ray_cluster.run(*stop, folder=folder)
    kept = texts(out)
    assert 3 <= len(kept) < len(LINES)
    said = ray_cluster.run("job", "logs", "--address", ray_cluster.address, "first", folder=folder)
    assert "to go; --resume goes on" in said
    assert "Traceback" not in said

    said = ray_cluster.run(*resume, "--max-tokens", "80", folder=folder)
    assert f"40 in {out}, {len(kept)} of them from before" in said
    assert kept.items() <= texts(out).items()
    assert len(texts(out)) == len(LINES)


def test_a_killed_driver_loses_nothing_and_the_text_is_that_of_one_machine(ray_cluster: Cluster, folder: Path) -> None:
    models = ["--base", "one", "--with", "two", "--method", "unite", "--top-t", "4"]
    program = ["-m", "tests.support.batch_program", "batch", "prompts.jsonl", *models]
    out, whole = folder / "answers.jsonl", folder.parent / "whole.jsonl"
    many = [{"prompt": "?", "id": number} for number in range(200)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in many))
    subprocess.run([sys.executable, *program, "--out", str(whole)], cwd=folder, env=ray_cluster.environment, check=True)
    job = ["job", "submit", "--address", ray_cluster.address, "--working-dir", "."]
    run = ["--", "python", *program, "--out", str(out), "--resume"]
    ray_cluster.run(*job, "--no-wait", "--submission-id", "killed", *run, "--concurrency", "1", folder=folder)
    until(lambda: len(texts(out)) >= 3)
    for driver in ray_cluster.drivers(str(out)):
        driver.kill()
    until(lambda: not ray_cluster.drivers(str(out)))
    kept = texts(out)
    assert 3 <= len(kept) < len(many)
    said = ray_cluster.run(*job, *run, folder=folder)
    assert f"{len(kept)} of them from before" in said
    assert texts(out) == texts(whole)


def test_a_place_that_is_removed_with_the_job_is_refused(ray_cluster: Cluster, folder: Path) -> None:
    program = [
        "python",
        "-m",
        "tests.support.batch_program",
        "batch",
        "prompts.jsonl",
        "--base",
        "one",
        "--out",
        "here.jsonl",
    ]
    job = ["job", "submit", "--address", ray_cluster.address, "--working-dir", ".", "--", *program]
    assert "give a whole path" in ray_cluster.run(*job, folder=folder, code=1)


def test_the_example_of_a_program_of_ones_own(ray_cluster: Cluster, folder: Path) -> None:
    out = folder / "answers.jsonl"
    job = ["job", "submit", "--address", ray_cluster.address, "--working-dir", "."]
    said = ray_cluster.run(*job, "--", "python", "-m", "examples.batch_job", str(out), folder=folder)
    assert f"of 3 right, in {out}" in said
    first, *others = map(json.loads, out.read_text().splitlines())
    assert (first["problem"], first["right"], len(others)) == ("20+24*2+0-25*13", True, 2)

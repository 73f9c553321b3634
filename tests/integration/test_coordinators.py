"""Coordinators of a platform write the answers of programs without a model; another goes on where one was killed."""

import json
import os
import signal
import time
import urllib.request
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest

from tests.support.programs import Program, Shell
from tests.support.ray_cluster import Cluster
from tests.support.shared_models import text
from tokencollab.actors.journal import SUFFIX
from tokencollab.protocol.trace import parse_trace

pytestmark = [pytest.mark.ray, pytest.mark.slow]

UP = ["tests.support.shared_models", "up"]
LENGTH = 500


@pytest.fixture(scope="module")
def shell(ray_cluster: Cluster) -> Shell:
    return Shell(ray_cluster)


def sessions(entries: dict[str, Any]) -> dict[str, int]:
    return {name: entry["figures"]["sessions"] for name, entry in entries.items()}


def trace(file: Path) -> list[dict[str, Any]]:
    """The lines; in which order the models of a step were heard depends on time, and so do checksums."""
    text = file.read_text(encoding="utf-8").splitlines()
    parse_trace(text)  # which verifies the checksums
    lines = [json.loads(line) for line in text]
    for line in lines:
        line.get("heard", []).sort(key=lambda heard: (heard["question"], heard["event"]))
        del line["crc32"]
    return lines


def whole(program: Program) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The tokens, without their times, and the end."""
    tokens: list[dict[str, Any]] = []
    end = program.read(tokens.append)
    for token in tokens:
        del token["at"]
    return tokens, end


def writer(entries: dict[str, Any]) -> int:
    """The process of the coordinator that has a journal open; 0: there is none."""
    for pid in [entry["figures"]["pid"] for entry in entries.values() if entry["kind"] == "coordinator"]:
        with suppress(psutil.NoSuchProcess):
            if pid and any(file.path.endswith(SUFFIX) for file in psutil.Process(pid).open_files()):
                return int(pid)
    return 0


def reaches(step: int, said: list[dict[str, Any]], token: dict[str, Any]) -> bool:
    """Keeps the token; whether it is the one of this step."""
    said.append(token)
    return bool(token["step"] == step)


def journals(cluster: Cluster, namespace: str) -> list[Path]:
    home = Path(cluster.environment["HOME"])
    cache = Path(cluster.environment.get("XDG_CACHE_HOME", home / ".cache")) / "tokencollab"
    folder = Path(cluster.environment.get("TOKENCOLLAB_CACHE", cache))
    return list((folder / "journals" / namespace).glob("*"))


def counted(cluster: Cluster) -> float:
    """Pieces that Ray's exporter has heard of."""
    with urllib.request.urlopen(cluster.metrics) as answer:  # noqa: S310
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("ray_tokencollab_tokens_total"))


@pytest.mark.parametrize(("leaving", "way"), [("never", []), ("fixed-60", []), ("never", ["--far"])])
def test_a_killed_coordinator_is_a_pause(
    shell: Shell, ray_cluster: Cluster, tmp_path: Path, leaving: str, way: list[str]
) -> None:
    name = "-".join(["kill", leaving, *way])
    shell.run(*UP, name, "a", "b", "--coordinators", "2")
    answer = ["answer", name, "--exit", leaving, "--max-tokens", str(LENGTH)]
    own, other = tmp_path / "own", tmp_path / "other"
    with shell.program(*answer, "--trace", str(own)) as program:
        tokens, end = whole(program)
    assert end["answer"].encode() == text(LENGTH)
    random = Random(name)  # noqa: S311
    killed: list[int] = []
    remote = [*answer, "--remote", *way, "--trace", str(other)]
    with shell.program("watch", name) as watch, shell.program(*remote) as program:
        said: list[dict[str, Any]] = []
        for part in range(3):
            point = random.randint(20, 100) + part * 110
            assert program.read(partial(reaches, point, said))["step"] == point
            killed.append(writer(watch.read(writer)))
            os.kill(killed[-1], signal.SIGKILL)
        again = program.read(said.append)
        gaps = [later["at"] - sooner["at"] for sooner, later in pairwise(said)]
        assert max(gaps) < 20, "a pause"
        # The last restart may still be on its way when the answer has ended.
        watch.read(lambda entries: sum(entry["restarts"] for entry in entries.values()) == 3)
        watch.read(lambda entries: sessions(entries) == dict.fromkeys(entries, 0))
        for token in said:
            del token["at"]
    assert said == tokens
    assert again["answer"] == end["answer"]
    for figure in ("tokens", "finish_reason", "cost", "aligned", "exit_step", "models", "agreed", "together"):
        assert again["figures"][figure] == end["figures"][figure], figure
    assert trace(other) == trace(own)
    assert journals(ray_cluster, name) == []
    shell.run("tokencollab", "platform", "down", "--namespace", name)


def test_the_platform_counts_and_a_program_that_leaves_leaves_nothing(shell: Shell, ray_cluster: Cluster) -> None:
    shell.run(*UP, "leave", "a", "b", "--coordinators", "1", "--sessions", "1")
    answer = ["answer", "leave", "--remote", "--max-tokens", str(LENGTH)]
    before = counted(ray_cluster)
    with shell.program("watch", "leave") as watch, shell.program(*answer) as program:
        program.read(lambda token: token["step"] == 20)
        assert len(journals(ray_cluster, "leave")) == 1
        watch.read(lambda entries: sessions(entries) == {"a": 1, "b": 1, "coordinator-1": 1})
        refused = shell.run("tests.support.shared_models", *answer, code=1, traceback=True)
        assert "coordinator-1 has as many answers open as it may have (1)" in refused.stderr
        program.process.kill()
        watch.read(lambda entries: sessions(entries) == {"a": 0, "b": 0, "coordinator-1": 0})
        assert journals(ray_cluster, "leave") == []
        with shell.program(*answer[:3], "--max-tokens", "30") as short:
            assert short.rest()["answer"].encode() == text(30)
    until = time.monotonic() + 30
    while counted(ray_cluster) < before + 50 and time.monotonic() < until:
        time.sleep(0.5)
    assert counted(ray_cluster) >= before + 50
    shell.run("tokencollab", "platform", "down", "--namespace", "leave")


def test_without_a_coordinator_one_line_says_how_to_start_one(shell: Shell) -> None:
    shell.run(*UP, "none", "a")
    refused = shell.run("tests.support.shared_models", "answer", "none", "--remote", code=1, traceback=True)
    assert "has no coordinator: `tokencollab platform up --coordinators 1` starts one" in refused.stderr
    shell.run("tokencollab", "platform", "down", "--namespace", "none")

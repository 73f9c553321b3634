"""Models that several programs share, in a cluster of the tests' own: joined, killed, full, taken down."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import Shell
from tests.support.ray_cluster import Cluster
from tests.support.shared_models import text
from tokencollab import Collaboration

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def shell(ray_cluster: Cluster) -> Shell:
    return Shell(ray_cluster)


def sessions(entries: dict[str, Any]) -> dict[str, int]:
    return {name: entry["figures"]["sessions"] for name, entry in entries.items()}


def test_two_programs_share_models_that_join_and_are_killed_while_both_write(shell: Shell) -> None:
    shell.run("tests.support.shared_models", "up", "share", "a", "b")
    share = ["answer", "share", "a"]
    with shell.program("watch", "share") as watch, shell.program(*share) as one, shell.program(*share) as two:
        both = (one, two)
        for each in both:
            assert each.read(lambda token: token["step"] == 20)["by"] == ["a", "b"]
        shell.run("tests.support.shared_models", "up", "share", "c")
        for each in both:
            assert each.read(lambda token: token["by"] == ["a", "b", "c"])["step"] > 20
        entries = watch.read(lambda entries: sessions(entries) == {"a": 2, "b": 2, "c": 2})
        os.kill(entries["b"]["figures"]["pid"], signal.SIGKILL)
        for each in both:
            assert "b" not in each.read(lambda token: "b" not in token["by"])["by"]
        for each in both:
            end = each.rest()
            assert end["answer"].encode() == text(400)
            assert end["lost"] == {"b": 1}
        entries = watch.read(lambda entries: entries["b"]["restarts"] == 1 and entries["b"]["health"] == "up")
        assert {name: entry["restarts"] for name, entry in entries.items()} == {"a": 0, "b": 1, "c": 0}
        watch.read(lambda entries: sessions(entries) == {"a": 0, "b": 0, "c": 0})
    assert shell.run("tokencollab", "platform", "down", "--namespace", "share").stdout == "taken down: a, b, c\n"
    gone = shell.run("tokencollab", "platform", "status", "--namespace", "share", code=2)
    assert gone.stderr.startswith("tokencollab: no platform in namespace 'share'")


def test_a_full_platform_says_so_at_once_and_a_killed_program_leaves_its_place(shell: Shell) -> None:
    shell.run("tests.support.shared_models", "up", "full", "a", "--sessions", "1", "--seconds", "0.1")
    generate = ["generate", "?", "--platform", "full", "--base", "a", "--max-tokens", "3", "--json"]
    with shell.program("watch", "full") as watch, shell.program("answer", "full", "a") as answering:
        answering.read(lambda token: token["step"] == 2)
        refused = shell.run("tokencollab", *generate, code=1)
        assert refused.stderr.splitlines()[-1].startswith("tokencollab: a has as many sessions open as it may have")
        watch.read(lambda entries: sessions(entries) == {"a": 1})
        answering.process.kill()
        watch.read(lambda entries: sessions(entries) == {"a": 0})
    assert json.loads(shell.run("tokencollab", *generate).stdout)["text"].encode() == text(3)


async def test_the_commands_with_real_engines(shell: Shell, tiny_model: Callable[..., Path]) -> None:
    one, two = str(tiny_model("bytes", seed=1)), str(tiny_model("llama", seed=2))
    names = [os.path.basename(folder) for folder in (one, two)]
    platform = ["platform", "up", "--namespace", "real", "--cpus-per-model", "0.5"]
    table = shell.run("tokencollab", *platform, "--model", one, "--model", two).stdout
    rows = table[table.index("name ") :].splitlines()[1:]  # before it Ray may have said something on a busy machine
    assert [line.split()[:2] for line in rows] == [[name, "up"] for name in names]
    again = shell.run("tokencollab", *platform, "--model", one)
    assert "runs already" in again.stderr
    generate = ["generate", "?", "--max-tokens", "12", "--json", "--method", "unite"]
    there = shell.run("tokencollab", *generate, "--platform", "real", "--base", names[0]).stdout
    async with Collaboration(one, [two], "unite") as team:
        here = await team.generate("?", max_tokens=12)
    assert json.loads(there)["text"] == here.text
    assert json.loads(there)["models"] == list(here.models) == names
    table = shell.run("tokencollab", *platform, "--coordinators", "1").stdout
    assert table.splitlines()[-1].split()[:3] == ["coordinator-1", "up", "0"]
    assert table.splitlines()[-1].split()[-1] == "coordinator"
    remote = ["--platform", "real", "--coordinator", "platform"]
    assert json.loads(shell.run("tokencollab", *generate, *remote).stdout)["text"] == here.text
    other = shell.run("tokencollab", *platform, "--base", names[1], "--coordinators", "1")
    assert "coordinator-1 runs already" in other.stderr
    for way in (remote, remote[:2]):
        models = json.loads(shell.run("tokencollab", *generate, *way).stdout)["models"]
        assert models == names[::-1], "the base that was named"
    alone = shell.run("tokencollab", *generate, *remote, "--base", names[0], "--with", names[0], code=2)
    assert "each once" in alone.stderr
    nobody = shell.run("tokencollab", *generate, *remote, "--base", "nobody", code=2)
    assert f"no model 'nobody'; there are {', '.join(names)}" in nobody.stderr
    assert "no such model" in shell.run("tokencollab", *platform, "--base", "nobody", code=2).stderr
    unknown = shell.run("tokencollab", *generate, "--platform", "real", "--base", "nobody", code=2)
    assert f"no model 'nobody'; there are {', '.join(names)}" in unknown.stderr
    greedy = shell.run("tokencollab", "platform", "up", "--model", one, "--cpus-per-model", "99", code=2)
    assert "free CPUs, and 99 would be reserved" in greedy.stderr
    down = ["platform", "down", "--namespace", "real"]
    assert shell.run("tokencollab", *down, "--model", names[1]).stdout == f"taken down: {names[1]}\n"
    status = shell.run("tokencollab", "platform", "status", "--namespace", "real", "--json").stdout
    assert [json.loads(line)["name"] for line in status.splitlines()] == [names[0], "coordinator-1"]
    assert shell.run("tokencollab", *down).stdout == f"taken down: {names[0]}, coordinator-1\n"


def test_without_a_cluster_one_line_says_how_to_start_one(shell: Shell) -> None:
    began = time.monotonic()
    for address, reason in (("127.0.0.1:1", "no Ray cluster answers"), ("http://127.0.0.1:8265", "answers jobs only")):
        said = shell.run("tokencollab", "platform", "up", "--model", "x", code=2, RAY_ADDRESS=address).stderr
        assert reason in said
        assert len(said.splitlines()) == 1
    assert (
        "ray start --head" in shell.run("tokencollab", "platform", "status", code=2, RAY_ADDRESS="127.0.0.1:1").stderr
    )
    assert time.monotonic() - began < 60

"""The README's commands for a Ray job, on a cluster of the test's own: submitted, stopped, killed, resumed.

Nothing here ends a Ray that the test did not start.
"""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
LINES = [{"prompt": f"What is {n} + {n}?", "id": f"q{n}"} for n in range(40)]
RAY = [sys.executable, "-m", "ray.scripts.scripts"]


def readme_commands() -> list[str]:
    """The commands of the section Batch that speak to Ray, as they stand there."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Batch\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
    return [line.split("  #")[0].rstrip() for line in block.splitlines()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


FIGURES = {
    f"ray_tokencollab_{name}"
    for name in ("tokens_total", "cost_total", "token_seconds_sum", "model_seconds_count", "queue_length", "kv_bytes")
}


def exported(address: str) -> set[str]:
    """The names of our figures that Ray's exporter has."""
    with urlopen(address, timeout=20) as reply:  # noqa: S310 - our own
        text = reply.read().decode()
    return set(re.findall(r"^(ray_tokencollab_\w+)", text, re.MULTILINE))


@dataclass
class Cluster:
    """One that answers jobs, and what is needed to talk to it."""

    process: psutil.Process
    address: str
    metrics: str
    environment: dict[str, str]

    def run(self, *arguments: str, folder: Path, code: int = 0) -> str:
        """Runs `ray ...`; what it says."""
        result = subprocess.run(
            [*RAY, *arguments],
            env=self.environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=150,
            check=False,
        )
        assert result.returncode == code, result.stdout
        return result.stdout

    def drivers(self, job: str) -> list[psutil.Process]:
        """The processes of a job's own program."""
        found = []
        for process in self.process.children(recursive=True):
            try:
                if "python" in process.name() and job in process.cmdline():
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The README's `ray start`, with ports and a folder of its own, in the foreground so that it can be ended."""
    home = tmp_path_factory.mktemp("home")
    folder = Path("/tmp") / f"tokencollab-ray-{os.getpid()}"  # noqa: S108 - a socket's path must be short
    port, metrics = free_port(), free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",
        "RAY_metrics_report_interval_ms": "500",
        "HF_HUB_OFFLINE": "1",
    }
    commands = readme_commands()
    assert commands[0] == "export RAY_AUTH_MODE=token"
    token, start = commands[1], shlex.split(commands[2])
    assert token.split()[:3] == ["ray", "get-auth-token", "--generate"]
    assert start[:3] == ["ray", "start", "--head"]
    subprocess.run([*RAY, "get-auth-token", "--generate"], env=environment, check=True, capture_output=True)
    own = ["--block", "--port=0", f"--dashboard-port={port}", f"--dashboard-agent-listen-port={free_port()}"]
    own += [f"--ray-client-server-port={free_port()}", f"--temp-dir={folder}", "--num-cpus=2"]
    own += [f"--metrics-export-port={metrics}"]
    own += [f"--object-store-memory={128 << 20}"]
    log = home / "ray.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*RAY, *start[1:], *own], env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
    root = psutil.Process(process.pid)
    family = [root]
    try:
        cluster = Cluster(root, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{metrics}/metrics", environment)
        for _ in range(120):
            if answers(port):
                break
            assert process.poll() is None, log.read_text()
            time.sleep(0.5)
        yield cluster
    finally:
        family += root.children(recursive=True) if root.is_running() else []
        process.terminate()
        _, left = psutil.wait_procs(family, timeout=20)
        for other in left:
            other.kill()
        psutil.wait_procs(left, timeout=10)
        subprocess.run(["rm", "-rf", folder], check=False)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


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


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_readmes_commands(cluster: Cluster, folder: Path, tiny_model: Callable[..., Path]) -> None:
    submit, stop, resume = (shlex.split(command)[1:] for command in readme_commands()[3:6])
    names = {
        "http://127.0.0.1:8265": cluster.address,
        "$PWD/answers.jsonl": str(folder / "answers.jsonl"),
        "smollm2-135m-instruct": str(tiny_model("bytes", seed=1)),
        "gemma-3-270m": str(tiny_model("llama", seed=2)),
        "ID": "first",
    }
    submit, stop, resume = ([names.get(word, word) for word in command] for command in (submit, stop, resume))
    out = folder / "answers.jsonl"

    at = submit.index("--")
    long = [*submit, "--max-tokens", "60", "--sessions", "2"]
    cluster.run(*long[:at], "--no-wait", "--submission-id", "first", *long[at:], folder=folder)
    until(lambda: len(texts(out)) >= 3)
    until(lambda: exported(cluster.metrics) >= FIGURES)
    cluster.run(*stop, folder=folder)
    kept = texts(out)
    assert 3 <= len(kept) < len(LINES)
    said = cluster.run("job", "logs", "--address", cluster.address, "first", folder=folder)
    assert "to go; --resume goes on" in said
    assert "Traceback" not in said

    said = cluster.run(*resume, "--max-tokens", "60", folder=folder)
    assert f"40 in {out}, {len(kept)} of them from before" in said
    assert kept.items() <= texts(out).items()
    assert len(texts(out)) == len(LINES)


def test_a_killed_driver_loses_nothing_and_the_text_is_that_of_one_machine(cluster: Cluster, folder: Path) -> None:
    models = ["--base", "one", "--with", "two", "--method", "unite", "--top-t", "4"]
    program = ["-m", "tests.batch_program", "batch", "prompts.jsonl", *models]
    out, whole = folder / "answers.jsonl", folder.parent / "whole.jsonl"
    subprocess.run([sys.executable, *program, "--out", str(whole)], cwd=folder, env=cluster.environment, check=True)
    job = ["job", "submit", "--address", cluster.address, "--working-dir", "."]
    run = ["--", "python", *program, "--out", str(out), "--resume"]
    cluster.run(*job, "--no-wait", "--submission-id", "killed", *run, "--sessions", "1", folder=folder)
    until(lambda: len(texts(out)) >= 3)
    for driver in cluster.drivers(str(out)):
        driver.kill()
    until(lambda: not cluster.drivers(str(out)))
    kept = texts(out)
    assert 3 <= len(kept) < len(LINES)
    said = cluster.run(*job, *run, folder=folder)
    assert f"{len(kept)} of them from before" in said
    assert texts(out) == texts(whole)


def test_a_place_that_is_removed_with_the_job_is_refused(cluster: Cluster, folder: Path) -> None:
    program = ["python", "-m", "tests.batch_program", "batch", "prompts.jsonl", "--base", "one", "--out", "here.jsonl"]
    job = ["job", "submit", "--address", cluster.address, "--working-dir", ".", "--", *program]
    assert "give a whole path" in cluster.run(*job, folder=folder, code=1)

"""A Ray cluster of its own for tests and benchmarks, as docs/batch.md starts it, ended by its own processes."""

import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
RAY = [sys.executable, "-m", "ray.scripts.scripts"]


def documented_commands() -> list[str]:
    """The commands of docs/batch.md that speak to Ray, as they stand there."""
    page = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    return [line.split("  #")[0].rstrip() for line in block.splitlines()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Cluster:
    """One that answers jobs, and what is needed to talk to it.

    Attributes:
        process: `ray start`; all others are its children.
        address: where it takes jobs.
        metrics: where its figures are read.
        environment: of the commands `ray ...`.
    """

    process: psutil.Process
    address: str
    metrics: str
    environment: dict[str, str]
    folder: Path

    @property
    def of_drivers(self) -> dict[str, str]:
        """The environment of a program that connects with it."""
        return self.environment | {"RAY_ADDRESS": self.known.read_text().strip()}

    @property
    def known(self) -> Path:
        """Where Ray writes the address for programs, as the last thing."""
        return self.folder / "ray_current_cluster"

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


@contextmanager
def own_ray_cluster(cpus: int) -> Iterator[Cluster]:
    """The `ray start` of docs/batch.md, with its own ports and folder, in the foreground so that it can be ended."""
    folder = Path(tempfile.mkdtemp(prefix="tc-ray-", dir="/tmp"))
    home = folder / "home"
    home.mkdir()
    port, metrics = free_port(), free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",
        "RAY_metrics_report_interval_ms": "500",
        "HF_HUB_OFFLINE": "1",
    }
    commands = documented_commands()
    assert commands[0] == "export RAY_AUTH_MODE=token"
    token, start = commands[1], shlex.split(commands[2])
    assert token.split()[:3] == ["ray", "get-auth-token", "--generate"]
    assert start[:3] == ["ray", "start", "--head"]
    subprocess.run([*RAY, "get-auth-token", "--generate"], env=environment, check=True, capture_output=True)
    own = ["--block", "--port=0", f"--dashboard-port={port}", f"--dashboard-agent-listen-port={free_port()}"]
    own += [f"--ray-client-server-port={free_port()}", f"--temp-dir={folder}", f"--num-cpus={cpus}"]
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
        cluster = Cluster(root, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{metrics}/metrics", environment, folder)
        for _ in range(120):
            if answers(port) and cluster.known.exists():
                break
            assert process.poll() is None, log.read_text()
            time.sleep(0.5)
        yield cluster
    finally:
        family += root.children(recursive=True) if root.is_running() else []
        process.terminate()
        _, left = psutil.wait_procs(family, timeout=5)
        for other in left:
            other.kill()
        psutil.wait_procs(left, timeout=10)
        subprocess.run(["rm", "-rf", folder], check=False)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

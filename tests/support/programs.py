"""Programs that use a cluster, and what they say."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.ray_cluster import Cluster


class Shell:
    """Programs that use the cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.environment = cluster.of_drivers

    def run(
        self, module: str, *arguments: str, code: int = 0, traceback: bool = False, **changes: str
    ) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env=self.environment | changes,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert result.returncode == code, result.stdout + result.stderr
        assert ("Traceback" in result.stderr) is traceback, result.stderr
        return result

    @contextmanager
    def program(self, *arguments: str) -> Iterator["Program"]:
        command = [sys.executable, "-m", "tests.support.shared_models", *arguments]
        process = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True)
        try:
            yield Program(process)
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


class Program:
    """A program that says one JSON object after the other."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def read(self, until: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Reads on, up to what is waited for, or the end of an answer."""
        assert self.process.stdout is not None
        line: dict[str, Any] = {}
        for said in self.process.stdout:
            line = json.loads(said)
            if "answer" in line or until(line):
                return line
        raise AssertionError(f"the program has ended; the last it said: {line}")

    def rest(self) -> dict[str, Any]:
        return self.read(lambda token: False)

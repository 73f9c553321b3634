"""`tokencollab` as a process of its own, without the seconds that importing torch and transformers takes.

A server imports them once and forks for every command, before anything of them has run. What a command does from its
arguments on is what ``python -m tokencollab`` does: standard streams, environment, exit code.

``python -m tests.support.warm SOCKET`` is the server.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def run(
    *arguments: object, stdin: str | None = None, cwd: Path | None = None, timeout: float = 120, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end; without ``stdin`` its standard input is empty."""
    request = {
        "arguments": [str(argument) for argument in arguments],
        "environment": os.environ | {"HF_HUB_OFFLINE": "1"} | environment,
        "cwd": str(cwd or Path.cwd()),
    }
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as connection:
        streams = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
        streams[0].write_text(stdin or "", encoding="utf-8")
        connection.settimeout(timeout)
        connection.connect(_server())
        with connection.makefile("rw") as lines:
            lines.write(json.dumps(request | {"streams": [str(stream) for stream in streams]}) + "\n")
            lines.flush()
            pid = int(lines.readline())
            try:
                code = int(lines.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise
        out, errors = (stream.read_text(encoding="utf-8") for stream in streams[1:])
    return subprocess.CompletedProcess(["tokencollab", *request["arguments"]], code, out, errors)


@cache
def _server() -> str:
    """The path of the server's socket."""
    path = tempfile.mkdtemp(prefix="warm-") + "/socket"
    command = [sys.executable, "-m", "tests.support.warm", path]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"HF_HUB_OFFLINE": "1"})

    def end() -> None:
        process.kill()
        process.wait()
        Path(path).unlink(missing_ok=True)
        Path(path).parent.rmdir()

    atexit.register(end)
    while not Path(path).exists():
        assert process.poll() is None, "the server of warm commands has ended"
        time.sleep(0.05)
    return path


def _serve(path: str) -> dict[str, Any]:
    """Returns, in a process of its own, the request for each command."""
    import transformers.models.auto.modeling_auto
    import transformers.models.auto.tokenization_auto
    import transformers.models.llama.modeling_llama  # noqa: F401

    import tokencollab.engines.loading  # noqa: F401

    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that it forks
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(path + ".new")
        door.listen()
        os.rename(path + ".new", path)  # whoever sees it may connect
        while True:
            connection, _ = door.accept()
            if os.fork() == 0:
                break
            connection.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with connection, connection.makefile("rw") as lines:
        request: dict[str, Any] = json.loads(lines.readline())
        if (pid := os.fork()) != 0:
            lines.write(f"{pid}\n")
            lines.flush()
            _, status = os.waitpid(pid, 0)
            lines.write(f"{os.waitstatus_to_exitcode(status)}\n")
            lines.flush()
            os._exit(0)
    return request


def _become(arguments: list[str], environment: dict[str, str], cwd: str, streams: list[str]) -> None:
    """What ``python -m tokencollab`` does, to its end."""
    for number, (stream, flags) in enumerate(zip(streams, (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY), strict=True)):
        opened = os.open(stream, flags | os.O_CREAT)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["tokencollab", *arguments]
    sys.path[:1] = [cwd, *filter(None, environment.get("PYTHONPATH", "").split(":"))]
    runpy.run_module("tokencollab", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _become(**_serve(sys.argv[1]))

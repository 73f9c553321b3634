"""Processes of a platform on Ray, killed (SIGKILL) and stopped (SIGSTOP) at random moments of answers.

    python -m benchmarks.ray_faults [--times N] [--sessions N] [--deadline S] [--roles base,collaborator,...] [--json]

A Ray cluster of its own, three scripted models that take 5 ms a step and all say the same, so that every answer has one
right text whoever is missing. The coordinator is another program, whose answer a program that stands by resumes from
the journal; a stopped one is killed when no token has come for a deadline. Times are from the signal on.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.measure import machine
from tests.support.ray_cluster import Cluster, own_ray_cluster
from tests.support.shared_models import bring_up, text
from tokencollab import Collaboration, FaultPolicy
from tokencollab.actors.supervisor import Supervisor

if TYPE_CHECKING:
    from tokencollab.actors.platform.client import PlatformClient

NAMESPACE = "faults"
NAMES = {"base": "a", "collaborator": "b"}
GRACE = 3.0  # seconds beyond HOLD that a silent registry has
TOKENS = 150


@dataclass
class Course:
    """What became of the answers under one kind of fault."""

    role: str
    signal: str
    faults: int = 0
    answers: int = 0
    finished: int = 0
    identical: int = 0
    next_token: list[float] = field(default_factory=list)
    longest_wait: list[float] = field(default_factory=list)
    back: list[float] = field(default_factory=list)

    def row(self) -> list[str]:
        """Counts, and median and maximum of the waits."""
        counts = (self.faults, self.answers, self.finished, self.identical)
        waits = (self.next_token, self.longest_wait, self.back)
        return [self.role, self.signal, *map(str, counts), *map(_spread, waits)]

    def end(self, written: str | None) -> None:
        """Counts an answer; None: it was not finished."""
        self.answers += 1
        self.finished += written is not None
        self.identical += written is not None and written.encode() == text(TOKENS)

    def times(self, fault: float, tokens: Sequence[float]) -> None:
        """Notes the waits for the tokens after the fault."""
        later = [at for at in tokens if at > fault]
        if later:
            self.next_token.append(later[0] - fault)
            self.longest_wait.append(max(b - a for a, b in zip([fault, *later], later, strict=False)))


class Shared:
    """The platform and a program that writes answers with all of it."""

    def __init__(self, cluster: Cluster, team: Collaboration, client: "PlatformClient") -> None:
        self.cluster, self.team, self.client = cluster, team, client

    async def pid(self, role: str) -> int:
        """The process of a role."""
        if role == "registry":
            return next(iter(await asyncio.to_thread(self._registries)))
        while True:
            (entry,) = [entry for entry in await self.client.entries() if entry.name == NAMES[role]]
            if entry.health == "up" and entry.figures.pid:
                return entry.figures.pid
            await asyncio.sleep(0.1)

    def _registries(self) -> list[int]:
        found = []
        for process in self.cluster.process.children(recursive=True):
            try:
                if "RegistryActor" in " ".join(process.cmdline()):
                    found.append(process.pid)
            except psutil.NoSuchProcess:
                continue
        return found

    async def hit(self, course: Course, number: signal.Signals, random: Random, sessions: int) -> None:
        """Answers at once, and a fault in their middle."""
        pid = await self.pid(course.role)
        member = self.team.supervisors[NAMES[course.role]] if course.role in NAMES else None
        before = member.restarts if member is not None else 0
        step, delay = random.randint(10, 60), random.uniform(0, 0.01)
        fault = asyncio.get_running_loop().create_future()

        async def strike() -> None:
            await asyncio.sleep(delay)
            os.kill(pid, number)
            fault.set_result(time.monotonic())

        async def one(first: bool) -> tuple[str | None, list[float]]:
            times: list[float] = []
            stream = self.team.stream("?", max_tokens=TOKENS)
            try:
                async for token in stream:
                    times.append(time.monotonic())
                    if first and token.step == step:
                        self._strike = asyncio.create_task(strike())
            except Exception as error:
                print(f"{course.role} {course.signal}: {error!r}", file=sys.stderr)
                return None, times
            return stream.answer.text, times

        writing = [asyncio.create_task(one(number == 0)) for number in range(sessions)]
        began = await fault
        back = await self._back(course.role, pid, member, before, began)
        course.faults += 1
        course.back.append(back)
        for written, times in await asyncio.gather(*writing):
            course.end(written)
            course.times(began, times)

    async def _back(self, role: str, pid: int, member: Supervisor | None, before: int, began: float) -> float:
        if member is not None:
            await _until(lambda: member.restarts > before and member.health == "up")
        else:
            await _until(lambda: set(self._registries()) - {pid})
            while not all(entry.health == "up" for entry in await self.client.entries()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return time.monotonic() - began


async def _until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - what happens in other processes is no event here
        await asyncio.sleep(0.01)


class Writer:
    """Another program that writes an answer with a journal, or stands by to resume one."""

    def __init__(self, cluster: Cluster, deadline: float, journal: Path, *more: str) -> None:
        command = [sys.executable, "-m", "tests.support.shared_models", "answer", NAMESPACE, NAMES["base"]]
        options = ["--deadline", str(deadline), "--max-tokens", str(TOKENS), "--journal", str(journal)]
        self._process = subprocess.Popen(
            [*command, *options, *more],
            env=cluster.of_drivers,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def line(self) -> dict[str, Any] | None:
        """The next thing it says."""
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        line: dict[str, Any] | None = json.loads(said) if said else None
        return line

    def say(self, what: str) -> None:
        """Tells it something."""
        assert self._process.stdin is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Kills it."""
        self._process.kill()
        self._process.wait()


def hit_coordinator(cluster: Cluster, course: Course, number: signal.Signals, random: Random, deadline: float) -> None:
    """One answer whose program ends in its middle, and goes on in another."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder)
        standby = Writer(cluster, deadline, journal, "--resume", "-")
        writer = Writer(cluster, deadline, journal)
        if standby.line() != {"ready": True}:
            raise RuntimeError("the program that was to stand by has not started")
        step, last = random.randint(10, 100), 0
        while last < step:
            line = writer.line()
            assert line is not None
            last = line.get("step", last)
        time.sleep(random.uniform(0, 0.01))
        os.kill(writer.pid, number)
        fault = time.time()
        if number == signal.SIGSTOP:
            time.sleep(deadline)
        writer.end()
        while (line := writer.line()) is not None:  # what it had said before
            last = line.get("step", last)
        (left,) = journal.iterdir()
        standby.say(str(left))
        times, written = [], None
        while (line := standby.line()) is not None:
            if "answer" in line:
                written = line["answer"]
            elif line["step"] > last:
                times.append(line["at"])
        standby.end()
    course.faults += 1
    course.end(written)
    course.times(fault, times)
    if times:
        course.back.append(times[0] - fault)


async def measure(cluster: Cluster, roles: Sequence[str], times: int, sessions: int, deadline: float) -> list[Course]:
    """Every role, both signals."""
    from tokencollab.actors.platform.client import PlatformClient, PlatformRuntime  # after the cluster is known

    random = Random(1)  # noqa: S311 - moments, not secrets
    fault_policy = FaultPolicy(floor=deadline, ceiling=30, backoff=0.05, longest_backoff=0.2, restarts=10_000)
    await bring_up(NAMESPACE, ("a", "b", "c"), seconds=0.005, fault_policy=fault_policy)
    courses = []
    client = PlatformClient(NAMESPACE, grace=GRACE)
    client.find()
    runtime = PlatformRuntime(NAMESPACE, grace=GRACE)
    async with Collaboration("a", None, "unite", runtime=runtime, fault_policy=fault_policy) as team:
        shared = Shared(cluster, team, client)
        await team.generate("?", max_tokens=50)  # deadlines follow from what a model has taken before
        for role in roles:
            for number in (signal.SIGKILL, signal.SIGSTOP):
                course = Course(role, number.name)
                courses.append(course)
                for _ in range(times):
                    if role == "coordinator":
                        await asyncio.to_thread(hit_coordinator, cluster, course, number, random, deadline)
                    else:
                        await shared.hit(course, number, random, sessions)
                print(course.row(), file=sys.stderr, flush=True)
    return courses


def main() -> None:
    """Prints a table on standard error and, where asked for, JSON on standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="of each fault")
    parser.add_argument("--sessions", type=int, default=4, help="answers at once")
    parser.add_argument("--deadline", type=float, default=1.0, help="seconds, of every call")
    parser.add_argument("--roles", default="base,collaborator,coordinator,registry")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with own_ray_cluster(cpus=4) as cluster:
        os.environ.update(cluster.of_drivers)
        roles = arguments.roles.split(",")
        courses = asyncio.run(measure(cluster, roles, arguments.times, arguments.sessions, arguments.deadline))
        ray = sys.modules["ray"]
        ray.shutdown()
    table = Table(title=f"deadline {arguments.deadline} s ({machine()})", title_justify="left", box=None)
    for title in ("role", "signal", "faults", "answers", "finished", "same text", "next token", "longest wait", "back"):
        table.add_column(title, justify="left" if title in ("role", "signal") else "right")
    for course in courses:
        table.add_row(*course.row())
    Console(stderr=True, width=130).print(table)
    if arguments.json:
        json.dump(
            {"machine": machine(), "deadline": arguments.deadline, "faults": [vars(c) for c in courses]}, sys.stdout
        )
        print()


def _spread(seconds: Sequence[float]) -> str:
    """Median and maximum."""
    return f"{median(seconds):.3f} ({max(seconds):.3f}) s" if seconds else "-"


if __name__ == "__main__":
    main()

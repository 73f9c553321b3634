"""Full load for minutes: many answers at once, read to the end or left, with models that join, leave and are killed.

    python -m benchmarks.soak MINUTES [--sessions N] [--warm-up MINUTES] [--json]

A Ray cluster of its own with three tiny transformers models on a platform. Prints the resident memory of every process
that lives through it, minute by minute, and its slope after the warm-up.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random
from statistics import linear_regression
from typing import TYPE_CHECKING, TypeAlias

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.measure import machine
from tests.support.ray_cluster import Cluster, own_ray_cluster
from tests.support.tiny import build
from tokencollab import Collaboration, EngineOptions, FaultPolicy

if TYPE_CHECKING:
    from tokencollab.actors.platform.client import PlatformClient
    from tokencollab.actors.platform.service import SharedSpec

NAMESPACE = "soak"
METHODS = ("base", "duetnet", "unite", "dpara-5", "confipara-d", "bytewise")
EVERY = 20.0  # seconds between two changes of who is there
_LONGEST_END = 60.0  # seconds that the last answers may take
STEADY = ("a", "b")  # these stay; c joins, leaves and is killed


Memory: TypeAlias = dict[str, list[tuple[float, float]]]
"""Per process: minutes since the beginning, and megabytes."""


class Soak:
    """The load, and what came of it."""

    def __init__(self, team: Collaboration, client: "PlatformClient", specs: "Mapping[str, SharedSpec]") -> None:
        self._team, self._client, self._specs = team, client, specs
        self.counts: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    async def load(self, number: int, until: float) -> None:
        """One answer after the other."""
        random = Random(number)  # noqa: S311 - load, not secrets
        while time.monotonic() < until:
            words = " ".join(
                random.choice(["sea", "sky", "number", "日本", "🙂", "why"]) for _ in range(random.randint(1, 60))
            )
            stream = self._team.stream(
                words, max_tokens=random.randint(4, 64), seed=random.randint(0, 99), method=random.choice(METHODS)
            )
            leave_at = random.randint(1, 64) if random.random() < 0.25 else None
            try:
                async for token in stream:
                    self.counts["tokens"] += 1
                    if token.step == leave_at:
                        await stream.aclose()
                        self.counts["left"] += 1
                        break
                else:
                    self.counts["finished"] += 1
            except Exception as error:
                self.failures[f"{type(error).__name__}: {error}"] += 1

    async def change(self, until: float) -> None:
        """The third model is killed, leaves, and joins again."""
        while True:
            for what in ("killed", "left the platform", "joined the platform"):
                if time.monotonic() + EVERY > until:
                    return
                await asyncio.sleep(EVERY)
                if what == "killed":
                    (entry,) = [entry for entry in await self._client.entries() if entry.name == "c"]
                    if entry.figures.pid:
                        os.kill(entry.figures.pid, signal.SIGKILL)
                elif what == "left the platform":
                    await self._client.down(["c"])
                else:
                    await self._client.up([self._specs["c"]])
                    await self._client.look_after("c")
                self.counts[what] += 1


async def soak(cluster: Cluster, minutes: float, sessions: int, folder: Path) -> tuple[Soak, Memory]:
    """The load for so many minutes; megabytes every second of every process that stays."""
    from tokencollab.actors.platform.client import (  # after the cluster is known
        PlatformClient,
        PlatformRuntime,
        connect,
    )
    from tokencollab.actors.platform.service import SharedSpec

    options = EngineOptions(threads=1, kv_megabytes=64)
    kinds = {"a": "bytes", "b": "llama", "c": "unigram"}
    specs = {
        name: SharedSpec(name, str(build(folder / name, kind, seed=1)), options, cpus=0.1)  # type: ignore[arg-type]
        for name, kind in kinds.items()
    }
    runtime = PlatformRuntime(NAMESPACE)
    client = PlatformClient(NAMESPACE)
    connect()
    fault_policy = FaultPolicy(restarts=10_000)
    client.create(fault_policy)
    await client.up(list(specs.values()))
    await asyncio.gather(*(client.look_after(name) for name in specs))
    async with Collaboration("a", None, "duetnet", runtime=runtime, fault_policy=fault_policy) as team:
        await team.generate("?", max_tokens=4)
        await asyncio.sleep(3)
        pids = {entry.name: entry.figures.pid for entry in await client.entries() if entry.name in STEADY}
        pids |= {"coordinator": os.getpid(), "registry": _registry(cluster)}
        processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        load = Soak(team, client, specs)
        until = time.monotonic() + 60 * minutes
        work = [asyncio.create_task(load.load(number, until)) for number in range(sessions)]
        work.append(asyncio.create_task(load.change(until)))
        memory: Memory = {name: [] for name in processes}
        said, began = 0, time.monotonic()
        while (now := time.monotonic()) < until:
            for name, process in processes.items():
                memory[name].append(((now - began) / 60, process.memory_info().rss / 1e6))
            if now - began >= 60 * said:
                sizes = ", ".join(f"{name} {series[-1][1]:.1f} MB" for name, series in memory.items())
                print(f"{said} min: {sizes}; {dict(load.counts)}", file=sys.stderr, flush=True)
                said += 1
            await asyncio.sleep(1)
        _, stuck = await asyncio.wait(work, timeout=_LONGEST_END)
        load.counts["answers that hang"] = len(stuck)
        for task in stuck:
            task.print_stack()
            task.cancel()
        await asyncio.sleep(3)
        left = {entry.name: entry.figures.sessions for entry in await client.entries()}
        load.counts["sessions left at the models"] = sum(left.values())
    return load, memory


def _registry(cluster: Cluster) -> int:
    for process in cluster.process.children(recursive=True):
        if "RegistryActor" in " ".join(process.cmdline()):
            return int(process.pid)
    raise AssertionError("there is no registry")


def main() -> None:
    """Prints a table on standard error and, where asked for, JSON on standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--sessions", type=int, default=24, help="answers at once")
    parser.add_argument("--warm-up", type=float, default=2.0, metavar="MINUTES")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with own_ray_cluster(cpus=4) as cluster, tempfile.TemporaryDirectory() as folder:
        os.environ.update(cluster.of_drivers)
        load, memory = asyncio.run(soak(cluster, arguments.minutes, arguments.sessions, Path(folder)))
        show(load, memory, arguments)
        import ray

        ray.shutdown()


def show(load: Soak, memory: Memory, arguments: argparse.Namespace) -> None:
    """What came of it."""
    table = Table(title=f"{arguments.minutes:g} minutes ({machine()})", title_justify="left", box=None)
    for title in ("process", "after warm-up", "at the end", "highest since", "slope"):
        table.add_column(title, justify="left" if title == "process" else "right")
    figures = {}
    for name, series in memory.items():
        times, rest = zip(*((at, size) for at, size in series if at >= arguments.warm_up), strict=True)
        slope = linear_regression(times, rest).slope
        figures[name] = {"warm": rest[0], "end": rest[-1], "highest": max(rest), "mb_per_minute": slope}
        table.add_row(name, *(f"{mb:.1f} MB" for mb in (rest[0], rest[-1], max(rest))), f"{slope:+.2f} MB/minute")
    Console(stderr=True, width=120).print(table)
    said = ", ".join(f"{what} {count}" for what, count in load.counts.items())
    print(f"{said}; failures: {dict(load.failures) or 'none'}", file=sys.stderr)
    if arguments.json:
        json.dump(
            {"machine": machine(), "counts": load.counts, "failures": load.failures, "memory": figures}, sys.stdout
        )
        print()


if __name__ == "__main__":
    main()

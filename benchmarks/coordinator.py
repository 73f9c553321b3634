"""What a token costs through a coordinator of a platform, beside a coordinator in the caller's process.

The engines of `benchmarks.overhead` take exactly 20 ms a step; what a token takes beyond that is overhead. The ways
take turns, answer by answer, so that whatever else the machine does slows all of them down.

    python -m benchmarks.coordinator [--tokens N] [--rounds N] [--json]
"""

import argparse
import asyncio
import os
import sys
import time
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import Figure, figure, report
from benchmarks.overhead import STEP, load
from tokencollab import Collaboration, EngineOptions
from tokencollab.actors.runtimes.ray_actors import RayRuntime
from tokencollab.actors.runtimes.threads import LocalRuntime

NAMESPACE = "benchmark"
NAMES = ["m0", "m1"]
METHODS = ("duetnet", "bytewise")
HERE, RAY, SHARED, REMOTE = "in process", "on Ray", "models of a platform", "coordinator of a platform"


async def bring_up() -> None:
    """A platform of two models and one coordinator."""
    from tokencollab.actors.platform.client import PlatformClient
    from tokencollab.actors.platform.service import SharedSpec
    from tokencollab.remote.coordinator_actor import coordinator_specs

    options = EngineOptions(threads=1)
    where = f"{load.__module__}:{load.__name__}"
    specs = [SharedSpec(name, "-", options, cpus=0.1, load=where) for name in NAMES]
    specs += coordinator_specs(NAMESPACE, 1, 256)
    client = PlatformClient(NAMESPACE)
    client.create()
    await client.up(specs)
    await asyncio.gather(*(client.look_after(spec.name) for spec in specs))


async def overhead(team: Any, tokens: int) -> list[float]:
    """Milliseconds beyond `STEP` of each token of one answer."""
    stamps = [time.perf_counter() async for _ in team.stream("?", max_tokens=tokens + 1)]
    return [(after - before - STEP) * 1000 for before, after in pairwise(stamps)]


async def run(tokens: int, rounds: int) -> list[Figure]:
    """All ways and methods."""
    from tokencollab.actors.platform.client import PlatformRuntime
    from tokencollab.remote import RemoteCollaboration

    await bring_up()
    figures = []
    for method in METHODS:
        ways: dict[str, Any] = {
            HERE: Collaboration(NAMES[0], NAMES[1:], method, runtime=LocalRuntime(load)),
            RAY: Collaboration(NAMES[0], NAMES[1:], method, runtime=RayRuntime(load)),
            SHARED: Collaboration(NAMES[0], NAMES[1:], method, runtime=PlatformRuntime(NAMESPACE)),
            REMOTE: RemoteCollaboration(NAMESPACE, NAMES[0], NAMES[1:], method),
        }
        samples: dict[str, list[float]] = {name: [] for name in ways}
        ratios: dict[str, list[float]] = {name: [] for name in ways}
        async with AsyncExitStack() as stack:
            for team in ways.values():
                await stack.enter_async_context(team)
                await overhead(team, 20)
            for _ in range(rounds):
                found = {name: await overhead(team, tokens) for name, team in ways.items()}
                for name, each in found.items():
                    samples[name] += each
                    ratios[name].append(median(each) / median(found[HERE]))
        figures += [figure(f"{method}, {name}: overhead per token", "ms", each) for name, each in samples.items()]
        del ratios[HERE]
        figures += [figure(f"{method}, {name}: times {HERE}, per round", "x", each) for name, each in ratios.items()]
    return figures


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    import ray

    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # where the actors find the engines
    print("this takes some minutes", file=sys.stderr)
    ray.init(address="local", num_cpus=8, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    figures = asyncio.run(run(arguments.tokens, arguments.rounds))
    ray.shutdown()
    report("a coordinator of a platform", figures, arguments.json, step_ms=STEP * 1000)


if __name__ == "__main__":
    main()

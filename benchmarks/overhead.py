"""What coordination costs per token, whatever the models: engines that take exactly 20 ms a step, without weights.

Everything but the forward pass is real: actors, threads or Ray processes, messages, checks, policy, text stream. What a
token takes beyond 20 ms is overhead.

    python -m benchmarks.overhead [--tokens N] [--json]
"""

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise

from benchmarks.measure import Figure, figure, report
from tokencollab import EOS, Collaboration, Piece
from tokencollab.actors.runtimes.base import ModelSpec, Runtime
from tokencollab.actors.runtimes.ray_actors import RayRuntime
from tokencollab.actors.runtimes.threads import LocalRuntime
from tokencollab.engines.base import Engine, EngineReply, EngineRequest
from tokencollab.testing import ScriptedEngine

STEP = 0.020
_SPIN = 0.0001  # sleep wakes up late by about this; the rest is waited for actively


def script(text: bytes) -> Mapping[Piece, float]:
    """Twelve candidates of which the best is never EOS."""
    return {f" word{index}".encode(): 20.0 - index for index in range(16)} | {EOS: 1.0}


class Paced(ScriptedEngine):
    """Answers after exactly `STEP` seconds."""

    def next_candidates(self, requests: Sequence[EngineRequest]) -> list[EngineReply | None]:
        """See `Engine.next_candidates`."""
        due = time.perf_counter() + STEP
        answers = super().next_candidates(requests)
        self.calls.clear()
        time.sleep(max(0.0, due - time.perf_counter() - _SPIN))
        while time.perf_counter() < due:
            pass
        return answers


def load(spec: ModelSpec) -> Engine:
    """The engine of a spec; Ray calls this in the actor's process."""
    return Paced(spec.name, script)


async def measure(runtime: Runtime, models: int, method: str, tokens: int) -> list[float]:
    """Milliseconds beyond `STEP` of each token of one answer."""
    names = [f"m{index}" for index in range(models)]
    async with Collaboration(names[0], names[1:], method, runtime=runtime) as team:
        await team.generate("?", max_tokens=20)
        stamps = [time.perf_counter() async for _ in team.stream("?", max_tokens=tokens + 1)]
    return [(after - before - STEP) * 1000 for before, after in pairwise(stamps)]


async def run(tokens: int) -> list[Figure]:
    """All combinations."""
    figures = []
    for method in ("duetnet", "unite", "bytewise"):
        for models in (1, 2, 4) if method == "duetnet" else (2,):
            for name, runtime in (("in process", LocalRuntime(load)), ("on Ray", RayRuntime(load))):
                samples = await measure(runtime, models, method, tokens)
                figures.append(figure(f"{method}, {models} models, {name}: overhead per token", "ms", samples))
    return figures


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    import ray

    ray.init(address="local", num_cpus=8, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    figures = asyncio.run(run(arguments.tokens))
    ray.shutdown()
    report("coordination overhead", figures, arguments.json, step_ms=STEP * 1000)


if __name__ == "__main__":
    main()

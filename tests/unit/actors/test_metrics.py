"""Figures for Prometheus: they agree with the answers, and cost nothing where nobody wants them."""

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tokencollab import EOS, Collaboration, ModelFailed, Piece, UsageError
from tokencollab.actors import metrics
from tokencollab.actors.metrics.prometheus import serve_metrics
from tokencollab.actors.supervisor import FaultPolicy
from tokencollab.testing import Faults, FaultyRuntime, ScriptedEngine, run_on_fake_clock, scripted_runtime

TEXT = b"abcdefghijklmnop"


def spell(done: bytes) -> Mapping[Piece, float]:
    piece: Piece = TEXT[len(done) : len(done) + 1] or EOS
    return {piece: 9.0, b"~": 5.0}


def scrape(address: str) -> dict[tuple[str, ...], float]:
    """Name and labels (sorted by their names) of every figure, and its value."""
    with urlopen(address, timeout=20) as reply:  # noqa: S310 - our own
        text = reply.read().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("tokencollab_") and "le" not in sample.labels:
                labels = [value for _, value in sorted(sample.labels.items())]
                found[sample.name.removeprefix("tokencollab_"), *labels] = sample.value
    return found


async def test_the_figures_are_those_of_the_answers() -> None:
    engines = [ScriptedEngine(name, spell) for name in ("one", "two")]
    with serve_metrics(0) as address:
        assert address.startswith("http://127.0.0.1:")
        async with Collaboration("one", ["two"], "upara-4", runtime=scripted_runtime(*engines)) as team:
            answer, _ = await asyncio.gather(team.generate("?"), team.generate("?", max_tokens=3))
            stream = team.stream("?")
            await anext(stream)
            await stream.aclose()
            assert all(engine.texts == {} for engine in engines)
            async with asyncio.timeout(20):  # until the models' threads have told
                while (figures := await asyncio.to_thread(scrape, address))["sessions", "one"]:
                    assert figures["sessions", "one"] <= 3
    assert (answer.tokens, answer.exit_step) == (17, 4)
    assert figures["tokens_total", "upara-4"] == 17 + 3 + 1
    assert figures["cost_total", "upara-4"] >= answer.cost + 6
    assert figures["exits_total", "upara-4"] == 1
    assert {finish: figures["answers_total", finish, "upara-4"] for finish in ("end", "length", "cancelled")} == {
        "end": 1,
        "length": 1,
        "cancelled": 1,
    }
    assert figures["token_seconds_count", "upara-4"] == 16 + 2
    assert 0 < figures["token_seconds_sum", "upara-4"] < 60
    for model in ("one", "two"):
        assert figures["model_seconds_count", model] >= 3
        assert figures["queue_length", model] == 0
        assert figures["kv_bytes", model] == 0
    assert metrics._sinks == []


def test_faults_and_restarts_are_counted() -> None:
    heard: dict[tuple[str, ...], float] = {}

    def sink(metric: metrics.Metric, value: float, labels: tuple[str, ...]) -> None:
        if metric.kind == "counter":
            heard[metric.name, *labels] = heard.get((metric.name, *labels), 0) + value

    async def write() -> Collaboration:
        runtime = FaultyRuntime({"one": lambda: ScriptedEngine("one", spell)}, Faults(crash=0.1, corrupt=0.1), seed=3)
        async with Collaboration("one", runtime=runtime, fault_policy=FaultPolicy(restarts=1000)) as team:
            for _ in range(5):
                with suppress(ModelFailed):
                    await team.generate("?")
            assert heard["restarts", "one"] == team.members["one"].restarts > 0
            for kind, times in team.members["one"].faults.items():
                assert heard.get(("faults", "one", kind), 0) == times
        return team

    metrics.install(sink)
    metrics.install(sink)  # twice is once
    try:
        run_on_fake_clock(write())
    finally:
        metrics.uninstall(sink)
    assert heard["faults", "one", "gone"] > 0
    assert heard["faults", "one", "malformed"] > 0


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port}: Address already in use"), serve_metrics(port):
            pass
    with pytest.raises(UsageError, match="above 65535"), serve_metrics(70_000):
        pass
    assert metrics._sinks == []

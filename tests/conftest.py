"""Fixtures that all tests share."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.ray_cluster import Cluster, own_ray_cluster
from tokencollab.actors.log import stop_logging_to_stderr

# Before anything imports torch: its threads must not wait actively on a busy machine (see actors/runtimes/threads.py).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# The same examples every time, and none fails because the machine is busy.
settings.register_profile(
    "project", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("project")


def pytest_runtest_teardown() -> None:
    """Commands write the log on standard error: not for the next test."""
    stop_logging_to_stderr()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``tiny_model("bytes", seed=1)``: the folder of a tiny model, built once; see `tiny.build`."""
    built: dict[str, Path] = {}

    def get(kind: str = "bytes", **options: Any) -> Path:
        from tests.support.tiny import build  # imports torch, which most tests do without

        key = f"{kind} {sorted(options.items())}"
        if key not in built:
            built[key] = build(tmp_path_factory.mktemp("tiny") / f"tiny-{kind}", kind, **options)  # type: ignore[arg-type]
        return built[key]

    return get


@pytest.fixture(scope="session")
def tiny_engine(tiny_model: Callable[..., Path]) -> Callable[..., Any]:
    """``tiny_engine("bytes", seed=1)``: the engine of such a model, loaded once. ``copy=1`` for one of its own."""
    loaded: dict[str, Any] = {}

    def get(kind: str = "bytes", copy: int = 0, **options: Any) -> Any:
        from torch import set_num_threads

        from tests.support.driving import load  # imports torch

        set_num_threads(1)
        key = f"{kind} {copy} {sorted(options.items())}"
        if key not in loaded:
            loaded[key] = load(tiny_model(kind, **options), f"{kind}-{copy}")
        return loaded[key]

    return get


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Cluster]:
    """A Ray cluster that all tests share which need one that is running."""
    with own_ray_cluster(cpus=4) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def specialist_engine() -> Callable[..., Any]:
    """``specialist_engine("arith-bytes")``: the engine of a model that ships with tokencollab, loaded once: fast, and
    trained (docs/specialists.md). ``copy=1`` for one of its own.
    """
    loaded: dict[str, Any] = {}

    def get(name: str, copy: int = 0) -> Any:
        from torch import set_num_threads

        from tests.support.driving import load  # imports torch
        from tokencollab.models.resolve import resolve

        set_num_threads(1)
        key = f"{name} {copy}"
        if key not in loaded:
            loaded[key] = load(resolve(name).folder, name)
        return loaded[key]

    return get

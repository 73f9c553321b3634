"""Real engines that fail in the middle of an answer, and answers resumed with real engines."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tokencollab import Answer, Collaboration, FaultPolicy
from tokencollab.actors.journal import SUFFIX
from tokencollab.engines.base import Engine
from tokencollab.engines.transformers_engine import TransformersEngine
from tokencollab.testing import Faults, FaultyRuntime, run_on_fake_clock

QUESTION = "Why is the sky blue?"
PATIENCE = FaultPolicy(floor=1, restarts=50, failures=2, backoff=0.1)
LIMIT = 30


def engines(*folders: Path) -> dict[str, Callable[[], Engine]]:
    """Functions that load the models of these folders, named in order."""

    def load(name: str, folder: Path) -> Callable[[], Engine]:
        return lambda: TransformersEngine.from_folder(name, folder)

    return {f"m{index}": load(f"m{index}", folder) for index, folder in enumerate(folders)}


async def write(runtime: FaultyRuntime, method: str, journal: Path | None = None, cut: int | None = None) -> Answer:
    base, *others = runtime.starts
    async with Collaboration(base, others, method, runtime=runtime, fault_policy=PATIENCE, journal=journal) as team:
        stream = team.stream(QUESTION, max_tokens=LIMIT)
        async for token in stream:
            if token.step == cut:
                await stream.aclose()
                break
        return stream.answer


@pytest.mark.parametrize("method", ["duetnet", "unite", "upara-9", "bytewise", "base"])
def test_a_model_and_its_copy_write_the_same_whatever_befalls_them(
    tiny_model: Callable[..., Path], method: str
) -> None:
    folder = tiny_model("chars", seed=1)  # whose pieces are never parts of a character
    make = engines(folder) if method == "base" else engines(folder, folder)
    faults = Faults(crash=0.06, hang=0.02, forget=0.1, fail=0.02, drop=0.02)
    expected = run_on_fake_clock(write(FaultyRuntime(make), method))
    for seed in range(3):
        runtime = FaultyRuntime(make, faults, seed)
        assert run_on_fake_clock(write(runtime, method)).pieces == expected.pieces
        assert sum(runtime.starts.values()) > len(make)


@pytest.mark.parametrize("method", ["duetnet", "unite", "bytewise", "confipara-d"])
def test_a_resumed_answer_is_spelt_as_it_was(tiny_model: Callable[..., Path], method: str, tmp_path: Path) -> None:
    make = engines(tiny_model("bytes", seed=1), tiny_model("llama", seed=2), tiny_model("unigram", seed=3))
    expected = run_on_fake_clock(write(FaultyRuntime(make), method))

    async def resume(journal: Path) -> Answer:
        async with Collaboration("m0", ["m1", "m2"], method, runtime=FaultyRuntime(make)) as team:
            stream = team.resume(journal)
            async for _ in stream:
                pass
            return stream.answer

    for cut in range(1, expected.tokens, 6):
        run_on_fake_clock(write(FaultyRuntime(make), method, tmp_path, cut))
        (journal,) = tmp_path.glob(f"*{SUFFIX}")
        assert run_on_fake_clock(resume(journal)).pieces == expected.pieces

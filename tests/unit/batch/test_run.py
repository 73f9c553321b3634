"""Many answers at once: each the same in any company, each recorded once, whatever ends the run."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest

from tokencollab import EOS, Collaboration, Piece, pool
from tokencollab.actors.runtimes.threads import LocalRuntime
from tokencollab.batch.prompts import PromptDefaults, PromptLine, read_prompts
from tokencollab.batch.record import AnswerFile
from tokencollab.batch.run import answer_all
from tokencollab.engines.base import EngineRequest
from tokencollab.engines.options import EngineOptions
from tokencollab.errors import RunStopped
from tokencollab.pool import Progress
from tokencollab.testing import ScriptedEngine, scripted_runtime

DOCS = Path(__file__).parents[3] / "docs"
LINES, _ = read_prompts(
    b"\n".join(json.dumps({"prompt": "?" * n, "id": f"q{n}", "n": n}).encode() for n in range(1, 25)),
    PromptDefaults(max_tokens=30),
)


def script(text: bytes) -> Mapping[Piece, float]:
    """Random words of four letters, until EOS becomes probable."""
    return {piece: log(1 + index) for index, piece in enumerate([b"a", b"b", b"c", b"d"])} | {EOS: len(text) / 8}


class Failing(ScriptedEngine):
    """Fails when it is asked the n-th time, and from then on."""

    def __init__(self, name: str, after: int) -> None:
        super().__init__(name, script)
        self._left = after

    def next_candidates(self, requests: Sequence[EngineRequest]) -> list[Any]:
        self._left -= 1
        if self._left < 0:
            raise RuntimeError("broken")
        return list(super().next_candidates(requests))


def team(*engines: ScriptedEngine) -> Collaboration:
    chosen = engines or (ScriptedEngine("one", script, context_length=100), ScriptedEngine("two", script))
    names = [engine.info.name for engine in chosen]
    return Collaboration(names[0], names[1:], "duetnet", runtime=scripted_runtime(*chosen), top_t="4", over="top_k")


async def run(path: Path, lines: Sequence[PromptLine], *, concurrency: int = 6, **options: Any) -> Progress:
    with AnswerFile(path, {}, lines, resume=True, **options) as file:
        todo = [line for line in lines if line.number not in file.answered | file.failed]
        progress = Progress(len(todo))
        async with team() as models:
            await answer_all(models, todo, file, concurrency=concurrency, progress=progress)
    return progress


def texts(path: Path, failed: Sequence[str] = ()) -> dict[str, str]:
    entries = [json.loads(raw) for raw in path.read_bytes().splitlines()]
    assert len({entry["id"] for entry in entries}) == len(entries), "an answer was written twice"
    assert all(entry["n"] == int(entry["id"][1:]) for entry in entries)
    return {entry["id"]: entry["answer"]["text"] for entry in entries if entry["id"] not in failed}


async def test_an_answer_depends_neither_on_order_nor_on_company(tmp_path: Path) -> None:
    alone = await run(tmp_path / "alone", LINES, concurrency=1)
    backwards = list(reversed(LINES))
    await run(tmp_path / "together", backwards, concurrency=20)
    found = texts(tmp_path / "alone")
    assert found == texts(tmp_path / "together")
    assert set(found) == {f"q{n}" for n in range(1, 25)}
    assert len(set(found.values())) > 12, "lines draw with seeds of their own"
    entries = [json.loads(raw)["answer"] for raw in (tmp_path / "alone").read_bytes().splitlines()]
    assert (alone.done, alone.failed) == (24, 0)
    assert alone.tokens == sum(entry["tokens"] for entry in entries)
    assert alone.cost == sum(entry["cost"] for entry in entries)


async def test_answers_are_a_flat_table_in_the_line_of_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (DOCS / "batch.md").read_text(), re.DOTALL)
    path = tmp_path / "answers.jsonl"
    refused = PromptLine(25, "q25", LINES[0].messages, 8, (), 1, {"n": 25, "text": "carried"})
    with AnswerFile(path, {}, [*LINES, refused]) as file:
        file.error(refused, "PromptTooLong: no room")
    await run(path, [*LINES, refused])
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"pd": pd, "json": json}
    exec(program, names)  # noqa: S102 - our own documentation
    table = names["answers"].set_index("id")
    assert len(table) == 25
    assert table["answer.text"].drop("q25").to_dict() == texts(path, failed=("q25",))
    assert pd.api.types.is_numeric_dtype(table["answer.cost"])
    assert (table["error"]["q25"], table["text"]["q25"]) == ("PromptTooLong: no room", "carried")
    assert table["answer.text"].isna().sum() == 1


@pytest.mark.parametrize("seed", range(12))
async def test_cancelled_at_any_moment_it_goes_on_without_loss_or_repetition(tmp_path: Path, seed: int) -> None:
    random, path = Random(seed), tmp_path / "answers"  # noqa: S311
    await run(tmp_path / "whole", LINES)
    for _ in range(4):
        with AnswerFile(path, {}, LINES, resume=True) as file:
            todo = [line for line in LINES if line.number not in file.answered]
            progress, until = Progress(len(todo)), random.randrange(120)
            engines = [ScriptedEngine(name, script) for name in ("one", "two")]
            async with team(*engines) as models:
                task = asyncio.create_task(answer_all(models, todo, file, concurrency=5, progress=progress))
                while progress.tokens < until and not task.done():  # noqa: ASYNC110 - at this very token
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                async with asyncio.timeout(20):
                    while any(engine.texts for engine in engines):  # noqa: ASYNC110 - no session stays open
                        await asyncio.sleep(0)
        kept = texts(path) if path.exists() else {}
        assert kept.items() <= texts(tmp_path / "whole").items()
    await run(path, LINES)
    assert texts(path) == texts(tmp_path / "whole")


async def test_a_question_that_is_refused_fails_alone_and_can_be_asked_again(tmp_path: Path) -> None:
    lines, _ = read_prompts(b'{"prompt": "' + b"x" * 200 + b'", "n": 1, "id": "q1"}\n{"prompt": "?"}', PromptDefaults())
    heard: list[tuple[int, str]] = []
    with AnswerFile(tmp_path / "answers", {}, lines) as file:
        progress = Progress(2)
        async with team() as models:
            await answer_all(
                models,
                lines,
                file,
                concurrency=2,
                progress=progress,
                report=lambda line, reason: heard.append((line.number, reason)),
            )
        assert (file.answered, file.failed) == ({2}, {1})
    assert (progress.done, progress.failed) == (1, 1)
    assert heard[0][0] == 1
    assert "too long" in heard[0][1]
    entries = {entry["line"]: entry for entry in map(json.loads, (tmp_path / "answers").read_bytes().splitlines())}
    assert entries[1]["error"].startswith("PromptTooLong: ")
    assert (await run(tmp_path / "answers", lines)).total == 0
    assert (await run(tmp_path / "answers", lines, retry_failed=True)).failed == 1
    assert len((tmp_path / "answers").read_bytes().splitlines()) == 2


async def test_models_that_are_gone_end_the_run_instead_of_using_up_the_questions(tmp_path: Path) -> None:
    with AnswerFile(tmp_path / "answers", {}, LINES) as file:
        progress = Progress(len(LINES))
        async with team(Failing("one", 40), Failing("two", 40)) as models:
            with pytest.raises(RunStopped, match=r"in a row failed, the last one because .* lost"):
                await answer_all(models, LINES, file, concurrency=3, progress=progress, patience=5)
        assert progress.done > 0
        assert len(file.failed) < 5 + 3
    await run(tmp_path / "answers", LINES, retry_failed=True)
    await run(tmp_path / "whole", LINES)
    assert texts(tmp_path / "answers") == texts(tmp_path / "whole")


async def test_models_that_others_keep_busy_are_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "SHORTEST_PAUSE", 0.001)
    runtime = LocalRuntime(lambda spec: ScriptedEngine(spec.name, script))
    full = Collaboration("one", ["two"], "duetnet", runtime=runtime, options=EngineOptions(max_sessions=2))
    with AnswerFile(tmp_path / "answers", {}, LINES) as file:
        progress = Progress(len(LINES))
        async with full as models:
            await answer_all(models, LINES, file, concurrency=8, progress=progress)
        assert len(file.answered) == len(LINES)

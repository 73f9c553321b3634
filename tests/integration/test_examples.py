"""The examples run as they are, on tiny models."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from examples import embed, own_exit, own_models, plot_trace
from tokencollab import Collaboration, Evidence, UsageError


async def test_embed(tiny_model: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    await embed.main(str(tiny_model("bytes", seed=1)), str(tiny_model("llama", seed=2)))
    output = capsys.readouterr().out.splitlines()
    assert output[0]
    assert "candidate sets" in output[-1]


async def test_own_models(capsys: pytest.CaptureFixture[str]) -> None:
    await own_models.main()
    captured = capsys.readouterr()
    assert captured.out.startswith("two models, one text | ")
    assert captured.err.startswith('{"tokencollab_trace"')


async def test_own_exit(capsys: pytest.CaptureFixture[str]) -> None:
    await own_exit.main()
    answer, figures = capsys.readouterr().out.splitlines()
    assert answer.endswith("answer -257")
    assert figures.startswith("base alone after step ")


def test_own_exit_leaves_when_it_says_so() -> None:
    policy = own_exit.InARow(2)
    state = policy.start("a")
    verdicts = []
    for rank in (0, 1, 0, 0):
        state, verdict = policy.observe(state, Evidence(1, "a", (("a", rank), ("b", 0))))
        verdicts.append(verdict.alone)
    assert verdicts == [False, False, False, True]


async def test_plot_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace, picture = tmp_path / "run.jsonl", tmp_path / "run.png"
    async with Collaboration("arith-bytes", ["arith-pairs"], "confipara-u", omega=5) as team:
        with trace.open("w") as file:
            answer = await team.generate("1+2*3+4-5*6", trace=file)
    for method in (None, "dp"):
        plot_trace.main(str(trace), str(picture), method)
        assert capsys.readouterr().out.startswith(f"{answer.tokens} steps, ")
        assert picture.read_bytes().startswith(b"\x89PNG")


def cut(folder: Path) -> Path:
    """The first lines of the journal there."""
    (journal,) = folder.glob("*")
    lines = journal.read_text().splitlines(keepends=True)
    assert '"exit_policy":"InARow"' in lines[0].replace(": ", ":")
    journal.write_text("".join(lines[:7]))
    return journal


async def test_an_own_exit_is_in_the_trace_and_a_journal_needs_it(tmp_path: Path) -> None:
    models: dict[str, Any] = {"base": "arith-bytes", "collaborators": ["arith-pairs"]}
    kept: dict[str, Any] = {"journal": tmp_path, "keep_journal": True}
    async with Collaboration(**models, method="unite", exit_policy=own_exit.InARow(3), **kept) as team:
        answer = await team.generate("1+2*3+4-5*6", max_tokens=12)
        journal = cut(tmp_path)
        again = team.resume(journal)
        assert [token.piece async for token in again][: answer.tokens] == list(answer.pieces)
    async with Collaboration(**models, method="unite") as team:
        with pytest.raises(UsageError, match="InARow"):
            team.resume(journal)


def test_the_script_in_python_md_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
    (script,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "tokencollab.sync" in block]
    exec(script, {})  # noqa: S102 - our own documentation
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("answer 274")
    assert "answer" in second

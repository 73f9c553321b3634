"""The examples run as they are, on tiny models."""

from collections.abc import Callable
from pathlib import Path

import pytest

from examples import embed, own_models


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

"""The programs in the documentation run."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def test_the_program_in_testing_md_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (DOCS / "testing.md").read_text(), re.DOTALL)
    exec(program, {})  # noqa: S102 - our own documentation
    text, lost, starts = eval(capsys.readouterr().out.strip().splitlines()[-1])  # noqa: S307
    assert set(text) <= {"a", "b"}
    assert lost
    assert starts["two"] > 1

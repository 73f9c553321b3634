"""The programs in the documentation run."""

import json
import re
import shlex
from pathlib import Path

import pytest

from tokencollab.cli import main
from tokencollab.policies.responses.panels import Panel

DOCS = Path(__file__).parents[2] / "docs"


def test_the_programs_in_testing_md_run(capsys: pytest.CaptureFixture[str]) -> None:
    program, alone = re.findall(r"```python\n(.*?)```", (DOCS / "testing.md").read_text(), re.DOTALL)
    exec(program, {})  # noqa: S102 - our own documentation
    text, lost, starts = eval(capsys.readouterr().out.strip().splitlines()[-1])  # noqa: S307
    assert set(text) <= {"a", "b"}
    assert lost
    assert starts["two"] > 1
    exec(alone, {})  # noqa: S102
    assert capsys.readouterr().out == "b'yes'\n"


def test_the_panel_in_responses_md_is_one() -> None:
    (panel,) = re.findall(r"```json\n(.*?)```", (DOCS / "responses.md").read_text(), re.DOTALL)
    assert Panel.from_json(json.loads(panel)).budget == 4


def test_the_replay_in_responses_md_says_what_is_written_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (session,) = re.findall(r"```console\n(.*?)```", (DOCS / "responses.md").read_text(), re.DOTALL)
    _, samples, command, expected = session.strip().splitlines()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples.jsonl").write_text(samples + "\n")
    with pytest.raises(SystemExit) as end:
        main(shlex.split(command.removeprefix("$ tokencollab ")))
    assert not end.value.code
    assert capsys.readouterr().out.strip() == expected

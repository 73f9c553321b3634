"""The log: silent unless asked for, never on standard output, and harmless to an answer."""

import ast
import io
import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tokencollab
from tests.property.actors.torture import engine
from tokencollab import Answer, Collaboration
from tokencollab.actors.log import Log, log_to_stderr
from tokencollab.testing import Faults, FaultyRuntime, run_on_fake_clock

ROOT = Path(tokencollab.__path__[0])
LOGGING = (ROOT.parent / "docs" / "logging.md").read_text(encoding="utf-8")
FAULTY = """
from tests.unit.actors.test_log import answer_under_faults
answer_under_faults()
"""


def answer_under_faults() -> Answer:
    runtime = FaultyRuntime({name: lambda name=name: engine(name) for name in ("a", "b")}, Faults(crash=0.1), 1)  # type: ignore[misc]

    async def write() -> Answer:
        async with Collaboration("a", ["b"], "dp", runtime=runtime) as team:
            return await team.generate("?", max_tokens=20)

    return run_on_fake_clock(write())


def test_an_answer_goes_on_where_the_log_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    log_to_stderr()
    stream.close()
    answer = answer_under_faults()
    assert answer.tokens > 1
    assert answer.lost


@pytest.mark.parametrize(
    "asked", ["", "import logging; logging.basicConfig()", "from tokencollab.actors.log import *\nlog_to_stderr()"]
)
def test_a_library_is_silent_unless_asked_and_never_writes_on_standard_output(asked: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", asked + FAULTY], cwd=ROOT.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert ("model down" in done.stderr) == ("model lost" in done.stderr) == bool(asked)
    assert "\x1b" not in done.stderr  # no colours where nobody looks


def test_records_have_their_figures_and_the_place_they_are_from(caplog: pytest.LogCaptureFixture) -> None:
    answer_under_faults()
    down = [record for record in caplog.records if record.name == "tokencollab.actors.supervisor"]
    assert {record.event for record in down} == {"model down"}  # type: ignore[attr-defined]
    assert {record.model for record in down} <= {"a", "b"}  # type: ignore[attr-defined]
    assert {record.module for record in down} == {"supervisor"}
    assert down[0].getMessage() == f"model down: model={down[0].model}, reason={down[0].reason}"  # type: ignore[attr-defined]


def test_the_json_lines_in_logging_md_are_as_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = [block for block in re.findall(r"```python\n(.*?)```", LOGGING, re.DOTALL) if "JSON" in block]
    logger = logging.getLogger("tokencollab")
    try:
        exec(program, {})  # noqa: S102 - our own documentation
        Log("tokencollab.x").warning("model down", model="a", reason="100 % gone")
    finally:
        logger.handlers = logger.handlers[:1]
    out, err = capsys.readouterr()
    line = json.loads(err)
    assert out == ""
    assert {"event": "model down", "level": "warning", "logger": "tokencollab.x", "model": "a"}.items() <= line.items()
    assert line["reason"] == "100 % gone"


def test_no_figure_has_the_name_of_a_records_own_attribute() -> None:
    own = {*vars(logging.makeLogRecord({})), "message", "asctime", "event"}
    found = {
        keyword.arg
        for module in ROOT.rglob("*.py")
        for call in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "log"
        for keyword in call.keywords
    }
    assert {"model", "reason"} <= found
    assert not found & own

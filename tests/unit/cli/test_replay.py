"""`tokencollab replay` as a table."""

import json
from pathlib import Path

import pytest

from tests.support.checksums import without_checksum
from tests.unit.cli.repl.replkit import scripted_shell
from tokencollab.cli import main

WILD = "[red]:smile:\x1b[2J\x9b\u202e" + "long " * 50
SHOWN = "[red]:smile:\ufffd[2J\ufffd\ufffd" + "long " * 50


def replayed(trace: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The lines of the table."""
    with pytest.raises(SystemExit) as end:
        main(["replay", str(trace), *arguments])
    out, err = capsys.readouterr()
    assert (end.value.code, err) == (0, "")
    return out.splitlines()


def test_a_row_of_samples_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "samples.jsonl"
    name = f"{WILD}x"
    samples = [{name: [f"{WILD}y\nz"]}, {name: ["plain"]}]
    trace.write_text("".join(json.dumps({"samples": each}) + "\n" for each in samples))
    heading, *rows = replayed(trace, capsys, "--method", "modelswitch")
    assert len(rows) == 2
    assert rows[0].startswith("1     " + SHOWN + "y\\nz  " + SHOWN + "x  1        1   " + SHOWN + "y\\nz 1.000")
    assert heading.split() == ["line", "answer", "decided", "by", "samples", "of", "scores"]


async def test_a_row_of_tokens_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "tokens.jsonl"
    async with scripted_shell() as shell:
        await shell.do("be wild", f"/save {trace}")
    lines = [without_checksum(line) for line in trace.read_text(encoding="utf-8").splitlines()]
    trace.write_text("\n".join(lines).replace("sky ", "\x9b\u202e" + "sky" * 60))
    rows = replayed(trace, capsys)
    assert len(rows) == len(lines)
    assert "\ufffd\ufffd" + "sky" * 60 in rows[2]

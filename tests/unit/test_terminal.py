"""What a person sees beside the answer, where it is written to a log."""

import pytest

from tokencollab.batch.run import Progress
from tokencollab.terminal import print_batch_summary


def test_a_row_of_figures_is_one_line_and_a_path_in_it_stands_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    out = f"/data/{'deep/' * 40}[bold]run[1]/answers.jsonl"
    print_batch_summary(Progress(10, done=7), method="unite", out=out, before=10, failed=0, bad=0)
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().err.splitlines()]
    assert [first for first, _ in lines] == ["method", "answers", "tokens", "cost"]
    assert lines[1][1] == f"17 in {out}, 10 of them from before"

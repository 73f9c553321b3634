"""What a person sees beside the answer, where it is written to a log."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from tokencollab import pool
from tokencollab.actors.answer import Answer
from tokencollab.cli import terminal
from tokencollab.cli.batch import print_summary
from tokencollab.cli.terminal import (
    ProgressView,
    RunView,
    print_table,
    response_table,
    summary_table,
)
from tokencollab.pool import Progress
from tokencollab.protocol.text import harmless
from tokencollab.response import Response, Usage


def test_a_row_of_figures_is_one_line_and_a_path_in_it_stands_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    out = f"/data/{'deep/' * 40}[bold]run[1]/answers.jsonl"
    print_summary(Progress(10, done=7), method="unite", out=out, before=10, failed=0, bad=0)
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().err.splitlines()]
    assert [first for first, _ in lines] == ["method", "answers", "tokens", "cost"]
    assert lines[1][1] == f"17 in {out}, 10 of them from before"


NAMES = ["[bold]one[/bold]", "two[1]", ":smile: x", "a\\[b]", "\x1b[2J\x9b1m\u202e\u2028", "up\ndown\t."]


@pytest.mark.parametrize("console", [None, Console(file=StringIO(), width=200)], ids=["a pipe", "the prompt"])
@pytest.mark.parametrize("name", NAMES)
def test_names_and_answers_stand_as_they_are_and_a_row_stays_a_row(
    name: str, console: Console | None, capsys: pytest.CaptureFixture[str]
) -> None:
    response = Response(
        answer=name, text=name, decided_by=name, reason="consistent", answers={name: [name, None]}, scores={name: 1.0},
        samples=2, budget=2, begun=2, method="modelswitch", models=(name,), seed=0, tokens=4, cost=4.0, seconds=0.1,
        usage={name: Usage(2, 4, 4.0)}, lost=(name,),
    )  # fmt: skip
    if console is None:
        print_table(response_table(response), stderr=True)
        printed = capsys.readouterr().err
    else:
        console.print(response_table(response))
        assert isinstance(console.file, StringIO)
        printed = console.file.getvalue()
        console.file.truncate(console.file.seek(0))
    rows = [line.rstrip() for line in printed.splitlines()]
    shown = harmless(name).replace("\n", "\\n").replace("\t", "\\t")
    assert len(rows) == 7
    assert [row.count(shown) for row in rows] == [0, 1, 0, 2, 1, 0, 1]


def test_figures_that_are_not_known_are_left_out() -> None:
    """As of an answer that was read from a trace."""
    known = Answer(
        text="x", finish_reason="end", tokens=2, cost=4, aligned=0, exit_step=None, models=("one",), method="base",
        seed=0, seconds=1.0, first_token_seconds=None, ms_per_token=None, agreed=0, together=0, proposed={},
        forwarded={"one": 1.0}, lost={}, pieces=(b"x", None),
    )  # fmt: skip
    console = Console(file=StringIO(), width=200)
    console.print(summary_table(known))
    console.print(summary_table(replace(known, seconds=0.0, forwarded={})))
    assert isinstance(console.file, StringIO)
    rows = [" ".join(line.split()) for line in console.file.getvalue().splitlines()]
    method, cost = "method base, base one, seed 0", "cost 4 candidate sets"
    assert rows == [
        *(method, "tokens 2 in 1.0 s; finished: end", cost, "forwarded one 1.00 tokens per piece"),
        *(method, "tokens 2; finished: end", cost),
    ]


def test_notices_are_harmless_and_texts_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    for view in (ProgressView(), RunView("answers", 10)):
        view.say("[red]:smile:\x1b[2J\x9b")
        assert capsys.readouterr().err == "[red]:smile:\ufffd[2J\ufffd\n"


def test_a_run_is_a_line_now_and_then_and_one_at_its_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    for module in (pool, terminal):
        monkeypatch.setattr(module, "monotonic", lambda: now[0])
    view, run = RunView("answers", 60), Progress(1_000, before=100)
    run.restart()
    for now[0], run.done in ((59.0, 1), (100.0, 90), (101.0, 91), (200.0, 900)):
        view.show(run)
    assert capsys.readouterr().err.splitlines() == [
        "190 of 1,000 answers, about 15 min 00 s left",
        "1,000 of 1,000 answers, about 0.0 s left",
    ]
    run = Progress(4, done=1, failed=1, tokens=50)
    run.started, now[0] = 200.0, 210.0
    RunView("answers", 0).show(run)
    assert capsys.readouterr().err == "2 of 4 answers, 1 failed, 5 tokens/s, about 10.0 s left\n"

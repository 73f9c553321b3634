"""What a person sees: the answer, and beside it progress, notices, the summary, on standard error.

A model, a file and a name may say anything. What goes to a terminal, and whatever goes to standard error, passes
`protocol.text.harmless`; an answer in a file or a pipe is as it is, byte for byte.
"""

import json
import logging
import sys
from time import monotonic
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from tokencollab.actors.answer import Answer
from tokencollab.actors.log import log_to_stderr
from tokencollab.pool import Progress as RunProgress
from tokencollab.protocol.text import harmless, one_line
from tokencollab.response import Response

UNBROKEN: Final = 10_000
"""Columns: no row is broken."""


def put(text: str, end: str = "\n") -> None:
    """Prints ``text`` on standard output at once: as it is in a file or a pipe, harmless on a terminal."""
    print(harmless(text) if sys.stdout.isatty() else text, end=end, flush=True)


def put_json(value: object) -> None:
    """Prints ``value`` as a line of JSON; on a terminal harmful characters are escaped, which changes no value."""
    text = json.dumps(value, ensure_ascii=False)
    if sys.stdout.isatty():
        text = "".join(c if harmless(c) == c else json.dumps(c)[1:-1] for c in text)
    print(text, flush=True)


def tell(text: str) -> None:
    """Prints a message on standard error: one line, harmless."""
    print(one_line(text), file=sys.stderr, flush=True)


def add_row(table: Table, *cells: str, style: str = "") -> None:
    """A row of texts as they are: what looks like markup stays, and nothing in a cell breaks the row."""
    table.add_row(*(Text(harmless(c).replace("\n", "\\n").replace("\t", "\\t")) for c in cells), style=style)


def headed_table(*headings: str) -> Table:
    """A table without rows; a column whose heading begins with ``>`` is aligned to the right."""
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(
            Text(one_line(heading.removeprefix(">"))), justify="right" if heading.startswith(">") else "left"
        )
    return table


def figures_table() -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def print_table(table: Table, *, stderr: bool = False) -> None:
    """As wide as the terminal; in a log or a pipe a row is one line, and a path in it one word."""
    stream = sys.stderr if stderr else sys.stdout
    Console(stderr=stderr, markup=False, width=None if stream.isatty() else UNBROKEN).print(table)


def quiet_logs(only_errors: bool = False) -> None:
    """Log events of warning and above, or errors alone, on standard error."""
    log_to_stderr(logging.ERROR if only_errors else logging.WARNING)


class _View:
    """A moving line on a terminal, plain lines elsewhere. It is closed at the end of its block."""

    def __init__(self, *columns: ProgressColumn) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(*columns, TimeElapsedColumn(), console=self._console, transient=True)
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _move(self, text: str, done: int, total: int | None) -> None:
        if self._task is None:
            self._bar.start()
            self._task = self._bar.add_task(one_line(text), total=total)
        self._bar.update(self._task, description=one_line(text), completed=done, total=total)

    def say(self, text: str) -> None:
        self._console.print(Text(harmless(text)), style="yellow", soft_wrap=True)

    def close(self) -> None:
        if self._task is not None:
            self._bar.stop()
            self._task = None


class ProgressView(_View):
    """What is being fetched and loaded."""

    def __init__(self) -> None:
        super().__init__(SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn())
        self._last = ""

    def update(self, what: str, done: int, total: int) -> None:
        """What is going on, how much is done, of how much (0: not known)."""
        if what == "ready":
            return
        if self._console.is_terminal:
            self._move(what, done, total or None)
        elif what != self._last:
            tell(f"{what} ...")
            self._last = what


class RunView(_View):
    """How far a run is, with the time left: a bar on a terminal, elsewhere a line now and then."""

    def __init__(self, what: str, every_seconds: float) -> None:
        """``what`` are counted; ``every_seconds``: between two lines."""
        super().__init__(SpinnerColumn(), BarColumn(), TextColumn("{task.description}", markup=False))
        self._what, self._every = what, every_seconds
        self._due = monotonic() + every_seconds

    def show(self, run: RunProgress) -> None:
        """Called every moment or so, or after every answer."""
        text = f"{run.finished:,} of {run.total:,} {self._what}"
        if run.failed:
            text += f", {run.failed} failed"
        if run.tokens:
            text += f", {run.tokens / run.seconds:.0f} tokens/s"
        if (left := run.seconds_left) is not None:
            text += f", about {duration(left)} left"
        if self._console.is_terminal:
            self._move(text, run.finished, run.total)
        elif monotonic() >= self._due or run.finished == run.total:
            self._due = monotonic() + self._every
            tell(text)


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s"


def summary_table(answer: Answer) -> Table:
    table = figures_table()
    speed = "" if answer.ms_per_token is None else f", {answer.ms_per_token:.1f} ms per token"
    add_row(table, "method", f"{answer.method}, base {answer.models[0]}, seed {answer.seed}")
    time = f" in {answer.seconds:.1f} s{speed}" if answer.seconds else ""  # an answer of a trace has none
    add_row(table, "tokens", f"{answer.tokens}{time}; finished: {answer.finish_reason}")
    add_row(table, "cost", f"{answer.cost} candidate sets")
    if answer.together:
        share = answer.agreed / answer.together
        add_row(table, "agreed", f"in {answer.agreed} of {answer.together} common steps ({share:.0%})")
        first = ", ".join(f"{model} {steps}" for model, steps in answer.proposed.items())
        add_row(table, "first choice of", first)
    if len(answer.models) > 1:
        add_row(table, "base alone", answer.when_solo)
    if answer.forwarded:
        forwarded = ", ".join(f"{model} {tokens:.2f}" for model, tokens in answer.forwarded.items())
        add_row(table, "forwarded", f"{forwarded} tokens per piece")
    if answer.lost:
        add_row(table, "lost", ", ".join(f"{model} {times} times" for model, times in answer.lost.items()))
    return table


def response_table(response: Response) -> Table:
    table = figures_table()
    add_row(table, "method", f"{response.method}, seed {response.seed}")
    match response.reason:
        case "unreadable":
            how = "no answer could be read"
        case "consistent" | "judged" | "written":
            how = f"by {response.decided_by} ({response.reason})"
        case reason:
            how = f"by {reason}"
    add_row(table, "decided", how)
    add_row(table, "samples", f"{response.samples} of {response.budget}; {response.begun} begun")
    for model, usage in response.usage.items():
        if not usage.answers:
            add_row(table, model, "not asked")
            continue
        given = ", ".join("-" if answer is None else answer for answer in response.answers.get(model, ()))
        work = f"{usage.tokens} tokens, prefill {usage.prefill_seconds:.1f} s, decode {usage.decode_seconds:.1f} s"
        add_row(table, model, f"{given[:60]}{'...' if len(given) > 60 else ''}  ({work})")
    if response.scores:
        best = ", ".join(f"{answer[:20]} {score:.3f}" for answer, score in list(response.scores.items())[:5])
        add_row(table, "scores", best)
    add_row(table, "cost", f"{response.cost:g} in {response.seconds:.1f} s")
    if response.lost:
        add_row(table, "lost", ", ".join(response.lost))
    return table

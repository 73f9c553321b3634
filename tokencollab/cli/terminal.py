"""What a person sees beside the answer: progress, notices, the summary. All of it on standard error."""

import logging
import sys
from collections.abc import Mapping, Sequence
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

import structlog
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from tokencollab.actors.answer import Answer
from tokencollab.actors.platform.registry import Entry
from tokencollab.pool import Progress as RunProgress
from tokencollab.response import Response

UNBROKEN: Final = 10_000
"""Columns: no row is broken."""
_CONTROLS: Final = (*range(0x20), *range(0x7F, 0xA0))
_LINE_ENDS_AND_DIRECTIONS: Final = (0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_SURROGATES: Final = range(0xD800, 0xE000)  # no encoding has them
_HARMFUL: Final = frozenset(map(chr, (*_CONTROLS, *_LINE_ENDS_AND_DIRECTIONS, *_SURROGATES))) - {"\n", "\t"}


def harmless(text: str) -> str:
    """``text`` without what commands a terminal or turns round what stands behind it: a model may write anything."""
    return "".join("\ufffd" if c in _HARMFUL else c for c in text)


def add_row(table: Table, *cells: str, style: str = "") -> None:
    """A row of texts as they are: what looks like markup stays, and nothing in a cell breaks the row."""
    table.add_row(*(Text(harmless(c).replace("\n", "\\n").replace("\t", "\\t")) for c in cells), style=style)


def print_table(table: Table, *, stderr: bool = False) -> None:
    """As wide as the terminal; in a log or a pipe a row is one line, and a path in it one word."""
    stream = sys.stderr if stderr else sys.stdout
    Console(stderr=stderr, markup=False, width=None if stream.isatty() else UNBROKEN).print(table)


def _say(console: Console, text: str) -> None:
    console.print(Text(harmless(text)), style="yellow", soft_wrap=True)


def quiet_logs(only_errors: bool = False) -> None:
    """Log events of warning and above, or errors alone, on standard error."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR if only_errors else logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


class ProgressView:
    """A moving line on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        """Shows nothing yet."""
        self._console = Console(stderr=True)
        self._moving = self._console.is_terminal
        self._last = ""
        self._task: TaskID | None = None
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def update(self, what: str, done: int, total: int) -> None:
        """What is going on, how much is done, of how much (0: not known)."""
        if what == "ready":
            return
        if not self._moving:
            if what != self._last:
                print(f"{what} ...", file=sys.stderr, flush=True)
                self._last = what
            return
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task(what, total=None)
        self._progress.update(self._task, description=what, completed=done, total=total or None)

    def say(self, text: str) -> None:
        """A notice that stays."""
        _say(self._console, text)

    def close(self) -> None:
        """Takes the moving line away."""
        if self._task is not None:
            self._progress.stop()


class RunView:
    """How far a run is, with the time left: a bar on a terminal, elsewhere a line now and then."""

    def __init__(self, what: str, every_seconds: float) -> None:
        """``what`` are counted; ``every_seconds``: between two lines."""
        self._console = Console(stderr=True)
        self._what, self._every = what, every_seconds
        self._due = monotonic() + every_seconds
        self._bar = Progress(
            SpinnerColumn(),
            BarColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def show(self, run: RunProgress) -> None:
        """Called every moment or so, or after every answer."""
        text = f"{run.finished:,} of {run.total:,} {self._what}"
        if run.failed:
            text += f", {run.failed} failed"
        if run.tokens:
            text += f", {run.tokens / run.seconds:.0f} tokens/s"
        if (left := run.seconds_left) is not None:
            text += f", about {_duration(left)} left"
        if self._console.is_terminal:
            if self._task is None:
                self._bar.start()
                self._task = self._bar.add_task(text, total=run.total)
            self._bar.update(self._task, completed=run.finished, description=text)
        elif monotonic() >= self._due or run.finished == run.total:
            self._due = monotonic() + self._every
            print(text, file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """A notice that stays."""
        _say(self._console, text)

    def close(self) -> None:
        """Takes the bar away."""
        if self._task is not None:
            self._bar.stop()
            self._task = None


def print_evaluation(summary: Mapping[str, Any]) -> None:
    """The methods of an evaluation, on standard output."""
    table = Table(box=None, pad_edge=False)
    headings = ("method", "accuracy", "95 %", "cost", "loss", "save", "ms/token", "tokens", "unreadable")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for name, row in summary["methods"].items():
        low, high = row["accuracy_ci"]
        add_row(
            table,
            name,
            f"{row['accuracy']:.1%}",
            f"{low:.1%} - {high:.1%}",
            f"{row['cost']:.1f}",
            "" if row["loss"] is None else f"{row['loss']:+.1%}",
            "" if row["save"] is None else f"{row['save']:.1%}",
            "" if row["ms_per_token"] is None else f"{row['ms_per_token']:.1f}",
            f"{row['tokens_mean']:.1f}",
            str(row["unreadable"]),
        )
    print_table(table)


def print_summary(answer: Answer) -> None:
    """Figures of an answer, on standard error."""
    print_table(summary_table(answer), stderr=True)


def summary_table(answer: Answer) -> Table:
    """Figures of an answer."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
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


def print_platform(entries: Sequence[Entry]) -> None:
    """The models of a platform, on standard output."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("name", "health", "sessions", "tokens/s", "memory", "restarts", "model"):
        table.add_column(title, justify="right" if title in ("sessions", "tokens/s", "memory", "restarts") else "left")
    for entry in entries:
        info = entry.info
        what = "" if info is None else f"{info.engine}, {info.dtype}, context {info.context_length}"
        figures = entry.figures
        add_row(
            table,
            entry.name,
            entry.health,
            str(figures.sessions),
            f"{entry.tokens_per_second:.1f}",
            f"{figures.memory / 1e6:.0f} MB",
            str(entry.restarts),
            what,
        )
    print_table(table)


def print_response(response: Response) -> None:
    """Figures of a response, on standard error."""
    print_table(response_table(response), stderr=True)


def response_table(response: Response) -> Table:
    """Figures of a response."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
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


def print_batch_summary(batch: RunProgress, *, method: str, out: str, before: int, failed: int, bad: int) -> None:
    """Figures of a batch, on standard error.

    ``before``: answers that were there already; ``failed``: lines of the file with an error; ``bad``: prompt lines
    that could not be used.
    """
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    add_row(table, "method", method)
    add_row(table, "answers", f"{before + batch.done} in {out}" + (f", {before} of them from before" if before else ""))
    if failed:
        add_row(table, "failed", f"{failed}; --retry-failed asks them again")
    if bad:
        add_row(table, "skipped", f"{bad} bad lines")
    if batch.done:
        speed = batch.tokens / batch.seconds
        add_row(table, "tokens", f"{batch.tokens} in {_duration(batch.seconds)}, {speed:.1f} tokens/s")
        add_row(table, "cost", f"{batch.cost:.12g} candidate sets")
    if batch.lost:
        add_row(table, "lost", f"models were lost {batch.lost} times; `answer.lost` says in which answers")
    print_table(table, stderr=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{seconds:.1f} s"

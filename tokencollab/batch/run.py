"""Answers many prompts at once, and records each answer when it is there."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any, TypeAlias

from tokencollab.actors.asking import Heard, ask
from tokencollab.actors.collaboration import Collaboration
from tokencollab.batch.prompts import PromptLine
from tokencollab.batch.record import AnswerFile
from tokencollab.protocol.errors import PlatformFull, TokencollabError, UsageError
from tokencollab.responses.methods import ResponseMethod

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds until full models are asked again


class GivenUp(TokencollabError):
    """So many answers failed one after the other that it is not the questions' fault."""


@dataclass
class Progress:
    """Figures of a run, kept up to date while it goes on.

    Attributes:
        total: questions to answer in this run.
        done: answered in this run.
        failed: that have no answer, in this run.
        tokens: pieces committed so far, those of answers that are being written included.
        cost: candidate sets of the finished answers, between models weighted by their prices.
        lost: how often a model was lost, in the finished answers.
    """

    total: int
    done: int = 0
    failed: int = 0
    tokens: int = 0
    cost: float = 0
    lost: int = 0
    started: float = field(default_factory=monotonic)

    def restart(self) -> None:
        """Counts the time from now on: the models are ready."""
        self.started = monotonic()

    @property
    def seconds(self) -> float:
        """Since the first question was put."""
        return monotonic() - self.started

    @property
    def left_seconds(self) -> float | None:
        """What the rest will take at the speed so far; None while nothing is finished."""
        finished = self.done + self.failed
        return self.seconds / finished * (self.total - finished) if finished else None


@dataclass(frozen=True, slots=True)
class Written:
    """What a prompt line got: as JSON, its cost, and how often a model was lost."""

    answer: dict[str, Any]
    cost: float
    lost: int


Write: TypeAlias = Callable[[PromptLine, Progress], Awaitable[Written]]
"""Writes the answer to a line, counting its tokens as they come."""


def write_together(team: Collaboration) -> Write:
    """By the team's own method, token by token."""

    async def write(line: PromptLine, progress: Progress) -> Written:
        stream = team.stream(line.messages, max_tokens=line.max_tokens, stop=line.stop, seed=line.seed)
        try:
            async for token in stream:
                progress.tokens += token.piece != b""
            answer = stream.answer
            return Written(answer.to_json(), answer.cost, sum(answer.lost.values()))
        finally:
            await stream.aclose()

    return write


def write_between(team: Collaboration, method: ResponseMethod, extract: str) -> Write:
    """By a method between models, which draws whole answers of them."""

    async def write(line: PromptLine, progress: Progress) -> Written:
        def heard(sample: Heard) -> None:
            progress.tokens += sample.tokens

        response = await ask(
            team, line.messages, method, extract=extract, max_tokens=line.max_tokens, stop=line.stop, seed=line.seed,
            heard=heard,
        )  # fmt: skip
        return Written(response.to_json(), response.cost, len(response.lost))

    return write


async def answer_all(
    team: Collaboration,
    lines: Sequence[PromptLine],
    file: AnswerFile,
    *,
    sessions: int,
    progress: Progress,
    write: Write | None = None,
    report: Callable[[PromptLine, str], None] = lambda line, reason: None,
    patience: int = 10,
) -> None:
    """Writes an answer to every line, ``sessions`` at a time, in the order in which they are finished.

    Cancelling it is safe at any moment: what is recorded stays recorded, and nothing else is.

    Args:
        team: the models, ready.
        lines: the questions that are still open.
        file: where the answers go.
        sessions: how many answers are written at once.
        progress: is kept up to date.
        write: how an answer is written; by the team's own method unless given.
        report: hears of lines that have no answer, with the reason.
        patience: after so many failures of models in a row, with no answer in between, the run ends.

    Raises:
        CannotWrite: the file takes no more.
        GivenUp: the models fail; every open line can be tried again.
    """
    waiting = iter(lines)
    clerk = _Clerk(file, progress, report, max(patience, sessions))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(sessions, len(lines))):
                group.create_task(_work(write or write_together(team), waiting, clerk))
    except* TokencollabError as errors:
        raise errors.exceptions[0] from None


async def _work(write: Write, waiting: Iterator[PromptLine], clerk: "_Clerk") -> None:
    for line in waiting:
        try:
            written = await _answer(write, line, clerk.progress)
        except TokencollabError as error:
            await clerk.failed(line, error)
        else:
            clerk.progress.cost += written.cost
            clerk.progress.lost += written.lost
            await clerk.answered(line, written.answer)


async def _answer(write: Write, line: PromptLine, progress: Progress) -> Written:
    pause = _SHORTEST_PAUSE
    while True:
        try:
            return await write(line, progress)
        except PlatformFull:  # others use the models too: a batch has time
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


class _Clerk:
    """Writes one line at a time, outside the event loop: waiting for a disk must not hold up tokens."""

    def __init__(
        self, file: AnswerFile, progress: Progress, report: Callable[[PromptLine, str], None], patience: int
    ) -> None:
        self.progress = progress
        self._file = file
        self._report = report
        self._patience = patience
        self._turn = asyncio.Lock()
        self._in_a_row = 0

    async def answered(self, line: PromptLine, answer: dict[str, object]) -> None:
        await self._write(partial(self._file.answer, line, answer))
        self._in_a_row = 0
        self.progress.done += 1

    async def failed(self, line: PromptLine, error: TokencollabError) -> None:
        reason = " ".join(str(error).split())
        if not isinstance(error, UsageError):
            self._in_a_row += 1
            if self._in_a_row >= self._patience:
                raise GivenUp(f"{self._in_a_row} answers in a row failed, the last one because {reason}")
        await self._write(partial(self._file.error, line, f"{type(error).__name__}: {reason}"))
        self.progress.failed += 1
        self._report(line, reason)

    async def _write(self, write: Callable[[], None]) -> None:
        async with self._turn:
            # Shielded: the thread goes on when the run is cancelled, and the file must not be closed under it.
            writing = asyncio.ensure_future(asyncio.to_thread(write))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await writing
                raise

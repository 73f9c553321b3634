"""Answers many prompts at once, and records each answer when it is there."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

from tokencollab.actors.answer import Answer
from tokencollab.actors.collaboration import Collaboration
from tokencollab.batch.prompts import PromptLine
from tokencollab.batch.record import AnswerFile
from tokencollab.protocol.errors import PlatformFull, TokencollabError, UsageError

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
        cost: candidate sets of the finished answers.
        lost: how often a model was lost, in the finished answers.
    """

    total: int
    done: int = 0
    failed: int = 0
    tokens: int = 0
    cost: int = 0
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


async def answer_all(
    team: Collaboration,
    lines: Sequence[PromptLine],
    file: AnswerFile,
    *,
    sessions: int,
    progress: Progress,
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
                group.create_task(_work(team, waiting, clerk))
    except* TokencollabError as errors:
        raise errors.exceptions[0] from None


async def _work(team: Collaboration, waiting: Iterator[PromptLine], clerk: "_Clerk") -> None:
    for line in waiting:
        try:
            answer = await _answer(team, line, clerk.progress)
        except TokencollabError as error:
            await clerk.failed(line, error)
        else:
            clerk.progress.cost += answer.cost
            clerk.progress.lost += sum(answer.lost.values())
            await clerk.answered(line, answer.to_json())


async def _answer(team: Collaboration, line: PromptLine, progress: Progress) -> Answer:
    pause = _SHORTEST_PAUSE
    while True:
        stream = team.stream(line.messages, max_tokens=line.max_tokens, stop=line.stop, seed=line.seed)
        try:
            async for token in stream:
                progress.tokens += token.piece != b""
            return stream.answer
        except PlatformFull:  # others use the models too: a batch has time
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            await stream.aclose()


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

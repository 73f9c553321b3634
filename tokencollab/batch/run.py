"""Answers many prompts concurrently, and records each answer as soon as it is finished."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from tokencollab.asking import Heard, ask
from tokencollab.batch.prompts import PromptLine
from tokencollab.batch.record import AnswerFile
from tokencollab.collaboration import Collaboration
from tokencollab.errors import PlatformFull, RunStopped, TokencollabError, UsageError
from tokencollab.policies.responses.response_methods import ResponseMethod
from tokencollab.pool import PATIENCE, Progress, run_pool, when_there_is_room
from tokencollab.records import in_thread


@dataclass(frozen=True, slots=True)
class WriteAnswer:
    """What a prompt line got: as JSON, its cost, and how often a model was lost."""

    answer: dict[str, Any]
    cost: float
    lost: int


Write: TypeAlias = Callable[[PromptLine, Progress], Awaitable[WriteAnswer]]
"""Writes the answer to a line, counting its tokens as they come."""


def write_together(team: Collaboration) -> Write:
    """By the team's own method, token by token."""

    async def write(line: PromptLine, progress: Progress) -> WriteAnswer:
        stream = team.stream(
            line.messages,
            max_tokens=line.max_tokens,
            stop=line.stop,
            seed=line.seed,
            max_seconds=line.max_seconds,
            require_room=True,
        )
        try:
            async for token in stream:
                progress.tokens += token.piece != b""
            answer = stream.answer
            return WriteAnswer(answer.to_json(), answer.cost, sum(answer.lost.values()))
        finally:
            await stream.aclose()

    return write


def write_between(team: Collaboration, method: ResponseMethod, extract: str) -> Write:
    """By a response-level method, which draws whole answers."""

    async def write(line: PromptLine, progress: Progress) -> WriteAnswer:
        if line.max_seconds is not None:
            raise UsageError(
                "max_seconds is for methods that write one answer together, not for methods between models"
            )

        def heard(sample: Heard) -> None:
            progress.tokens += sample.tokens

        response = await ask(
            team, line.messages, method, extract=extract, max_tokens=line.max_tokens, stop=line.stop, seed=line.seed,
            heard=heard,
        )  # fmt: skip
        return WriteAnswer(response.to_json(), response.cost, len(response.lost))

    return write


async def answer_all(
    team: Collaboration,
    lines: Sequence[PromptLine],
    file: AnswerFile,
    *,
    concurrency: int,
    progress: Progress,
    write: Write | None = None,
    report: Callable[[PromptLine, str], None] = lambda line, reason: None,
    patience: int = 10,
    wait_for_room: float = PATIENCE,
) -> None:
    """Writes an answer to every line, ``concurrency`` at a time, in the order in which they are finished.

    Cancelling it is safe at any moment: what is recorded stays recorded, and nothing else is.

    ``write`` is `write_together` unless given. ``report`` is called with each line that has no answer, and the reason.
    After ``patience`` failures of models in a row, with no answer in between, the run ends. A line whose models are
    full for ``wait_for_room`` seconds has no answer; the others are tried all the same.

    Raises:
        CannotWrite: the file takes no more.
        RunStopped: the models fail; every open line can be tried again.
    """
    patience, in_a_row = max(patience, concurrency), 0
    write = write or write_together(team)

    async def answer(line: PromptLine) -> None:
        nonlocal in_a_row
        try:
            written = await when_there_is_room(lambda: write(line, progress), patience=wait_for_room)
        except TokencollabError as error:
            reason = " ".join(str(error).split())
            if not isinstance(error, UsageError | PlatformFull):
                in_a_row += 1
                if in_a_row >= patience:
                    raise RunStopped(f"{in_a_row} answers in a row failed, the last one because {reason}") from error
            await in_thread(partial(file.error, line, f"{type(error).__name__}: {reason}"))
            progress.failed += 1
            report(line, reason)
        else:
            progress.cost += written.cost
            progress.lost += written.lost
            await in_thread(partial(file.answer, line, written.answer))
            in_a_row = 0
            progress.done += 1

    await run_pool(lines, answer, concurrency)

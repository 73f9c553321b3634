"""Runs every method on the same items, many answers at once."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from time import monotonic
from typing import Any

from tokencollab.actors.collaboration import Collaboration
from tokencollab.evaluation.askers import Asker, Given, Question
from tokencollab.evaluation.folder import Record, RunFolder
from tokencollab.evaluation.grading import is_right
from tokencollab.evaluation.items import Item
from tokencollab.evaluation.prompts import PromptName, prompt_of
from tokencollab.protocol.errors import PromptTooLong, TokencollabError

ATTEMPTS = 2
"""How often an answer is asked for in whose course a model was lost."""

Progress = Callable[[int, int], None]
"""Called with the number of answers on disk, and of all."""


class RunStopped(TokencollabError):
    """A model failed, so that what follows would not be answers of the methods."""


class Runner:
    """Puts ``items`` to ``askers``. Items come one after the other, each to every asker.

    So a run that is stopped has the same items for all methods, and all methods meet the same load.
    """

    def __init__(
        self,
        team: Collaboration,
        items: Sequence[Item],
        askers: Sequence[Asker],
        folder: RunFolder,
        *,
        prompt: PromptName,
        max_tokens: int,
        stop: Sequence[str],
        seed: int,
        progress: Progress = lambda done, total: None,
    ) -> None:
        """What is in ``folder`` already is not asked again."""
        self._team, self._folder, self._progress = team, folder, progress
        self._prompt, self._max_tokens, self._stop, self._seed = prompt, max_tokens, tuple(stop), seed
        done = {(record["method"], record["item"]) for record in folder.records()}
        self._work = [(item, asker) for item in items for asker in askers if (asker.name, item.id) not in done]
        self.total = len(items) * len(askers)
        self.done = self.total - len(self._work)

    async def run(self, concurrency: int) -> None:
        """Answers everything that is open, ``concurrency`` answers at a time.

        Cancelling it leaves every finished answer on disk.

        Raises:
            RunStopped: a model was lost, twice.
            TokencollabError: what a model or the folder says.
        """
        work = iter(self._work)
        self._progress(self.done, self.total)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(concurrency, len(self._work))):
                    group.create_task(self._answer(work))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            await self._folder.settle()

    async def _answer(self, work: Iterable[tuple[Item, Asker]]) -> None:
        for item, asker in work:
            question = Question(
                item, prompt_of(item, self._prompt), item_seed(self._seed, item), self._max_tokens, self._stop
            )
            await self._folder.append(await self._ask(asker, question))
            self.done += 1
            self._progress(self.done, self.total)

    async def _ask(self, asker: Asker, question: Question) -> Record:
        lost = ""
        for _ in range(ATTEMPTS):
            try:
                given = await asker.ask(self._team, question)
            except PromptTooLong as error:
                return failed(asker, question.item, str(error))
            if not given.lost:
                return record_of(asker, question.item, given)
            lost = ", ".join(given.lost)
        raise RunStopped(f"{lost} failed while it answered {question.item.id} by {asker.name}; go on with --resume")


def item_seed(seed: int, item: Item) -> int:
    """The seed of an item's answers: the same for every method."""
    return int.from_bytes(blake2b(f"{seed}/{item.id}".encode(), digest_size=8).digest(), "big") >> 11


def record_of(asker: Asker, item: Item, given: Given) -> Record:
    """The line of an answer."""
    record: dict[str, Any] = {
        "method": asker.name,
        "item": item.id,
        "question": item.question,
        "expected": item.answer,
        "text": given.text,
        "answer": given.answer,
        "right": is_right(item, given.answer),
        "cost": given.cost,
        "tokens": given.tokens,
        "aligned": given.aligned,
        "exit_step": given.exit_step,
        "finish_reason": given.finish_reason,
        "seconds": round(given.seconds, 4),
        "first_token_ms": _milliseconds(given.first_token_seconds, 1000),
        "ms_per_token": _milliseconds(given.ms_per_token, 1),
        "forwarded": {model: round(tokens, 3) for model, tokens in given.forwarded.items()},
    }
    if given.response is not None:
        record["response"] = dict(given.response)
    if given.t0:
        record["t0"] = [round(value, 4) for value in given.t0]
    return record


def failed(asker: Asker, item: Item, reason: str) -> Record:
    """The line of an item that could not be put to a method: wrong and unreadable, with the reason."""
    record = record_of(asker, item, Given("", None, 0, 0))
    return {**record, "right": False, "error": reason}


def _milliseconds(value: float | None, factor: float) -> float | None:
    return None if value is None else round(value * factor, 3)


class Estimate:
    """How long a run takes, from the answers since it was started."""

    def __init__(self, done: int, clock: Callable[[], float] = monotonic) -> None:
        """``done`` answers are there already."""
        self._first, self._clock = done, clock
        self._began = clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._began

    def seconds_left(self, done: int, total: int) -> float | None:
        """None: no answer yet."""
        made = done - self._first
        return None if made < 1 else self.elapsed / made * (total - done)

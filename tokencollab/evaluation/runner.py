"""Runs every method on the same items, many answers concurrently."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from tokencollab.answers import same
from tokencollab.collaboration import Collaboration
from tokencollab.errors import PromptTooLong, RunStopped
from tokencollab.evaluation.askers import Asker, GivenAnswer, Question
from tokencollab.evaluation.folder import Record, RunFolder, read_records
from tokencollab.evaluation.grading import Grader
from tokencollab.evaluation.items import Item, kind_of
from tokencollab.evaluation.prompts import PromptName, prompt_of
from tokencollab.pool import Progress, run_pool
from tokencollab.protocol.seeds import derive_seed

ATTEMPTS = 2
"""How often an answer is asked for in whose course a model was lost."""


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
        grader: Grader | None = None,
        show: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        """What is in ``folder`` already is not asked again. ``show`` is called whenever an answer is on disk."""
        self._team, self._folder, self._grader, self._show = team, folder, grader, show
        self._prompt, self._max_tokens, self._stop, self._seed = prompt, max_tokens, tuple(stop), seed
        done = {(record["method"], record["item"]) for record in read_records(folder.path)}
        self._work = [(item, asker) for item in items for asker in askers if (asker.name, item.id) not in done]
        total = len(items) * len(askers)
        self.progress = Progress(total, before=total - len(self._work))

    async def run(self, concurrency: int) -> None:
        """Answers everything that is open, ``concurrency`` answers at a time.

        Cancelling it leaves every finished answer on disk.

        Raises:
            RunStopped: a model was lost, twice, or the grader fails.
            TokencollabError: what a model or the folder says.
        """
        self.progress.restart(concurrency)
        self._show(self.progress)
        await run_pool(self._work, self._answer, concurrency)

    async def _answer(self, work: tuple[Item, Asker]) -> None:
        item, asker = work
        seed = derive_seed(self._seed, item.id)  # the same for every method
        question = Question(item, prompt_of(item, self._prompt), seed, self._max_tokens, self._stop)
        await self._folder.append(await self._ask(asker, question))
        self.progress.done += 1
        self._show(self.progress)

    async def _ask(self, asker: Asker, question: Question) -> Record:
        lost = ""
        for _ in range(ATTEMPTS):
            try:
                given = await asker.ask(self._team, question)
            except PromptTooLong as error:
                record = record_of(asker, question.item, GivenAnswer("", None, 0, 0))
                return {**record, "error": str(error)}  # wrong and unreadable
            if not given.lost:
                return await self._graded(record_of(asker, question.item, given), question.item)
            lost = ", ".join(given.lost)
        raise RunStopped(f"{lost} failed while it answered {question.item.id} by {asker.name}; go on with --resume")

    async def _graded(self, record: Record, item: Item) -> Record:
        """``record`` as the grader of the caller's sees it, if there is one: nothing is unreadable to it."""
        if self._grader is None:
            return record
        right = await asyncio.to_thread(self._grader.grade, record["text"], item)
        return {**record, "right": right, "answer": record["answer"] or record["text"].strip() or None}


def record_of(asker: Asker, item: Item, given: GivenAnswer) -> Record:
    record: dict[str, Any] = {
        "method": asker.name,
        "item": item.id,
        "question": item.question,
        "expected": item.answer,
        "text": given.text,
        "answer": given.answer,
        "right": given.answer is not None and same(given.answer, item.answer, kind_of(item)),
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
    if item.choices is not None:
        record["choices"] = list(item.choices)
    if item.context is not None:
        record["context"] = item.context
    if given.response is not None:
        record["response"] = dict(given.response)
    if given.left:
        record["left"] = dict(given.left)
    if given.t0:
        record["t0"] = [round(value, 4) for value in given.t0]
    return record


def _milliseconds(value: float | None, factor: float) -> float | None:
    return None if value is None else round(value * factor, 3)

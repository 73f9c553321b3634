"""An answer while it is being written, and the figures of a finished one."""

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Protocol, Self

from tokencollab.actors.answer import Answer, FinishReason, Tally, Token


class Writer(Protocol):
    """Who writes the answer: a `Coordinator` of this process or of a platform."""

    tally: Tally
    finish_reason: FinishReason
    first_commit: float | None
    last_commit: float | None

    def cancel(self) -> None: ...

    async def free(self) -> None:
        """Ends a session that was kept open."""


class AnswerStream:
    """An answer while it is being written: an async iterator of `Token`, then an `Answer`.

    To leave early, say `aclose` (or use ``contextlib.aclosing``): it ends the session and frees its memory everywhere.
    Leaving the loop alone does so in the background, as soon as nothing refers to the stream any more.

    Attributes:
        journal: the file that `Collaboration.resume` goes on from, where one is kept.
    """

    def __init__(
        self,
        coordinator: Writer,
        tokens: AsyncGenerator[Token, None],
        finish: Callable[[str], Answer],
        journal: Path | None = None,
        forgotten: Callable[[], None] | None = None,
    ) -> None:
        """``forgotten`` is called, from any thread, where nobody refers to the stream any more before its end."""
        self.journal = journal
        self._forgotten = forgotten
        self._coordinator = coordinator
        self._tokens = tokens
        self._finish = finish
        self._texts: list[str] = []

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Token:
        try:
            token = await anext(self._tokens)
        except StopAsyncIteration:
            self._forgotten = None
            raise
        self._texts.append(token.text)
        return token

    def cancel(self) -> None:
        """Ends the answer at the next moment; the iteration then stops, and `answer` has what was written."""
        self._coordinator.cancel()

    async def aclose(self) -> None:
        """Ends the session now and frees everything. A task that waits for the next token sees the stream end."""
        self._forgotten = None
        try:
            await self._tokens.aclose()
        except RuntimeError:  # the generator is running in that task, which ends it
            self.cancel()
        await self._coordinator.free()

    def __del__(self) -> None:
        if (forgotten := getattr(self, "_forgotten", None)) is not None:
            forgotten()

    @property
    def answer(self) -> Answer:
        """The answer as far as it was read; with its final figures once the iteration has ended."""
        return self._finish("".join(self._texts))


def finished_answer(
    text: str,
    coordinator: Writer,
    names: tuple[str, ...],
    method: str,
    seed: int,
    started: float,
    ended: float,
) -> Answer:
    """The answer with its figures; times are those of the event loop."""
    tally = coordinator.tally
    first, last = coordinator.first_commit, coordinator.last_commit
    later = len(tally.pieces) - 1
    return Answer(
        text=text,
        finish_reason=coordinator.finish_reason,
        tokens=len(tally.pieces),
        cost=tally.cost,
        aligned=tally.aligned,
        exit_step=tally.exit_step,
        models=names,
        method=method,
        seed=seed,
        seconds=ended - started,
        first_token_seconds=None if first is None else first - started,
        ms_per_token=None if first is None or last is None or later < 1 else (last - first) / later * 1000,
        agreed=tally.agreed,
        together=tally.together,
        proposed={name: tally.proposed[name] for name in names},
        forwarded={name: tally.forwarded[name] / max(1, tally.took_part[name] - 1) for name in names},
        lost=dict(tally.lost),
        pieces=tuple(tally.pieces),
        left=dict(tally.left),
        prompt_tokens=tally.prompt_tokens,
    )

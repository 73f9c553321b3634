"""The members of one answer: calls to their models, the loss of one that fails, and its return."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeAlias

from tokencollab import errors
from tokencollab.actors.log import log
from tokencollab.actors.model_session import ModelSession
from tokencollab.errors import ModelDown, ModelGone
from tokencollab.policies import events as e

_LOSSES = 5  # of one model without as many good answers in between, while its process lives: it is left out

Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
Happened: TypeAlias = e.ModelLost | e.ModelJoined


class Membership:
    """The model sessions of one answer."""

    def __init__(
        self, session: str, sessions: Mapping[str, ModelSession], announce: Callable[[Happened], None]
    ) -> None:
        """``announce`` takes the losses and returns as events."""
        self._session = session
        self.sessions = dict(sessions)  # by name, the base first
        self.returning: set[str] = set()  # those that are being brought back
        self._announce = announce
        self.last_loss = ""  # which model it was, and why
        self._losses: dict[str, int] = {}
        self._calls: dict[str, set[asyncio.Task[None]]] = {}
        self._returns: set[asyncio.Task[None]] = set()

    @property
    def quiet(self) -> bool:
        """Whether no model is busy and none comes back: nothing can happen by itself."""
        tasks = (*self._returns, *(task for calls in self._calls.values() for task in calls))
        return all(task.done() for task in tasks)

    async def open(self) -> None:
        """Begins the session at every model. One that fails is lost.

        Raises PromptTooLong, ModelRefused, PlatformFull: a model cannot take this conversation.
        """
        sessions = dict(self.sessions)  # others may join in the meantime
        opening = (session.open() for session in sessions.values())
        outcomes = await asyncio.gather(*opening, return_exceptions=True)
        for model, outcome in zip(sessions, outcomes, strict=True):
            if isinstance(outcome, errors.UsageError | errors.PlatformFull):
                raise outcome
            if outcome is not None:
                self._lose(model, outcome)

    def call(self, model: str, work: Work) -> asyncio.Task[None]:
        """Does ``work`` with a model; whatever goes wrong is announced."""
        calls = self._calls.setdefault(model, set())
        task = asyncio.create_task(self._guard(model, work))
        calls.add(task)
        task.add_done_callback(calls.discard)
        return task

    def answered(self, model: str) -> None:
        """A good answer: it makes up for a loss."""
        if self._losses.get(model):
            self._losses[model] -= 1

    def bring_back(self, model: str) -> None:
        """Makes a model a member again as soon as it is up and has the text so far."""
        if model not in self.returning and self._losses.get(model, 0) < _LOSSES:
            self.returning.add(model)
            task = asyncio.create_task(self._return(model))
            self._returns.add(task)
            task.add_done_callback(self._returns.discard)

    async def close(self, *, keep: bool = False) -> None:
        """Ends everything that is under way, and, unless it is to be kept, the session at every model.

        Also where the caller is cancelled.
        """
        await asyncio.shield(self._close(keep))

    async def _close(self, keep: bool) -> None:
        tasks = [*self._returns, *(task for calls in self._calls.values() for task in calls)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not keep:
            await asyncio.gather(*(session.close() for session in self.sessions.values()))

    async def _guard(self, model: str, work: Work) -> None:
        try:
            await work()
        except Exception as error:  # a model must never take the session with it
            # The other calls to this model would fail too, each announced as another loss.
            for other in self._calls[model] - {asyncio.current_task()}:
                other.cancel()
            self._lose(model, error)

    def _lose(self, model: str, error: BaseException) -> None:
        log.warning("model lost", session=self._session, model=model, reason=f"{type(error).__name__}: {error}")
        self.last_loss = f"{model}: {str(error).partition(chr(10))[0] or type(error).__name__}"
        self.sessions[model].forget()
        self._count(model, error)
        self.bring_back(model)
        self._announce(e.ModelLost(model))

    def _count(self, model: str, error: BaseException) -> None:
        if not isinstance(error, ModelDown | ModelGone):  # those have their own limit (`FaultPolicy.restarts`)
            self._losses[model] = self._losses.get(model, 0) + 1

    async def _return(self, model: str) -> None:
        session = self.sessions[model]
        reason = "it was given up"
        try:
            while self._losses.get(model, 0) < _LOSSES and await session.member.recovered():
                try:
                    await session.catch_up()
                except (errors.UsageError, errors.PlatformFull) as error:
                    reason = str(error)
                    break
                except Exception as error:
                    reason = f"{type(error).__name__}: {error}"
                    self._count(model, error)
                else:
                    # Only now, with the text computed: no other member waits for one that returns.
                    self._announce(e.ModelJoined(model))
                    return
        finally:
            self.returning.discard(model)
        log.warning("model stays out of this answer", session=self._session, model=model, reason=reason)
        self._announce(e.ModelLost(model))

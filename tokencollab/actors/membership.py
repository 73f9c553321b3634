"""The members of one answer: calls to their models, the loss of one that fails, and its return."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeAlias

from tokencollab import errors
from tokencollab.actors.log import Log
from tokencollab.actors.model_session import ModelSession
from tokencollab.errors import ModelDown, ModelGone
from tokencollab.policies import events as e

log = Log(__name__)

_LOSSES = 5  # of one model without as many good answers in between, while its process lives: it is left out
FULL = "its context is full"

Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
Happened: TypeAlias = e.ModelLost | e.ModelJoined | e.ModelExhausted


class Membership:
    """The model sessions of one answer."""

    def __init__(
        self,
        session: str,
        sessions: Mapping[str, ModelSession],
        announce: Callable[[Happened], None],
        left: dict[str, str],
    ) -> None:
        """``announce`` takes the losses and returns as events. ``left``: gets those that have no room for the answer or
        refuse it, and so stay away, with the reason.
        """
        self._session = session
        self._left = left
        self.sessions = dict(sessions)  # by name, the base first
        self._returning: set[str] = set()  # those that are being brought back
        self._unheard: set[str] = set()  # those that are back, and the policy has not heard of it
        self._announce = announce
        self.last_loss = ""  # which model it was, and why
        self._losses: dict[str, int] = {}
        self._late: dict[str, int] = {}  # how often each was too slow
        self._end: asyncio.Future[None] | None = None
        self._calls: dict[str, set[asyncio.Task[None]]] = {}
        self._returns: set[asyncio.Task[None]] = set()

    @property
    def returning(self) -> set[str]:
        """Those that come back, until the policy has heard that they are members again."""
        return self._returning | self._unheard

    def heard(self, model: str) -> None:
        """The policy hears that a model is back."""
        self._unheard.discard(model)

    @property
    def quiet(self) -> bool:
        """Whether no model is busy and none comes back: nothing can happen by itself."""
        tasks = (*self._returns, *(task for calls in self._calls.values() for task in calls))
        return all(task.done() for task in tasks)

    async def open(self, *, require_room: bool = False, resumed: bool = False) -> None:
        """Begins the session at every model. One that fails is lost, one that refuses stays away.

        Raises PromptTooLong, ModelRefused, PlatformFull: the base refuses the conversation, or, with ``require_room``,
            another model is full. A base that has no room for what is written (``resumed``) is at its end instead.
        """
        base = next(iter(self.sessions))
        sessions = dict(self.sessions)  # others may join in the meantime
        opening = (session.open() for session in sessions.values())
        outcomes = await asyncio.gather(*opening, return_exceptions=True)
        for model, outcome in zip(sessions, outcomes, strict=True):
            match outcome:
                case None:
                    pass
                case errors.PromptTooLong() if resumed:
                    self._stays_away(model, outcome)
                case errors.UsageError() | errors.PlatformFull() if model == base:
                    raise outcome
                case errors.PlatformFull() if require_room:
                    raise outcome
                case errors.UsageError() | errors.PlatformFull():
                    self._stays_away(model, outcome)
                case _:
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

    def exhausted(self, model: str) -> None:
        """The context of a model is full: its part in this answer is over."""
        self._left[model] = FULL

    def welcome(self, model: str, session: ModelSession) -> None:
        """Takes in a model that is new, or was started anew under its name."""
        self.sessions[model] = session
        self._left.pop(model, None)
        self.bring_back(model)

    def leave_behind(self, model: str) -> None:
        """Goes on without a model that kept the others waiting. It may come back, after a pause that grows."""
        for call in self._calls.get(model, ()):
            call.cancel()
        self._late[model] = self._late.get(model, 0) + 1
        self._lose(model, ModelDown(f"{model} kept the others waiting for too long"))

    def bring_back(self, model: str) -> None:
        """Makes a model a member again as soon as it is up and has the text so far."""
        tries = max(self._losses.get(model, 0), self._late.get(model, 0))
        if model not in self._returning and model not in self._left and tries < _LOSSES:
            self._returning.add(model)
            task = asyncio.create_task(self._return(model))
            self._returns.add(task)
            task.add_done_callback(self._returns.discard)

    async def close(self, *, keep: bool = False) -> None:
        """Ends everything that is under way, and, unless it is to be kept, the session at every model.

        Also where the caller is cancelled.
        """
        if self._end is None or self._end.done():
            self._end = asyncio.ensure_future(self._close(keep))
        await asyncio.shield(self._end)

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
        log.warning("model lost", session=self._session, model=model, reason=errors.named(error))
        self.last_loss = f"{model}: {errors.text_of(error).partition(chr(10))[0] or type(error).__name__}"
        self.sessions[model].forget()
        self._count(model, error)
        self.bring_back(model)
        self._announce(e.ModelLost(model))

    def _stays_away(self, model: str, error: Exception) -> None:
        """A model that refuses the conversation, or has no room for it."""
        self._left[model] = str(error)
        log.warning("model stays out of this answer", session=self._session, model=model, reason=str(error))
        self._announce(e.ModelExhausted(model) if isinstance(error, errors.PromptTooLong) else e.ModelLost(model))

    def _count(self, model: str, error: BaseException) -> None:
        if not isinstance(error, ModelDown | ModelGone):  # those have their own limit (`FaultPolicy.restarts`)
            self._losses[model] = self._losses.get(model, 0) + 1

    async def _return(self, model: str) -> None:
        session = self.sessions[model]
        reason = "it was given up"
        try:
            await asyncio.sleep(session.member.pause(self._late.get(model, 0)))
            while self._losses.get(model, 0) < _LOSSES and await session.member.recovered():
                try:
                    await session.catch_up()
                except (errors.UsageError, errors.PlatformFull) as error:
                    self._returning.discard(model)
                    self._stays_away(model, error)
                    return
                except Exception as error:
                    reason = errors.named(error)
                    self._count(model, error)
                else:
                    # Only now, with the text computed: no other member waits for one that returns.
                    self._unheard.add(model)
                    self._announce(e.ModelJoined(model))
                    return
        finally:
            self._returning.discard(model)
        log.warning("model stays out of this answer", session=self._session, model=model, reason=reason)
        self._announce(e.ModelLost(model))

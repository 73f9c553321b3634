"""The model actor: one engine in one thread, answering many sessions together.

A plain class; runtimes decide where it lives. Requests that wait at the same time are answered by one call of the
engine, and a session in solo generation is part of every such call until it is done.
"""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, TypeAlias, TypeVar, overload
from uuid import uuid4

from tokencollab.actors.candidates_along import CandidatesAlong
from tokencollab.actors.log import Log
from tokencollab.actors.metrics import KV_BYTES, QUEUE, SESSIONS, listening, record
from tokencollab.actors.preparation import Preparation
from tokencollab.actors.prompt import Prompt, read_prompt, sendable
from tokencollab.actors.solo_generation import Writing
from tokencollab.engines.base import EXTRA_CANDIDATES, Engine, EngineReply, EngineRequest, PreparesPrompts
from tokencollab.errors import (
    ModelFailed,
    ModelGone,
    ModelRefused,
    PlatformFull,
    PromptTooLong,
    UsageError,
    as_failure,
    named,
    refusal,
)
from tokencollab.protocol import messages as m
from tokencollab.protocol.candidates import MAX_CANDIDATES, MAX_OFFSETS, CandidateSet
from tokencollab.protocol.replies import checked_reply

_FAREWELL = 10.0  # seconds that a pass may take to its end before its thread is left alone
_LEASE = 900.0  # seconds without a request after which a session is given up: its owner is gone
_WAITING = 4  # requests of one session that may wait at the same time, on average
_WORTH_WAITING = 0.15  # of a pass: what sharing the next one gains is several times that
_LONGEST_WAIT = 0.02  # seconds

_T = TypeVar("_T")
Prefix: TypeAlias = bytes | Prompt
Deliver: TypeAlias = Callable[[m.Reply | Exception], None]


@dataclass(eq=False)
class _Job:
    """A request, where its replies go, what the engine is asked next for it, and the course of one that takes several
    such questions. ``opening`` is what is left of an `Open` whose prompt is prepared, or why it cannot be.
    """

    request: m.Request
    deliver: Deliver
    ask: EngineRequest | None = None
    course: Writing | CandidatesAlong | None = None
    opening: Callable[[], m.Reply] | Exception | None = None
    cancelled: bool = False


def _settle(future: asyncio.Future[_T], outcome: _T | Exception) -> None:
    """Gives ``future`` its outcome, unless its caller has given up."""
    if future.done():
        return
    if isinstance(outcome, StopIteration):  # which no future takes
        future.set_exception(RuntimeError(f"the model raised {outcome!r}"))
    elif isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


class ModelActor:
    """Serves one engine. All public methods belong to one event loop; the engine to one thread."""

    def __init__(self, load: Callable[[], Engine], *, max_sessions: int = 256, max_batch: int = 64) -> None:
        """Starts the thread, which begins with ``load()``.

        ``max_sessions`` may be open, one more is refused immediately; ``max_batch`` share one forward pass, those
        beyond come first in the next.
        """
        self._max_sessions, self._max_batch = max_sessions, max_batch
        self._sessions: dict[str, float] = {}  # open ones, and when each last asked
        self._ending = self._ended = False  # it has been told to end; it takes no more requests
        self._arrived: list[_Job] = []  # taken from the inbox, not yet among the jobs
        self._suspects: set[str] = set()  # sessions of a pass that failed: each is answered by itself
        self._preparation = Preparation[_Job]()
        # The event loop fills the inbox, the thread fills the outbox. The engine, `_sessions` and `_suspects` belong to
        # the thread alone, so they need no lock.
        # Not a `SimpleQueue`: its `get` waits for ever where a short timeout is over too soon (CPython 3.11).
        self._inbox: queue.Queue[_Job | None] = queue.Queue()
        self._outbox: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._woken = False  # the loop has been told of what is in the outbox
        self._load = load
        self._loaded: asyncio.Future[m.ModelInfo] = asyncio.get_running_loop().create_future()
        self._loaded.add_done_callback(lambda loaded: loaded.cancelled() or loaded.exception())  # it may be nobody's
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._serve, name="tokencollab-model", daemon=True)
        self._thread.start()

    async def ready(self) -> m.ModelInfo:
        """Waits until the engine is loaded. Raises whatever loading raised."""
        return await asyncio.shield(self._loaded)

    async def ask(self, request: m.Request) -> m.Reply:
        """One request, one reply.

        Raises ModelGone: the actor was stopped. Exception: the engine failed.
        """
        future: asyncio.Future[m.Reply] = self._loop.create_future()
        try:
            self._put(_Job(request, partial(_settle, future)))
            return await future
        finally:
            future.cancel()  # nothing where it is done: what comes now has no reader

    @overload
    async def next_candidates(self, prefix: Prefix, k: int = 5, offsets: None = None) -> CandidateSet: ...

    @overload
    async def next_candidates(self, prefix: Prefix, k: int, offsets: Sequence[int]) -> list[CandidateSet]: ...

    async def next_candidates(
        self, prefix: Prefix, k: int = 5, offsets: Sequence[int] | None = None
    ) -> CandidateSet | list[CandidateSet]:
        """What the model would append to ``prefix``: its ``k`` best pieces, in a session of its own.

        Args:
            prefix: a text, which the model goes on with, or a conversation, whose answer it begins.
            k: how many pieces.
            offsets: bytes of a text after which candidates are wanted, in ascending order; a list of sets then.

        Raises:
            UsageError: ``k`` or ``offsets`` are out of range, or the prefix is no text and no conversation.
            PromptTooLong, ModelRefused, PlatformFull, ModelFailed: the model does not answer.
        """
        if isinstance(prefix, str):
            prefix = sendable("the prefix", prefix).encode()
        text, messages = (prefix, ()) if isinstance(prefix, bytes) else (b"", read_prompt(prefix))
        wanted = tuple([len(text)] if offsets is None else offsets)
        if not 1 <= k <= MAX_CANDIDATES - EXTRA_CANDIDATES:
            raise UsageError(f"k must be from 1 to {MAX_CANDIDATES - EXTRA_CANDIDATES}, not {k}")
        if not wanted or list(wanted) != sorted(set(wanted)) or not 0 <= wanted[0] <= wanted[-1] <= len(text):
            raise UsageError(f"offsets must ascend from 0 to the {len(text)} bytes of the prefix at most")
        session, found, start = uuid4().hex, list[CandidateSet](), 0
        request: m.Request = m.Open(session, messages)
        try:
            while True:
                match checked_reply(await self.ask(request)):
                    case m.Opened():
                        pass
                    case m.CandidatesReply() as reply:
                        found += (*reply.earlier, reply.candidates)
                        start = reply.offset
                    case m.Refused(_, kind, reason):
                        raise refusal(kind, reason)
                    case m.ContextExhausted():
                        raise PromptTooLong(f"the {len(text)} bytes of the prefix do not fit into the model's context")
                    case other:
                        raise ModelFailed(f"the model answered {type(other).__name__}")
                if len(found) == len(wanted):
                    break
                rest = wanted[len(found) :][:MAX_OFFSETS]
                request = m.NextCandidates(session, start, text[start : rest[-1]], k, rest)
        finally:
            await self.ask(m.Close(session))
        sets = [CandidateSet(one.candidates[:k], one.log_normaliser) for one in found]
        return sets[0] if offsets is None else sets

    async def write(self, request: m.GenerateSolo) -> AsyncIterator[m.Reply]:
        """Lets the model write alone; the stream ends after EOS, ``max_steps``, or a reply that is not `SoloPiece`."""
        outcomes: asyncio.Queue[m.Reply | Exception] = asyncio.Queue()
        job = _Job(request, outcomes.put_nowait)
        self._put(job)
        try:
            for _ in range(request.max_steps):
                outcome = await outcomes.get()
                if isinstance(outcome, Exception):
                    raise outcome
                yield outcome
                if not isinstance(outcome, m.SoloPiece) or outcome.piece is None:
                    return
        finally:
            job.cancelled = True

    async def stop(self) -> None:
        """Ends the thread; open requests fail. One that still loads, or hangs, is left: it ends by itself, or never."""
        self.abandon()
        if self._loaded.done():
            await asyncio.to_thread(self._thread.join, _FAREWELL)
            await asyncio.to_thread(self._preparation.stop, _FAREWELL)

    def abandon(self) -> None:
        """Ends the thread as soon as it comes to it, without waiting; open requests fail then."""
        self._inbox.put(None)

    def check(self) -> None:
        """Whether the thread is there.

        Raises ModelGone: it is not.
        """
        if self._ended or not self._thread.is_alive():
            raise ModelGone("the model's thread has ended")

    def _put(self, job: _Job) -> None:
        self._inbox.put(job)
        self.check()  # not before: a thread that ends at this moment empties the inbox once more, or is seen here

    def _empty_outbox(self) -> None:
        """Delivers what the thread has sent; what comes meanwhile has the next turn."""
        self._woken = False
        for _ in range(len(self._outbox)):
            function, argument = self._outbox.popleft()
            function(argument)

    # ------------------------------------------------------------ in the thread

    def _call(self, function: Callable[[Any], None], argument: Any) -> None:
        """Calls ``function`` in the event loop.

        The loop is woken once for all that waits: that goes through a socket, in which a signal (Ctrl-C) finds no room
        when a busy loop has thousands of wake-ups before it.
        """
        self._outbox.append((function, argument))
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # the loop is closed: there is no reader left
                self._loop.call_soon_threadsafe(self._empty_outbox)

    def _serve(self) -> None:
        """Whatever this thread dies of, everyone who waits for it hears of that."""
        loaded = partial(_settle, self._loaded)
        jobs: list[_Job] = []
        reason = "the model was stopped"
        try:
            engine = self._load()
            name = engine.info.name
            self._call(loaded, engine.info)
        except BaseException as error:
            self._call(loaded, as_failure(error))
            reason = f"the model could not be loaded: {named(error)}"
        else:
            try:
                self._work(engine, jobs)
            except BaseException as error:
                reason = f"the model's thread has ended: {named(error)}"
                Log(__name__).error("model ended", model=name, reason=reason)
        self._ended = True
        while not self._inbox.empty():
            if (job := self._inbox.get()) is not None:
                jobs.append(job)
        for job in (*self._arrived, *self._preparation.give_up_all(), *jobs):
            self._call(job.deliver, ModelGone(reason))

    def _work(self, engine: Engine, jobs: list[_Job]) -> None:
        """Serves until it is told to end; ``jobs`` are those that have no answer yet."""
        company, window = 0, 0.0  # how many sessions the last pass served, and how long it is worth waiting for them
        while True:
            arrived = self._take(company - len(jobs), window, block=not jobs)
            if self._ending:
                jobs += arrived
                return
            self._expire(engine, jobs)
            self._arrived = arrived
            for job in arrived:
                self._admit(engine, job, jobs)
            self._arrived = []
            jobs[:] = [job for job in jobs if not job.cancelled]
            if jobs:
                company, began = len({job.request.session for job in jobs}), monotonic()
                self._answer(engine, jobs)
                window = min(_LONGEST_WAIT, (monotonic() - began) * _WORTH_WAITING)
            self._measure(engine, jobs)

    def _measure(self, engine: Engine, jobs: list[_Job]) -> None:
        if not listening():
            return
        name = engine.info.name
        record(SESSIONS, len(self._sessions), name)
        record(QUEUE, len(jobs) + self._inbox.qsize(), name)
        record(KV_BYTES, engine.kv_bytes, name)

    def _take(self, expected: int, window: float, block: bool) -> list[_Job]:
        """Everything that waits.

        Sessions that were answered together ask again within a moment: up to ``expected`` of them are waited for, no
        longer than ``window`` seconds, so that they go on sharing their forward passes.
        """
        arrived: list[_Job] = []
        until = 0.0
        while True:
            left = until - monotonic() if 0 < len(arrived) < expected else 0.0
            try:
                if block and not arrived:
                    job = self._inbox.get(timeout=_LEASE)
                    until = monotonic() + window
                else:
                    job = self._inbox.get(block=left > 0, timeout=max(left, 0.0) or None)
            except queue.Empty:
                return arrived
            if job is None:
                self._ending = True
                return arrived
            arrived.append(job)

    def _expire(self, engine: Engine, jobs: list[_Job]) -> None:
        """Closes sessions without a request for the time of the lease."""
        now = monotonic()
        if not self._sessions or now - next(iter(self._sessions.values())) < _LEASE:
            return
        busy = {job.request.session for job in jobs}
        for session in [name for name, used in self._sessions.items() if now - used >= _LEASE and name not in busy]:
            self._forget(engine, session)

    def _forget(self, engine: Engine, session: str) -> None:
        self._sessions.pop(session, None)
        self._suspects.discard(session)
        engine.close(session)

    def _admit(self, engine: Engine, job: _Job, jobs: list[_Job]) -> None:
        session = job.request.session
        if self._sessions.pop(session, None) is not None:
            self._sessions[session] = monotonic()  # the longest unused is the first
        match job.request:
            case m.Open() as request:
                self._prepare(engine, job, request)
            case m.Close():
                self._forget(engine, session)
                self._overtaken(session)
                for other in jobs:
                    if other.request.session == session and not other.cancelled:
                        other.cancelled = True
                        self._call(other.deliver, m.Closed(session))  # whoever still listens must not wait for ever
                self._call(job.deliver, m.Closed(session))
            case _ if len(jobs) >= self._max_sessions * _WAITING:
                self._call(job.deliver, self._full(engine, session, "requests waiting"))
            case m.GenerateSolo() as request:
                job.course = Writing(request)
                job.ask = job.course.first
                jobs.append(job)
            case m.NextCandidates(offsets=offsets) as request if offsets:
                if not request.start <= offsets[0] <= offsets[-1] <= request.start + len(request.data):
                    reason = "the offsets must lie between the start and the end of the text"
                    self._call(job.deliver, m.Refused(session, ModelRefused.__name__, reason))
                    return
                job.course = CandidatesAlong(request)
                job.ask = request
                jobs.append(job)
            case ask:
                job.ask = ask
                jobs.append(job)

    def _prepare(self, engine: Engine, job: _Job, request: m.Open) -> None:
        """Has the prompt prepared in another thread; then the job comes back to the inbox and the session is opened."""
        session = request.session
        if job.opening is not None:
            if self._preparation.end(session, job):
                self._call(job.deliver, self._open(job.opening, session))
            return
        self._overtaken(session)
        if session not in self._sessions and len(self._sessions) + len(self._preparation) >= self._max_sessions:
            self._call(job.deliver, self._full(engine, session, "sessions open"))
        elif isinstance(engine, PreparesPrompts):
            self._preparation.begin(session, job, partial(self._prepared, engine, job, request))
        else:
            self._call(job.deliver, self._open(partial(engine.open, request), session))

    def _prepared(self, engine: PreparesPrompts, job: _Job, request: m.Open) -> None:
        """In a thread of its own."""
        try:
            job.opening = engine.prepare(request)
        except BaseException as error:
            job.opening = as_failure(error)
        self._inbox.put(job)

    def _overtaken(self, session: str) -> None:
        """The session is closed, or opened again, before its prompt was prepared."""
        if (job := self._preparation.give_up(session)) is not None:
            self._call(job.deliver, m.Closed(session))

    def _open(self, opening: Callable[[], m.Reply] | Exception, session: str) -> m.Reply | Exception:
        if isinstance(opening, Exception):
            return opening
        try:
            reply = opening()
        except BaseException as error:
            return as_failure(error)
        if isinstance(reply, m.Opened):
            self._sessions[session] = monotonic()
        return reply

    def _full(self, engine: Engine, session: str, what: str) -> m.Refused:
        reason = (
            f"{engine.info.name} has as many {what} as it may have ({len(self._sessions)} sessions); try again later"
        )
        return m.Refused(session, PlatformFull.__name__, reason)

    def _answer(self, engine: Engine, jobs: list[_Job]) -> None:
        """One call of the engine with the first request of every session that waits."""
        batch: dict[str, _Job] = {}
        for job in jobs:
            batch.setdefault(job.request.session, job)
        chosen = list(batch.values())[: self._max_batch]
        if self._suspects:
            chosen = (
                chosen[:1]
                if chosen[0].request.session in self._suspects
                else [job for job in chosen if job.request.session not in self._suspects]
            )
        try:
            answers = engine.next_candidates([job.ask for job in chosen if job.ask is not None])
        except BaseException as error:
            self._failed(engine, chosen, jobs, as_failure(error))
            return
        for job, answer in zip(chosen, answers, strict=True):
            self._suspects.discard(job.request.session)
            if answer is not None:
                jobs.remove(job)
                try:
                    goes_on = self._goes_on(job, answer)
                except BaseException as error:  # invalid sampling must not end the thread, which others need
                    self._call(job.deliver, as_failure(error))
                    continue
                if goes_on:
                    jobs.append(job)  # behind those that this pass had no room for

    def _failed(self, engine: Engine, chosen: list[_Job], jobs: list[_Job], error: Exception) -> None:
        """A pass that raised. One session may be the reason, so they begin anew, each by itself."""
        for job in chosen:
            jobs.remove(job)
            session = job.request.session
            engine.close(session)
            self._call(job.deliver, m.SessionLost(session) if len(chosen) > 1 else error)
            if len(chosen) > 1:
                self._suspects.add(session)

    def _goes_on(self, job: _Job, answer: EngineReply) -> bool:
        """Delivers an answer; True while the request needs more of the engine."""
        if job.course is None:
            self._call(job.deliver, answer.reply)
            return False
        replies, job.ask = job.course.heard(answer)
        for reply in replies:
            self._call(job.deliver, reply)
        return job.ask is not None

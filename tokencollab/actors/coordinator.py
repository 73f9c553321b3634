"""The coordinator: owns the shared text of one session and carries out what its policy commands.

Everything that happens arrives in one inbox as an event; the policy is called with one event at a time. The text
grows by `Commit` alone.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any, assert_never

import structlog

from tokencollab.actors.answer import FinishReason, Tally, Token
from tokencollab.actors.recorder import TraceRecorder
from tokencollab.actors.runtime import ModelLink
from tokencollab.policies import events as e
from tokencollab.policies.methods import Policy
from tokencollab.protocol import errors
from tokencollab.protocol import messages as m
from tokencollab.protocol.spelling import Spelling
from tokencollab.protocol.text import TextStream

log = structlog.get_logger("tokencollab")

CALL_SECONDS = 300.0
"""How long a model may take for one answer before it counts as lost."""


class ModelFailed(errors.TokencollabError):
    """A model did not answer as it should; becomes a `ModelLost` event."""


_REFUSALS: dict[str, type[errors.TokencollabError]] = {
    "PromptTooLong": errors.PromptTooLong,
    "ModelRefused": errors.ModelRefused,
}


class Coordinator:
    """Writes one answer. ``links`` has the models by name, the base first."""

    def __init__(
        self,
        session: str,
        links: Mapping[str, ModelLink],
        policy: Policy,
        sampling: m.Sampling,
        messages: Sequence[m.ChatMessage],
        *,
        stops: Sequence[str] = (),
        recorder: TraceRecorder | None = None,
        notify: Callable[[str], None] = lambda text: None,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        """Nothing happens before `tokens` is iterated."""
        self._session = session
        self._links = dict(links)
        self._policy = policy
        self._sampling = sampling
        self._open = m.Open(session, tuple(messages))
        self._text = b""
        self._reader = TextStream(stops)
        self._recorder = recorder
        self._notify = notify
        self._call_seconds = call_seconds
        self._inbox: asyncio.Queue[e.Event | errors.TokencollabError] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writing: asyncio.Task[None] | None = None
        self._cancelled = False
        self._held: dict[str, int] = {}  # bytes of the text that a model has been sent
        self._spelt: dict[str, tuple[int, Spelling | None]] = {}  # as of each model's last reply, for a restart
        self.tally = Tally(next(iter(self._links)))
        self.finish_reason: FinishReason = "cancelled"
        self.first_commit: float | None = None
        self.last_commit: float | None = None
        self.ended: float | None = None

    def cancel(self) -> None:
        """Ends the answer at the next moment; what is written stays."""
        self._cancelled = True
        self._inbox.put_nowait(e.Cancelled())

    @property
    def text(self) -> bytes:
        """The shared text so far."""
        return self._text

    async def tokens(self) -> AsyncIterator[Token]:
        """Writes the answer, token by token. Leaving early frees everything.

        Raises:
            PromptTooLong, ModelRefused: a model cannot take this conversation.
            TokencollabError: every model was lost.
        """
        try:
            await self._open_all()
            state, commands = self._policy.start(tuple(self._links))
            stop: e.Stop | None = None
            while True:
                for command in commands:
                    match command:
                        case e.Commit():
                            if not self._reader.stopped:
                                yield self._commit(command)
                        case e.Stop():
                            stop = command
                        case _:
                            self._carry_out(command)
                if stop is not None:
                    break
                # A base that runs alone is ahead of its reader: the end must not wait behind what it has sent.
                event = e.Cancelled() if self._cancelled or self._reader.stopped else await self._next()
                if isinstance(event, errors.TokencollabError):
                    raise event
                state, commands = self._policy.step(state, event)
            self._finish(stop)
            if rest := self._reader.finish():
                yield Token(rest, b"", len(self.tally.pieces), {})
        finally:
            self.ended = monotonic()
            await self._clean_up()

    async def _next(self) -> e.Event | errors.TokencollabError:
        if self._inbox.empty() and all(task.done() for task in self._tasks):
            # The policy waits for a model to come back, and nothing here brings one back.
            return ModelFailed("the base was lost while it wrote alone; the answer so far is what was streamed")
        return await self._inbox.get()

    # ------------------------------------------------------------ commands

    def _commit(self, command: e.Commit) -> Token:
        """Appends a piece to the shared text."""
        record = command.record
        self.last_commit = monotonic()
        if self.first_commit is None:
            self.first_commit = self.last_commit
        if self._recorder is not None:
            self._recorder.committed(command)
        self.tally.commit(command.piece, record)
        self._text += command.piece or b""
        text = self._reader.feed(command.piece or b"")
        return Token(text, command.piece, record.step, dict(record.ranks), record.efficacy, record.alone, record.lost)

    def _carry_out(self, command: e.Command) -> None:
        match command:
            case e.Ask() | e.Score() | e.Marginals():
                self._start(command.model, self._ask(command))
                self._stop_writing()
            case e.RunAlone():
                self._stop_writing()
                self._writing = self._start(command.model, self._write(command))
            case e.Exited(step, _):
                if self.tally.exit_step is None:
                    self.tally.exit_step = step
            case e.Notice(text):
                self._notify(text)
            case e.Commit() | e.Stop():
                raise AssertionError("handled where tokens are yielded")
            case _:
                assert_never(command)

    def _stop_writing(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _finish(self, stop: e.Stop) -> None:
        match stop.reason:
            case "failed":
                raise ModelFailed("every model was lost; the answer so far is what was streamed")
            case _ if self._reader.stopped:
                self.finish_reason = "end"
            case reason:
                self.finish_reason = reason

    # ------------------------------------------------------------ models

    def _start(self, model: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guard(model, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guard(self, model: str, work: Coroutine[Any, Any, None]) -> None:
        """Turns whatever goes wrong with a model into an event."""
        try:
            await work
        except (errors.PromptTooLong, errors.ModelRefused) as error:
            self._inbox.put_nowait(error)
        except Exception as error:  # a model must never take the session with it
            self._lose(model, error)

    def _lose(self, model: str, error: BaseException) -> None:
        log.warning("model lost", session=self._session, model=model, reason=f"{type(error).__name__}: {error}")
        self._held.pop(model, None)
        self._inbox.put_nowait(e.ModelLost(model))

    async def _open_all(self) -> None:
        outcomes = await asyncio.gather(*(self._open_one(model) for model in self._links), return_exceptions=True)
        for model, outcome in zip(self._links, outcomes, strict=True):
            if isinstance(outcome, errors.UsageError):
                raise outcome
            if outcome is not None:
                self._lose(model, outcome)

    async def _open_one(self, model: str) -> None:
        offset, spelling = self._spelt.get(model, (0, None))
        text = self._text[:offset]
        self._held[model] = len(text)
        reply = await self._call(model, replace(self._open, text=text, spelling=spelling))
        if not isinstance(reply, m.Opened):
            raise ModelFailed(f"{model} answered {type(reply).__name__} to Open")

    async def _call(self, model: str, request: m.Request) -> m.Reply:
        """One call with its deadline. A refusal is raised as the error that it names."""
        async with asyncio.timeout(self._call_seconds):
            reply = await self._links[model].ask(request)
        if isinstance(reply, m.Refused):
            raise _REFUSALS.get(reply.kind, ModelFailed)(reply.reason)
        return reply

    async def _ask(self, command: e.Ask | e.Score | e.Marginals) -> None:
        model, offset = command.model, command.offset
        reply = await self._call(model, self._request(command))
        if isinstance(reply, m.Behind):  # the model came back empty, or dropped the session
            await self._open_one(model)
            reply = await self._call(model, self._request(command))
        event: e.Event
        match command, reply:
            case e.Ask(), m.CandidatesReply():
                event = e.CandidatesArrived(model, command.question, reply.candidates)
                self.tally.answered(reply.candidates, self._sampling)
            case e.Score(_, _, _, pieces), m.ScoresReply() if len(reply.logits) == len(pieces):
                event = e.ScoresArrived(model, command.question, reply.logits)
            case e.Marginals(), m.MarginalsReply():
                event = e.MarginalsArrived(model, command.question, reply.exact, reply.end, reply.following)
            case _, m.Full():
                event = e.ContextFull(model)
            case _:
                raise ModelFailed(f"{model} answered {type(reply).__name__} to {type(command).__name__}")
        if not isinstance(reply, m.Full):
            if reply.offset != offset:
                raise ModelFailed(f"{model} answered for byte {reply.offset}, not {offset}")
            self._held[model] = offset
            self._remember(model, reply)
            self._count_forwarded(model, reply.forwarded, offset)
        self._hear(event, command)

    def _request(self, command: e.Ask | e.Score | e.Marginals) -> m.Request:
        start = min(self._held.get(command.model, 0), command.offset)
        data = self._text[start : command.offset]
        match command:
            case e.Ask(_, _, _, k):
                return m.AskCandidates(self._session, start, data, k)
            case e.Score(_, _, _, pieces):
                return m.AskScores(self._session, start, data, pieces)
            case e.Marginals(_, _, _, pending):
                return m.AskMarginals(self._session, start, data, pending)

    async def _write(self, command: e.RunAlone) -> None:
        """Passes on what a model writes alone. A model that came back empty is sent everything again."""
        model = command.model
        for attempt in range(2):
            start = min(self._held.get(model, 0), command.offset)
            request = m.AskAlone(
                self._session,
                start,
                self._text[start : command.offset],
                command.first_step,
                command.max_steps,
                command.report or self._recorder is not None,
                self._sampling,
            )
            offset = command.offset
            replies = aiter(self._links[model].write(request))
            while True:
                try:
                    async with asyncio.timeout(self._call_seconds):
                        reply = await anext(replies)
                except StopAsyncIteration:
                    return
                match reply:
                    case m.Written() if reply.offset == offset:
                        self._count_forwarded(model, reply.forwarded, offset)
                        offset += len(reply.piece or b"")
                        self._held[model] = reply.offset
                        self._remember(model, reply)
                        self._hear(e.AloneStep(model, command.question, reply.piece, reply.candidates), command)
                    case m.Full():
                        self._hear(e.ContextFull(model), command)
                        return
                    case m.Behind() if attempt == 0:
                        await self._open_one(model)
                        break
                    case _:
                        raise ModelFailed(f"{model} answered {type(reply).__name__} while writing alone")

    def _remember(self, model: str, reply: m.CandidatesReply | m.ScoresReply | m.MarginalsReply | m.Written) -> None:
        """Keeps how a model holds the text."""
        _, before = self._spelt.get(model, (0, None))
        self._spelt[model] = reply.offset, reply.spelling.after(before) if reply.spelling is not None else None

    def _count_forwarded(self, model: str, tokens: int, offset: int) -> None:
        if offset:  # the first question carries the prompt
            self.tally.forwarded[model] += tokens

    def _hear(self, event: e.Event, command: e.Command) -> None:
        if self._recorder is not None:
            self._recorder.received(event, command)
        self._inbox.put_nowait(event)

    async def _clean_up(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        closing = (self._close(link) for model, link in self._links.items() if model in self._held)
        await asyncio.shield(asyncio.gather(*closing))

    async def _close(self, link: ModelLink) -> None:
        try:
            async with asyncio.timeout(5):
                await link.ask(m.Close(self._session))
        except Exception as error:
            log.debug("session not closed", session=self._session, reason=str(error))

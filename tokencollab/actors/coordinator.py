"""The coordinator: owns the shared text of one session and carries out what its policy commands.

Everything that happens arrives in one inbox as an event; the policy is called with one event at a time. The text
grows by `Commit` alone. A model that fails is lost at once, and takes part again as soon as it is back with the text so
far (`membership`); only the last one that takes part is waited for.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeAlias, assert_never

from tokencollab.actors.answer import FinishReason, Tally, Token
from tokencollab.actors.journal import Past
from tokencollab.actors.membership import FULL, Membership
from tokencollab.actors.metrics.answers import AnswerMetrics
from tokencollab.actors.model_session import BYTES_PER_TOKEN, ModelSession, ReceivedEvent, SharedText
from tokencollab.actors.recorder import Recorder
from tokencollab.actors.supervisor import Supervisor
from tokencollab.errors import ModelFailed, PlatformFull, TraceError, UsageError
from tokencollab.policies import events as e
from tokencollab.policies.machine import Machine
from tokencollab.policies.turn import State
from tokencollab.protocol import messages as m
from tokencollab.protocol.text import TextStream

OF_THIS_ANSWER: Final = "takes no further part in this answer"
"""In a notice that belongs to one answer."""

_AHEAD = 256  # pieces that a base alone writes before its reader takes the first

OpenRequest: TypeAlias = e.RequestCandidates | e.RequestScores | e.RequestMarginals


class Coordinator:
    """Writes one answer. ``members`` has the models by name, the base first."""

    def __init__(
        self,
        session: str,
        members: Mapping[str, Supervisor],
        policy: Machine,
        sampling: m.Sampling,
        messages: Sequence[m.ChatMessage],
        *,
        stops: Sequence[str] = (),
        recorders: Sequence[Recorder] = (),
        notify: Callable[[str], None] = lambda text: None,
        wait_for_base: bool = False,
        past: Past | None = None,
        keep: bool = False,
        require_room: bool = False,
        max_seconds: float | None = None,
        metrics: AnswerMetrics,
        began: Callable[["Coordinator"], None] = lambda coordinator: None,
        over: Callable[["Coordinator"], None] = lambda coordinator: None,
    ) -> None:
        """Nothing happens before `tokens` is iterated.

        ``past`` is what a journal has of this answer; ``keep`` leaves the session open at its end, until `free`.
        ``max_seconds``: after so many, from the beginning of the iteration, the answer ends with what is written.
        ``require_room``: a collaborator that is full is an error, as a base that is. ``began`` and ``over`` are called
        at the beginning of the iteration, and at its very end.
        """
        self._base = base = next(iter(members))
        self._policy = policy
        self._sampling = sampling
        self._open = m.Open(session, tuple(messages))
        self._text = SharedText()
        self._reader = TextStream(stops)
        self._recorders = list(recorders)
        self._notify = notify
        self._past = past
        self._keep = keep
        self._require_room = require_room
        self._max_seconds = max_seconds
        self._clock: asyncio.TimerHandle | None = None
        self._time_is_up = False
        self._metrics = metrics
        self._began, self._over = began, over
        self._inbox: asyncio.Queue[ReceivedEvent] = asyncio.Queue()
        self.tally = Tally(base)
        sessions = {name: self._partner(member) for name, member in members.items()}
        self._attendance = Membership(session, sessions, self._announce, self.tally.left)
        self._prompt_tokens = sum(len(turn.content.encode()) for turn in messages) / BYTES_PER_TOKEN
        self._asked_at: dict[str, float] = {}  # when each was asked last
        self._waited: dict[str, float] = {}  # seconds for which each has kept the others waiting
        self._state: State
        self._asked: dict[int, OpenRequest] = {}  # by number: questions that have no answer yet
        self._awaited = {base} if wait_for_base else set()
        # Lost, but the policy has not heard of it: the answer waits for them, or for the others to come back.
        self._held_back: dict[str, e.ModelLost | e.ModelExhausted] = {}
        self._writing: asyncio.Task[None] | None = None
        self._ahead = asyncio.Semaphore(_AHEAD)  # pieces that a base alone may still write before they are read
        self._joined: list[str] = []  # since the last commit
        self._cancelled = False
        self.finish_reason: FinishReason = "cancelled"
        self.first_commit: float | None = None
        self.last_commit: float | None = None
        self.ended: float | None = None

    def _partner(self, member: Supervisor) -> ModelSession:
        return ModelSession(member, self._open, self._text, self._sampling)

    def cancel(self) -> None:
        """Ends the answer at the next moment; what is written stays."""
        self._cancelled = True
        self._announce(e.Cancelled())

    def _end_in_time(self) -> None:
        self._time_is_up = True
        self.cancel()

    def join(self, member: Supervisor) -> None:
        """A model that takes part as soon as it has the text so far."""
        sessions = self._attendance.sessions
        if self.ended is None and (member.name not in sessions or sessions[member.name].member is not member):
            self._attendance.welcome(member.name, self._partner(member))

    def leave(self, name: str) -> None:
        if self.ended is None and name in self._attendance.sessions:
            self._announce(e.ModelLost(name))

    async def tokens(self) -> AsyncGenerator[Token, None]:
        """Writes the answer, token by token. Leaving early frees everything.

        Raises:
            PromptTooLong, ModelRefused, PlatformFull: the base cannot take this conversation.
            ModelFailed: every model was lost, for good.
        """
        finish = "failed"
        self._began(self)
        try:
            tokens, commands = await self._begin()
            self.tally.prompt_tokens = self._attendance.sessions[self._base].prompt_tokens
            for token in tokens:
                yield token
            stop: e.Stop | None = None
            while stop is None:
                for command in commands:
                    if isinstance(command, e.Commit):
                        if not self._reader.stopped:
                            yield self._commit(command)
                    elif isinstance(command, e.Stop):
                        stop = command
                    else:
                        self._carry_out(command)
                if stop is None:
                    # A base that runs alone is ahead of its reader: the end must not wait behind what it has sent.
                    ending = self._cancelled or self._reader.stopped
                    commands = self._step(ReceivedEvent(e.Cancelled()) if ending else await self._next())
            self._finish(stop)
            if rest := self._reader.finish():
                yield Token(rest, b"", len(self.tally.pieces), {})
            for recorder in self._recorders:
                recorder.ended()
            finish = self.finish_reason
        except (GeneratorExit, asyncio.CancelledError):
            finish = "cancelled"
            raise
        finally:
            await self._close(finish)

    async def _close(self, finish: str) -> None:
        self.ended = asyncio.get_running_loop().time()
        if self._clock is not None:
            self._clock.cancel()
        self.tally.prompt_tokens = self._attendance.sessions[self._base].prompt_tokens  # if it read it later
        self._metrics.ended(finish, self.tally.cost, self.tally.exit_step is not None)
        for recorder in self._recorders:
            recorder.close()
        try:
            await self._attendance.close(keep=self._keep)
        finally:
            self._over(self)

    async def free(self) -> None:
        if self._keep:
            self._keep = False
            await self._attendance.close()

    async def _begin(self) -> tuple[Sequence[Token], Sequence[e.Command]]:
        """What was written before, and what is to be done first, when every model has the conversation."""
        if self._max_seconds is not None:
            self._clock = asyncio.get_running_loop().call_later(self._max_seconds, self._end_in_time)
        for recorder in self._recorders:
            recorder.begin()
        if self._past is not None:
            relived = self._relive(self._past)
            await self._open_sessions(resumed=True)
            return relived
        try:
            self._state, commands = self._policy.start(tuple(self._attendance.sessions))
            await self._open_sessions()
        except (UsageError, PlatformFull):
            for recorder in self._recorders:
                recorder.refused()
            raise
        return (), commands

    async def _open_sessions(self, *, resumed: bool = False) -> None:
        """Nobody is waited for when the time is up."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(None if self._clock is None else self._clock.when()):
                await self._attendance.open(require_room=self._require_room, resumed=resumed)

    # ------------------------------------------------------------ events

    def _announce(self, event: e.Event) -> None:
        self._inbox.put_nowait(ReceivedEvent(event))

    async def _next(self) -> ReceivedEvent:
        """The next event for the policy. Raises ModelFailed: nothing can happen any more."""
        while True:
            if self._inbox.empty() and self._attendance.quiet:
                if not self._held_back:
                    raise ModelFailed(
                        f"the base was lost while it wrote alone ({self._attendance.last_loss}); the answer so far is "
                        "what was streamed"
                    )
                for event in self._held_back.values():
                    self._announce(event)
            heard = await self._receive()
            if isinstance(heard.event, e.ModelJoined):
                self._attendance.heard(heard.event.model)
            match heard.event:
                case e.SoloStep():
                    self._ahead.release()
                    return heard
                case e.ModelLost() | e.ModelExhausted() as event if self._is_needed(event):
                    self._held_back[event.model] = event
                case e.ModelJoined(model) if model in self._held_back:
                    del self._held_back[model]
                    for question in [asked for asked in self._asked.values() if asked.model == model]:
                        self._carry_out(question)
                case _:
                    return heard

    async def _receive(self) -> ReceivedEvent:
        """The next event. A model that has kept the others waiting for longer than it may is lost meanwhile."""
        if not self._inbox.empty():
            await asyncio.sleep(0)  # a base that is far ahead of its reader must not keep others from their turn
            return await self._inbox.get()
        late = self._late()
        if not late:
            return await self._inbox.get()
        now = asyncio.get_running_loop().time
        began, usual = now(), self._attendance.sessions[self._base].member.usual
        free = {model: max(0.0, self._asked_at[model] + usual - began) for model in late}
        left = {model: free[model] + self._allowance(model) - self._waited.get(model, 0.0) for model in late}
        least = min(left.values())
        try:
            async with asyncio.timeout(max(0.0, least)):
                return await self._inbox.get()
        except TimeoutError:
            for model in [model for model in late if left[model] <= least]:
                self._attendance.leave_behind(model)
        finally:
            waited = now() - began
            for model in late:
                self._waited[model] = self._waited.get(model, 0.0) + max(0.0, waited - free[model])
        return await self._inbox.get()

    def _late(self) -> list[str]:
        """The models that keep the others waiting: the base has answered, and they have not.

        Without the base, somebody has. Each may take as long as the base takes for a question, and only what is more
        counts: where some are asked after the others, equals are not late. The base itself is waited for as long as its
        deadlines say: it is its answer.
        """
        asked = {question.model for question in self._asked.values()}
        if not asked or self._base in asked:
            return []
        live = self._policy.taking_part(self._state)
        if self._base not in live and asked.issuperset(live):
            return []
        return sorted(asked.difference(self._held_back))

    def _allowance(self, model: str) -> float:
        member = self._attendance.sessions[model].member
        return member.allowance(self._prompt_tokens, len(self.tally.pieces))

    def _is_needed(self, event: e.ModelLost | e.ModelExhausted) -> bool:
        """Whether the answer waits for a lost model to come back, instead of going on without it.

        Where a context is full: whether it waits for the others. The base's own ends the answer.
        """
        if isinstance(event, e.ModelExhausted) and event.model == self._base:
            return False
        model = event.model
        if not any(asked.model == model for asked in self._asked.values()):
            return False
        if set(self._policy.taking_part(self._state)).difference(self._held_back, (model,)):
            return model in self._awaited and model in self._attendance.returning
        return bool(self._attendance.returning)

    def _step(self, heard: ReceivedEvent) -> tuple[e.Command, ...]:
        """One event through the policy. What changes nothing there is not recorded."""
        before, event = self._state, heard.event
        self._state, commands = self._policy.step(before, event)
        question: OpenRequest | None = None
        match event:
            case e.CandidatesArrived() | e.ScoresArrived() | e.MarginalsArrived():
                question = self._asked.pop(event.question, None)
                self.tally.forwarded[event.model] += heard.forwarded
                self.tally.cost += heard.taken_back
                if isinstance(event, e.CandidatesArrived):
                    self.tally.answered(event.candidates, self._sampling)
            case e.SoloStep(model):
                self.tally.forwarded[model] += heard.forwarded
            case e.ModelLost(model) | e.ModelExhausted(model):
                if isinstance(event, e.ModelExhausted) and model != self._base:
                    self.tally.left.setdefault(model, FULL)
                if reason := self.tally.left.get(model):
                    self._notify(f"{model} {OF_THIS_ANSWER}: {reason}")
                self._held_back.pop(model, None)
                self._asked = {number: asked for number, asked in self._asked.items() if asked.model != model}
            case e.ModelJoined(joined):  # somebody is left again: those who were waited for are lost
                self._joined.append(joined)
                for model, held in self._held_back.items():
                    if model not in self._awaited:
                        self._announce(held)
            case _:
                pass
        if self._state is not before:
            for recorder in self._recorders:
                recorder.heard(heard, question)
        return commands

    def _relive(self, past: Past) -> tuple[list[Token], list[e.Command]]:
        """Hears again what a journal has; the tokens, and what was open at its end.

        Raises TraceError: the answer had ended, or the policy does not commit what the journal says that it did.
        """
        tokens: list[Token] = []
        self._state, commands = self._policy.start(past.trace.models)
        for heard in (None, *past.heard):
            if heard is not None:
                commands = self._step(heard)
            if any(isinstance(command, e.Stop) for command in commands):
                raise TraceError(f"{past.path}: this answer had come to its end; nothing is left to do")
            for command in commands:
                match command:
                    case e.Commit():
                        tokens.append(self._commit(command))
                    case e.RequestCandidates() | e.RequestScores() | e.RequestMarginals():
                        self._asked[command.question] = command
                    case e.RunSolo():
                        self._asked.clear()
                    case _:
                        self._carry_out(command)
        past.check(self.tally.pieces)
        sessions = self._attendance.sessions
        for heard in past.heard:
            if isinstance(heard.event, e.ANSWERS) and heard.event.model in sessions:
                sessions[heard.event.model].spelt(heard.offset, heard.spelling)
        for model in set(self._policy.taking_part(self._state)).difference(sessions):
            self._announce(e.ModelLost(model))
        for model in past.away(sessions):
            self._attendance.bring_back(model)
        run = self._state.solo
        open_ones: list[OpenRequest | e.RunSolo] = list(self._asked.values()) if run is None else [run]
        return tokens, [command for command in open_ones if command.model in sessions]

    # ------------------------------------------------------------ commands

    def _commit(self, command: e.Commit) -> Token:
        """Appends a piece to the shared text."""
        record = command.record
        self.last_commit = asyncio.get_running_loop().time()
        if self.first_commit is None:
            self.first_commit = self.last_commit
        self._metrics.committed(self.last_commit)
        for recorder in self._recorders:
            recorder.committed(command)
        self.tally.commit(command.piece, record)
        self._text.append(command.piece or b"")
        text = self._reader.feed(command.piece or b"")
        joined, self._joined = tuple(self._joined), []
        ranks = dict(record.ranks)
        return Token(text, command.piece, record.step, ranks, record.efficacy, record.alone, record.lost, joined)

    def _carry_out(self, command: e.Command) -> None:
        match command:
            case e.RequestCandidates() | e.RequestScores() | e.RequestMarginals():
                self._stop_writing()
                self._asked[command.question] = command
                self._asked_at[command.model] = asyncio.get_running_loop().time()
                if command.model not in self.tally.left:  # else the policy is about to hear that
                    self._attendance.call(command.model, partial(self._ask, command))
            case e.RunSolo():
                self._stop_writing()
                self._asked.clear()
                self._writing = self._attendance.call(command.model, partial(self._write, command))
            case e.Exited(step, _):
                if self.tally.exit_step is None:
                    self.tally.exit_step = step
            case e.Notice(text):
                self._notify(text)
            case e.Commit() | e.Stop():
                raise AssertionError("handled where tokens are yielded")
            case _:
                assert_never(command)

    async def _ask(self, command: OpenRequest) -> None:
        self._hear(command.model, await self._attendance.sessions[command.model].ask(command))

    async def _write(self, command: e.RunSolo) -> None:
        session = self._attendance.sessions[command.model]
        async for heard in session.write(command, command.report or bool(self._recorders)):
            if isinstance(heard.event, e.SoloStep):
                await self._ahead.acquire()
            self._hear(command.model, heard)

    def _hear(self, model: str, heard: ReceivedEvent) -> None:
        if not isinstance(heard.event, e.ModelExhausted):
            self._attendance.answered(model)
        elif model != self._base:
            self._attendance.exhausted(model)
        self._inbox.put_nowait(heard)

    def _stop_writing(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _finish(self, stop: e.Stop) -> None:
        if stop.reason == "failed":
            last = self._attendance.last_loss
            raise ModelFailed(f"every model was lost (the last: {last}); the answer so far is what was streamed")
        cut_off = self._time_is_up and stop.reason == "cancelled"
        self.finish_reason = "end" if self._reader.stopped else "timeout" if cut_off else stop.reason

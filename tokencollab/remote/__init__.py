"""Answers by the coordinators of a platform, for a program that has no model and computes nothing."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Never, Self, TextIO, Unpack, cast
from uuid import uuid4

from tokencollab.actors.answer import Answer, FinishReason, Tally, Token
from tokencollab.actors.log import Log
from tokencollab.actors.platform.client import NAMESPACE, PlatformClient
from tokencollab.actors.platform.registry import Entry
from tokencollab.actors.prompt import Prompt
from tokencollab.actors.recorder import written
from tokencollab.actors.request import AnswerRequest, running_loop
from tokencollab.actors.runtimes.ray_actors import RayLink
from tokencollab.answer_stream import AnswerStream, finished_answer
from tokencollab.errors import MalformedAnswer, ModelFailed, ModelGone, UsageError, error_named
from tokencollab.keywords import MethodSettings, refuse_unknown, takes, texts_of
from tokencollab.policies.events import Efficacy, StepRecord
from tokencollab.policies.methods import AUTO, Method, method_settings, parse_method
from tokencollab.protocol import codec
from tokencollab.protocol.checksums import add_checksum
from tokencollab.protocol.messages import Close, Refused, Task, TaskEnded, TaskToken
from tokencollab.protocol.pieces import Piece
from tokencollab.startable import Startable

log = Log(__name__)

_LEAST = 0.001  # seconds that a coordinator is given
_FRUITLESS = 5  # coordinators that end one after the other without another token


class RemoteCollaboration(Startable):
    """The coordinators of a platform, used as a `Collaboration` is::

    async with RemoteCollaboration("tokencollab") as team:
        async for token in team.stream("Why is the sky blue?"):
            print(token.text, end="")
    """

    def __init__(
        self,
        /,
        namespace: str = NAMESPACE,
        base: str | None = None,
        collaborators: Sequence[str] | None = None,
        method: str | Method = AUTO,
        *,
        notify: Callable[[str], None] | None = None,
        **settings: Unpack[MethodSettings],
    ) -> None:
        """Nothing is connected before ``async with``, or `start`.

        Args:
            namespace: which platform.
            base: the base, by its name there; None for the base of the platform.
            collaborators: the other models; None for all that the platform has at any time.
            method: a preset (`list_methods`) or a `Method`.
            notify: hears notices at the end of an answer.
            settings: parameters of the method, as of `parse_method`.

        Raises:
            UnknownMethod: no such method, or settings that do not go with it.
        """
        refuse_unknown(RemoteCollaboration.__init__, settings, ("aggregation", "exit", *method_settings()), self.stream)
        self.method = method if isinstance(method, Method) else parse_method(method, **settings)
        self._client = PlatformClient(namespace)
        self._base = base
        self._collaborators = None if collaborators is None else texts_of("collaborators", collaborators)
        self._notify = notify or (lambda text: None)

    async def start(self) -> Self:
        """Connects with the platform.

        Raises:
            UsageError: there is no cluster, no platform in it, or no model there.
        """
        await self._client.connect()
        if self._base is None:
            self._base = await self._client.base()
        return self

    async def aclose(self) -> None:
        await self._client.close()

    def stream(
        self,
        /,
        prompt: Prompt,
        *,
        max_tokens: int = 256,
        stop: Sequence[str] = (),
        seed: int = 0,
        max_seconds: float | None = None,
        trace: TextIO | None = None,
        **unknown: Never,
    ) -> AnswerStream:
        """Begins an answer; see `Collaboration.stream`.

        Raises:
            UsageError: it is not started, an empty prompt, no such argument, or a number out of range. What the
                platform says of the task is raised by the first step of the iteration.
        """
        refuse_unknown(RemoteCollaboration.stream, unknown, other=RemoteCollaboration.__init__)
        if self._base is None:
            raise UsageError("a RemoteCollaboration answers inside `async with`, or once it is started")
        running_loop()
        request = AnswerRequest.of(self.method, prompt, max_tokens, stop, seed, max_seconds)
        answer = RemoteAnswer(self._client, request, self._base, self._collaborators, trace, self._notify)
        return AnswerStream(answer, answer.tokens(), answer.finish)

    @takes(stream)
    async def generate(self, *prompt: Any, **arguments: Any) -> Answer:
        """The whole answer; arguments and errors are those of `stream`."""
        stream = self.stream(*prompt, **arguments)
        async for _ in stream:
            pass
        return stream.answer


class RemoteAnswer:
    """One answer, written by a coordinator of a platform. When that one ends, another goes on.

    See `answer_stream.Writer` for the attributes.
    """

    def __init__(
        self,
        client: PlatformClient,
        request: AnswerRequest,
        base: str,
        collaborators: tuple[str, ...] | None,
        trace: TextIO | None,
        notify: Callable[[str], None],
    ) -> None:
        self._client = client
        method = json.dumps(request.method.to_json())
        limits = request.max_tokens, request.stop, request.seed
        self._task = Task(uuid4().hex, request.messages, base, collaborators, method, *limits, trace is not None)
        self._max_seconds = request.max_seconds
        self._method = request.method.name
        self._trace = trace
        self._notify = notify
        self._pieces: list[Piece] = []  # of all tokens
        self._lines = 0  # of the trace
        self._checksum = 0  # of the last of them
        self._dead: set[tuple[str, int]] = set()  # coordinators by name and life
        self._link: RayLink | None = None
        self._cancelled = False
        self._closing: asyncio.Future[Any] | None = None
        self._figures: Answer | None = None
        self.tally = Tally(base)
        self.finish_reason: FinishReason = "cancelled"
        self.first_commit: float | None = None
        self.last_commit: float | None = None
        self._now = asyncio.get_running_loop().time
        self._started = self._now()
        self._ended: float | None = None

    def cancel(self) -> None:
        """Ends the answer at the next moment; what is written stays."""
        self._cancelled = True
        if self._link is not None:
            self._closing = asyncio.ensure_future(self._link.ask(Close(self._task.session)))
            self._closing.add_done_callback(lambda closing: closing.cancelled() or closing.exception())

    async def free(self) -> None:
        """There is no session that stays open."""

    async def tokens(self) -> AsyncGenerator[Token, None]:
        """The answer, token by token. Leaving early frees everything.

        Raises:
            UsageError: the platform has no coordinator, or refuses the task.
            ModelFailed: every model, or one coordinator after the other, was lost.
        """
        fruitless = 0
        try:
            while self._figures is None:
                known, coordinator = len(self._pieces), await self._coordinator()
                try:
                    async with aclosing(self._tokens_of(coordinator)) as tokens:
                        async for token in tokens:
                            yield token
                except ModelGone as error:
                    log.warning("coordinator lost", coordinator=coordinator.name, reason=str(error))
                    self._dead.add((coordinator.name, coordinator.life))
                    fruitless = fruitless + 1 if len(self._pieces) == known else 0
                    if fruitless == _FRUITLESS:
                        raise ModelFailed(f"{fruitless} coordinators ended without another token") from error
        finally:
            self._ended = self._now()

    async def _coordinator(self) -> Entry:
        """The one with the fewest answers; where all are down, the one that is up first.

        Raises:
            UsageError: there are none. ModelFailed: all were given up.
        """
        found = [entry for entry in await self._client.entries() if entry.kind == "coordinator"]
        if not found:
            raise UsageError(
                f"the platform {self._client.namespace!r} has no coordinator: "
                "`tokencollab platform up --coordinators 1` starts one"
            )
        able = [entry for entry in found if entry.health == "up" and (entry.name, entry.life) not in self._dead]
        if able:  # figures are a second old: programs that ask at the same time must not all take the first one
            return min(able, key=lambda entry: (entry.figures.sessions, hash((self._task.session, entry.name))))
        down = min(found, key=lambda entry: entry.health == "out")
        return await self._client.look_after(down.name, down.life)

    async def _tokens_of(self, coordinator: Entry) -> AsyncGenerator[Token, None]:
        """The tokens that are new. Raises as `tokens`, and ModelGone: the coordinator has ended."""
        try:
            self._link = link = await self._client.link(coordinator)
        except (ValueError, OSError) as error:
            raise ModelGone(f"nobody answers: {type(error).__name__}") from error
        if self._cancelled:
            self.cancel()  # is sent after the task
        seen = lines = 0
        try:
            async with aclosing(link.stream(self._due())) as frames:
                async for frame in frames:
                    match codec.decode(frame):
                        case TaskToken() as message:
                            self._record(message.trace[max(0, self._lines - lines) :])
                            lines += len(message.trace)
                            if (token := self._take(seen, message)) is not None:
                                yield token
                            seen += 1
                        case TaskEnded() as message:
                            self._end(message)
                        case Refused(_, kind, reason):
                            raise error_named(kind, reason)
                        case other:
                            raise MalformedAnswer(f"a coordinator sent {type(other).__name__}")
            if self._figures is None:
                raise ModelGone("the stream ended before the answer")
        finally:
            self._link = None
            if link.channel is not None:
                await link.channel.close()

    def _due(self) -> Task:
        """The task, with the time that is left for it."""
        if self._max_seconds is None:
            return self._task
        return replace(self._task, max_seconds=max(_LEAST, self._started + self._max_seconds - self._now()))

    def _record(self, lines: Sequence[str]) -> None:
        """Writes lines of the trace. Several coordinators may have sent them, and each chains its own checksums."""
        for line in lines:
            self._lines += 1
            if self._trace is None:
                continue
            data, self._checksum = add_checksum(line.encode(errors="surrogatepass"), self._checksum)
            if not written(data.decode(errors="surrogatepass"), self._trace):
                self._trace = None

    def _take(self, seen: int, message: TaskToken) -> Token | None:
        """The token that comes after ``seen`` others of the same stream; None if another stream has brought it."""
        if seen < len(self._pieces):
            if self._pieces[seen] != message.piece:
                raise ModelFailed("another coordinator writes another text than was streamed: the models have changed")
            return None
        if len(self._pieces) > self._task.max_tokens:  # one more than the tokens only brings text
            raise MalformedAnswer(
                f"a coordinator sends more than the {self._task.max_tokens} tokens that were asked for"
            )
        self._pieces.append(message.piece)
        efficacy = None if message.efficacy is None else Efficacy(*cast(Any, message.efficacy))
        if message.piece != b"":
            self.last_commit = self._now()
            self.first_commit = self.first_commit or self.last_commit
            record = StepRecord(message.step, message.ranks, efficacy, message.alone, message.lost)
            self.tally.commit(message.piece, record)
        provenance = dict(message.ranks), efficacy, message.alone, message.lost, message.joined
        return Token(message.text, message.piece, message.step, *provenance)

    def _end(self, message: TaskEnded) -> None:
        for notice in message.notices:
            self._notify(notice)
        try:
            told = json.loads(message.figures)
            told["models"] = tuple(told["models"])
            self._figures = Answer(**told, pieces=tuple(self.tally.pieces))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise MalformedAnswer(f"the figures of an answer cannot be read: {error!r}") from error

    def finish(self, text: str) -> Answer:
        """The answer as far as it was read. Times are this program's; before the end, so are the figures."""
        ended = self._ended or self._now()
        names = tuple(dict.fromkeys((self._task.base, *self.tally.took_part)))
        own = finished_answer(text, self, names, self._method, self._task.seed, self._started, ended)
        if self._figures is None:
            return own
        times = {name: getattr(own, name) for name in ("seconds", "first_token_seconds", "ms_per_token")}
        return replace(self._figures, **times)

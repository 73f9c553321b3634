"""The coordinator as an actor of a platform: it writes the answers of programs that have no model.

Inside is an ordinary `Collaboration` per base, with all models of the platform. Every answer has a journal while it is
written, in a folder that the coordinators of one machine share. A program whose coordinator has ended gives the same
task to another one, which goes on from that journal and sends the answer from its beginning; the program skips what it
has. Where no journal is left, the answer is written anew: the same, since it follows from the task and the models.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from io import StringIO
from pathlib import Path
from urllib.parse import quote

import psutil

from tokencollab.actors.answer import Token
from tokencollab.actors.journal import SUFFIX, Past, read_journal
from tokencollab.actors.log import Log, log_to_stderr
from tokencollab.actors.metrics import install
from tokencollab.actors.metrics.ray_exporter import ray_sink
from tokencollab.actors.platform.client import PlatformRuntime
from tokencollab.actors.platform.registry import ModelFigures
from tokencollab.actors.platform.service import SharedSpec
from tokencollab.actors.request import AnswerRequest
from tokencollab.actors.runtimes.ray_actors import FrameActor, received, refusal_frame
from tokencollab.answer_stream import AnswerStream
from tokencollab.collaboration import Collaboration
from tokencollab.engines.options import EngineOptions
from tokencollab.errors import ModelFailed, PlatformFull, TokencollabError, TraceError, UsageError
from tokencollab.files import cache_folder
from tokencollab.policies.methods import Method, take_own
from tokencollab.protocol import codec
from tokencollab.protocol.messages import Close, Closed, Task, TaskEnded, TaskToken
from tokencollab.records import in_use

log = Log(__name__)

_CPUS = 0.1
_LEFT_OVER = 86400.0  # seconds after which a journal that nobody writes is removed
_LOOKS = 200  # whether a coordinator that is ending has let a journal go
_LOOK = 0.05  # seconds between them


def coordinator_specs(namespace: str, count: int, max_sessions: int) -> list[SharedSpec]:
    options = EngineOptions(max_sessions=max_sessions)
    where = f"{CoordinatorActor.__module__}:{CoordinatorActor.__qualname__}"
    names = [f"coordinator-{number}" for number in range(1, count + 1)]
    return [SharedSpec(name, namespace, options, _CPUS, load=where, kind="coordinator") for name in names]


class _OpenAnswer:
    def __init__(self) -> None:
        self.stream: AnswerStream | None = None
        self.cancelled = False
        self.ended = asyncio.Event()

    def cancel(self) -> None:
        self.cancelled = True
        if self.stream is not None:
            self.stream.cancel()


class CoordinatorActor(FrameActor):
    """`Collaboration` at Ray's edge: a `Task` in, its tokens out."""

    def __init__(self, spec: SharedSpec) -> None:
        """``spec`` is one of `coordinator_specs`."""
        self._name = spec.name
        self._namespace = spec.source
        self._max_sessions = spec.options.max_sessions
        # The cache folder belongs to the user, and so to all coordinators of one machine.
        self._folder = cache_folder() / "journals" / quote(self._namespace, safe="").replace(".", "%2E")
        self._teams: dict[str, asyncio.Task[Collaboration]] = {}  # by base
        self._answers: dict[str, _OpenAnswer] = {}  # by session
        self._tokens = 0
        self._served: asyncio.Task[tuple[str, str]] | None = None

    async def ready(self) -> tuple[None, str, str, str]:
        """As of `RayModel`, for every registry that asks."""
        if self._served is None:
            install(ray_sink)
            log_to_stderr()
            self._remove_left_over()
            self._served = asyncio.create_task(self._serve())
        return None, "", *await asyncio.shield(self._served)

    async def figures(self) -> ModelFigures:
        return ModelFigures(len(self._answers), self._tokens, psutil.Process().memory_info().rss, 0, os.getpid())

    async def _replies(self, frame: bytes, opened: set[str]) -> AsyncIterator[bytes]:
        try:
            match await received(frame, Task | Close, "a task"):
                case Task() as task:
                    opened.add(task.session)
                    async with aclosing(self._write(task)) as replies:
                        async for reply in replies:
                            yield codec.encode(reply)
                    opened.discard(task.session)
                case Close(session):
                    if session in self._answers:
                        self._answers[session].cancel()
                    yield codec.encode(Closed(session))
        except Exception as error:
            yield refusal_frame(error, type(error) if isinstance(error, TokencollabError) else ModelFailed)

    async def _left(self, opened: set[str]) -> None:
        for session in set(opened) & set(self._answers):
            if (stream := self._answers[session].stream) is not None:
                await stream.aclose()

    async def _write(self, task: Task) -> AsyncGenerator[TaskToken | TaskEnded, None]:
        while (previous := self._answers.get(task.session)) is not None:  # its program was cut off, and asks again
            previous.cancel()
            await previous.ended.wait()
        if len(self._answers) >= self._max_sessions:
            raise PlatformFull(f"{self._name} has as many answers open as it may have ({self._max_sessions})")
        answer = self._answers[task.session] = _OpenAnswer()
        file = self._folder / f"{task.session}{SUFFIX}"
        try:
            settings = json.loads(task.method)
            take_own(settings)  # a program of this cluster asks
            method = Method.from_json(settings)
            request = AnswerRequest.of(method, task.messages, task.max_tokens, task.stop, task.seed, task.max_seconds)
            team = await self._team(task.base)
            past = await self._past(file)
            while True:
                replies = self._stream(answer, team, request, task, file, past)
                try:
                    async with aclosing(replies):
                        async for reply in replies:
                            yield reply
                    return
                except TraceError as error:  # before the first token: the answer had come to its end, or the like
                    if past is None:
                        raise
                    log.info("answer written anew", session=task.session, reason=str(error))
                    past = None
                    file.unlink(missing_ok=True)
        finally:
            del self._answers[task.session]
            answer.ended.set()
            file.unlink(missing_ok=True)  # a coordinator that is killed does not come here

    async def _stream(
        self,
        answer: _OpenAnswer,
        team: Collaboration,
        request: AnswerRequest,
        task: Task,
        file: Path,
        past: Past | None,
    ) -> AsyncGenerator[TaskToken | TaskEnded, None]:
        trace = StringIO() if task.trace else None
        notices: list[str] = []
        members = None if task.collaborators is None else (task.base, *task.collaborators)
        answer.stream = stream = team.stream_request(
            request, trace, members=members, past=past, journal_file=file, notify=notices.append
        )
        if answer.cancelled:
            stream.cancel()
        async with aclosing(stream):
            async for token in stream:
                self._tokens += token.piece != b""
                yield _message(token, _lines(trace))
        yield TaskEnded(json.dumps(stream.answer.to_json()), tuple(notices))

    async def _team(self, base: str) -> Collaboration:
        if base not in self._teams:
            self._teams[base] = asyncio.create_task(self._enter(base))
        entering = self._teams[base]
        try:
            return await asyncio.shield(entering)
        except Exception:
            if self._teams.get(base) is entering:
                del self._teams[base]
            raise

    async def _enter(self, base: str) -> Collaboration:
        return await Collaboration(base, None, "base", runtime=PlatformRuntime(self._namespace)).__aenter__()

    async def _past(self, file: Path) -> Past | None:
        """What the journal of another coordinator has, as soon as that one has let it go; None: nothing to go on from.

        Raises ModelFailed: that one still writes it.
        """
        for _ in range(_LOOKS):
            if not in_use(file):
                return _read(file)
            await asyncio.sleep(_LOOK)
        raise ModelFailed(f"{file} is still written by another coordinator")

    def _remove_left_over(self) -> None:
        for file in self._folder.glob(f"*{SUFFIX}"):
            with suppress(OSError):
                if time.time() - file.stat().st_mtime > _LEFT_OVER and not in_use(file):
                    file.unlink()


def _read(file: Path) -> Past | None:
    try:
        return read_journal(file)
    except UsageError:  # there is none, or it has no whole header
        file.unlink(missing_ok=True)
        return None


def _lines(trace: StringIO | None) -> tuple[str, ...]:
    if trace is None:
        return ()
    lines = trace.getvalue().splitlines()
    trace.seek(0)
    trace.truncate()
    return tuple(lines)


def _message(token: Token, lines: tuple[str, ...]) -> TaskToken:
    efficacy = None if token.efficacy is None else tuple(None if x is None else float(x) for x in token.efficacy)
    ranks = tuple(token.ranks.items())
    return TaskToken(token.text, token.piece, token.step, ranks, efficacy, token.alone, token.lost, token.joined, lines)

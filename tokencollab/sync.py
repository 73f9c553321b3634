"""`Collaboration` for scripts and notebooks, without coroutines.

    from tokencollab.sync import Collaboration

    with Collaboration(base="arith-bytes", collaborators=["arith-pairs"], method="consult") as team:
        print(team.generate("24+21*30+12-28*14").text)
        for token in team.stream("20+24*2"):
            print(token.text, end="")

Everything happens in an event loop in a thread of its own, so that it works where a loop runs already, as in Jupyter.
Calls wait for their results, and may come from any thread, several at once. Ctrl-C ends the answer that is waited for.
"""

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import CancelledError, Future
from typing import Any, Final, Self, TypeVar

from tokencollab import answer_stream
from tokencollab.actors.answer import Answer, Token
from tokencollab.actors.supervisor import MemberHealth
from tokencollab.asking import ask
from tokencollab.collaboration import Collaboration as Team
from tokencollab.errors import UsageError
from tokencollab.keywords import takes
from tokencollab.member import MemberLike
from tokencollab.protocol.messages import ModelInfo
from tokencollab.response import Response

T = TypeVar("T")

_FAREWELL: Final = 10.0  # seconds that a program's end waits for a team that nobody closed


class _Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        runner = asyncio.Runner()
        self._loop = runner.get_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, args=(runner,), name="tokencollab-sync", daemon=True)
        self._thread.start()

    def _serve(self, runner: asyncio.Runner) -> None:
        with runner:  # what still runs at its end is cancelled
            runner.run(self._over.wait())

    @property
    def ended(self) -> bool:
        return self._loop.is_closed()

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What ``work`` returns or raises. An interruption of this thread, as by Ctrl-C, cancels it."""
        if threading.current_thread() is self._thread:
            raise UsageError(
                "a function that tokencollab calls (notify, heard, ...) must not wait for an answer itself"
            )
        tasks: list[asyncio.Task[T]] = []

        async def watched() -> T:
            tasks.append(asyncio.create_task(work()))
            return await tasks[0]

        async def stop() -> None:
            for task in tasks:
                task.cancel()
                await asyncio.wait([task])

        if (future := self._begin(watched)) is None:
            raise _closed()
        try:
            return future.result()
        except CancelledError:  # the loop has ended meanwhile
            raise _closed() from None
        except BaseException:
            if not future.done() and (stopped := self._begin(stop)) is not None:
                stopped.result(_FAREWELL)
            raise

    def end(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Does ``work``, and ends the thread, which it waits for, though not for long."""

        async def last() -> None:
            try:
                await work()
            finally:
                self._over.set()

        self._begin(last)
        if threading.current_thread() is not self._thread:
            self._thread.join(_FAREWELL)

    def _begin(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Future[T] | None:
        """None: the loop is closed."""
        coroutine = work()
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:
            coroutine.close()
            return None


class Collaboration:
    """`tokencollab.Collaboration`, whose arguments it has; each method waits, and returns what is awaited there."""

    @takes(Team.__init__)
    def __init__(self, *models: Any, **arguments: Any) -> None:
        self._team = Team(*models, **arguments)
        self._lock = threading.Lock()
        self._loop: _Loop | None = None
        self._end: weakref.finalize[Any, Any] | None = None  # also at the end of the program

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.close()

    def start(self) -> Self:
        """Fetches and loads the models. Errors are those of `tokencollab.Collaboration.start`."""
        with self._lock:
            if self._loop is not None:
                raise UsageError("this Collaboration is in use already: share it, or make another one")
            loop = _Loop()
            try:
                loop.run(self._team.start)
            except BaseException:
                loop.end(self._team.aclose)
                raise
            self._loop, self._end = loop, weakref.finalize(self, loop.end, self._team.aclose)
        return self

    def close(self) -> None:
        """Ends what still runs, and the models. Once more does nothing."""
        with self._lock:
            loop, end, self._loop, self._end = self._loop, self._end, None, None
        if loop is not None and end is not None:
            end.detach()
            try:
                loop.run(self._team.aclose)
            finally:
                loop.end(_nothing)

    @takes(Team.stream)
    def stream(self, *prompt: Any, **arguments: Any) -> "AnswerStream":
        """Begins an answer: see `tokencollab.Collaboration.stream`."""
        return self._begin(lambda: self._team.stream(*prompt, **arguments))

    @takes(Team.resume)
    def resume(self, *journal: Any, **arguments: Any) -> "AnswerStream":
        """Goes on with an answer: see `tokencollab.Collaboration.resume`."""
        return self._begin(lambda: self._team.resume(*journal, **arguments))

    @takes(Team.stream)
    def generate(self, *prompt: Any, **arguments: Any) -> Answer:
        """The whole answer."""
        return self._started().run(lambda: self._team.generate(*prompt, **arguments))

    @takes(ask)
    def ask(self, *prompt: Any, **arguments: Any) -> Response:
        """A response-level method: see `tokencollab.asking`, without its ``team``."""
        return self._started().run(lambda: ask(self._team, *prompt, **arguments))

    def add(self, model: MemberLike) -> str:
        """Starts one more collaborator; its name."""
        return self._started().run(lambda: self._team.add(model))

    def remove(self, name: str) -> None:
        """Ends a collaborator."""
        self._started().run(lambda: self._team.remove(name))

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """What the models are, the base first."""
        return self._team.models

    @property
    def members(self) -> Mapping[str, MemberHealth]:
        """How each model does, by name, the base first."""
        return self._team.members

    def _begin(self, begin: Callable[[], answer_stream.AnswerStream]) -> "AnswerStream":
        loop = self._started()

        async def begun() -> answer_stream.AnswerStream:
            return begin()

        return AnswerStream(loop, loop.run(begun))

    def _started(self) -> _Loop:
        if (loop := self._loop) is None:
            raise _closed()
        return loop


class AnswerStream:
    """An answer while it is being written: an iterator of `Token`, then an `Answer`.

    To leave early, say `close` (or use ``with``): it ends the answer and frees its memory everywhere.
    """

    def __init__(self, loop: _Loop, stream: answer_stream.AnswerStream) -> None:
        self._loop = loop
        self._stream = stream
        self.journal = stream.journal

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Token:
        try:
            token = self._loop.run(self._next)
        except KeyboardInterrupt:
            self.close()
            raise
        if token is None:
            raise StopIteration
        return token

    async def _next(self) -> Token | None:
        return await anext(self._stream, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def cancel(self) -> None:
        """Ends the answer at the next moment; the iteration then stops, and `answer` has what was written."""

        async def cancel() -> None:
            self._stream.cancel()

        self._loop.run(cancel)

    def close(self) -> None:
        """Ends the answer now and frees everything. Once more does nothing."""
        try:
            self._loop.run(self._stream.aclose)
        except UsageError:
            if not self._loop.ended:  # with it the answer has ended
                raise

    @property
    def answer(self) -> Answer:
        """The answer as far as it was read; with its final figures once the iteration has ended."""
        return self._stream.answer


def _closed() -> UsageError:
    return UsageError("a Collaboration answers, and takes in models, inside `with`, or once it is started")


async def _nothing() -> None:
    pass

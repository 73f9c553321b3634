"""`Collaboration`: several models kept ready, and answers written by them together. The public entry point."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from time import monotonic
from types import TracebackType
from typing import Any, Literal, Self, TextIO, TypeAlias, cast

from tokencollab.actors.answer import Answer, Token
from tokencollab.actors.coordinator import Coordinator, ModelFailed
from tokencollab.actors.recorder import TraceRecorder
from tokencollab.actors.runtime import ModelLink, ModelSpec, Runtime
from tokencollab.engines.options import EngineOptions
from tokencollab.policies.methods import Method, make_policy, parse_method, sampling_of
from tokencollab.protocol.errors import UsageError
from tokencollab.protocol.messages import ChatMessage, ModelInfo, Role

Prompt: TypeAlias = str | Sequence[ChatMessage | Mapping[str, str]]
"""One user message, or a conversation: `ChatMessage` or ``{"role": ..., "content": ...}``."""

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is going on, how much is done, and of how much (0: not known)."""

RuntimeName: TypeAlias = Literal["local", "ray"]

__all__ = ["AnswerStream", "Collaboration", "ModelFailed", "Progress", "Prompt", "RuntimeName"]


class AnswerStream:
    """An answer while it is being written: an async iterator of `Token`, then an `Answer`.

    Leaving the loop early ends the session and frees its memory everywhere; `aclose` does so at once.
    """

    def __init__(self, coordinator: Coordinator, tokens: AsyncIterator[Token], finish: Callable[[str], Answer]):
        """Made by `Collaboration.stream`."""
        self._coordinator = coordinator
        self._tokens = tokens
        self._finish = finish
        self._texts: list[str] = []

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Token:
        token = await anext(self._tokens)
        self._texts.append(token.text)
        return token

    def cancel(self) -> None:
        """Ends the answer at the next moment; the iteration then stops, and `answer` has what was written."""
        self._coordinator.cancel()

    async def aclose(self) -> None:
        """Ends the session now and frees everything."""
        await self._tokens.aclose()  # type: ignore[attr-defined]

    @property
    def answer(self) -> Answer:
        """The answer as far as it was read; with its final figures once the iteration has ended."""
        return self._finish("".join(self._texts))


class Collaboration:
    """Models that write answers together::

    async with Collaboration(base="smollm2-135m-instruct", collaborators=["gemma-3-270m"]) as team:
        async for token in team.stream("Why is the sky blue?"):
            print(token.text, end="")
    """

    def __init__(
        self,
        base: str | os.PathLike[str],
        collaborators: Sequence[str | os.PathLike[str]] = (),
        method: str | Method = "duetnet",
        *,
        runtime: RuntimeName | Runtime = "local",
        options: EngineOptions | None = None,
        progress: Progress | None = None,
        notify: Callable[[str], None] | None = None,
        **settings: Any,
    ) -> None:
        """Nothing is loaded before ``async with``.

        Args:
            base: the base model: a known name, a hub id, a folder of safetensors, or a ``.gguf`` file.
            collaborators: further models, in the same forms.
            method: a preset (`list_methods`) or a `Method`.
            runtime: ``local`` (threads of this process), ``ray`` (actors of a cluster), or one of your own, which
                gets the models' names as they are written here.
            options: how the models compute; threads are shared out evenly by default.
            progress: hears what is being fetched and loaded.
            notify: hears notices of the method, each once per answer.
            settings: parameters of the method, as of `parse_method`.

        Raises:
            UnknownMethod: no such method, or settings that do not go with it.
        """
        if isinstance(method, Method) and settings:
            raise UsageError("settings go with a method's name; with a Method, use dataclasses.replace")
        self.method = method if isinstance(method, Method) else parse_method(method, **settings)
        if runtime not in ("local", "ray") and isinstance(runtime, str):
            raise UsageError(f"unknown runtime {runtime!r}: there are local and ray")
        self._specs = [os.fspath(spec) for spec in (base, *collaborators)]
        self._runtime_choice = runtime
        self._options = options or EngineOptions()
        self._progress = progress or (lambda what, done, total: None)
        self._notify = notify or (lambda text: None)
        self._runtime: Runtime | None = None
        self._links: dict[str, ModelLink] = {}
        self._streams: set[Coordinator] = set()
        self._sessions = count(1)

    async def __aenter__(self) -> Self:
        """Fetches and loads the models.

        Raises:
            UnknownModel, ModelUnavailable, ModelRefused: a model cannot be had, or cannot take part.
        """
        files = [await asyncio.to_thread(self._find, spec) for spec in self._specs]
        names = _unique([name for name, _ in files])
        options = self._options
        if options.threads is None:
            # One model per core: two models with all threads each are ten times slower (facts.md).
            options = replace(options, threads=max(1, (os.cpu_count() or 1) // len(names)))
        specs = [ModelSpec(name, folder, options) for name, (_, folder) in zip(names, files, strict=True)]
        self._progress("loading " + ", ".join(names), 0, 0)
        self._runtime = self._make_runtime()
        try:
            links = await self._runtime.start(specs)
        except BaseException:
            await self._runtime.close()
            raise
        self._links = dict(zip(names, links, strict=True))
        self._progress("ready", 1, 1)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends what still runs, and the models."""
        for coordinator in list(self._streams):
            coordinator.cancel()
        runtime, self._runtime = self._runtime, None
        self._links = {}
        if runtime is not None:
            await runtime.close()

    def _find(self, spec: str) -> tuple[str, str]:
        """Name and folder (or GGUF file) of a model, fetched if need be.

        A runtime of the caller's own gets what the caller wrote.
        """
        if not isinstance(self._runtime_choice, str):
            return spec, spec
        if file := self._options.as_it_is(spec):
            return os.path.basename(file).removesuffix(".gguf"), file
        from tokencollab.engines.store import resolve  # noqa: PLC0415

        files = resolve(spec, self._progress)
        return files.name, os.path.abspath(files.folder)

    def _make_runtime(self) -> Runtime:
        if self._runtime_choice == "local":
            from tokencollab.actors.local import LocalRuntime  # noqa: PLC0415

            return LocalRuntime()
        if self._runtime_choice == "ray":
            from tokencollab.actors.ray_runtime import RayRuntime  # noqa: PLC0415

            return RayRuntime()
        return self._runtime_choice

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """What the models are, the base first."""
        return tuple(link.info for link in self._links.values())

    def stream(
        self,
        prompt: Prompt,
        *,
        max_tokens: int = 256,
        stop: Sequence[str] = (),
        seed: int = 0,
        trace: TextIO | None = None,
        method: str | Method | None = None,
        members: Sequence[str] | None = None,
    ) -> AnswerStream:
        """Begins an answer.

        Args:
            prompt: a question or a conversation.
            max_tokens: how many pieces at most, END included.
            stop: texts before which the answer ends.
            seed: of every random choice; the same seed gives the same text.
            trace: a text file that receives the trace (JSON lines).
            method: another method for this answer.
            members: the models that write it, by their names in `models`, the base first; all of them by default.

        Raises:
            UsageError: outside ``async with``, an empty prompt, a number out of range, no such method or model. What
                the models say of the prompt (`PromptTooLong`) is raised by the first step of the iteration.
        """
        if self._runtime is None:
            raise UsageError("a Collaboration answers inside `async with` only")
        messages = read_prompt(prompt)
        if max_tokens < 1:
            raise UsageError(f"max_tokens must be at least 1, not {max_tokens}")
        if not 0 <= seed < 1 << 53:
            raise UsageError(f"seed must be from 0 to 2**53 - 1, not {seed}")
        if not all(stop):
            raise UsageError("a stop text must not be empty")
        chosen = self.method if method is None else method if isinstance(method, Method) else parse_method(method)
        names = tuple(self._links if members is None else members)
        if not names or len(set(names)) < len(names) or any(name not in self._links for name in names):
            raise UsageError(
                f"members must be some of {', '.join(self._links)}, each once, not {', '.join(names) or 'nobody'}"
            )
        recorder = None
        if trace is not None:
            settings = {
                "method": chosen.to_json(),
                "seed": seed,
                "max_tokens": max_tokens,
                "stop": list(stop),
            }
            recorder = TraceRecorder(trace, names, settings)
        coordinator = Coordinator(
            f"{os.getpid()}-{next(self._sessions)}",
            {name: self._links[name] for name in names},
            make_policy(chosen, max_tokens=max_tokens, seed=seed, report=recorder is not None),
            sampling_of(chosen, seed),
            messages,
            stops=stop,
            recorder=recorder,
            notify=self._notify,
        )
        started = monotonic()

        def finish(text: str) -> Answer:
            return _answer(text, coordinator, names, chosen.name, seed, started)

        return AnswerStream(coordinator, self._track(coordinator), finish)

    async def generate(
        self,
        prompt: Prompt,
        *,
        max_tokens: int = 256,
        stop: Sequence[str] = (),
        seed: int = 0,
        trace: TextIO | None = None,
        method: str | Method | None = None,
        members: Sequence[str] | None = None,
    ) -> Answer:
        """The whole answer; see `stream`."""
        stream = self.stream(
            prompt, max_tokens=max_tokens, stop=stop, seed=seed, trace=trace, method=method, members=members
        )
        async for _ in stream:
            pass
        return stream.answer

    async def _track(self, coordinator: Coordinator) -> AsyncIterator[Token]:
        self._streams.add(coordinator)
        tokens = coordinator.tokens()
        try:
            async for token in tokens:
                yield token
        finally:
            self._streams.discard(coordinator)
            await tokens.aclose()  # type: ignore[attr-defined]


def read_prompt(prompt: Prompt) -> tuple[ChatMessage, ...]:
    """A prompt as messages.

    Raises:
        UsageError: empty, an unknown role, or nothing that a model could answer.
    """
    turns: list[ChatMessage] = []
    for turn in [ChatMessage("user", prompt)] if isinstance(prompt, str) else prompt:
        if isinstance(turn, ChatMessage):
            turns.append(turn)
            continue
        role, content = turn.get("role"), turn.get("content")
        if role not in ("system", "user", "assistant") or not isinstance(content, str):
            raise UsageError('a message is {"role": "system" | "user" | "assistant", "content": text}')
        turns.append(ChatMessage(cast(Role, role), content))
    if not any(turn.content.strip() for turn in turns if turn.role == "user"):
        raise UsageError("the prompt is empty: give a question")
    return tuple(turns)


def _unique(names: Sequence[str]) -> list[str]:
    """Names that occur twice (a model with its own copy) get a number."""
    unique: list[str] = []
    for name in names:
        candidates = (name if number == 1 else f"{name}#{number}" for number in count(1))
        unique.append(next(candidate for candidate in candidates if candidate not in unique))
    return unique


def _answer(
    text: str, coordinator: Coordinator, names: tuple[str, ...], method: str, seed: int, started: float
) -> Answer:
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
        seconds=(coordinator.ended or monotonic()) - started,
        first_token_seconds=None if first is None else first - started,
        ms_per_token=None if first is None or last is None or later < 1 else (last - first) / later * 1000,
        agreed=tally.agreed,
        together=tally.together,
        proposed={name: tally.proposed[name] for name in names},
        forwarded={name: tally.forwarded[name] / max(1, tally.took_part[name] - 1) for name in names},
        lost=dict(tally.lost),
        pieces=tuple(tally.pieces),
    )

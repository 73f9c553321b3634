"""`Collaboration`: several models kept ready, and answers written by them together. The public entry point."""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Never, Self, TextIO, Unpack
from uuid import uuid4

from tokencollab.actors.answer import Answer
from tokencollab.actors.coordinator import Coordinator
from tokencollab.actors.journal import SUFFIX, Journal, Past, read_journal
from tokencollab.actors.metrics.answers import AnswerMetrics
from tokencollab.actors.open_answers import OpenAnswers
from tokencollab.actors.platform.follow import follow
from tokencollab.actors.prompt import Prompt
from tokencollab.actors.recorder import Recorder
from tokencollab.actors.request import AnswerRequest, running_loop
from tokencollab.actors.runtimes.base import DynamicRuntime, ModelLink, ModelSpec, Runtime
from tokencollab.actors.runtimes.choice import make_runtime
from tokencollab.actors.supervisor import FaultPolicy, MemberHealth, Supervisor
from tokencollab.answer_stream import AnswerStream, finished_answer
from tokencollab.engines.entry_points import engine_type
from tokencollab.engines.options import EngineOptions
from tokencollab.errors import UsageError
from tokencollab.files import typed_path
from tokencollab.keywords import MethodSettings, RuntimeName, check_kinds, refuse_unknown, takes, texts_of
from tokencollab.member import Member, MemberLike
from tokencollab.models.catalogue import ReportProgress
from tokencollab.models.resolve import unique_names
from tokencollab.policies.automatic import fit
from tokencollab.policies.capabilities import check_capabilities
from tokencollab.policies.evidence import ExitPolicy, check_exit
from tokencollab.policies.machine import make_policy
from tokencollab.policies.methods import AUTO, Method, method_settings, parse_method, sampling_of
from tokencollab.protocol.messages import ModelInfo
from tokencollab.startable import Startable


class Collaboration(Startable):
    """Models that write answers together::

    async with Collaboration(base="smollm2-135m-instruct", collaborators=["gemma-3-270m"]) as team:
        async for token in team.stream("Why is the sky blue?"):
            print(token.text, end="")
    """

    def __init__(
        self,
        /,
        base: MemberLike | None,
        collaborators: Sequence[MemberLike] | None = (),
        method: str | Method = AUTO,
        *,
        runtime: RuntimeName | Runtime = "local",
        options: EngineOptions | None = None,
        progress: ReportProgress | None = None,
        notify: Callable[[str], None] | None = None,
        fault_policy: FaultPolicy | None = None,
        journal: str | os.PathLike[str] | None = None,
        keep_journal: bool = False,
        exit_policy: ExitPolicy[Any] | None = None,
        **settings: Unpack[MethodSettings],
    ) -> None:
        """Nothing is loaded before ``async with``, or `start`.

        Args:
            base: the base model: a known name, a hub id, a folder of safetensors, a ``.gguf`` file, or a `Member` with
                options of its own, also as text (`Member.parse`); None, with a platform, for its base.
            collaborators: further models, in the same forms; None, with a platform, for all that it has at any time.
            method: a preset (`list_methods`) or a `Method`.
            runtime: ``local`` (threads of this process), ``ray`` (actors of a cluster), a platform (`PlatformRuntime`),
                or one of your own; these two get the models' names as they are written here.
            options: how the models compute that do not say otherwise; threads are shared out evenly by default.
            progress: hears what is being fetched and loaded.
            notify: hears notices: of a model once, when it is loaded, of the method once per answer, and which model
                left an answer, and why.
            fault_policy: deadlines and restarts of models that fail.
            journal: a folder; each answer has a file there while it is being written, from which `resume` goes on.
            keep_journal: whether the file stays when the answer has come to its end.
            exit_policy: one of your own, in place of the exit that the method names; a replay does not know it.
            settings: parameters of the method, as of `parse_method`.

        Raises:
            UsageError: an argument that cannot be, or that there is not.
            UnknownMethod: no such method, or settings that do not go with it.
        """
        refuse_unknown(Collaboration.__init__, settings, ("aggregation", "exit", *method_settings()), self.stream)
        check_kinds(runtime, options, fault_policy, journal, progress=progress, notify=notify)
        others = None if collaborators is None else texts_of("collaborators", collaborators)
        if exit_policy is not None:
            check_exit(exit_policy)
        if isinstance(method, Method) and settings:
            raise UsageError("settings go with a method's name; with a Method, use dataclasses.replace")
        self.method = method if isinstance(method, Method) else parse_method(method, **settings)
        if (base is None or collaborators is None) and not isinstance(runtime, DynamicRuntime):
            what = "base=None means the base" if base is None else "collaborators=None means all models"
            raise UsageError(f"{what} of a platform: give runtime=PlatformRuntime(...)")
        self._base = None if base is None else Member.of(base)
        self._collaborators = [Member.of(member) for member in others or ()]
        self._everybody = collaborators is None
        self._runtime_choice = runtime
        self._options = options or EngineOptions()
        self._progress = progress or (lambda what, done, total: None)
        self._notify = notify or (lambda text: None)
        self._runtime: Runtime | None = None  # once it is started
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fault_policy = fault_policy or FaultPolicy()
        self._journal = None if journal is None else typed_path(journal)
        self._keep_journal = keep_journal
        self._exit_policy = exit_policy
        self._told: set[str] = set()  # notices of the team, each told once
        self._members: dict[str, Supervisor] = {}
        self._specs: dict[str, Member] = {}  # what each was asked for as
        self._answers: OpenAnswers | None = None  # once it is started
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> Self:
        """Fetches and loads the models, as ``async with`` does; `aclose` ends them.

        Raises:
            UnknownModel, ModelUnavailable, ModelRefused: a model cannot be had, or cannot take part.
            UsageError: it is started, and not closed yet.
        """
        if self._runtime is not None:
            raise self._elsewhere() or UsageError("this Collaboration is in use already: share it, or make another one")
        self._runtime = runtime = make_runtime(self._runtime_choice)
        self._loop, self._answers = asyncio.get_running_loop(), OpenAnswers()
        try:
            base, others = self._base, self._collaborators
            if isinstance(runtime, DynamicRuntime):
                base = Member(await runtime.base()) if base is None else base
                if self._everybody:
                    others = [Member(name) for name in await runtime.names() if name != base.model]
            assert base is not None
            wanted = [base, *others]
            specs = await self._specifications(wanted)
            if isinstance(self._runtime_choice, str) and self.method.name != AUTO:  # the engines are known
                able = {spec.name: engine_type(spec.options.engine).capabilities for spec in specs}
                check_capabilities(self.method, able, self._untrusted(able))
            self._progress("loading " + ", ".join(spec.name for spec in specs), 0, 0)
            links = await runtime.start(specs)
            infos = {spec.name: link.info for spec, link in zip(specs, links, strict=True)}
            fit(self.method, infos, self._untrusted(infos))
            self._progress("ready", 1, 1)
        except BaseException:
            self._runtime = None
            await runtime.close()
            raise
        for spec, link in zip(specs, links, strict=True):
            self._members[spec.name] = self._member(spec, link)
        if isinstance(runtime, DynamicRuntime):
            later = None if self._everybody else [member.model for member in wanted]
            self._watching = asyncio.create_task(follow(runtime, self._members, later, self._take_in, self.remove))
        return self

    async def _specifications(self, wanted: Sequence[Member]) -> list[ModelSpec]:
        """What is to be started, with names that nobody here has yet."""
        if isinstance(self._runtime_choice, str):
            found = [await asyncio.to_thread(member.find, self._options, self._progress) for member in wanted]
        else:  # a runtime of the caller's own gets what the caller wrote
            here_already = isinstance(self._runtime_choice, DynamicRuntime)
            found = [member.as_written(self._options, here_already) for member in wanted]
        names = unique_names([model.name for model in found], taken=self._members)
        # One model per core: two models with all threads each are ten times slower.
        share = max(1, (os.cpu_count() or 1) // (len(names) + len(self._members)))
        self._specs |= {name: member.lasting() for name, member in zip(names, wanted, strict=True)}
        return [
            ModelSpec(name, model.source, replace(model.options, threads=model.options.threads or share))
            for name, model in zip(names, found, strict=True)
        ]

    async def aclose(self) -> None:
        """Ends what still runs, and the models. Once more does nothing."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        if self._answers is not None:
            await self._answers.close()
        members, self._members = self._members, {}
        runtime, self._runtime = self._runtime, None
        for member in members.values():
            await member.leave()
        if runtime is not None:
            await runtime.close()

    async def add(self, model: MemberLike) -> str:
        """Starts one more collaborator, which joins the answers that are being written; its name.

        Raises:
            UnknownModel, ModelUnavailable, ModelRefused: it cannot be had, or cannot take part.
            UsageError: it is not started.
        """
        self._entered()
        (spec,) = await self._specifications([Member.of(model)])
        await self._begin(spec)
        return spec.name

    async def remove(self, name: str) -> None:
        """Ends a collaborator; answers that are being written go on without it.

        Raises:
            UsageError: no such model, or it is the base.
        """
        runtime, answers = self._entered()
        if name not in self._members:
            raise UsageError(f"no member {name!r}; there are {', '.join(self._members) or 'none'}")
        if name == next(iter(self._members)):
            raise UsageError(f"{name!r} is the base: without it there is no collaboration")
        member = self._members.pop(name)
        answers.leave(name)
        await member.leave()
        await runtime.stop(name)

    def _member(self, spec: ModelSpec, link: ModelLink) -> Supervisor:
        assert self._runtime is not None
        for notice in link.info.notices:
            self._notify(f"{spec.name}: {notice}")
        return Supervisor(spec.name, link, partial(self._runtime.restart, spec), self._fault_policy)

    async def _take_in(self, name: str) -> None:
        await self._begin(ModelSpec(name, name, self._options))

    async def _begin(self, spec: ModelSpec) -> None:
        runtime, answers = self._entered()
        (link,) = await runtime.start([spec])
        self._members[spec.name] = member = self._member(spec, link)
        answers.join(member, trusted=not self._untrusted([spec.name]))

    def _untrusted(self, names: Iterable[str]) -> list[str]:
        """Those of ``names`` that are members of other owners."""
        default = getattr(self._runtime_choice, "trusted", True)
        said = {name: member.trusted for name, member in self._specs.items()}
        return [name for name in names if not (default if said.get(name) is None else said[name])]

    def _entered(self) -> tuple[Runtime, OpenAnswers]:
        """The runtime and the answers under way, inside ``async with`` and in its event loop.

        Raises:
            UsageError: anywhere else.
        """
        if self._runtime is None or self._answers is None:
            raise UsageError("a Collaboration answers, and takes in models, inside `async with`, or once it is started")
        if error := self._elsewhere():
            raise error
        return self._runtime, self._answers

    def _elsewhere(self) -> UsageError | None:
        """The error of a call in another event loop than the one in which it was started."""
        if running_loop() is self._loop:
            return None
        if self._loop is not None and self._loop.is_closed():
            return UsageError(
                "a Collaboration belongs to the event loop it was started in, and that one has ended (each asyncio.run "
                "has its own): make another one, or use tokencollab.sync"
            )
        return UsageError(
            "a Collaboration belongs to the event loop it was started in: from another thread use "
            "asyncio.run_coroutine_threadsafe(..., loop), or tokencollab.sync"
        )

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """What the models are, the base first."""
        return tuple(member.info for member in self._members.values())

    @property
    def members(self) -> Mapping[str, MemberHealth]:
        """How each model does, by name, the base first."""
        return {name: member.status for name, member in self._members.items()}

    @property
    def supervisors(self) -> Mapping[str, Supervisor]:
        """Those of the members, for modules of this package."""
        return dict(self._members)

    def check_method(self, method: Method, members: Sequence[str] | None = None) -> None:
        """Whether the models that are here, or those of them that are named, can do what ``method`` requires.

        Raises:
            UsageError: one cannot; the line names the nearest method that fits.
        """
        self._fitted(method, self._members if members is None else members)

    def _fitted(self, method: Method, names: Iterable[str]) -> tuple[Method, tuple[str, ...]]:
        infos = {name: self._members[name].info for name in names}
        return fit(method, infos, self._untrusted(infos))

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
        method: str | Method | None = None,
        members: Sequence[str] | None = None,
        keep: bool = False,
        require_room: bool = False,
        **unknown: Never,
    ) -> AnswerStream:
        """Begins an answer.

        Args:
            prompt: a question or a conversation.
            max_tokens: how many pieces at most, EOS included.
            stop: texts before which the answer ends.
            seed: of every random choice; the same seed gives the same text.
            max_seconds: after so many, from the first step of the iteration on, the answer ends with what is written.
            trace: a text file that receives the trace (JSON lines).
            method: another method for this answer.
            members: the models that write it, by their names in `models`, the base first; all of them by default.
                Models that are added later join answers without ``members`` only.
            keep: whether the models keep what they computed when the answer has ended, until `AnswerStream.aclose`: a
                prompt that goes on from this answer, asked before that, is not computed from its beginning.
            require_room: whether a collaborator that is full is an error (`PlatformFull`), as the base is. By default
                the answer goes on without it.

        Raises:
            UsageError: it is not started, an empty prompt, a number out of range, no such argument, method or model.
                What the base says of the prompt (`PromptTooLong`) is raised by the first step of the iteration. The
                answer goes on without a collaborator that refuses it (`Answer.left`).
        """
        refuse_unknown(Collaboration.stream, unknown, other=Collaboration.__init__)
        chosen = self.method if method is None else method if isinstance(method, Method) else parse_method(method)
        own = {name: member.weight for name, member in self._specs.items() if member.weight is not None}
        if own and chosen.uses("weights"):
            chosen = replace(chosen, weights=tuple(sorted((own | dict(chosen.weights)).items())))
        request = AnswerRequest.of(chosen, prompt, max_tokens, stop, seed, max_seconds)
        return self.stream_request(request, trace, members=members, keep=keep, require_room=require_room)

    def resume(self, /, journal: str | os.PathLike[str], *, trace: TextIO | None = None) -> AnswerStream:
        """Goes on with an answer whose writing was cut off; what was written comes first, as it was.

        Args:
            journal: the file that was left in the folder of the constructor's ``journal``. Method, seed and limits are
                those of the journal.
            trace: as of `stream`.

        Raises:
            UsageError: the file cannot be read, another process writes it, or its base is not a model here.
            TraceError: it is damaged.
        """
        past = read_journal(journal)
        if past.trace.models[0] not in self._members:
            raise UsageError(f"the journal's base is {past.trace.models[0]!r}, which is not a member here")
        request = AnswerRequest.of_journal(past)
        own = type(self._exit_policy).__name__ if self._exit_policy is not None else None
        if past.trace.settings.get("exit_policy") != own:
            raise UsageError(f"{past.path} was written with the exit policy {past.trace.settings.get('exit_policy')}")
        return self.stream_request(request, trace, past=past)

    def stream_request(
        self,
        request: AnswerRequest,
        trace: TextIO | None = None,
        *,
        members: Sequence[str] | None = None,
        past: Past | None = None,
        keep: bool = False,
        require_room: bool = False,
        journal_file: Path | None = None,
        notify: Callable[[str], None] | None = None,
    ) -> AnswerStream:
        """As `stream`, of a request that has been checked.

        ``past``: what the request's journal has, to go on from. ``journal_file`` and ``notify``: for this answer, in
        place of what the constructor's ``journal`` and ``notify`` mean.
        """
        _, answers = self._entered()
        if trace is not None and not hasattr(trace, "write"):
            raise UsageError(f"trace must be a text file, not {type(trace).__name__}")
        here = self._members
        names = wanted = tuple(here) if members is None else texts_of("members", members)
        if past is not None:  # its base and its order
            names = past.trace.models
            wanted = tuple(dict.fromkeys(name for name in (*names, *wanted) if name in here))
        elif not wanted or len(set(wanted)) < len(wanted) or any(name not in here for name in wanted):
            raise UsageError(
                f"members must be some of {', '.join(here)}, each once, not {', '.join(map(str, wanted)) or 'nobody'}"
            )
        # A journal has what was chosen for `auto` when its answer began.
        begun = past is not None and request.method.name == AUTO and AnswerRequest.of_journal(past)
        method, notices = self._fitted((begun or request).method, wanted)
        request = replace(request, method=method)
        for notice in notices if notify else [each for each in notices if each not in self._told]:
            (notify or self._notify)(notice)
        self._told.update(notices)
        session = uuid4().hex
        settings = request.settings()
        if self._exit_policy is not None:
            settings["exit_policy"] = type(self._exit_policy).__name__
        recorders: list[Recorder] = [] if trace is None else [Recorder(trace, names, settings)]
        journal: Journal | None = None
        file = journal_file if past is None else past.path
        if file is None and self._journal is not None:
            file = self._journal / f"{session}{SUFFIX}"
        if file is not None:
            sources = {name: str(member) for name, member in self._specs.items()}
            settings |= {"sources": sources, "options": self._options.to_json()}
            journal = Journal(file, names, settings, request.messages, keep=self._keep_journal, past=past)
            recorders.append(journal)
        coordinator = Coordinator(
            session,
            {name: here[name] for name in wanted},
            make_policy(
                request.method,
                max_tokens=request.max_tokens,
                seed=request.seed,
                report=bool(recorders),
                exit_policy=self._exit_policy,
            ),
            sampling_of(request.method, request.seed),
            request.messages,
            stops=request.stop,
            recorders=recorders,
            notify=notify or self._notify,
            wait_for_base=self._fault_policy.wait_for_base,
            past=past,
            keep=keep,
            require_room=require_room,
            max_seconds=request.max_seconds,
            metrics=AnswerMetrics(request.method.name),
            began=lambda coordinator: answers.add(coordinator, tokens, request.method if members is None else None),
            over=answers.discard,
        )
        tokens = coordinator.tokens()
        started = (now := asyncio.get_running_loop().time)()

        def finish(text: str) -> Answer:
            ended = coordinator.ended or now()
            everybody = tuple(dict.fromkeys((*names, *coordinator.tally.took_part)))  # those that came later as well
            return finished_answer(text, coordinator, everybody, request.method.name, request.seed, started, ended)

        file = journal.path if journal else None
        return AnswerStream(coordinator, tokens, finish, file, partial(answers.forget, coordinator))

    @takes(stream)
    async def generate(self, *prompt: Any, **arguments: Any) -> Answer:
        """The whole answer; arguments and errors are those of `stream`."""
        stream = self.stream(*prompt, **arguments)
        async for _ in stream:
            pass
        await stream.aclose()
        return stream.answer

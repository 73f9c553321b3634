"""The Ray runtime: one actor process per model. Only `actors.ray_*` know Ray."""

import asyncio
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from typing import Any, TypeAlias

import ray
from ray._private.services import get_ray_address_from_environment
from ray.exceptions import RayActorError

from tokencollab.actors.log import log_to_stderr
from tokencollab.actors.metrics import install, uninstall
from tokencollab.actors.metrics.ray_exporter import ray_sink
from tokencollab.actors.model import ModelActor, Prefix
from tokencollab.actors.runtimes.base import ModelLink, ModelSpec, gpu_shares
from tokencollab.actors.runtimes.reachable import check_address
from tokencollab.actors.runtimes.sockets import Channel, serve
from tokencollab.actors.runtimes.threads import load_engine, make_actor
from tokencollab.engines.base import Engine
from tokencollab.errors import (
    ModelFailed,
    ModelGone,
    ModelRefused,
    ModelUnavailable,
    PromptTooLong,
    ProtocolError,
    TokencollabError,
    UsageError,
    named,
    text_of,
)
from tokencollab.protocol import codec
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.messages import Close, GenerateSolo, ModelInfo, Open, Opened, Refused, Reply, Request, Task

_Ready: TypeAlias = tuple[ModelInfo | None, str, str, str]
_LONG = 1 << 16  # bytes of a frame, which takes a fraction of a millisecond
# Of a reader that falls behind so many replies are kept; then the model waits.
_STREAMING: dict[str, Any] = {"num_returns": "streaming", "_generator_backpressure_num_objects": 256}
_OBJECT_STORE_BYTES = 128 << 20  # tokens are small: nothing of ours lives in the object store


class FrameActor(ABC):
    """An actor at Ray's edge: frames in, frames out, by Ray's calls or over a socket."""

    async def alive(self) -> None:  # noqa: B027 - nothing more than an answer
        """The process says a word."""

    async def ask(self, frame: bytes) -> bytes:
        """One request frame, one reply frame."""
        (reply,) = [reply async for reply in self.replies(frame)]
        return reply

    async def replies(self, frame: bytes) -> AsyncIterator[bytes]:
        """One request frame, its reply frames."""
        async for reply in self._replies(frame, set()):
            yield reply

    async def _serve(self) -> tuple[str, str]:
        """The node, and the path of a socket there that answers from now on."""
        self._server, path = await serve(self._replies, self._left)
        return ray.get_runtime_context().get_node_id(), path

    @abstractmethod
    def _replies(self, frame: bytes, opened: set[str]) -> AsyncIterator[bytes]:
        """As `replies`, over a connection that has ``opened`` sessions. What goes wrong is a reply too."""

    @abstractmethod
    async def _left(self, opened: set[str]) -> None:
        """A program that went away, however it did, needs its sessions no more."""


class RayModel(FrameActor):
    """`ModelActor` at Ray's edge."""

    def __init__(self, spec: ModelSpec, load: Callable[[ModelSpec], Engine]) -> None:
        self._spec = spec
        self._load = load
        self._actor: ModelActor | None = None
        self._loading: asyncio.Future[_Ready] | None = None

    async def ready(self) -> _Ready:
        """What the model is, or why it is incompatible; and the node and the path of its socket.

        The first call loads the model; all wait for that.
        """
        if self._loading is None:
            self._loading = asyncio.ensure_future(self._load_model())
        return await asyncio.shield(self._loading)

    async def next_candidates(
        self, prefix: Prefix, k: int = 5, offsets: Sequence[int] | None = None
    ) -> CandidateSet | list[CandidateSet]:
        info, reason, _, _ = await self.ready()
        if info is None or self._actor is None:
            raise ModelRefused(reason)
        return await self._actor.next_candidates(prefix, k, offsets)

    async def _load_model(self) -> _Ready:
        install(ray_sink)
        log_to_stderr()
        self._actor = make_actor(self._spec, self._load)
        try:
            info = await self._actor.ready()
        except TokencollabError as error:  # as Ray brings errors, they have their tracebacks in their text
            return None, str(error), "", ""
        return info, "", *await self._serve()

    async def _replies(self, frame: bytes, opened: set[str]) -> AsyncIterator[bytes]:
        try:
            request = await received(frame, Request, "a request to a model")
            if self._actor is None:
                raise ProtocolError("the model is not loaded yet")
            match request:
                case GenerateSolo():
                    async for reply in self._actor.write(request):
                        yield codec.encode(reply)
                    return
                case Open(session):
                    opened.add(session)
                case Close(session):
                    opened.discard(session)
            reply = await self._actor.ask(request)
            if isinstance(request, Open) and not isinstance(reply, Opened):
                opened.discard(request.session)
            yield codec.encode(reply)
        except Exception as error:
            yield refusal_frame(error)

    async def _left(self, opened: set[str]) -> None:
        if self._actor is not None:
            await asyncio.gather(*(self._actor.ask(Close(session)) for session in opened), return_exceptions=True)


def refusal_frame(error: Exception, kind: type[Exception] = ModelFailed) -> bytes:
    """The frame that tells what went wrong. Of another class than ``kind`` the reason has the name."""
    reason = text_of(error) if type(error) is kind else named(error)
    return codec.encode(Refused("", kind.__name__, reason.encode("utf-8", "replace").decode()))


def frame_of(request: Request | Task) -> bytes:
    """The frame of a request. Raises PromptTooLong: its conversation is longer than a frame may be."""
    if not isinstance(request, Open | Task):
        return codec.encode(request)
    if len(request.messages) > codec.MAX_MESSAGES:
        raise PromptTooLong(
            f"the conversation has {len(request.messages)} messages; models in other processes take "
            f"{codec.MAX_MESSAGES}: shorten it"
        )
    try:
        return codec.encode(request)
    except ProtocolError as error:
        raise PromptTooLong(
            f"the prompt does not fit into the {codec.MAX_FRAME_BYTES} bytes that models in other processes take: "
            "shorten it"
        ) from error


async def received(frame: bytes, kinds: Any, what: str) -> Any:
    """The message of a frame; others do not wait for a long one. Raises ProtocolError: it is none of ``kinds``."""
    if len(frame) < _LONG:
        return _decoded(frame, kinds, what)
    return await asyncio.to_thread(_decoded, frame, kinds, what)


def _decoded(frame: bytes, kinds: Any, what: str) -> Any:
    message = codec.decode(frame)
    if not isinstance(message, kinds):
        raise ProtocolError(f"{type(message).__name__} came where {what} was expected")
    return message


class RayLink:
    """An actor of the cluster, a model or a coordinator: over its socket on this machine, by Ray's calls on another."""

    def __init__(self, handle: Any, info: ModelInfo, channel: Channel | None) -> None:
        self._handle = handle
        self.info = info
        self.channel = channel

    async def ask(self, request: Request) -> Reply:
        try:
            frame = frame_of(request)
        except PromptTooLong as error:  # this conversation is the matter, not the model
            return Refused(request.session, PromptTooLong.__name__, str(error))
        with said_as_gone():
            if self.channel is None:
                answer = await self._handle.ask.remote(frame)
            else:
                answer = await self._only_answer(self.channel, frame)
        reply: Reply = await received(answer, Reply, "the reply of a model")
        return reply

    @staticmethod
    async def _only_answer(channel: Channel, frame: bytes) -> bytes:
        """The answer to a call that has one. A model that goes on answering is not listened to."""
        answers = channel.call(frame)
        first = await anext(answers, None)
        if first is None or await anext(answers, None) is not None:
            await answers.aclose()  # type: ignore[attr-defined]
            raise ProtocolError("none or several replies to a request that has one")
        return first

    async def write(self, request: GenerateSolo) -> AsyncIterator[Reply]:
        async with aclosing(self.stream(request)) as replies:
            async for reply in replies:
                yield await received(reply, Reply, "the reply of a model")

    async def stream(self, request: GenerateSolo | Task) -> AsyncGenerator[bytes, None]:
        """The frames of the replies to a request that has several. Raises as `ask`, and PromptTooLong."""
        frame = frame_of(request)
        finished = False
        try:
            with said_as_gone():
                if self.channel is None:
                    async for reference in self._handle.replies.options(**_STREAMING).remote(frame):
                        yield await reference
                else:
                    async for answer in self.channel.call(frame):
                        yield answer
            finished = True
        finally:
            if not finished:  # the reader left: the actor must not go on without a reader
                self._handle.ask.remote(codec.encode(Close(request.session)))

    async def alive(self) -> None:
        with said_as_gone():
            await self._handle.alive.remote()


@contextmanager
def said_as_gone() -> Iterator[None]:
    """What Ray and the socket raise when a process has ended, in our words."""
    try:
        yield
    except (RayActorError, ConnectionError) as error:
        raise ModelGone(f"the model's process has ended: {type(error).__name__}") from error


def _address() -> str:
    """The cluster that this process is told to use; "" where it starts one of its own."""
    address = os.environ.get("RAY_ADDRESS", "")
    return "" if address == "local" else address


def check_cluster() -> None:
    """Whether the cluster that `ray.init` is about to connect with answers.

    Raises UsageError: it does not. Where no cluster is known at all, `ray.init` says so itself.
    """
    address = _address()
    if address not in ("", "auto"):
        check_address(address)
        return
    with suppress(ConnectionError):  # which ray.init says as well
        last = get_ray_address_from_environment("auto", None)  # of `ray start` on this machine, which may be gone
        check_address(last, "the address of the last one here, ")


def start_actor(spec: ModelSpec, load: Callable[[ModelSpec], Engine] = load_engine, gpus: float = 0.0) -> Any:
    """The actor of a model, which reserves its threads as CPUs, and ``gpus``. The first call loads the model."""
    # No restarts by Ray: an empty actor under the old name would answer questions that were meant for the old one.
    options = {"num_cpus": spec.options.threads or 1, "num_gpus": gpus, "max_restarts": 0, "max_task_retries": 0}
    return ray.remote(RayModel).options(**options, enable_task_events=False).remote(spec, load)


class RayRuntime:
    """Models as Ray actors: in the cluster this process is connected to, else in one of its own on this machine."""

    def __init__(self, load: Callable[[ModelSpec], Engine] = load_engine) -> None:
        """Nothing is started yet. ``load`` makes the engine of a spec, in the actor's process."""
        self._load = load
        self._models: dict[str, tuple[Any, RayLink | None, str]] = {}  # handle, link, path of its socket
        self._gpus: dict[str, float] = {}  # what each reserves; Ray shows it that GPU only
        self._own_cluster = False

    async def start(self, specs: Sequence[ModelSpec]) -> list[ModelLink]:
        if not ray.is_initialized():
            try:
                await asyncio.to_thread(self._connect, sum(spec.options.threads or 1 for spec in specs))
            except UsageError:
                raise
            except (Exception, SystemExit) as error:  # Ray has no type of its own for this
                address = _address()
                where = (
                    f"the Ray cluster at RAY_ADDRESS={address} refuses the connection"
                    if address
                    else "Ray does not start"
                )
                raise ModelUnavailable(f"{where}: {str(error).partition(chr(10))[0]}") from error
        install(ray_sink)
        shares = gpu_shares([spec.options.device for spec in specs], ray.available_resources().get("GPU", 0.0))
        for spec, share in zip(specs, shares, strict=True):
            self._gpus[spec.name] = share
            self._models[spec.name] = (start_actor(spec, self._load, share), None, "")
        outcomes = await asyncio.gather(*(self._link(spec.name) for spec in specs), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return [link for link in outcomes if not isinstance(link, BaseException)]

    async def _link(self, name: str) -> RayLink:
        handle = self._models[name][0]
        with said_as_gone():
            info, reason, node, path = await handle.ready.remote()
        if info is None:
            raise ModelRefused(reason)
        channel = await Channel.connect(path) if node == ray.get_runtime_context().get_node_id() else None
        link = RayLink(handle, info, channel)
        self._models[name] = (handle, link, path if channel is not None else "")
        return link

    async def restart(self, spec: ModelSpec) -> ModelLink:
        """See `Runtime.restart`. A process that hangs is killed."""
        await self.stop(spec.name)
        self._models[spec.name] = (start_actor(spec, self._load, self._gpus[spec.name]), None, "")
        return await self._link(spec.name)

    async def stop(self, name: str) -> None:
        if name not in self._models:
            return
        handle, link, path = self._models.pop(name)
        if link is not None and link.channel is not None:
            await link.channel.close()
        if path:
            shutil.rmtree(os.path.dirname(path), ignore_errors=True)
        ray.kill(handle)

    async def close(self) -> None:
        """See `Runtime.close`. Ends the actors, and the cluster if this runtime started it."""
        for name in list(self._models):
            await self.stop(name)
        if self._own_cluster:
            self._own_cluster = False
            uninstall(ray_sink)
            await asyncio.to_thread(ray.shutdown)

    def _connect(self, cpus: int) -> None:
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        if _address():
            check_cluster()
            ray.init(log_to_driver=False, logging_level="ERROR")
        else:
            ray.init(
                address="local",
                num_cpus=max(cpus, os.cpu_count() or 1),  # a model more than cores is slow, but must start
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                object_store_memory=_OBJECT_STORE_BYTES,
            )
        self._own_cluster = True

"""What the runs of several commands share: models, runtime, trace, signals."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tokencollab.actors.prompt import read_prompt
from tokencollab.actors.runtimes.base import Runtime
from tokencollab.actors.supervisor import FaultPolicy
from tokencollab.cli.terminal import ProgressView
from tokencollab.engines.options import EngineOptions
from tokencollab.errors import UnknownMethod, UsageError
from tokencollab.files import PRIVATE_FILE, typed_path
from tokencollab.keywords import RuntimeName
from tokencollab.member import FoundModel, Member
from tokencollab.models.resolve import unique_names
from tokencollab.policies.methods import AUTO, Method, parse_method
from tokencollab.policies.responses.response_methods import is_response_method
from tokencollab.protocol.json_text import NotJson, read_json
from tokencollab.protocol.messages import ChatMessage

if TYPE_CHECKING:
    from tokencollab.collaboration import Collaboration


def chosen_method(arguments: argparse.Namespace) -> Method:
    """The method with its settings."""
    name = arguments.method or ("base" if collaborators_of(arguments) == [] else AUTO)
    if is_response_method(name):
        raise UnknownMethod(f"{name} chooses between whole answers of several models: use `tokencollab ask`")
    return parse_method(name, **arguments.settings)


def collaborators_of(arguments: argparse.Namespace) -> list[str] | None:
    """Who collaborates with the base; None: everybody else on the platform."""
    collaborators: list[str] = arguments.collaborators
    everybody = platform_of(arguments) and not collaborators and arguments.method != "base"
    return None if everybody else collaborators


def platform_of(arguments: argparse.Namespace) -> str | None:
    """``--platform``, of the commands that have it."""
    namespace: str | None = getattr(arguments, "platform", None)
    if namespace is not None:
        if arguments.runtime is not None:
            raise UsageError("--platform and --runtime: give one of them")
        started = {"engine": "transformers", "dtype": "auto", "threads": None, "kv_megabytes": None}
        for option, default in started.items():
            if getattr(arguments, option, default) != default:
                raise UsageError(f"--{option.replace('_', '-')} is an option of `tokencollab platform up`")
    return namespace


def read_question(arguments: argparse.Namespace) -> tuple[ChatMessage, ...]:
    """The conversation that the prompt and ``--system`` are."""
    prompt = arguments.prompt
    if prompt in (None, "-"):
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("no prompt: give a question, or pipe one into standard input")
        prompt = sys.stdin.buffer.read().decode("utf-8", "replace")
    messages = read_prompt([ChatMessage("user", prompt)])
    return (ChatMessage("system", arguments.system), *messages) if arguments.system else messages


@contextmanager
def open_trace(path: str | None) -> Iterator[TextIO | None]:
    """The file of a trace, empty; None where no trace is wanted."""
    if path is None:
        yield None
        return
    place = typed_path(path)
    try:  # readable for its owner alone; a file that is there keeps its mode
        file = open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE), "w", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise UsageError(f"the trace cannot be written to {path}: {error.strerror}") from None
    try:
        yield file
    finally:
        with suppress(OSError):  # of what could not be written before, which was told then
            file.close()


def engine_options(arguments: argparse.Namespace) -> EngineOptions:
    names = ("engine", "dtype", "threads", "kv_megabytes")
    return EngineOptions(**{name: getattr(arguments, name) for name in names})


def fetch_models(arguments: argparse.Namespace, options: EngineOptions, progress: ProgressView) -> list[FoundModel]:
    """Fetches the models that are not here yet: in the main thread, so that Ctrl-C ends a download.

    Returns what was found, the base first, named as `Collaboration` names it; nothing where a platform has them.
    """
    if platform_of(arguments) is not None:
        return []
    if arguments.base is None:
        raise UsageError("--base is missing: name a model; it may be left out with --platform alone")
    return fetch((arguments.base, *arguments.collaborators), options, progress)


def fetch(models: Sequence[str], options: EngineOptions, progress: ProgressView) -> list[FoundModel]:
    """As `fetch_models`, of ``models``."""
    found = [member.find(options, progress.update) for member in [Member.parse(model) for model in models]]
    if notices := dict.fromkeys(f"{model.name}: {model.notice}" for model in found if model.notice):
        progress.say("; ".join(notices))
    names = unique_names([model.name for model in found])
    return [model._replace(name=name) for name, model in zip(names, found, strict=True)]


def in_ray_job() -> bool:
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def check_stays(out: str) -> None:
    """Raises UsageError where ``out`` is a path in a folder that Ray removes after the job."""
    if in_ray_job() and not Path(out).is_absolute():
        try:
            copied = read_json(os.environ["RAY_JOB_CONFIG_JSON_ENV_VAR"])["runtime_env"]["working_dir"]
        except (NotJson, TypeError, LookupError):  # none is named, or it is not Ray's
            copied = None
        if copied:
            raise UsageError(
                f"--out {out}: this job runs in a copy of the working directory that Ray removes; give a whole path, "
                f'such as --out "$PWD/{out}"'
            )


def runtime_name(arguments: argparse.Namespace) -> RuntimeName:
    """``--runtime``, or where the program finds itself."""
    runtime: RuntimeName = arguments.runtime or ("ray" if in_ray_job() else "local")
    return runtime


def runtime_of(arguments: argparse.Namespace) -> RuntimeName | Runtime:
    """``--platform`` or ``--runtime``, or where the program finds itself."""
    namespace = platform_of(arguments)
    if namespace is None:
        return runtime_name(arguments)
    from tokencollab.actors.platform.client import PlatformRuntime  # noqa: PLC0415

    return PlatformRuntime(namespace)


def fault_policy_of(arguments: argparse.Namespace) -> FaultPolicy:
    fault_policy = FaultPolicy(wait_for_base=arguments.wait_for_base)
    if arguments.lag is not None:
        fault_policy = replace(fault_policy, lag=arguments.lag)
    if arguments.deadline is None:
        return fault_policy
    return replace(fault_policy, floor=arguments.deadline, ceiling=max(arguments.deadline, fault_policy.ceiling))


@contextmanager
def served_metrics(arguments: argparse.Namespace, say: Callable[[str], None]) -> Iterator[None]:
    """Serves the figures of ``--metrics`` within the block."""
    if arguments.metrics is None:
        yield
        return
    from tokencollab.actors.metrics.prometheus import serve_metrics  # noqa: PLC0415 - for those who want it

    with serve_metrics(arguments.metrics) as address:
        say(f"metrics: {address}")
        yield


def make_team(
    arguments: argparse.Namespace,
    options: EngineOptions,
    method: Method,
    progress: ProgressView,
    notify: Callable[[str], None],
) -> "Collaboration":
    from tokencollab.collaboration import Collaboration  # noqa: PLC0415 - a tenth of a second, and errors come first

    return Collaboration(
        arguments.base,
        collaborators_of(arguments),
        method,
        runtime=runtime_of(arguments),
        options=options,
        progress=progress.update,
        notify=notify,
        fault_policy=fault_policy_of(arguments),
        journal=getattr(arguments, "journal", None),
        keep_journal=getattr(arguments, "keep_journal", False),
    )


@contextmanager
def interruptible(say: Callable[[str], None], before: str) -> Iterator[Callable[[Callable[[], object]], None]]:
    """Ctrl-C ends the block with a notice; the function that the block gets changes what Ctrl-C does from then on."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def on_ctrl_c(stop: Callable[[], object]) -> None:
        loop.add_signal_handler(signal.SIGINT, stop)

    on_ctrl_c(task.cancel)
    try:
        yield on_ctrl_c
    except asyncio.CancelledError:
        say(f"interrupted before {before}")


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class StopSignal:
    by: signal.Signals | None = None
    """What ended the block early; the exit code is then 128 + ``by``."""


@contextmanager
def stopped_by_signal() -> Iterator[StopSignal]:
    """The first SIGINT or SIGTERM cancels the task of this block, which then ends here, without an exception.

    A second one does what it does anywhere: whoever asks again means it.
    """
    loop, task, stop = asyncio.get_running_loop(), asyncio.current_task(), StopSignal()
    assert task is not None

    def release() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    def hear(by: signal.Signals) -> None:
        stop.by = by
        release()
        task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, hear, number)
    try:
        yield stop
    except asyncio.CancelledError:
        if stop.by is None:
            raise
        task.uncancel()
    finally:
        release()

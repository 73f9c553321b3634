"""The errors of tokencollab, one tree. Each message says what is wrong and what to do next.

                              exit code, HTTP status
    TokencollabError            1  500
    ├── UsageError              2  400  the caller asked for something that cannot be
    │   ├── UnknownModel        2  404  no such model name, hub id, folder or file
    │   ├── UnknownMethod       2  404  no such method, or parameters that do not go together
    │   ├── PromptTooLong       2  413  the prompt leaves no room in a model's context
    │   ├── MissingExtra        2  400  a package of an optional extra is not installed
    │   ├── ModelRefused        2  422  this model cannot take part (its tokenizer changes text, ...)
    │   └── TraceError          2  400  a trace that cannot be replayed
    ├── ModelUnavailable        2  503  a model could not be fetched or loaded
    ├── ModelFailed             1  503  a model did not answer as it should, or none is left that could
    │   ├── ModelGone           1  503  its thread or process has ended
    │   └── ModelDown          1  503  it is being restarted, or missed its deadline
    ├── PlatformFull            1  429  a model has as many sessions as it may have; try again later
    ├── RunStopped              1  500  models fail, so a batch or an evaluation ended early
    ├── CannotWrite             1  500  a file or standard output takes no more
    └── ProtocolError           1  500  a peer broke the contract
        └── MalformedAnswer     1  500  a model's answer is not what the protocol allows

What fails in the ordinary course of an answer (a timeout, a crash) is an event for the policy, and raised only where no
policy hears it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "eval": ("scipy", "matplotlib", "pandas", "pyarrow", "jinja2"),
    "repl": ("prompt_toolkit",),
    "serve": ("fastapi", "uvicorn"),
    "gguf": ("xllamacpp",),
    "hub": ("datasets",),
}
"""The optional extras of pyproject.toml and the packages that each adds."""


class TokencollabError(Exception):
    """Anything this library raises on purpose.

    Attributes:
        exit_code: of a command that ends by it.
        http_status: of a response that tells it.
    """

    exit_code = 1
    http_status = 500


class UsageError(TokencollabError):
    """The request cannot be carried out as it was put; nothing was started."""

    exit_code = 2
    http_status = 400


class UnknownModel(UsageError):
    """No model has this name."""

    http_status = 404


class UnknownMethod(UsageError):
    """No such method, or a combination of parameters that means nothing."""

    http_status = 404


class PromptTooLong(UsageError):
    """The prompt leaves no room for an answer in a model's context."""

    http_status = 413


class MissingExtra(UsageError):
    """A package of an optional extra is not installed."""


class ModelRefused(UsageError):
    """The model exists but cannot take part, for the reason given."""

    http_status = 422


class TraceError(UsageError):
    """A trace is damaged; the message has the line number and the reason."""


class ModelUnavailable(TokencollabError):
    """A known model could not be fetched or loaded here."""

    exit_code = 2
    http_status = 503


class ModelFailed(TokencollabError):
    """A model did not answer as it should, or none is left that could."""

    http_status = 503


class ModelGone(ModelFailed):
    """The model's thread or process is not there any more."""


class ModelDown(ModelFailed):
    """The model is not there at this moment, or missed its deadline."""


class PlatformFull(TokencollabError):
    """A model has as many sessions as it may have."""

    http_status = 429


class RunStopped(TokencollabError):
    """So many answers failed that it is not the questions' fault. What is answered stays; the run can be resumed."""


class CannotWrite(TokencollabError):
    """A file of records, or standard output, takes no more; what was written stays."""


class ProtocolError(TokencollabError):
    """A peer broke the protocol's contract."""


class MalformedAnswer(ProtocolError):
    """A model's answer fails the checks on arrival and must not be used."""


def error_named(kind: str, reason: str) -> TokencollabError:
    """The error that another process tells by the name of its class; `ModelFailed` where no class has this name."""
    cls = globals().get(kind)
    return (cls if isinstance(cls, type) and issubclass(cls, TokencollabError) else ModelFailed)(reason)


def text_of(error: BaseException) -> str:
    """What an error says. Of somebody else's, even that may fail."""
    try:
        return str(error)
    except BaseException as failure:
        return f"(its text cannot be had: {type(failure).__name__})"


def named(error: BaseException) -> str:
    """An error by its class and what it says, for a message."""
    return f"{type(error).__name__}: {text_of(error)}"


def as_failure(error: BaseException) -> Exception:
    """What callers in an event loop are told of an error in a model's thread.

    A panic of a Rust library, `SystemExit` and the like are no `Exception`: in the loop they would end the program. The
    text of an error is somebody's code, and may fail too.
    """
    if isinstance(error, TokencollabError):
        return error
    try:
        str(error)
    except BaseException:
        return ModelFailed(named(error))
    return error if isinstance(error, Exception) else ModelFailed(named(error))


_REFUSALS = {kind.__name__: kind for kind in (PromptTooLong, ModelRefused, PlatformFull)}


def refusal(kind: str, reason: str) -> TokencollabError:
    """The error of a model that refuses a request, by the name that its reply brings."""
    return _REFUSALS.get(kind, ModelFailed)(reason)


@contextmanager
def extra(purpose: str) -> Iterator[None]:
    """A block that needs packages of `EXTRAS`.

    Raises:
        MissingExtra: one of them cannot be imported; one line with ``purpose`` and the command that installs it.
    """
    try:
        yield
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        for name, packages in EXTRAS.items():
            if package in packages:
                raise MissingExtra(f"{purpose} needs {package}: {install(name)}") from error
        raise


def install(extra_name: str) -> str:
    """The command that installs the packages of an extra, whichever way tokencollab itself was installed."""
    from importlib.metadata import PackageNotFoundError, requires  # noqa: PLC0415 - for those who lack something

    try:
        required = requires("tokencollab") or []
    except PackageNotFoundError:
        required = []
    own = [line.partition(";")[0].strip() for line in required if f'extra == "{extra_name}"' in line]
    return "pip install " + " ".join(f"'{package}'" for package in own or EXTRAS[extra_name])


def cause(error: BaseException) -> str:
    """What a library raised, in one line: its type and the beginning of its text."""
    return f"{type(error).__name__}: {' '.join(text_of(error).split())[:200]}".removesuffix(": ")


@contextmanager
def refused(what: str) -> Iterator[None]:
    """A block that reads what belongs to a model: whatever a library raises there means that the model is refused.

    A list of exception types would never be complete: tokenizers raises bare `Exception`, a panic in Rust is no
    `Exception` at all. Errors of this library pass, and what is no fault of the model: Ctrl-C and a lack of memory.

    Raises:
        ModelRefused: one line with ``what`` and the cause.
    """
    try:
        yield
    except (TokencollabError, KeyboardInterrupt, MemoryError, GeneratorExit):
        raise
    except BaseException as error:
        raise ModelRefused(f"{what}: {cause(error)}") from error

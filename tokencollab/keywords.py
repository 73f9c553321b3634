"""Keyword arguments: the settings of methods as types, and what is said of a keyword that nobody knows.

The settings are declared once, by `policies.parameters`; a test holds the types here to that. A parameter of a class of
one's own is given by `parse_method` or `parse_response_method`, which take any.
"""

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Concatenate, Final, Literal, ParamSpec, TypeAlias, TypedDict, TypeVar, cast, get_args

from tokencollab.actors.runtimes.base import Runtime
from tokencollab.actors.supervisor import FaultPolicy
from tokencollab.engines.options import EngineOptions
from tokencollab.errors import UsageError
from tokencollab.policies.methods import method_settings
from tokencollab.policies.responses.panels import Order, Panel
from tokencollab.policies.responses.response_methods import response_settings
from tokencollab.policies.responses.vote import Pick
from tokencollab.protocol.values import perhaps

RuntimeName: TypeAlias = Literal["local", "ray"]

P = ParamSpec("P")
T = TypeVar("T")

_OTHER_NAMES: Final[Mapping[str, str]] = {
    "max_new_tokens": "max_tokens", "max_completion_tokens": "max_tokens", "timeout": "max_seconds",
    "models": "collaborators",
}  # fmt: skip
"""What other libraries call an argument."""


class MethodSettings(TypedDict, total=False):
    """Settings of a token-level method, as of `parse_method`; None: as the preset has it."""

    aggregation: str | None
    exit: str | None
    top_k: int | None
    top_t: int | str | tuple[int, int] | None
    top_p: float | None
    over: Literal["vocabulary", "top_k"] | None
    temperature: float | None
    weights: Mapping[str, float] | None
    reference: Literal["raw", "floor"] | None
    carry: bool | None
    commit: float | None
    omega: int | None
    theta: float | None
    rho: float | None
    eps: float | None
    ties: Literal["success", "failure"] | None
    consult_below: float | None
    patience: int | None


class ResponseSettings(TypedDict, total=False):
    """Settings of a response-level method, as of `parse_response_method`; None: its default."""

    temperature: float | None
    top_k: int | None
    prices: Mapping[str, float] | None
    samples: int | None
    at_once: int | None
    priors: Mapping[str, float] | None
    pick: Pick | None
    threshold: float | None
    defer: bool | None
    stop_probability: float | None
    panel: Panel | Mapping[str, Any] | None
    rounds: int | None
    order: Order | None
    short_tokens: int | None
    selector: str | None


def takes(call: Callable[Concatenate[Any, P], Any]) -> Callable[[Callable[..., T]], Callable[Concatenate[Any, P], T]]:
    """Gives a method that passes its arguments on the signature of ``call``, for readers and type checkers.

    The first parameter of ``call`` (its ``self``) must be positional only.
    """

    def declare(method: Callable[..., T]) -> Callable[Concatenate[Any, P], T]:
        cast(Any, method).__signature__ = inspect.signature(call)
        return cast(Callable[Concatenate[Any, P], T], method)

    return declare


def refuse_unknown(
    call: Callable[..., Any],
    given: Iterable[str],
    settings: Iterable[str] = (),
    other: Callable[..., Any] | None = None,
) -> None:
    """Refuses keywords that ``call`` does not take, beside its ``settings``. ``other`` may take them.

    Raises:
        UsageError: there is one; the line has the nearest name, or who takes it, and all that there are.
    """
    known = list(dict.fromkeys([*_arguments(call), *settings]))
    for name in given:
        if name in known:
            continue
        meant = f", {_OTHER_NAMES[name]} is meant" if _OTHER_NAMES.get(name) in known else ""
        if other is not None and name in _arguments(other):
            meant = f", but {_name(other)} has"
        elif not settings and (name in method_settings() or name in response_settings()):
            meant = f": a method has it, as in method=parse_method(NAME, {name}=...)"
        meant = meant or perhaps(name, known)
        raise UsageError(f"{_name(call)} has no argument {name!r}{meant}; there are {', '.join(known)}")


def _name(call: Callable[..., Any]) -> str:
    return call.__qualname__.removesuffix(".__init__")


def _arguments(call: Callable[..., Any]) -> list[str]:
    found = inspect.signature(call).parameters.values()
    return [one.name for one in found if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]


def check_kinds(
    runtime: object, options: object, fault_policy: object, journal: object, **functions: Callable[..., Any] | None
) -> None:
    """Refuses arguments of a collaboration that are something else than they must be. Raises UsageError."""
    for name, given in functions.items():
        if given is not None and not callable(given):
            raise UsageError(f"{name} must be a function, not {type(given).__name__}")
    if not isinstance(options, EngineOptions | None) or not isinstance(fault_policy, FaultPolicy | None):
        raise UsageError("options must be EngineOptions, and fault_policy a FaultPolicy")
    if not isinstance(journal, str | os.PathLike | None):
        raise UsageError(f"journal must be the path of a folder, not {type(journal).__name__}")
    if not isinstance(runtime, str | Runtime):
        raise UsageError(f"runtime must be local, ray or a Runtime, not {type(runtime).__name__}")
    if isinstance(runtime, str) and runtime not in get_args(RuntimeName):
        raise UsageError(f"unknown runtime {runtime!r}: there are local and ray")


def texts_of(what: str, given: object) -> tuple[Any, ...]:
    """The elements of a list that somebody gives. Raises UsageError: it is a text by itself, or no list."""
    if isinstance(given, str):
        raise UsageError(f"{what} must be a list, not a text: {what}=[{given!r}]")
    if not isinstance(given, Iterable):
        raise UsageError(f"{what} must be a list, not {type(given).__name__}")
    return tuple(given)

"""One declaration of parameters, and the one parser of their values.

What has parameters (an aggregation, an exit, a response-level method) is a frozen dataclass derived from `Declaration`;
its fields are made by `parameter` and carry type, default, range and help. Python keywords, JSON, the command line, the
prompt, `eval --methods` and sweeps are read by these declarations, and refused with the same messages.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cached_property
from importlib.metadata import entry_points
from math import inf
from sys import float_info
from typing import Any, ClassVar, Final, Generic, Literal, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from tokencollab.errors import UnknownMethod
from tokencollab.policies.own import find_own, is_own
from tokencollab.protocol.values import is_huge, perhaps, shown

Numbers: TypeAlias = tuple[tuple[str, float], ...]
"""A number for each of some models: pairs sorted by name."""

Span: TypeAlias = tuple[int, int]
"""A range of whole numbers, from low to high."""

_MOST: Final = 1 << 52
"""Of whole numbers without a limit of their own: every message to a model can carry it."""


def parameter(
    default: Any = MISSING,
    *,
    help: str,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    neutral: Any = MISSING,
    option: str | None = None,
    label: str | None = None,
    settable: bool = True,
    stored: bool = True,
    replayed: bool = False,
) -> Any:
    """The field of a parameter; its type is the field's annotation.

    Types are bool, int, float, str, a Literal of texts, `Numbers`, `Span`, a class with ``from_json`` and ``to_json``,
    or one of these with None.

    Args:
        default: its default value; none: it must be given.
        help: one line without a full stop.
        low: the least number allowed. ``high``: the greatest. ``above``: a bound that is not allowed itself.
        neutral: its value in the JSON form of a method that does not have the parameter; the default unless given.
        option: its name on the command line, if that is not the field's: ``weight`` for ``weights``.
        label: its name in messages, if that is not the field's.
        settable: whether it is set by its own name; otherwise the class sets it.
        stored: whether it is a part of the JSON form, and compared.
        replayed: whether a replay of recorded samples may change it.
    """
    extra = {
        "help": help, "low": low, "high": high, "above": above, "neutral": neutral, "option": option, "label": label,
        "settable": settable, "stored": stored, "replayed": replayed,
    }  # fmt: skip
    return field(default=default, compare=stored, metadata={"parameter": extra})


@dataclass(frozen=True, slots=True)
class Parameter:
    """A declared parameter: see `parameter`. ``kind`` is its type, without None where ``optional``."""

    name: str
    kind: Any
    optional: bool
    default: Any
    help: str
    low: float | None
    high: float | None
    above: float | None
    neutral: Any
    option: str | None
    label: str | None
    settable: bool
    stored: bool
    replayed: bool

    @property
    def flag(self) -> str:
        return f"--{(self.option or self.name).replace('_', '-')}"

    @property
    def choices(self) -> tuple[str, ...]:
        """The texts that it may be, where these are few."""
        if self.kind is bool:
            return "true", "false"
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    def check(self, value: Any) -> None:
        """Refuses a value that the parameter cannot have.

        Raises:
            UnknownMethod: one line with what is allowed.
        """
        what = self.label or self.name
        if value is None and self.optional:
            return
        if self.kind is bool:
            if not isinstance(value, bool):
                raise UnknownMethod(f"{what} must be true or false, not {shown(value)}")
        elif self.kind is int:
            self._check_whole(what, value)
        elif self.kind is float:
            self._check_number(what, value)
        elif self.kind is str:
            check_text(what, value)
        elif self.kind == Numbers:
            self._check_numbers(value)
        elif self.kind == Span:
            self._check_span(value)
        elif self.choices:
            if value not in self.choices:
                raise UnknownMethod(f"unknown {what} {shown(value)}; there are {', '.join(self.choices)}")
        elif not isinstance(value, self.kind):
            raise UnknownMethod(f"{what} must be a {self.kind.__name__.lower()}, not {shown(value)}")

    def read(self, value: Any) -> Any:
        """A value as Python code gives it, in the form in which it is kept; checked."""
        if self.kind == Span:
            if isinstance(value, str):
                value = self._span(value)
            elif not isinstance(value, tuple | list):
                value = (value, value)
        return self.from_json(value)

    def from_json(self, value: Any) -> Any:
        """A value as JSON has it, in the form in which it is kept; checked."""
        if self.kind == Numbers:
            if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
                raise UnknownMethod(f"{self.name} must give a number for each model's name, not {value!r}")
            value = tuple(sorted(value.items()))
        elif self.kind == Span and isinstance(value, list):
            value = tuple(value)
        elif hasattr(self.kind, "from_json") and value is not None and not isinstance(value, self.kind):
            value = self.kind.from_json(value)
        self.check(value)
        return value

    def to_json(self, value: Any) -> Any:
        if self.kind == Numbers:
            return dict(value)
        if self.kind == Span:
            return list(value)
        return value.to_json() if hasattr(value, "to_json") else value

    def from_text(self, text: str) -> Any:
        """A value as somebody typed it. Its range is checked by whatever takes it.

        Of `Numbers` it is one pair, ``MODEL=NUMBER``; of a class with ``from_json`` the name of a file.

        Raises:
            UnknownMethod: the text is no value of this type.
        """
        if self.kind is bool:
            if text.lower() not in self.choices:
                raise UnknownMethod(f"{self.name} must be true or false, not {_short(text)}")
            return text.lower() == "true"
        if self.kind in (int, float):
            value = _number(text)
            if value is None or (self.kind is int and isinstance(value, float)):
                self.check(text)  # raises: a text is no number
            return value
        if self.kind == Numbers:
            model, _, number = text.rpartition("=")
            value = _number(number)
            if not model or value is None:
                raise UnknownMethod(f"{_short(text)} is not of the form MODEL=NUMBER ({self.name})")
            return model, value
        if self.kind == Span:
            self._span(text)
            return int(text) if text.isdecimal() else text
        return text

    def _check_whole(self, what: str, value: Any) -> None:
        low, high = self.low or 0, _MOST if self.high is None else self.high
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise UnknownMethod(f"{what} must be {self._whole(is_huge(value))}, not {_short(value)}")

    def _whole(self, limited: bool = False) -> str:
        low = self.low or 0
        limited = limited or self.high is not None
        return f"a whole number, from {low} to {self.high or _MOST}" if limited else f"a whole number, {low} or more"

    def _check_number(self, what: str, value: Any) -> None:
        low, above = -inf if self.low is None else self.low, -inf if self.above is None else self.above
        high = float_info.max if self.high is None else self.high  # math.isfinite raises where an int is larger
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not (low <= value and above < value and -float_info.max <= value <= high)
        ):
            raise UnknownMethod(f"{what} must be a number{self._limit()}, not {_short(value)}")

    def _limit(self) -> str:
        if self.above is not None:
            return f" above {_plain(self.above)}" + ("" if self.high is None else f" and at most {_plain(self.high)}")
        if self.low is not None:
            upper = f" from {_plain(self.low)} to {_plain(self.high)}" if self.high is not None else ""
            return upper or f" {_plain(self.low)} or more"
        return ""

    def _check_numbers(self, value: Any) -> None:
        for model, number in value:
            check_text(f"a model's name in {self.name}", model)
            self._check_number(f"the {self.option or self.name} of {model}", number)
        names = [model for model, _ in value]
        if names != sorted(set(names)):
            raise UnknownMethod(f"{self.name} must name each model once, sorted by name")

    def _check_span(self, value: Any) -> None:
        if not isinstance(value, tuple) or len(value) != 2:
            raise self._no_span(value)
        for end in value:
            self._check_whole(self.name, end)
        if value[0] > value[1]:
            raise UnknownMethod(f"{self.name} must be a range from low to high such as 1-2, not {value[0]}-{value[1]}")

    def _span(self, text: str) -> Span:
        found = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", text, re.ASCII)
        if not found:
            raise self._no_span(text)
        return int(found[1]), int(found[2] or found[1])

    def _no_span(self, value: Any) -> UnknownMethod:
        return UnknownMethod(f"{self.name} must be a number or a range such as 1-2, not {_short(value)}")


def check_text(what: str, value: Any) -> None:
    """Raises UnknownMethod where ``value`` is not a text, or empty."""
    if not isinstance(value, str) or not value:
        raise UnknownMethod(f"{what} must be a text, not {shown(value)}")


def _short(value: Any) -> str:
    return shown(f"{value[:40]}..." if isinstance(value, str) and len(value) > 40 else value)


def _plain(number: float) -> str:
    return re.sub(r"e\+0*", "e", f"{number:g}")


def _number(text: str) -> float | None:
    """A number as it was typed, whole if it is; None: it is none, or not finite."""
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:  # also of whole numbers of thousands of digits
            continue
        return number if abs(number) <= float_info.max else None
    return None


@dataclass(frozen=True)
class Declaration:
    """A frozen dataclass of parameters; the class attributes say what it is.

    Attributes:
        name: by which it is chosen.
        help: one line on what it does.
        paper: where it is from.
        no_effect: inherited parameters that have no effect here; they keep their defaults.
    """

    name: ClassVar[str]
    help: ClassVar[str] = ""
    paper: ClassVar[str] = "your own"
    no_effect: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        for declared in parameters_of(type(self)).values():
            declared.check(getattr(self, declared.name))

    def settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in parameters_of(type(self))}

    def check_given(self, given: Collection[str]) -> None:
        """Refuses parameters that are ``given`` but have no effect beside the others."""


_FOUND: Final[dict[type[Declaration], dict[str, Parameter]]] = {}


def parameters_of(cls: type[Declaration]) -> dict[str, Parameter]:
    if cls not in _FOUND:
        _FOUND[cls] = _declared(cls)
    return _FOUND[cls]


def _declared(cls: type[Declaration]) -> dict[str, Parameter]:
    hints = get_type_hints(cls)
    found = {}
    for one in fields(cls):
        # A subclass may give a new default without saying the rest again.
        own = [base.__dict__.get("__dataclass_fields__", {}).get(one.name) for base in cls.__mro__]
        declared = [entry.metadata["parameter"] for entry in own if entry and "parameter" in entry.metadata]
        if one.name in cls.no_effect:
            continue
        if not declared:
            raise UnknownMethod(f"the field {one.name} of {cls.__name__} must be declared by parameter(...)")
        kind = hints[one.name]
        if optional := type(None) in get_args(kind):
            kind = next(part for part in get_args(kind) if part is not type(None))
        known = kind in (bool, int, float, str, Numbers, Span) or get_origin(kind) is Literal
        if not known and not hasattr(kind, "from_json"):
            raise UnknownMethod(f"the field {one.name} of {cls.__name__} has a type that no parameter can have: {kind}")
        extra = dict(declared[0])
        if extra["neutral"] is MISSING:
            extra["neutral"] = one.default
        found[one.name] = Parameter(name=one.name, kind=kind, optional=optional, default=one.default, **extra)
    return found


D = TypeVar("D", bound=Declaration)


class Declarations(Generic[D]):
    """Declared classes by name: those listed here, those of an entry point group, and those that `add` brings."""

    def __init__(self, what: str, base: type[D], classes: Iterable[type[D]], group: str | None = None) -> None:
        self.what, self.base, self._group = what, base, group
        self.built_in: dict[str, type[D]] = {cls.name: cls for cls in classes}
        self._classes = dict(self.built_in)
        self._taken: dict[str, type[D]] = {}

    def add(self, cls: type[D]) -> None:
        """Registers a class; once more does nothing.

        Raises:
            UnknownMethod: it declares no name, or one that another class has.
        """
        name = getattr(cls, "name", None)
        if not isinstance(name, str) or not (is_own(name) or re.fullmatch(r"[a-z][a-z0-9-]*", name)):
            raise UnknownMethod(f"{cls.__name__} needs a name of lower-case letters, digits and -, not {name!r}")
        if any(isinstance(value, Field) for value in vars(cls).values()):
            raise UnknownMethod(f"{cls.__name__} must be a dataclass: write @dataclass(frozen=True) above it")
        parameters_of(cls)
        if self._classes.setdefault(name, cls) is not cls:
            raise UnknownMethod(f"there are two classes of the {self.what} {name}: {self._classes[name]} and {cls}")

    def take(self, path: str) -> None:
        """Imports the class that ``module:name`` names, which is then found by this name.

        From now on it is its own name, unless the class is registered under another.

        Raises:
            UsageError: it cannot be imported, or is no class of this kind.
        """
        found = self._taken.get(path) or find_own(path, f"the {self.what}")
        if not isinstance(found, type) or not issubclass(found, self.base) or found is self.base:
            raise UnknownMethod(f"{path} is no {self.what}: derive a class from tokencollab.{self.base.__name__}")
        if found not in self.all().values():
            found.name = path
            self.add(found)
        self._taken[path] = found

    def all(self) -> dict[str, type[D]]:
        group, self._group = self._group, None  # looked up once
        if group is not None:
            for point in entry_points(group=group):
                try:
                    cls = point.load()
                except Exception as error:  # it is somebody's code
                    raise UnknownMethod(f"the entry point {point.name} = {point.value} fails: {error}") from error
                if not isinstance(cls, type) or not issubclass(cls, self.base):
                    raise UnknownMethod(f"the entry point {point.name} = {point.value} is no {self.what}")
                self.add(cls)
        return self._classes

    def find(self, name: object) -> type[D] | None:
        """The class of this name, if there is one."""
        if not isinstance(name, str):
            return None
        return self._taken.get(name) or self.built_in.get(name) or self._classes.get(name) or self.all().get(name)

    def get(self, name: object) -> type[D]:
        """The class of this name.

        Raises:
            UnknownMethod: there is none; the message lists those that there are.
        """
        found = self.find(name)
        if found is None and is_own(name):
            raise UnknownMethod(
                f"the {self.what} {name} is code that is not imported on the word of a file; where you trust it, name "
                f"it by --plugin {name}"
            )
        if found is None:
            raise UnknownMethod(f"unknown {self.what} {name!r}; there are {', '.join(self.all())}")
        return found

    @cached_property
    def known(self) -> dict[str, Parameter]:
        """The parameters of the built-in classes by name; of several that share one, the first's."""
        found: dict[str, Parameter] = {}
        for cls in self.built_in.values():
            found |= {name: declared for name, declared in parameters_of(cls).items() if name not in found}
        return found

    def users(self, setting: str) -> list[str]:
        """The names of the classes with a parameter ``setting`` that can be set."""
        return [name for name, cls in self.all().items() if setting in settable_of(cls)]

    def note(self, setting: str) -> str:
        """Who has the parameter ``setting``, if not all, and its default, if all have the same; empty: nobody has."""
        users = self.users(setting)
        defaults = {parameters_of(self.all()[name])[setting].default for name in users}
        notes = [", ".join(users)] if len(users) < len(self.all()) else []
        if len(defaults) == 1 and (default := defaults.pop()) not in (None, (), MISSING):
            notes.append(f"default {default[0] if isinstance(default, tuple) else default}")
        return "; ".join(filter(None, notes))


def settable_of(*classes: type[Declaration]) -> dict[str, Parameter]:
    """The parameters of ``classes`` that are set by their own names."""
    found = {name: declared for cls in classes for name, declared in parameters_of(cls).items()}
    return {name: declared for name, declared in found.items() if declared.settable}


def read_json(settings: Mapping[str, Any], known: Mapping[str, Parameter], own: Collection[str]) -> dict[str, Any]:
    """The parameters named in ``own`` from the JSON form. Others in it that are ``known`` are only checked.

    Raises:
        UnknownMethod: a bad value.
    """
    values = {
        name: declared.from_json(settings[name])
        for name, declared in known.items()
        if name in settings and (name in own or settings[name] != declared.neutral)
    }
    return {name: value for name, value in values.items() if name in own}


def given_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def unknown_setting(name: str, what: str, known: Iterable[str]) -> UnknownMethod:
    known = list(known)
    return UnknownMethod(f"unknown setting {name!r}{what}{perhaps(name, known)}; settings are {', '.join(known)}")

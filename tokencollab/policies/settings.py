"""`Method`: every setting of a collaboration, checked, as one frozen value with a JSON form."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from sys import float_info
from typing import Any, Final, Literal, TypeAlias, get_args

from tokencollab.errors import UnknownMethod
from tokencollab.protocol.candidates import MAX_CANDIDATES
from tokencollab.protocol.values import is_huge, shown

Aggregation: TypeAlias = Literal["base", "gac", "unite", "duetnet", "dp", "dk", "bytewise"]
ExitName: TypeAlias = Literal[
    "never", "fixed", "self-efficacy", "confidence", "reliability", "consult", "per-collaborator"
]
AGGREGATIONS: Final[tuple[Aggregation, ...]] = get_args(Aggregation)
EXITS: Final[tuple[ExitName, ...]] = get_args(ExitName)

MAX_TOP_K: Final = MAX_CANDIDATES - 24
"""A model sends a few candidates more than k, and an answer may have `MAX_CANDIDATES`."""

_MOST: Final = 1 << 52
"""Of whole numbers without a limit of their own: every message to a model can carry it."""


@dataclass(frozen=True, slots=True)
class Method:
    """How several models write one answer. Each field is used only where ``aggregation`` or ``exit`` says so.

    Defaults are those of docs/specification.md. ``weights`` are pairs (model, weight), sorted; a model without one has
    weight 1; in bytewise voting they are the priors. ``top_t`` is (T, T), or (low, high) where T is drawn per
    step. ``exit_after`` is n of the exit ``fixed``, ``patience`` the steps of ``per-collaborator``;
    ``consult_below`` is the base's probability of its best piece below which ``consult`` asks the others.

    Raises:
        UnknownMethod: a value of the wrong type or out of range; one line, with what is allowed.
    """

    name: str
    aggregation: Aggregation
    top_k: int
    top_p: float | None
    over: Literal["vocabulary", "top_k"] = "vocabulary"
    weights: tuple[tuple[str, float], ...] = ()
    reference: Literal["raw", "floor"] = "raw"
    top_t: tuple[int, int] = (1, 1)
    temperature: float = 1.0
    exit: ExitName = "never"
    exit_after: int | None = None
    omega: int = 20
    theta: float = 0.6
    rho: float = 1.5
    eps: float = 0.05
    ties: Literal["success", "failure"] = "success"
    patience: int = 20
    consult_below: float = 0.9
    carry: bool = True
    commit: float = 0.5

    def __post_init__(self) -> None:
        _text("name", self.name)
        _one_of("aggregation", self.aggregation, AGGREGATIONS)
        _integer("top_k", self.top_k, 1, MAX_TOP_K)
        if self.top_p is not None:
            _number("top_p", self.top_p, "above 0 and at most 1", lambda x: 0 < x <= 1)
        _one_of("over", self.over, ("vocabulary", "top_k"))
        self._check_weights()
        _one_of("reference", self.reference, ("raw", "floor"))
        self._check_top_t()
        _number("temperature", self.temperature, "above 0", lambda x: x > 0)
        _one_of("exit", self.exit, EXITS)
        if (self.exit == "fixed") != (self.exit_after is not None):
            raise UnknownMethod("the exit fixed needs its number of tokens, e.g. fixed-20, and no other exit has one")
        if self.exit_after is not None:
            _integer("the number of tokens of the exit fixed", self.exit_after, 1)
        _integer("omega", self.omega, 1)
        _number("theta", self.theta, "0 or more", lambda x: x >= 0)
        _number("rho", self.rho, "above 1", lambda x: x > 1)
        _number("rho", self.rho, "at most 1e6", lambda x: x <= 1e6)  # far beyond the figures are no numbers
        _number("eps", self.eps, "above 0", lambda x: x > 0)
        _one_of("ties", self.ties, ("success", "failure"))
        _integer("patience", self.patience, 1)
        _number("consult_below", self.consult_below, "above 0 and at most 1", lambda x: 0 < x <= 1)
        _number("commit", self.commit, "from 0 to 1", lambda x: 0 <= x <= 1)
        if not isinstance(self.carry, bool):
            raise UnknownMethod(f"carry must be true or false, not {self.carry!r}")

    def _check_weights(self) -> None:
        names = []
        for model, weight in self.weights:
            _text("a model's name in weights", model)
            _number(f"the weight of {model}", weight, "above 0", lambda x: x > 0)
            # Their products with probabilities and logits must stay numbers, and only their ratios matter.
            _number(f"the weight of {model}", weight, "from 1e-150 to 1e150", lambda x: 1e-150 <= x <= 1e150)
            names.append(model)
        if names != sorted(set(names)):
            raise UnknownMethod("weights must name each model once, sorted by name")

    def _check_top_t(self) -> None:
        if not isinstance(self.top_t, tuple) or len(self.top_t) != 2:
            raise UnknownMethod(f"top_t must be a number or a range such as 1-2, not {self.top_t!r}")
        low, high = self.top_t
        _integer("top_t", low, 1)
        _integer("top_t", high, 1)
        if low > high:
            raise UnknownMethod(f"top_t must be a range from low to high such as 1-2, not {low}-{high}")

    def weight_of(self, model: str) -> float:
        """The weight of ``model``, 1 where none is given."""
        return dict(self.weights).get(model, 1.0) if self.weights else 1.0

    def to_json(self) -> dict[str, object]:
        """Every setting by name; ``weights`` as an object, ``top_t`` as a list."""
        settings: dict[str, object] = {field.name: getattr(self, field.name) for field in fields(self)}
        settings["weights"] = dict(self.weights)
        settings["top_t"] = list(self.top_t)
        return settings

    @classmethod
    def from_json(cls, settings: object) -> "Method":
        """The inverse of `to_json`; settings with a default may be absent.

        A setting that no longer exists is ignored where it has the value that it had by default.

        Raises:
            UnknownMethod: not an object, a setting that is unknown or required and absent, or a bad value.
        """
        if not isinstance(settings, Mapping):
            raise UnknownMethod(f"a method's settings must be an object, not {settings!r}")
        settings = _without_removed(settings)
        known = setting_names()
        unknown = sorted(str(key) for key in settings if key not in known)
        if unknown:
            raise UnknownMethod(f"unknown setting {unknown[0]!r}; settings are {', '.join(known)}")
        missing = [key for key in ("name", "aggregation", "top_k", "top_p") if key not in settings]
        if missing:
            raise UnknownMethod(f"a method's settings lack {missing[0]!r}")
        values: dict[str, Any] = dict(settings)
        if "weights" in values:
            values["weights"] = sorted_weights(values["weights"])
        if isinstance(values.get("top_t"), list):
            values["top_t"] = tuple(values["top_t"])
        return cls(**values)


REMOVED_SETTINGS: Final[Mapping[str, object]] = {
    "owner_finishes": False,
    "quantile": 0.1,
    "rejoin_below": 0.5,
    "rejoin_window": 8,
    "exact": False,
}
"""Settings of earlier versions, with their defaults: old journals and traces name them."""

_REMOVED_EXITS: Final = ("credible", "rejoin")


def _without_removed(settings: Mapping[str, object]) -> dict[str, object]:
    if settings.get("exit") in _REMOVED_EXITS:
        raise UnknownMethod(f"the exit {settings['exit']} was removed; use another, e.g. consult")
    for name, default in REMOVED_SETTINGS.items():
        if settings.get(name, default) != default:
            raise UnknownMethod(f"the setting {name}={shown(settings[name])} was removed; leave it out")
    return {name: value for name, value in settings.items() if name not in REMOVED_SETTINGS}


def setting_names() -> tuple[str, ...]:
    """The names of all settings, in the order of `Method`."""
    return tuple(field.name for field in fields(Method))


def sorted_weights(weights: object) -> tuple[tuple[str, float], ...]:
    """A mapping model -> weight as the sorted pairs that `Method` keeps.

    Raises:
        UnknownMethod: not a mapping whose keys are names.
    """
    if not isinstance(weights, Mapping) or not all(isinstance(name, str) for name in weights):
        raise UnknownMethod(f"weights must give a number for each model's name, not {weights!r}")
    return tuple(sorted(weights.items()))


def _text(what: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise UnknownMethod(f"{what} must be a text, not {value!r}")


def _one_of(what: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UnknownMethod(f"unknown {what} {value!r}; there are {', '.join(allowed)}")


def _integer(what: str, value: object, low: int, high: int = _MOST) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        limit = f"from {low} to {high}" if high < _MOST or is_huge(value) else f"{low} or more"
        raise UnknownMethod(f"{what} must be a whole number, {limit}, not {shown(value)}")


def _number(what: str, value: object, limit: str, allowed: Callable[[float], bool]) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not _is_finite(value) or not allowed(value):
        raise UnknownMethod(f"{what} must be a number {limit}, not {shown(value)}")


def _is_finite(value: float) -> bool:
    return abs(value) <= float_info.max  # math.isfinite raises where an int is larger

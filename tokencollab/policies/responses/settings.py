"""`ResponseMethod`: every setting of a method between models, checked, as one frozen value with a JSON form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from sys import float_info
from typing import Any, Final, Literal, TypeAlias

from tokencollab.errors import UnknownMethod
from tokencollab.policies.responses.panels import Panel
from tokencollab.policies.responses.transfer import Plan, Selector
from tokencollab.policies.responses.vote import Pick
from tokencollab.protocol.values import shown

Family: TypeAlias = Literal["sampling", "panel", "transfer"]
MAX_SAMPLES: Final = 10_000


@dataclass(frozen=True, slots=True)
class ResponseMethod:
    """How several models answer one question, each with whole answers. Fields are used where ``family`` says so.

    Attributes:
        name: the preset.
        family: ``sampling`` (ModelSwitch and its like), ``panel``, ``transfer``.
        samples: k, the samples of each model.
        threshold: share of k that must agree for a model to decide alone; None: none does.
        priors: w_ext of the models, sorted by name; 1 where none is given.
        defer: draw the rest of a model that cannot be consistent any more only if it comes to the vote.
        at_once: samples of a model that are drawn at the same time; None: all.
        scorer: what scores samples in best-of-N: ``likelihood``, ``reward:FOLDER``, or ``callable``; None: no scores.
        pick: by scores, the best sample or the best sum per answer.
        stop_probability: of random switching.
        panel: of the family panel.
        plan: of the family transfer.
        selector: what of the small model's reasoning is passed on.
        short_tokens: tokens of a short answer at most.
        temperature: of samples; 0 is greedy.
        top_k: candidates that samples are drawn from.
        prices: price of one token that a model writes, sorted by name; 1 where none is given.

    Raises:
        UnknownMethod: a value of the wrong type or out of range.
    """

    name: str
    family: Family
    samples: int = 1
    threshold: float | None = None
    priors: tuple[tuple[str, float], ...] = ()
    defer: bool = False
    at_once: int | None = None
    scorer: str | None = None
    pick: Pick = "best"
    stop_probability: float | None = None
    panel: Panel | None = None
    plan: Plan = "transfer"
    selector: str = "all"
    short_tokens: int = 32
    temperature: float = 0.7
    top_k: int = 40
    prices: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        _whole("samples", self.samples, 1, MAX_SAMPLES)
        if self.threshold is not None:
            _real("threshold", self.threshold, 0, 1)
            if not self.threshold:
                raise UnknownMethod("threshold must be above 0: at 0 any answer would be agreement")
        for what, pairs in (("the prior", self.priors), ("the price", self.prices)):
            for model, value in pairs:
                _real(f"{what} of {model}", value, 0, 1e150)  # so that sums of products stay numbers
        if self.at_once is not None:
            _whole("at_once", self.at_once, 1, MAX_SAMPLES)
        if self.scorer is not None and self.scorer not in ("likelihood", "callable") and self.reward_folder is None:
            raise UnknownMethod(f"unknown scorer {self.scorer!r}; there are likelihood and reward:FOLDER")
        if self.pick not in ("best", "sum"):
            raise UnknownMethod(f"pick must be best or sum, not {self.pick!r}")
        if self.stop_probability is not None:
            _real("stop_probability", self.stop_probability, 0, 1)
        Selector.parse(self.selector)
        _whole("short_tokens", self.short_tokens, 1, 1 << 20)
        _real("temperature", self.temperature, 0, None)
        _whole("top_k", self.top_k, 1, 1000)
        if not isinstance(self.defer, bool):
            raise UnknownMethod(f"defer must be true or false, not {self.defer!r}")
        if (self.family == "panel") != (self.panel is not None):
            raise UnknownMethod("a panel method needs its panel, and no other has one")

    @property
    def reward_folder(self) -> str | None:
        """The folder of the reward model that scores."""
        name, _, folder = (self.scorer or "").partition(":")
        return folder or None if name == "reward" else None

    def price_of(self, model: str) -> float:
        """The price of one token that ``model`` writes."""
        return dict(self.prices).get(model, 1.0)

    def check_priors(self, models: Sequence[str]) -> None:
        """Refuses priors that leave ``models`` without a vote.

        Raises:
            UnknownMethod: a prior of a model that does not take part, or 0 for every model.
        """
        priors = dict(self.priors)
        for model in priors:
            if model not in models:
                raise UnknownMethod(f"a prior is given for {model!r}; the models are {', '.join(models)}")
        if not any(priors.get(model, 1) for model in models):
            raise UnknownMethod(f"at least one prior must be above 0 (of {', '.join(models)})")

    def to_json(self) -> dict[str, Any]:
        """Every setting by name, as plain data."""
        data: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        data |= {"priors": dict(self.priors), "prices": dict(self.prices)}
        data["panel"] = self.panel and self.panel.to_json()
        return data

    @classmethod
    def from_json(cls, data: object) -> "ResponseMethod":
        """The inverse of `to_json`; settings with a default may be absent.

        Raises:
            UnknownMethod: not settings of such a method; one line says why.
        """
        if not isinstance(data, Mapping):
            raise UnknownMethod(f"a method's settings must be an object, not {data!r}")
        known = [field.name for field in fields(cls)]
        if unknown := sorted(str(key) for key in data if key not in known):
            raise UnknownMethod(f"unknown setting {unknown[0]!r}; settings are {', '.join(known)}")
        values = dict(data)
        for key in ("priors", "prices"):
            if key in values:
                values[key] = pairs_of(key, values[key])
        if values.get("panel") is not None:
            values["panel"] = Panel.from_json(values["panel"])
        try:
            return cls(**values)
        except TypeError as error:
            raise UnknownMethod(f"not the settings of a method: {error}") from None


def pairs_of(what: str, numbers: object) -> tuple[tuple[str, float], ...]:
    """A mapping model -> number as the sorted pairs that `ResponseMethod` keeps."""
    if not isinstance(numbers, Mapping) or not all(isinstance(name, str) for name in numbers):
        raise UnknownMethod(f"{what} must give a number for each model's name, not {numbers!r}")
    return tuple(sorted(numbers.items()))


def _whole(what: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UnknownMethod(f"{what} must be a whole number from {low} to {high}, not {shown(value)}")


def _real(what: str, value: object, low: float, high: float | None) -> None:
    most = float_info.max if high is None else high  # math.isfinite raises where an int is larger
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= most:
        limit = f"{low:g} or more" if high is None else f"from {low:g} to {high:g}"
        raise UnknownMethod(f"{what} must be a number {limit}, not {shown(value)}")

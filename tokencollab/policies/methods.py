"""Methods by name: an aggregation and an exit with their parameters, and the policy that carries them out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tokencollab.errors import UnknownMethod
from tokencollab.policies.aggregations import (
    AGGREGATIONS,
    DK,
    DP,
    EVERY_PIECE,
    Aggregation,
    Base,
    Bytewise,
    DuetNet,
    GaC,
    UniTE,
)
from tokencollab.policies.evidence import Exit
from tokencollab.policies.exits import EXITS, Fixed, Never
from tokencollab.policies.own import is_own
from tokencollab.policies.parameters import (
    Parameter,
    check_text,
    given_settings,
    parameters_of,
    read_json,
    settable_of,
    unknown_setting,
)
from tokencollab.policies.self_efficacy import SelfEfficacy
from tokencollab.protocol.messages import Sampling
from tokencollab.protocol.values import shown

_value: Final = dataclass(frozen=True, init=False)  # not seen by mypy: `dataclasses.replace` takes every setting


@_value
class Method:
    """How several models write one answer: ``scoring`` says which piece, ``exit_policy`` who still takes part.

    Every parameter of the two is an attribute too (``method.top_k``); one that they do not have has its default.
    ``aggregation`` and ``exit`` are their names. In bytewise voting the weights are the priors.

    `dataclasses.replace` takes every setting by its name in the JSON form; those that the method does not use are
    ignored.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    name: str
    scoring: Aggregation
    exit_policy: Exit

    def __init__(self, name: str, scoring: Aggregation, exit_policy: Exit | None = None, **settings: Any) -> None:
        """``settings`` are in place of those of the other two.

        Raises:
            UnknownMethod: no such setting, or a bad value.
        """
        check_text("name", name)
        leaving = exit_policy or Never()
        if settings:
            chosen = AGGREGATIONS.get(settings.pop("aggregation", scoring.name))
            leaves = EXITS.get(settings.pop("exit", leaving.name))
            values = {**_neutral(), **scoring.settings(), **leaving.settings(), **settings}
            _refuse_unknown(settings, _known(chosen, leaves))
            _check_number(leaves, values)
            scoring, leaving = _parts(chosen, leaves, values)
        # Plain attributes: policies read them at every step.
        vars(self).update(_neutral(), **scoring.settings(), **leaving.settings())
        vars(self).update(name=name, scoring=scoring, exit_policy=leaving)
        vars(self).update(aggregation=scoring.name, exit=leaving.name)

    if TYPE_CHECKING:  # the attributes set above

        def __getattr__(self, name: str) -> Any: ...

    def weight_of(self, model: str) -> float:
        return dict(self.weights).get(model, 1.0) if self.weights else 1.0

    def uses(self, setting: str) -> bool:
        return setting in settable_of(type(self.scoring), type(self.exit_policy))

    def to_json(self) -> dict[str, Any]:
        """Every setting by name; ``weights`` as an object, ``top_t`` as a list."""
        known = _known(type(self.scoring), type(self.exit_policy))
        settings = {name: declared.to_json(getattr(self, name)) for name, declared in known.items()}
        return {"name": self.name, "aggregation": self.aggregation, **settings, "exit": self.exit}

    @classmethod
    def from_json(cls, settings: object, *, newer: bool = False) -> "Method":
        """The inverse of `to_json`; settings with a default may be absent. Settings that the method does not use are
        checked and ignored, and so is one that no longer exists and has the value that it had by default.

        ``newer``: settings that are unknown are ignored, since a newer version may have them.

        Raises:
            UnknownMethod: not an object, a setting that is unknown or required and absent, or a bad value.
        """
        if not isinstance(settings, Mapping):
            raise UnknownMethod(f"a method's settings must be an object, not {settings!r}")
        settings = _without_removed(settings)
        leaves = settings.get("exit", Never.name)
        known = _known(AGGREGATIONS.find(settings.get("aggregation")), EXITS.find(leaves))
        if not newer:
            _refuse_unknown(settings, known)
        for key in ("name", "aggregation", "top_k", "top_p"):
            if key not in settings:
                raise UnknownMethod(f"a method's settings lack {key!r}")
        scoring, leaving = AGGREGATIONS.get(settings["aggregation"]), EXITS.get(leaves)
        _check_number(leaving, settings)
        own = {*parameters_of(scoring), *parameters_of(leaving)}
        return cls(settings["name"], *_parts(scoring, leaving, read_json(settings, known, own)))


def _parts(scoring: type[Aggregation], leaving: type[Exit], values: Mapping[str, Any]) -> tuple[Aggregation, Exit]:
    """The two with those of the ``values`` that they have."""
    own, leaves_own = (
        {name: values[name] for name in parameters_of(part) if name in values} for part in (scoring, leaving)
    )
    return scoring(**own), leaving(**leaves_own)


def _check_number(leaving: type[Exit], values: Mapping[str, Any]) -> None:
    if (leaving is Fixed) != (values.get("exit_after") is not None):
        raise UnknownMethod("the exit fixed needs its number of tokens, e.g. fixed-20, and no other exit has one")


def _refuse_unknown(settings: Mapping[str, Any], known: Mapping[str, Parameter]) -> None:
    for name in sorted(map(str, settings)):
        if name not in known and name not in _NAMES:
            raise unknown_setting(name, "", (*_NAMES, *known))


_NAMES: Final = ("name", "aggregation", "exit")


def _known(*classes: type[Aggregation] | type[Exit] | None) -> dict[str, Parameter]:
    """The parameters of the JSON form: all that are built in, and those of ``classes``, whoever wrote them."""
    known = AGGREGATIONS.known | EXITS.known
    for cls in filter(None, classes):
        known |= parameters_of(cls)
    return known


@cache
def _neutral() -> dict[str, Any]:
    return {name: declared.neutral for name, declared in _known().items()}


REMOVED_SETTINGS: Final[Mapping[str, object]] = {
    "owner_finishes": False, "quantile": 0.1, "rejoin_below": 0.5, "rejoin_window": 8, "exact": False,
}  # fmt: skip
"""Settings of earlier versions, with their defaults: old journals and traces name them."""

_REMOVED_EXITS: Final = ("credible", "rejoin")


def _without_removed(settings: Mapping[str, Any]) -> dict[str, Any]:
    if settings.get("exit") in _REMOVED_EXITS:
        raise UnknownMethod(f"the exit {settings['exit']} was removed; use another, e.g. consult")
    for name, default in REMOVED_SETTINGS.items():
        if settings.get(name, default) != default:
            raise UnknownMethod(f"the setting {name}={shown(settings[name])} was removed; leave it out")
    return {name: value for name, value in settings.items() if name not in REMOVED_SETTINGS}


# ---------------------------------------------------------------- by name

AUTO: Final = "auto"
"""The method that `automatic.fit` chooses for a team. Until then it is `consult`, whose settings it takes."""

_CONFIPARA: Final = SelfEfficacy.paper
_OURS: Final = Bytewise.paper


def _by_itself(*classes: type[Aggregation]) -> list[tuple[str, str, str, str, str]]:
    return [(cls.name, cls.name, Never.name, cls.help, cls.paper) for cls in classes]


_PRESETS: Final = (
    (AUTO, "bytewise", "consult", "what suits the models: consult, or its like for pieces", _OURS),
    *_by_itself(Base, GaC, UniTE, DuetNet, DP, DK),
    ("upara-N", "unite", "fixed", "UniTE on the first N tokens, then the base alone", _CONFIPARA),
    ("dpara-N", "duetnet", "fixed", "DuetNet on the first N tokens, then the base alone", _CONFIPARA),
    ("confipara-u", "unite", "self-efficacy", "UniTE until the base's self-efficacy suffices", _CONFIPARA),
    ("confipara-u-confidence", "unite", "confidence", "ConfiPara-U without the reliability term", _CONFIPARA),
    ("confipara-u-reliability", "unite", "reliability", "ConfiPara-U without the confidence term", _CONFIPARA),
    ("confipara-d", "duetnet", "self-efficacy", "DuetNet until the base's self-efficacy suffices", _CONFIPARA),
    ("confipara-d-confidence", "duetnet", "confidence", "ConfiPara-D without the reliability term", _CONFIPARA),
    ("confipara-d-reliability", "duetnet", "reliability", "ConfiPara-D without the confidence term", _CONFIPARA),
    *_by_itself(Bytewise),
    ("confipara-b", "bytewise", "self-efficacy", "bytewise until the base's self-efficacy suffices", _OURS),
    ("consult", "bytewise", "consult", "the base alone, and bytewise where it is unsure", _OURS),
)
"""Name, aggregation, exit, what it does, paper. Every aggregation is a preset by itself."""


_TRUSTING: Final = "trusts the scale of every member's logits"


def _presets() -> list[tuple[str, str, str, str, str]]:
    added = [cls for name, cls in AGGREGATIONS.all().items() if name not in AGGREGATIONS.built_in]
    return [*_PRESETS, *_by_itself(*added)]


def list_methods() -> list[tuple[str, str, str]]:
    """Every preset: its name (N stands for a number), one line on what it does, and the paper it is from."""
    return [
        (name, f"{text}; {_TRUSTING}" if AGGREGATIONS.get(aggregation).trusts_scale else text, paper)
        for name, aggregation, _, text, paper in _presets()
    ]


def list_exits() -> list[tuple[str, str, str]]:
    """Every exit: its name (N stands for a number), one line on what it does, and the paper it is from."""
    return [("fixed-N" if cls is Fixed else name, cls.help, cls.paper) for name, cls in EXITS.all().items()]


def method_settings() -> dict[str, Parameter]:
    """The parameters of token-level methods that are set by their own names, beside ``aggregation`` and ``exit``."""
    return settable_of(*AGGREGATIONS.all().values(), *EXITS.all().values())


def register(cls: type[Aggregation] | type[Exit]) -> None:
    """Registers an aggregation or an exit of your own, so that it is chosen by its name; once more does nothing.

    Raises:
        UnknownMethod: it is neither, or its name or parameters cannot be.
    """
    if isinstance(cls, type) and issubclass(cls, Aggregation):
        AGGREGATIONS.add(cls)
    elif isinstance(cls, type) and issubclass(cls, Exit):
        EXITS.add(cls)
    else:
        raise UnknownMethod(f"{cls!r} is neither an Aggregation nor an Exit")


def take_own(settings: Mapping[str, Any]) -> None:
    """Imports the aggregation and the exit that the JSON form of a method names by ``module:name``.

    For settings of somebody who may run code here; `Method.from_json` by itself imports nothing.
    """
    for registry in (AGGREGATIONS, EXITS):
        if is_own(name := settings.get(registry.what)):
            registry.take(name)


def parse_method(name: str, *, aggregation: str | None = None, exit: str | None = None, **settings: Any) -> Method:
    """The preset ``name``, with whatever else is given in place of its own. None means: as the preset has it.

    ``exit`` is a name of `list_exits`, with fixed as ``fixed-20`` or ``fixed(20)``. All three may be ``module:name`` of
    a class of your own: an `Aggregation`, an `Exit`. ``settings`` are the parameters of the two. ``weights`` give a
    number for each model's name; ``top_t`` is T, or a range ``"1-2"`` from which T is drawn per step; a
    ``temperature`` without ``top_t`` samples among all pieces, and 0 takes the best. With another ``aggregation`` the
    truncation becomes that one's. Where ``aggregation`` or ``exit`` is given the method is named after the two, e.g.
    ``dp+fixed-20``.

    Raises:
        UnknownMethod: no such preset, aggregation or exit, a bad value, or a setting that the method does not use;
            one line that says what there is or why not.
    """
    if not isinstance(name, str):
        raise UnknownMethod(f"a method is named by a text such as 'unite', not {type(name).__name__}")
    if name == AUTO and (aggregation, exit) != (None, None):
        name = Bytewise.name  # the caller chooses
    take_own({"aggregation": aggregation, "exit": exit})
    if is_own(name):
        AGGREGATIONS.take(name)
        name = AGGREGATIONS.get(name).name
    preset_scoring, leaving, after = _preset(name)
    scoring = preset_scoring if aggregation is None else AGGREGATIONS.get(aggregation)
    if exit is not None:
        leaving, after = _exit(exit)
    if Base in (scoring, preset_scoring) and (aggregation, exit) != (None, None):
        raise UnknownMethod("the base alone has nothing to aggregate or to exit; name a method such as unite")
    given = given_settings(settings)
    for key in given:
        _refuse_unused(key, scoring, leaving)
    if "temperature" in given and "top_t" not in given:
        if given["temperature"] == 0 and given["temperature"] is not False:
            del given["temperature"]
        else:
            given["top_t"] = EVERY_PIECE
    own, leaves_own = (
        {key: declared.read(given[key]) for key, declared in settable_of(part).items() if key in given}
        for part in (scoring, leaving)
    )
    if after is not None:
        leaves_own["exit_after"] = after
    if aggregation is not None or exit is not None:
        name = f"{scoring.name}+{leaving.name}" + ("" if after is None else f"-{after}")
    method = Method(name, scoring(**own), leaving(**leaves_own))
    method.scoring.check_given(given)
    method.exit_policy.check_given(given)
    return method


def _preset(name: str) -> tuple[type[Aggregation], type[Exit], int | None]:
    presets = _presets()
    for preset, aggregation, leaves, _, _ in presets:
        if leaves != Fixed.name and preset == name:
            return AGGREGATIONS.get(aggregation), EXITS.get(leaves), None
        if leaves == Fixed.name and (found := re.fullmatch(preset.replace("N", "([0-9]+)"), name)):
            return AGGREGATIONS.get(aggregation), Fixed, _count(found[1], name)
    raise UnknownMethod(f"unknown method {name!r}; there are {', '.join(preset[0] for preset in presets)}")


def _exit(name: str) -> tuple[type[Exit], int | None]:
    if isinstance(name, str) and (found := re.fullmatch(r"fixed(?:-([0-9]+)|\(([0-9]+)\))", name)):
        return Fixed, _count(found[1] or found[2], name)
    leaving = EXITS.find(name)
    if leaving is None or leaving is Fixed:
        raise UnknownMethod(f"unknown exit {name!r}; there are {', '.join(known for known, _, _ in list_exits())}")
    return leaving, None


def _count(digits: str, name: str) -> int:
    if len(digits) > 9 or int(digits) < 1:
        raise UnknownMethod(f"{name} must have a number of tokens from 1 on, e.g. {re.split('[-(]', name)[0]}-20")
    return int(digits)


def _refuse_unused(key: str, scoring: type[Aggregation], leaving: type[Exit]) -> None:
    if key in settable_of(scoring, leaving):
        return
    for registry, part in ((AGGREGATIONS, scoring), (EXITS, leaving)):
        if users := registry.users(key):
            raise UnknownMethod(
                f"{key} has no effect with the {registry.what} {part.name}; it belongs to {', '.join(users)}"
            )
    raise unknown_setting(key, "", ("aggregation", "exit", *method_settings()))


# ---------------------------------------------------------------- carried out


def sampling_of(method: Method, seed: int) -> Sampling:
    """How the base picks its pieces when it runs alone, and how any score is selected, under ``method``."""
    return Sampling(
        top_k=method.top_k,
        top_p=method.top_p,
        top_t=method.top_t,
        temperature=method.temperature,
        seed=seed,
        over=method.over,
        by_probability=method.scoring.by_probability,
    )

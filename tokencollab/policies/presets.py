"""The methods of the papers by name, and how a caller's settings change them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from tokencollab.errors import UnknownMethod
from tokencollab.policies.settings import AGGREGATIONS, EXITS, Aggregation, ExitName, Method, sorted_weights

_GAC: Final = "GaC (Yu et al., EMNLP Findings 2024)"
_UNITE: Final = "UniTE (Yao et al., ICLR 2025)"
_DUETNET: Final = "DuetNet (Wang et al., Chinese J. Computers 48(11), 2025)"
_CONFIPARA: Final = "ConfiPara (Wang et al., J. Communications 2026)"
_OURS: Final = "tokencollab, docs/methods.md"

Preset = tuple[str, Aggregation, ExitName, str, str]

_PRESETS: Final[tuple[Preset, ...]] = (
    ("base", "base", "never", "the base model alone", _CONFIPARA),
    ("gac", "gac", "never", "mean of probabilities over the whole vocabulary, cut at the top 50", _GAC),
    ("unite", "unite", "never", "mean of softmaxes over the union of the top 10", _UNITE),
    ("duetnet", "duetnet", "never", "sum of logits over the top 10 cut at mass 0.75", _DUETNET),
    ("dp", "dp", "never", "DuetNet with probabilities instead of logits", _DUETNET),
    ("dk", "dk", "never", "DuetNet with the top 10, not cut by mass", _DUETNET),
    ("upara-N", "unite", "fixed", "UniTE on the first N tokens, then the base alone", _CONFIPARA),
    ("dpara-N", "duetnet", "fixed", "DuetNet on the first N tokens, then the base alone", _CONFIPARA),
    ("confipara-u", "unite", "self-efficacy", "UniTE until the base's self-efficacy suffices", _CONFIPARA),
    ("confipara-u-confidence", "unite", "confidence", "ConfiPara-U without the reliability term", _CONFIPARA),
    (
        "confipara-u-reliability",
        "unite",
        "reliability",
        "ConfiPara-U without the confidence term",
        _CONFIPARA,
    ),
    (
        "confipara-d",
        "duetnet",
        "self-efficacy",
        "DuetNet until the base's self-efficacy suffices",
        _CONFIPARA,
    ),
    (
        "confipara-d-confidence",
        "duetnet",
        "confidence",
        "ConfiPara-D without the reliability term",
        _CONFIPARA,
    ),
    (
        "confipara-d-reliability",
        "duetnet",
        "reliability",
        "ConfiPara-D without the confidence term",
        _CONFIPARA,
    ),
    ("bytewise", "bytewise", "never", "byte by byte, where tokenizers cut differently", _OURS),
    ("confipara-b", "bytewise", "self-efficacy", "bytewise until the base's self-efficacy suffices", _OURS),
    ("consult", "bytewise", "consult", "the base alone, and bytewise where it is unsure", _OURS),
)

_TRUNCATION: Final[Mapping[Aggregation, tuple[int, float | None]]] = {
    "base": (10, None),
    "gac": (50, None),
    "unite": (10, None),
    "duetnet": (10, 0.75),
    "dp": (10, 0.75),
    "dk": (10, None),
    "bytewise": (10, None),
}

_AGGREGATIONS_USING: Final[Mapping[str, tuple[str, ...]]] = {
    "top_p": ("base", "duetnet", "dp"),
    "over": ("base", "duetnet", "dp"),
    "weights": ("gac", "unite", "duetnet", "dp", "dk", "bytewise"),
    "reference": ("duetnet", "dk"),
    "temperature": ("base", "duetnet", "dk"),
    "carry": ("bytewise",),
    "commit": ("bytewise",),
}

_EFFICACY: Final = ("self-efficacy", "confidence", "reliability")
_EXITS_USING: Final[Mapping[str, tuple[str, ...]]] = {
    "omega": _EFFICACY,
    "theta": _EFFICACY,
    "rho": _EFFICACY,
    "eps": ("self-efficacy", "reliability"),
    "ties": _EFFICACY,
    "patience": ("per-collaborator",),
    "consult_below": ("consult",),
}
EXIT_SETTINGS: Final = ("exit", "exit_after", *_EXITS_USING)
"""The settings of a `Method` that say who leaves and when; the others say how pieces are chosen."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """What a name stands for: an exit with its number where it has one."""

    exit: ExitName
    after: int | None = None


def list_methods() -> list[tuple[str, str, str]]:
    """Every preset: its name (N stands for a number), one line on what it does, and the paper it is from."""
    return [(name, text, paper) for name, _, _, text, paper in _PRESETS]


def parse_method(
    name: str,
    *,
    aggregation: str | None = None,
    exit: str | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    over: Literal["vocabulary", "top_k"] | None = None,
    weights: Mapping[str, float] | None = None,
    reference: Literal["raw", "floor"] | None = None,
    top_t: int | str | tuple[int, int] | None = None,
    temperature: float | None = None,
    omega: int | None = None,
    theta: float | None = None,
    rho: float | None = None,
    eps: float | None = None,
    ties: Literal["success", "failure"] | None = None,
    patience: int | None = None,
    consult_below: float | None = None,
    carry: bool | None = None,
    commit: float | None = None,
) -> Method:
    """The preset ``name``, with whatever else is given in place of its own. None means: as the preset has it.

    ``exit`` is a name of `settings.EXITS`, with fixed as ``fixed-20`` or ``fixed(20)``. ``top_t`` is T, or a
    range ``"1-2"`` from which T is drawn per step. With another ``aggregation`` the truncation becomes that
    one's. Where ``aggregation`` or ``exit`` is given the method is named after the two, e.g. ``dp+fixed-20``.

    Raises:
        UnknownMethod: no such preset, aggregation or exit, a bad value, or a setting that the method does not use;
            one line that says what there is or why not.
    """
    preset_aggregation, choice = _preset(name)
    chosen = preset_aggregation if aggregation is None else _aggregation(aggregation)
    if exit is not None:
        choice = _exit(exit)
    if "base" in (chosen, preset_aggregation) and (aggregation, exit) != (None, None):
        raise UnknownMethod("the base alone has nothing to aggregate or to exit; name a method such as unite")
    values: dict[str, Any] = {
        "top_p": top_p,
        "over": over,
        "weights": None if weights is None else sorted_weights(weights),
        "reference": reference,
        "temperature": temperature,
        "omega": omega,
        "theta": theta,
        "rho": rho,
        "eps": eps,
        "ties": ties,
        "patience": patience,
        "consult_below": consult_below,
        "carry": carry,
        "commit": commit,
    }
    given = {key: value for key, value in values.items() if value is not None}
    _refuse_unused(chosen, choice.exit, given)
    default_k, default_p = _TRUNCATION[chosen]
    given.setdefault("top_p", default_p)
    if aggregation is not None or exit is not None:
        name = f"{chosen}+{choice.exit}" + ("" if choice.after is None else f"-{choice.after}")
    method = Method(
        name=name,
        aggregation=chosen,
        top_k=default_k if top_k is None else top_k,
        top_t=(1, 1) if top_t is None else _top_t(top_t),
        exit=choice.exit,
        exit_after=choice.after,
        **given,
    )
    if temperature is not None and method.top_t == (1, 1):
        raise UnknownMethod("temperature has no effect on the best piece; give top_t above 1, e.g. 2, as well")
    if over is not None and method.top_p is None:
        raise UnknownMethod("over says what top_p is a share of; give top_p as well")
    return method


def uses(method: Method, setting: str) -> bool:
    """Whether ``setting`` changes anything for ``method``, as `parse_method` has it."""
    exits = _EXITS_USING.get(setting, (method.exit,))
    return method.aggregation in _AGGREGATIONS_USING.get(setting, (method.aggregation,)) and method.exit in exits


def _preset(name: str) -> tuple[Aggregation, _Choice]:
    for preset, aggregation, exit_name, _, _ in _PRESETS:
        if exit_name != "fixed" and preset == name:
            return aggregation, _Choice(exit_name)
        if exit_name == "fixed" and (found := re.fullmatch(preset.replace("N", "([0-9]+)"), name)):
            return aggregation, _Choice("fixed", _count(found[1], name))
    raise UnknownMethod(f"unknown method {name!r}; there are {', '.join(preset[0] for preset in _PRESETS)}")


def _aggregation(name: str) -> Aggregation:
    for aggregation in AGGREGATIONS:
        if aggregation == name:
            return aggregation
    raise UnknownMethod(f"unknown aggregation {name!r}; there are {', '.join(AGGREGATIONS)}")


def _exit(name: str) -> _Choice:
    if found := re.fullmatch(r"fixed(?:-([0-9]+)|\(([0-9]+)\))", name):
        return _Choice("fixed", _count(found[1] or found[2], name))
    for exit_name in EXITS:
        if exit_name == name != "fixed":
            return _Choice(exit_name)
    known = ", ".join("fixed-N" if exit_name == "fixed" else exit_name for exit_name in EXITS)
    raise UnknownMethod(f"unknown exit {name!r}; there are {known}")


def _count(digits: str, name: str) -> int:
    if len(digits) > 9 or int(digits) < 1:
        raise UnknownMethod(f"{name} must have a number of tokens from 1 on, e.g. {re.split('[-(]', name)[0]}-20")
    return int(digits)


def _top_t(value: int | str | tuple[int, int]) -> tuple[int, int]:
    match value:
        case tuple():
            return value
        case str():
            found = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", value)
            if not found:
                raise UnknownMethod(f"top_t must be a number or a range such as 1-2, not {value!r}")
            return int(found[1]), int(found[2] or found[1])
        case _:
            return value, value


def _refuse_unused(aggregation: Aggregation, exit_name: ExitName, given: Mapping[str, object]) -> None:
    for key in given:
        if aggregation not in (users := _AGGREGATIONS_USING.get(key, (aggregation,))):
            raise UnknownMethod(
                f"{key} has no effect with the aggregation {aggregation}; it belongs to {', '.join(users)}"
            )
        if exit_name not in (users := _EXITS_USING.get(key, (exit_name,))):
            raise UnknownMethod(f"{key} has no effect with the exit {exit_name}; it belongs to {', '.join(users)}")

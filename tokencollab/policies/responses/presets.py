"""The methods between models by name, and how a caller's settings change them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tokencollab.errors import UnknownMethod
from tokencollab.policies.responses.panels import PANELS, Panel, simultaneous
from tokencollab.policies.responses.settings import Family, ResponseMethod, pairs_of

_SWITCH: Final = "ModelSwitch (Chen et al., arXiv 2504.00762)"
_TRANSFER: Final = "Dong et al., arXiv 2604.04929"


@dataclass(frozen=True, slots=True)
class Preset:
    """A name, what it does, where it is from, and its settings. ``models``: how many it needs, at least and at most."""

    name: str
    family: Family
    what: str
    paper: str
    models: tuple[int, int | None] = (1, None)
    settings: Mapping[str, Any] = field(default_factory=dict)
    uses: tuple[str, ...] = ()


_SAMPLING: Final = ("samples", "at_once")
_VOTE: Final = (*_SAMPLING, "priors")

_PRESETS: Final = (
    Preset(
        "modelswitch",
        "sampling",
        "samples of one model after another, until one agrees with itself; else a weighted vote",
        _SWITCH,
        settings={"samples": 8, "threshold": 1.0},
        uses=(*_VOTE, "threshold", "defer", "scorer", "pick"),
    ),
    Preset(
        "self-consistency",
        "sampling",
        "samples of one model, the commonest answer",
        "Self-consistency (Wang et al., ICLR 2023)",
        (1, 1),
        {"samples": 8},
        _SAMPLING,
    ),
    Preset(
        "random-switch",
        "sampling",
        "ModelSwitch that stops after a model by chance, whether its samples agree or not",
        _SWITCH,
        settings={"samples": 8, "stop_probability": 0.5},
        uses=(*_VOTE, "stop_probability"),
    ),
    Preset(
        "best-of-n",
        "sampling",
        "samples of every model, the one with the best score",
        "Best-of-N (Stiennon et al., NeurIPS 2020)",
        settings={"samples": 8, "scorer": "likelihood"},
        uses=(*_SAMPLING, "scorer", "pick"),
    ),
    Preset(
        "mad",
        "panel",
        "two debate, a judge decides",
        "Multi-agent debate (Liang et al., EMNLP 2024)",
        uses=("rounds",),
    ),
    Preset(
        "moa",
        "panel",
        "layers of proposers that read each other, an aggregator",
        "Mixture of agents (Wang et al., ICLR 2025)",
        uses=("rounds",),
    ),
    Preset(
        "chateval",
        "panel",
        "referees with characters discuss one by one (or --order together), then vote",
        "ChatEval (Chan et al., ICLR 2024)",
        uses=("rounds", "order"),
    ),
    Preset(
        "agentverse",
        "panel",
        "recruit experts, decide together, evaluate, again if need be",
        "AgentVerse (Chen et al., ICLR 2024)",
        uses=("rounds", "order"),
    ),
    Preset(
        "panel",
        "panel",
        "a panel of your own: its roles and stages as data",
        "tokencollab, docs/responses.md",
        uses=("panel",),
    ),
    Preset(
        "transfer",
        "transfer",
        "short answers; where they differ, the small model's reasoning before the large one's short answer",
        _TRANSFER,
        (2, 2),
        {"plan": "transfer"},
        ("selector", "short_tokens"),
    ),
    Preset(
        "transfer-large-short",
        "transfer",
        "baseline: the large model alone, a short answer",
        _TRANSFER,
        (1, 2),
        {"plan": "large short"},
        ("short_tokens",),
    ),
    Preset(
        "transfer-large-reasoning",
        "transfer",
        "baseline: the large model alone, with its own reasoning",
        _TRANSFER,
        (1, 2),
        {"plan": "large reasoning"},
    ),
    Preset(
        "transfer-small",
        "transfer",
        "baseline: the small model (the last) alone, with its reasoning",
        _TRANSFER,
        (1, 2),
        {"plan": "small reasoning"},
    ),
)
_COMMON: Final = ("temperature", "top_k", "prices")
_BY_NAME: Final = {preset.name: preset for preset in _PRESETS}


def list_response_methods() -> list[tuple[str, str, str]]:
    """Every preset: its name, one line on what it does, and the paper it is from."""
    return [(preset.name, preset.what, preset.paper) for preset in _PRESETS]


def is_response_method(name: str) -> bool:
    """Whether ``name`` is a method between models, not a token-level one."""
    return name in _BY_NAME


def draws_samples(name: str) -> bool:
    """Whether the method draws a number of samples of each model."""
    return name in _BY_NAME and _BY_NAME[name].family == "sampling"


def parse_response_method(
    name: str,
    *,
    models: int | None = None,
    samples: int | None = None,
    threshold: float | None = None,
    priors: Mapping[str, float] | None = None,
    defer: bool | None = None,
    at_once: int | None = None,
    scorer: str | None = None,
    pick: str | None = None,
    stop_probability: float | None = None,
    panel: Panel | Mapping[str, Any] | None = None,
    rounds: int | None = None,
    order: str | None = None,
    selector: str | None = None,
    short_tokens: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    prices: Mapping[str, float] | None = None,
) -> ResponseMethod:
    """The preset ``name``, with whatever else is given in place of its own. None means: as the preset has it.

    ``models`` is how many models there are: panels are laid out for them. ``rounds`` are the rounds of a panel, or the
    layers of ``moa``; ``order`` is ``in turn`` or ``together``.

    Raises:
        UnknownMethod: no such preset, a bad value, a setting that the method does not use, or too many or too few
            models; one line that says what there is or why not.
    """
    preset = _BY_NAME.get(name)
    if preset is None:
        raise UnknownMethod(f"unknown method {name!r} between models; there are {', '.join(_BY_NAME)}")
    least, most = preset.models
    if models is not None and (models < least or (most is not None and models > most)):
        need = str(least) if least == most else f"{least} to {most}" if most else f"{least} or more"
        raise UnknownMethod(f"{name} needs {need} {'model' if most == 1 else 'models'}, not {models}")
    given: dict[str, Any] = {
        "samples": samples,
        "threshold": threshold,
        "priors": None if priors is None else pairs_of("priors", priors),
        "defer": defer,
        "at_once": at_once,
        "scorer": scorer,
        "pick": pick,
        "stop_probability": stop_probability,
        "panel": panel,
        "rounds": rounds,
        "order": order,
        "selector": selector,
        "short_tokens": short_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "prices": None if prices is None else pairs_of("prices", prices),
    }
    given = {key: value for key, value in given.items() if value is not None}
    sampled = preset.family != "transfer"
    for key in given:
        if key not in preset.uses and (key not in _COMMON or (key != "prices" and not sampled)):
            users = [other.name for other in _PRESETS if key in other.uses]
            belongs = f"; it belongs to {', '.join(users)}" if users else ""
            raise UnknownMethod(f"{key} has no effect with the method {name}{belongs}")
    if pick is not None and not (scorer or preset.settings.get("scorer")):
        raise UnknownMethod("pick says how scores decide; give a scorer as well")
    if preset.family == "panel":
        given["panel"] = _panel(name, models or 1, given)
    return ResponseMethod(**{"name": name, "family": preset.family, **preset.settings, **given})


def _panel(name: str, models: int, given: dict[str, Any]) -> Panel:
    own, rounds, order = given.get("panel"), given.pop("rounds", None), given.pop("order", None)
    if name == "panel":
        if own is None:
            raise UnknownMethod("the method panel needs a panel: its roles and stages as data")
        return own if isinstance(own, Panel) else Panel.from_json(own)
    build, default = PANELS[name]
    if rounds is not None and (not isinstance(rounds, int) or not 1 <= rounds <= 100):
        raise UnknownMethod(f"rounds must be a whole number from 1 to 100, not {rounds!r}")
    panel = build(models, default if rounds is None else rounds)
    if order not in (None, "in turn", "together"):
        raise UnknownMethod(f"order must be 'in turn' or 'together', not {order!r}")
    return simultaneous(panel) if order == "together" else replace(panel)

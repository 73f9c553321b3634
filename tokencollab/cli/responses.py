"""Response-level methods on the command line: their options, the method chosen by them, and who answers."""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tokencollab.answers import check_kind
from tokencollab.cli.arguments import positive, real
from tokencollab.cli.runs import chosen_method
from tokencollab.errors import UsageError
from tokencollab.member import FoundModel
from tokencollab.policies.methods import Method
from tokencollab.policies.responses.response_methods import ResponseMethod, is_response_method, parse_response_method
from tokencollab.respondents import Respondent


def _pair(what: str) -> Callable[[str], tuple[str, float]]:
    def parse(text: str) -> tuple[str, float]:
        model, _, value = text.rpartition("=")
        if not model:
            raise argparse.ArgumentTypeError(f"{text!r} is not of the form MODEL={what}")
        return model, float(real(value))

    return parse


_SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "samples": {"type": positive, "metavar": "K", "help": "samples of each model (default 8)"},
    "threshold": {"type": real, "metavar": "X", "help": "share of K that must agree (modelswitch; default 1.0)"},
    "prior": {"type": _pair("W"), "action": "append", "metavar": "MODEL=W", "help": "weight of its vote (repeatable)"},
    "defer": {
        "action": "store_true",
        "default": None,
        "help": "draw the rest of a model that cannot agree any more only if it comes to the vote (modelswitch)",
    },
    "at_once": {"type": positive, "metavar": "N", "help": "samples of a model drawn at a time (default: all)"},
    "scorer": {"metavar": "NAME", "help": "likelihood or reward:FOLDER (best-of-n; modelswitch instead of the vote)"},
    "pick": {"choices": ["best", "sum"], "help": "by scores: the best sample, or the best sum per answer"},
    "stop_probability": {"type": real, "metavar": "P", "help": "of stopping after a model (random-switch)"},
    "rounds": {"type": positive, "metavar": "N", "help": "rounds of a panel, or layers of moa"},
    "order": {"choices": ["in turn", "together"], "help": "how a panel's members speak (chateval, agentverse)"},
    "panel": {"metavar": "FILE", "help": "a panel of your own, as JSON (docs/responses.md)"},
    "selector": {"metavar": "NAME", "help": "all, tail(k) or surprise(k): what reasoning is passed on (transfer)"},
    "short_tokens": {"type": positive, "metavar": "N", "help": "tokens of a short answer at most (transfer)"},
    "temperature": {"type": real, "metavar": "X", "help": "of samples (default 0.7; 0 is greedy)"},
    "top_k": {"type": positive, "metavar": "K", "help": "candidates that samples are drawn from (default 40)"},
    "price": {"type": _pair("P"), "action": "append", "metavar": "MODEL=P", "help": "price of one token (repeatable)"},
}  # fmt: skip
BESIDE_METHOD: Final = tuple(name for name in _SETTINGS if name not in ("temperature", "top_k"))
"""The settings beside `add_method`, which has the others already."""
REPLAYED: Final = ("samples", "threshold", "prior", "defer", "stop_probability")
"""The settings that a replay can change."""

EXTRACT: Final = "number, choice, choice:N, boolean, date, date:dmy, math, regex:PATTERN, or text"


def add_extract(parser: argparse.ArgumentParser, default: str | None) -> None:
    """What kind of answer is read."""
    more = f" (default {default})" if default else ""
    parser.add_argument("--extract", metavar="KIND", default=default, help=f"how answers are read: {EXTRACT}{more}")


def add_response_method(parser: argparse.ArgumentParser, names: Iterable[str] = tuple(_SETTINGS)) -> None:
    """The settings of these ``names``, one option each; named as in `parse_response_method`."""
    group = parser.add_argument_group("between models", "settings of methods that draw whole answers")
    for name in names:
        options: dict[str, Any] = _SETTINGS[name]
        group.add_argument(f"--{name.replace('_', '-')}", dest=name, **options)


def response_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings given on the command line, as arguments of `parse_response_method`; a panel as its file's name."""
    found = {name: getattr(arguments, name, None) for name in _SETTINGS}
    for key, name in (("prior", "priors"), ("price", "prices")):
        pairs = found.pop(key)
        found[name] = dict(pairs) if pairs else None
    return {name: value for name, value in found.items() if value is not None}


def chosen_response_method(name: str, settings: Mapping[str, Any], models: int) -> ResponseMethod:
    """The method with its ``settings`` (a panel by its file's name) for so many models.

    Raises:
        UsageError: no such method, settings that do not go with it, or a panel that cannot be read.
    """
    if "panel" in settings:
        settings = {**settings, "panel": _panel(settings["panel"])}
    return parse_response_method(name, models=models, **settings)


def _panel(path: str) -> Mapping[str, Any]:
    try:
        panel = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the panel {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"the panel {path} is not JSON: {error}") from None
    if not isinstance(panel, Mapping):
        raise UsageError(f"the panel {path} is not an object with roles and stages")
    return panel


def either_method(arguments: argparse.Namespace, models: int) -> Method | ResponseMethod:
    """The method of a command that takes both kinds, for so many models.

    Raises:
        UsageError: no such method, or settings that do not go with it.
    """
    if not is_response_method(arguments.method or ""):
        for name in ["extract"] * (arguments.extract is not None) + list(arguments.between):
            if name not in arguments.settings:
                raise UsageError(f"--{name.replace('_', '-')} belongs to methods between models, such as modelswitch")
        return chosen_method(arguments)
    for name in arguments.settings:
        if name not in arguments.between:
            raise UsageError(f"--{name.replace('_', '-')} has no effect with the method {arguments.method}")
    check_kind(arguments.extract or "text")
    return chosen_response_method(arguments.method, arguments.between, models)


def members_of(respondents: Sequence[Respondent]) -> list[str]:
    """Every model once, in the order in which they are named."""
    return list(dict.fromkeys(member for one in respondents for member in one.members))


def names_of(wanted: Sequence[str], found: Sequence[FoundModel]) -> dict[str, str]:
    """What the wanted models are called: as they were found; on a platform, where nothing is fetched, as written."""
    return dict(zip(wanted, [model.name for model in found] or wanted, strict=True))


def renamed(respondents: Sequence[Respondent], names: Mapping[str, str]) -> list[Respondent]:
    """The respondents with the names that their models have once they are found (a folder's last part, say)."""
    found = []
    for one in respondents:
        members = tuple(names[member] for member in one.members)
        name = members[0] if one.method is None else f"{one.method.name}({','.join(members)})"
        found.append(replace(one, name=name, members=members))
    return found


def with_names(method: ResponseMethod, names: Mapping[str, str], known: Sequence[str]) -> ResponseMethod:
    """The method with priors and prices by those names.

    Raises:
        UsageError: one is for a model that does not take part.
    """
    for model, _ in (*method.priors, *method.prices):
        if names.get(model, model) not in known:
            raise UsageError(f"a prior or a price is for {model!r}; the models are {', '.join(dict.fromkeys(known))}")
    priors, prices = (
        tuple(sorted((names.get(model, model), value) for model, value in pairs))
        for pairs in (method.priors, method.prices)
    )
    return replace(method, priors=priors, prices=prices)

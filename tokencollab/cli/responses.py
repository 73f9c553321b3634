"""The settings of methods between models, for every command that takes such a method."""

import argparse
from collections.abc import Callable, Iterable
from typing import Any, Final

from tokencollab.cli.arguments import positive, real


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

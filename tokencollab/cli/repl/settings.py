"""`/set`: the names of all settings, and values read from what was typed."""

import json
from dataclasses import replace
from typing import Any, Final

from tokencollab.answers import check_kind
from tokencollab.cli.repl.session import ANSWER_SETTINGS, Conversation, Limits
from tokencollab.cli.responses import read_panel
from tokencollab.errors import UsageError
from tokencollab.files import typed_path
from tokencollab.policies.aggregations import AGGREGATIONS
from tokencollab.policies.methods import list_exits, method_settings
from tokencollab.policies.parameters import Numbers, Parameter
from tokencollab.policies.responses.panels import Panel
from tokencollab.policies.responses.response_methods import is_response_method, response_settings


def values_of(setting: str, method: str) -> tuple[str, ...]:
    """The values of a setting, where they are few."""
    if setting == "aggregation":
        return tuple(AGGREGATIONS.all())
    if setting == "exit":
        return tuple(name.replace("-N", "-20") for name, _, _ in list_exits())
    declared = _parameters(method).get(setting)
    choices = () if declared is None else declared.choices
    return tuple(f"'{choice}'" if " " in choice else choice for choice in choices)


LARGEST: Final = (1 << 53) - 1
"""Of all whole numbers: the same in JSON and on the way to a model."""


def whole_number(text: str) -> int | None:
    """A whole number from 0 to `LARGEST` as it was typed; None where it is none."""
    if not text.isdecimal() or len(text) > len(str(LARGEST)):  # Python refuses to read numbers of thousands of digits
        return None
    number = int(text)
    return number if number <= LARGEST else None


_DEFAULTS: Final = {
    "max_tokens": str(Limits().max_tokens),
    "stop": "as it suits the models",
    "extract": Limits().extract,
    "members": "all",
}


def _parameters(method: str) -> dict[str, Parameter]:
    return response_settings() if is_response_method(method) else method_settings()


def setting_names(method: str) -> list[str]:
    others = () if is_response_method(method) else ("aggregation", "exit")
    return [*ANSWER_SETTINGS, *others, *_parameters(method)]


def change(session: Conversation, name: str, words: list[str]) -> str:
    """Sets ``name`` to ``words``, or to its default without any; what it is now. An error changes nothing."""
    name = name.replace("-", "_")
    if name not in setting_names(session.method):
        raise UsageError(f"no setting {name!r}; there are {', '.join(setting_names(session.method))}")
    if name in ANSWER_SETTINGS:
        return _change_answer(session, name, words)
    settings = {key: value for key, value in session.settings.items() if key != name}
    if words:
        settings[name] = _value(_parameters(session.method).get(name), name, words)
    session.check(session.method, settings)
    session.settings = settings
    return f"{name} {' '.join(words) or 'as the method has it'}"


def _change_answer(session: Conversation, name: str, words: list[str]) -> str:
    limits = session.limits
    match name, words:
        case "max_tokens", []:
            limits = replace(limits, max_tokens=Limits().max_tokens)
        case "max_tokens", [word] if number := whole_number(word):
            limits = replace(limits, max_tokens=number)
        case "max_tokens", _:
            raise UsageError("max_tokens must be a whole number from 1 to 2**53 - 1")
        case "stop", _:
            stops = tuple(word.replace("\\n", "\n") for word in words)
            limits = replace(limits, stop=tuple(filter(None, stops)) if words else None)
        case "extract", _:
            kind = " ".join(words) or "text"
            check_kind(kind)
            limits = replace(limits, extract=kind)
        case _:
            here = session.team.members
            names = tuple(part for word in words for part in word.split(",") if part)
            if strangers := [part for part in names if part not in here]:
                raise UsageError(f"no model {strangers[0]!r} is here; there are {', '.join(here)}")
            limits = replace(limits, members=tuple(dict.fromkeys(names)) or None)
    session.limits = limits
    return f"{name} {' '.join(words) or _DEFAULTS[name]}"


def _value(declared: Parameter | None, name: str, words: list[str]) -> Any:
    if declared is not None and declared.kind == Numbers:
        return dict(declared.from_text(word) for word in words)
    if declared is not None and declared.kind is Panel:
        return read_panel(typed_path(" ".join(words)))
    if len(words) > 1:
        raise UsageError(f"{name} takes one value")
    return words[0] if declared is None else declared.from_text(words[0])


def described(session: Conversation) -> list[str]:
    limits = session.limits
    stops = " ".join(json.dumps(stop, ensure_ascii=False) for stop in session.stops()) or "none"
    lines = [
        f"method {session.method}",
        f"max_tokens {limits.max_tokens}",
        f"stop {stops}",
        f"members {' '.join(session.members)}",
        f"seed {session.seed}",
    ]
    if session.between_models:
        lines.append(f"extract {limits.extract}")
    else:
        method = session.chosen()
        for name in method.to_json():
            shown = name not in ("name", "exit_after", "weights", "top_t", "temperature", *session.settings)
            if shown and (name in ("aggregation", "exit") or method.uses(name)):
                lines.append(f"{name} {getattr(method, name)}")
        if "temperature" not in session.settings:
            lines.append(f"temperature {session.temperature:g}")
    return [*lines, *(f"{name} {value} (set)" for name, value in session.settings.items())]

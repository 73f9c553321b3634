"""From the names of methods, as they are given on the command line, to askers."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from tokencollab.errors import UnknownMethod, UsageError
from tokencollab.evaluation.askers import Asker
from tokencollab.evaluation.response_level import ResponseLevel
from tokencollab.evaluation.token_level import TokenLevel
from tokencollab.policies.methods import Method, list_methods, parse_method, uses
from tokencollab.policies.responses.response_methods import (
    ResponseMethod,
    is_response_method,
    list_response_methods,
    parse_response_method,
)
from tokencollab.policies.settings import setting_names


def make_askers(names: Sequence[str], models: Sequence[str], grid: Mapping[str, Sequence[Any]]) -> list[Asker]:
    """The askers that ``names`` mean over ``models``, the base first.

    Args:
        names: presets with settings, e.g. ``duetnet:reference=floor``, ``confipara-d:omega=5:theta=0.7``; ``base``;
            ``alone:MODEL``; ``each`` for every model alone; methods between models, e.g. ``modelswitch:samples=4``.
            ``on=MODEL+MODEL`` among the settings says which models take part, the base first.
        models: what they are called.
        grid: settings to be varied, each with its values: a method takes every combination of those that it uses.

    Raises:
        UsageError: no such method, a setting that it does not use, or one that no method uses.
    """
    if not names:
        raise UsageError("no method is named; give some with --methods, e.g. base,each,unite")
    askers: list[Asker] = []
    varied: set[str] = set()
    for key in grid:
        if key not in setting_names() or key in ("name", "aggregation", "exit", "exit_after", "weights"):
            raise UsageError(
                f"{key} cannot be varied; settings are those of `tokencollab generate --help`, e.g. omega=5,10"
            )
    for name in names:
        made, used = _askers_of(name, tuple(models), grid)
        askers += made
        varied |= used
    if unused := [key for key in grid if key not in varied]:
        raise UsageError(f"no method of {', '.join(names)} uses {unused[0]}")
    repeated = [asker.name for index, asker in enumerate(askers) if asker.name in {a.name for a in askers[:index]}]
    if repeated:
        raise UsageError(f"the method {repeated[0]} is given twice")
    return askers


def _askers_of(name: str, models: tuple[str, ...], grid: Mapping[str, Sequence[Any]]) -> tuple[list[Asker], set[str]]:
    if name == "each":
        return [_alone(model) for model in models], set()
    if name == "base":
        return [TokenLevel("base", parse_method("base"), models[:1])], set()
    if name.startswith("alone:"):
        model = name.removeprefix("alone:")
        if model not in models:
            raise UsageError(f"no model {model!r} takes part; there are {', '.join(models)}")
        return [_alone(model)], set()
    preset, _, rest = name.partition(":")
    settings = _settings(rest, name)
    models = _members(settings, models)
    if is_response_method(preset):
        members = models[:1] if preset == "self-consistency" else models
        for model in (*settings.get("priors", {}), *settings.get("prices", {})):
            if model not in members:
                raise UsageError(f"{name}: {model!r} does not take part; the models are {', '.join(members)}")
        method = _response_method(preset, settings, len(members))
        method.check_priors(members)
        return [ResponseLevel(name, method, members)], set()
    if preset == "base":
        return [TokenLevel(name, _method(preset, settings), models[:1])], set()
    plain = _method(preset, settings)  # a name that is no method's is said to be that, whoever takes part
    if len(models) == 1:
        raise UsageError(f"{name} needs collaborators; give some with --with")
    keys = [key for key in grid if key not in settings and uses(plain, key)]
    askers: list[Asker] = []
    for values in product(*(grid[key] for key in keys)):
        point = dict(zip(keys, values, strict=True))
        full = ":".join([name, *(f"{key}={value}" for key, value in point.items())])
        askers.append(TokenLevel(full, _method(preset, {**settings, **point}), models, tuple(point.items())))
    return askers, set(keys)


def _alone(model: str) -> Asker:
    return TokenLevel(f"alone:{model}", parse_method("base"), (model,))


def _members(settings: dict[str, Any], models: tuple[str, ...]) -> tuple[str, ...]:
    """Takes ``on`` out of the settings: the models that take part."""
    if "on" not in settings:
        return models
    members = tuple(str(settings.pop("on")).split("+"))
    for member in members:
        if member not in models:
            raise UsageError(f"no model {member!r} takes part; there are {', '.join(models)}")
    return members


def _response_method(preset: str, settings: Mapping[str, Any], models: int) -> ResponseMethod:
    try:
        return parse_response_method(preset, models=models, **settings)
    except TypeError:
        raise UnknownMethod(f"{preset} has no such settings as {', '.join(settings)}") from None


def _method(preset: str, settings: Mapping[str, Any]) -> Method:
    try:
        return parse_method(preset, **settings)
    except TypeError:
        unknown = next(key for key in settings if key not in setting_names())
        raise UnknownMethod(f"unknown setting {unknown!r} of {preset}; see tokencollab generate --help") from None
    except UnknownMethod as error:
        if str(error).startswith("unknown method"):
            more = ", ".join(["each", "alone:MODEL", *(between for between, _, _ in list_response_methods())])
            known = ", ".join(preset for preset, _, _ in list_methods())
            raise UnknownMethod(f"unknown method {preset!r}; there are {known}, {more}") from None
        raise


def _settings(text: str, name: str) -> dict[str, Any]:
    """``key=value:key=value`` as settings; ``weight.MODEL=2`` is that model's weight, and so prior and price."""
    settings: dict[str, Any] = {}
    for part in filter(None, text.split(":")):
        key, equals, value = part.partition("=")
        what, dot, model = key.partition(".")
        key = key if dot else key.replace("-", "_")
        if not equals or not key or not value or key in settings:
            raise UsageError(f"{name}: settings are given as name:key=value:key=value, each once")
        if dot and what in ("weight", "prior", "price"):
            settings.setdefault(f"{what}s", {})[model] = read_value(value)
        else:
            settings[key] = read_value(value)
    return settings


def read_value(text: str) -> Any:
    """A value from the command line: a number, true or false, else a text."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text

"""From the names of methods, as they are given on the command line, to askers."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Final

from tokencollab.errors import UnknownMethod, UsageError
from tokencollab.evaluation.askers import Asker, OwnAsker
from tokencollab.evaluation.response_level import ResponseLevel
from tokencollab.evaluation.token_level import TokenLevel
from tokencollab.policies.aggregations import Aggregation
from tokencollab.policies.methods import Method, list_methods, method_settings, parse_method, take_own
from tokencollab.policies.own import find_own, is_own
from tokencollab.policies.parameters import Numbers, Parameter, unknown_setting
from tokencollab.policies.responses.response_methods import (
    is_response_method,
    list_response_methods,
    parse_response_method,
    response_settings,
)

DEFAULT_METHODS: Final = "each,auto"


def make_askers(names: Sequence[str], models: Sequence[str], grid: Mapping[str, Sequence[Any]]) -> list[Asker]:
    """The askers that ``names`` mean over ``models``, the base first.

    Args:
        names: presets with settings, e.g. ``duetnet:reference=floor``, ``confipara-d:omega=5:theta=0.7``; ``base``;
            ``alone:MODEL``; ``each`` for every model alone; response-level methods, e.g. ``modelswitch:samples=4``;
            ``module:name`` of an aggregation or an asker of the caller's. ``on=MODEL+MODEL`` among the settings names
            the members, the base first.
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
        _varied(key)
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
    if name.startswith("alone:"):
        model = name.removeprefix("alone:")
        if model not in models:
            raise UsageError(f"no member {model!r}; there are {', '.join(models)}")
        return [_alone(model)], set()
    preset, parts = _split(name)
    if is_own(preset) and not _is_aggregation(preset):
        return [_own_asker(name, preset, parts, models)], set()
    between = is_response_method(preset)
    settings = _settings(parts, name, response_settings() if between else method_settings())
    models = _members(settings, models)
    if between:
        members = models[:1] if preset == "self-consistency" else models
        for model in (*settings.get("priors", {}), *settings.get("prices", {})):
            if model not in members:
                raise UsageError(f"{name}: {model!r} is not a member; the members are {', '.join(members)}")
        method = parse_response_method(preset, models=len(members), **settings)
        method.check_priors(members)
        return [ResponseLevel(name, method, members)], set()
    if preset == "base":
        return [TokenLevel(name, _method(preset, settings), models[:1])], set()
    plain = _method(preset, settings)  # an unknown method is reported first, whatever the members
    if len(models) == 1:
        raise UsageError(f"{name} needs collaborators; give some with --with")
    keys = [key for key in grid if key not in settings and plain.uses(key)]
    askers: list[Asker] = []
    for values in product(*(grid[key] for key in keys)):
        point = dict(zip(keys, values, strict=True))
        full = ":".join([name, *(f"{key}={value}" for key, value in point.items())])
        askers.append(TokenLevel(full, _method(preset, {**settings, **point}), models, tuple(point.items())))
    return askers, set(keys)


def _own_asker(name: str, path: str, parts: Sequence[str], models: tuple[str, ...]) -> Asker:
    settings = _settings([part for part in parts if part.startswith("on=")], name, {})
    if len(settings) < len(parts):
        raise UsageError(f"{name}: a method of your own takes no settings here but on=MODEL+MODEL")
    return OwnAsker.made(name, find_own(path, "the method"), _members(settings, models))


def _is_aggregation(path: str) -> bool:
    found = find_own(path, "the method")
    return isinstance(found, type) and issubclass(found, Aggregation)


def _alone(model: str) -> Asker:
    return TokenLevel(f"alone:{model}", parse_method("base"), (model,))


def _members(settings: dict[str, Any], models: tuple[str, ...]) -> tuple[str, ...]:
    """Takes ``on`` out of the settings: the members."""
    if "on" not in settings:
        return models
    members = tuple(str(settings.pop("on")).split("+"))
    for member in members:
        if member not in models:
            raise UsageError(f"no member {member!r}; there are {', '.join(models)}")
    return members


def _method(preset: str, settings: Mapping[str, Any]) -> Method:
    try:
        return parse_method(preset, **settings)
    except UnknownMethod as error:
        if str(error).startswith("unknown method"):
            more = ", ".join(
                ["each", "alone:MODEL", "MODULE:NAME", *(between for between, _, _ in list_response_methods())]
            )
            known = ", ".join(preset for preset, _, _ in list_methods())
            raise UnknownMethod(f"unknown method {preset!r}; there are {known}, {more}") from None
        raise


def _varied(key: str) -> Parameter:
    declared = method_settings().get(key)
    if declared is None or declared.kind == Numbers:
        raise UsageError(
            f"{key} cannot be varied; settings are those of `tokencollab generate --help`, e.g. omega=5,10"
        )
    return declared


def _split(name: str) -> tuple[str, list[str]]:
    """The preset and its settings, as texts. The preset, an aggregation and an exit may be ``module:name``."""
    preset, *rest = name.split(":")
    known = {"alone", *(known for known, _, _ in (*list_methods(), *list_response_methods()))}
    if rest and preset not in known and is_own(f"{preset}:{rest[0]}"):
        preset += f":{rest.pop(0)}"
    parts: list[str] = []
    for part in rest:
        if (
            parts
            and parts[-1].startswith(("exit=", "aggregation="))
            and is_own(f"{parts[-1].partition('=')[2]}:{part}")
        ):
            parts[-1] += f":{part}"
        elif part:
            parts.append(part)
    settings = dict(part.split("=", 1) for part in parts if part.startswith(("exit=", "aggregation=")))
    take_own(settings)  # they bring settings of their own
    if is_own(preset) and _is_aggregation(preset):
        take_own({"aggregation": preset})
    return preset, parts


def read_grid(given: Sequence[tuple[str, Sequence[str]]], names: Sequence[str] = ()) -> dict[str, list[Any]]:
    """The settings to be varied, from texts; ``names``: of the methods, which may have settings of their own.

    Raises:
        UsageError: one that cannot be varied, is given twice, or has a bad value.
    """
    for name in names:
        _split(name)
    grid: dict[str, list[Any]] = {}
    for key, values in given:
        if key in grid:
            raise UsageError(f"--over {key} is given twice")
        grid[key] = [_varied(key).from_text(value) for value in values]
    return grid


def _settings(parts: Sequence[str], name: str, known: Mapping[str, Parameter]) -> dict[str, Any]:
    """``key=value`` each as settings; ``weight.MODEL=2`` is that model's weight, and so prior and price."""
    settings: dict[str, Any] = {}
    by_model = {declared.option: declared for declared in known.values() if declared.kind == Numbers}
    for part in parts:
        key, equals, value = part.partition("=")
        what, dot, model = key.partition(".")
        key = key if dot else key.replace("-", "_")
        if not equals or not key or not value or key in settings:
            raise UsageError(f"{name}: settings are given as name:key=value:key=value, each once")
        if key in ("on", "aggregation", "exit"):
            settings[key] = value
        elif dot and what in by_model:
            declared = by_model[what]
            settings.setdefault(declared.name, {}).update([declared.from_text(f"{model}={value}")])
        elif key in known and known[key].kind != Numbers:
            settings[key] = known[key].from_text(value)
        else:
            raise unknown_setting(key, f" of {_split(name)[0]}", known)
    return settings

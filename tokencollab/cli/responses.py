"""Response-level methods on the command line: their options, the method chosen by them, and who answers."""

import argparse
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tokencollab.answers import check_kind
from tokencollab.cli.arguments import add_parameter
from tokencollab.cli.runs import chosen_method
from tokencollab.errors import UsageError
from tokencollab.files import read_object, reading, typed_path
from tokencollab.member import FoundModel
from tokencollab.policies.methods import Method
from tokencollab.policies.parameters import Numbers
from tokencollab.policies.responses.panels import Panel
from tokencollab.policies.responses.response_methods import (
    RESPONSES,
    ResponseMethod,
    is_response_method,
    parse_response_method,
    response_settings,
)
from tokencollab.respondents import Respondent

EXTRACT: Final = "number, choice, choice:N, boolean, date, date:dmy, math, regex:PATTERN, or text"


def add_extract(parser: argparse.ArgumentParser, default: str | None) -> None:
    more = f" (default {default})" if default else ""
    parser.add_argument("--extract", metavar="KIND", default=default, help=f"how answers are read: {EXTRACT}{more}")


def add_response_method(
    parser: argparse.ArgumentParser, beside: Collection[str] = (), *, replayed: bool = False
) -> None:
    """The parameters of response-level methods, one option each.

    ``beside``: those that the command has already. ``replayed``: only what a replay can change.
    """
    group = parser.add_argument_group("response level", "settings of methods that draw whole answers")
    for declared in response_settings().values():
        if declared.name not in beside and (declared.replayed or not replayed):
            add_parameter(group, declared, RESPONSES.note(declared.name))


def chosen_response_method(name: str, settings: Mapping[str, Any], models: int) -> ResponseMethod:
    """The method with its ``settings`` (a panel by its file's name) for so many models."""
    if "panel" in settings:
        settings = {**settings, "panel": read_panel(typed_path(settings["panel"]))}
    return parse_response_method(name, models=models, **settings)


def read_panel(path: Path) -> Mapping[str, Any]:
    """The panel of a file, an object with roles and stages, as JSON."""
    with reading(path, f"the panel {path}"):
        panel = read_object(path, f"the panel {path}")
        Panel.from_json(panel)
    return panel


def either_method(arguments: argparse.Namespace, models: int) -> Method | ResponseMethod:
    """The method of a command that takes both kinds, for so many models."""
    if not is_response_method(arguments.method or ""):
        for name in ["extract"] * (arguments.extract is not None) + list(arguments.between):
            if name not in arguments.settings:
                raise UsageError(f"--{name.replace('_', '-')} belongs to response-level methods, such as modelswitch")
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
    """The method with priors and prices by those names."""
    for model, _ in (*method.priors, *method.prices):
        if names.get(model, model) not in known:
            raise UsageError(f"a prior or a price is for {model!r}; the models are {', '.join(dict.fromkeys(known))}")
    by_model = {
        key: {names.get(model, model): number for model, number in getattr(method, key)}
        for key, declared in response_settings(method.name).items()
        if declared.kind == Numbers
    }
    return method.with_settings(**by_model)

"""Teams: members, method and settings in a file, for `--team` of every command that asks models."""

import argparse
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from platformdirs import user_config_path

from tokencollab.cli.arguments import Parser
from tokencollab.cli.terminal import put, put_json
from tokencollab.errors import UsageError
from tokencollab.files import read_text, reading, typed_path
from tokencollab.policies.methods import method_settings
from tokencollab.policies.responses.response_methods import is_response_method, response_settings
from tokencollab.protocol.text import one_line
from tokencollab.protocol.values import perhaps

_KEYS: Final = (
    "base", "with", "method", "aggregation", "exit", "system", "max_tokens", "stop", "seed", "engine", "dtype",
    "threads", "kv_megabytes", "runtime", "platform", "deadline", "lag", "wait_for_base", "settings",
)  # fmt: skip
"""Options of these commands; one that a command does not have is left out there. ``settings``: those of the method."""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("teams", description="The teams of this user: members and a method under one name.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=Parser)
    listed = actions.add_parser("list", help="the teams that --team takes by name")
    listed.add_argument("--json", action="store_true", help="one JSON object each, one a line")
    parser.set_defaults(run=teams)


def teams(arguments: argparse.Namespace) -> int:
    """`tokencollab teams list`."""
    files = sorted(folder().glob("*.toml"))
    for file in files:
        team = read_team(file)
        members = [str(team["base"])] if "base" in team else []
        members += map(str, _list(team.get("with", ())))
        if arguments.json:
            put_json({"name": file.stem, "file": str(file), **team})
        else:
            put(one_line(f"{file.stem}: {' + '.join(members) or 'no members'}, {team.get('method', 'auto')}"))
    if not files and not arguments.json:
        put(f"no teams yet: put NAME.toml into {folder()} (docs/teams.md)")
    return 0


def folder() -> Path:
    """Where the teams are that are taken by name."""
    return user_config_path("tokencollab") / "teams"


def read_team(file: Path) -> dict[str, Any]:
    """What a team's file says. Raises UsageError: it is not TOML, or has a key that no command knows."""
    with reading(file, f"the team {file}"):
        try:
            team = tomllib.loads(read_text(file, f"the team {file}"))
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"it is not TOML: {error}") from None
        settings = team.get("settings", {})
        if not isinstance(settings, Mapping):
            raise UsageError("settings must be a table: [settings]")
        known: Sequence[str]
        for names, known in ((team, _KEYS), (settings, (*method_settings(), *response_settings()))):
            for name in names:
                if name not in known:
                    raise UsageError(f"there is no {name!r}{perhaps(name, known)}; there are {', '.join(known)}")
        return team


def with_team(words: Sequence[str], command: str, options: Collection[str]) -> list[str]:
    """The ``words`` of a command line with what its ``--team`` says before them, so that they have the last word.

    ``options``: those that the command has.

    Raises:
        UsageError: there is no such team, or it cannot be read.
    """
    finder = Parser(prog=f"tokencollab {command}", add_help=False, allow_abbrev=False)
    finder.add_argument("--team")
    found, rest = finder.parse_known_args(words)
    if found.team is None:
        return rest
    path = typed_path(found.team)
    if "/" not in found.team and path.suffix != ".toml":
        path = folder() / f"{found.team}.toml"
        if not path.is_file():
            here = ", ".join(sorted(file.stem for file in folder().glob("*.toml")))
            raise UsageError(f"there is no team {found.team!r}; there are {here or 'none'} in {folder()}")
    start = rest.index(command) + 1
    return [*rest[:start], *_words(read_team(path), command, options), *rest[start:]]


def _words(team: Mapping[str, Any], command: str, options: Collection[str]) -> Iterator[str]:
    given: dict[str, Any] = {**team, **team.get("settings", {})}
    given.pop("settings", None)
    method = given.get("method")
    if command == "ask":
        given["model"] = [*_list(given.pop("base", ())), *_list(given.pop("with", ()))]
    if command in ("eval", "sweep"):
        given.pop("method", None)
        given["methods"] = f"each,{':'.join([str(method or 'auto'), *_settings(team.get('settings', {}))])}"
    elif method is not None and is_response_method(str(method)) != (command == "ask"):
        del given["method"]  # it is for the other kind of command
    for name, value in given.items():
        flag = _flag(name)
        if isinstance(value, bool):
            flag = flag if value else f"--no-{flag[2:]}"
        if flag not in options:
            continue
        if isinstance(value, bool):
            yield flag
        else:
            each = [f"{key}={number}" for key, number in value.items()] if isinstance(value, Mapping) else _list(value)
            yield from (f"{flag}={one}" for one in each)


def _flag(name: str) -> str:
    declared = (method_settings() | response_settings()).get(name)
    return f"--{name.replace('_', '-')}" if declared is None else declared.flag


def _settings(settings: Mapping[str, Any]) -> Iterator[str]:
    """As the names of `eval --methods` have them."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from (f"{_flag(name)[2:]}.{key}={number}" for key, number in value.items())
        else:
            yield f"{name}={str(value).lower() if isinstance(value, bool) else value}"


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]

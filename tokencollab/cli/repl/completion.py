"""What may follow a command, word by word."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tokencollab.cli.repl.session import Conversation
from tokencollab.cli.repl.settings import setting_names, values_of
from tokencollab.errors import UsageError
from tokencollab.files import typed_path
from tokencollab.policies.methods import list_methods
from tokencollab.policies.responses.response_methods import list_response_methods


@dataclass(frozen=True, slots=True)
class Typed:
    """A command as far as it was typed: the words after its name, then the beginning of the next one.

    ``known_models`` are those that can be added by name.
    """

    session: Conversation
    known_models: Sequence[str]
    words: list[str]
    last: str


def first(*words: str) -> Callable[[Typed], Iterable[str]]:
    """One word, of these."""
    return lambda typed: () if typed.words else words


def files(typed: Typed) -> Iterable[str]:
    return () if typed.words else paths(typed.last)


def methods(typed: Typed) -> Iterable[str]:
    rows = [] if typed.words else [*list_methods(), *list_response_methods()]
    return [name.replace("-N", "-20") for name, _, _ in rows]


def settings(typed: Typed) -> Iterable[str]:
    match typed.words:
        case []:
            return setting_names(typed.session.method)
        case ["members", *_]:
            return typed.session.team.members
        case [name]:
            return values_of(name, typed.session.method)
        case _:
            return ()


def models(typed: Typed) -> Iterable[str]:
    here = list(typed.session.team.members)
    match typed.words:
        case []:
            return ("add", "drop")
        case ["add"]:
            return [*(name for name in typed.known_models if name not in here), *paths(typed.last)]
        case ["drop"]:
            return here[1:]
        case _:
            return ()


def paths(begun: str) -> list[str]:
    folder, _, name = begun.rpartition("/")
    head = f"{folder}/" if "/" in begun else ""
    try:
        where = typed_path(folder or ("/" if begun.startswith("/") else ""))
        found = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in where.iterdir())
    except (OSError, UsageError):
        return []
    return [head + entry for entry in found if entry.startswith(name) and (name or not entry.startswith("."))]

"""What may follow what was typed."""

from collections.abc import Iterable, Sequence

from tokencollab.cli.repl.commands import COMMANDS
from tokencollab.cli.repl.session import Session
from tokencollab.cli.repl.settings import setting_names, values_of
from tokencollab.errors import UsageError
from tokencollab.files import typed_path
from tokencollab.policies.methods import list_methods
from tokencollab.policies.responses.response_methods import list_response_methods


def completions(text: str, session: Session, known_models: Sequence[str]) -> list[str]:
    """What the last word of ``text`` may become, in order; nothing where it is a question.

    ``known_models`` are those that can be added by name.
    """
    if not text.startswith("/") or text.startswith("//"):
        return []
    *before, last = text.split(" ")
    if not before:
        return [f"/{name}" for name in COMMANDS if name.startswith(last[1:])]
    return [word for word in _following([word for word in before if word], session, known_models, last) if word != last]


def _following(before: list[str], session: Session, known: Sequence[str], last: str) -> Iterable[str]:
    match before:
        case ["/method"]:
            rows = [*list_methods(), *list_response_methods()]
            words: Iterable[str] = [name.replace("-N", "-20") for name, _, _ in rows]
        case ["/set"]:
            words = setting_names(session.method)
        case ["/set", "members", *_]:
            words = session.team.members
        case ["/set", name]:
            words = values_of(name, session.method)
        case ["/models"]:
            words = ("add", "drop")
        case ["/models", "add"]:
            words = [*(name for name in known if name not in session.team.members), *paths(last)]
        case ["/models", "drop"]:
            words = list(session.team.members)[1:]
        case ["/help"]:
            words = COMMANDS
        case ["/save" | "/load" | "/export"]:
            words = paths(last)
        case ["/system"]:
            words = ("off",)
        case _:
            words = ()
    return [word for word in words if word.startswith(last)]


def paths(begun: str) -> list[str]:
    """Files and folders whose path begins so."""
    folder, _, name = begun.rpartition("/")
    head = f"{folder}/" if "/" in begun else ""
    try:
        where = typed_path(folder or ("/" if begun.startswith("/") else ""))
        found = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in where.iterdir())
    except (OSError, UsageError):
        return []
    return [head + entry for entry in found if entry.startswith(name) and (name or not entry.startswith("."))]

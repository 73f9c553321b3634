"""One tree of errors, each with an exit code and an HTTP status, all of them in the drawing."""

import ast
import builtins
import re
from pathlib import Path

import pytest

import tokencollab
from tokencollab import errors
from tokencollab.errors import TokencollabError

ELSEWHERE = {
    "SourceFailed": "one of several sources of a model failed, and the next one is tried",
    "Deadlock": "a test waits for ever; it is no failure of the library",
    "NotJson": "says what is wrong with a text; whoever knows the file and the line makes an error of it",
    "NotRendered": "ends the process that renders a chat template; its message goes through a pipe",
    "TooLong": "says that a prompt is too long before its length in tokens is known",
    "BadUse": "says to the prompt that it is to show how a command is used; it has no message",
}
KNOWN = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TokencollabError)]


def drawn() -> dict[str, tuple[str, int, int]]:
    """Per class of the drawing: its parent, exit code and HTTP status."""
    found: dict[str, tuple[str, int, int]] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"    ((?:│   |├── |└── |    )*)(\w+) +(\d+)  (\d{3})(?:  |$)", line):
            depth = len(match[1]) // 4
            above[depth:] = [match[2]]
            found[match[2]] = (above[depth - 1] if depth else "Exception", int(match[3]), int(match[4]))
    return found


def test_the_drawing_is_the_tree() -> None:
    assert drawn() == {kind.__name__: (kind.__base__.__name__, kind.exit_code, kind.http_status) for kind in KNOWN}  # type: ignore[union-attr]
    assert len(KNOWN) > 10


@pytest.mark.parametrize("kind", KNOWN)
def test_exit_codes_and_statuses_are_such(kind: type[TokencollabError]) -> None:
    assert kind.exit_code in (1, 2)
    assert 400 <= kind.http_status < 600
    assert kind.exit_code == 2 or kind.http_status not in range(400, 429), "the caller's fault is a usage error"


def test_an_error_of_another_process_by_its_name() -> None:
    told = errors.error_named("PromptTooLong", "too long")
    assert (type(told), str(told)) == (errors.PromptTooLong, "too long")
    for name in ("KeyError", "error_named", "__name__", ""):
        assert type(errors.error_named(name, "?")) is errors.ModelFailed


def test_no_other_exception_is_defined() -> None:
    classes = {
        node.name: {base.id if isinstance(base, ast.Name) else getattr(base, "attr", "") for base in node.bases}
        for path in Path(tokencollab.__path__[0]).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    exceptions = {
        name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)
    }
    while more := {name for name, bases in classes.items() if bases & exceptions} - exceptions:
        exceptions |= more
    assert exceptions & set(classes) == {kind.__name__ for kind in KNOWN} | set(ELSEWHERE)

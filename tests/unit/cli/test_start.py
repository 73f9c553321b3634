"""A command imports what it needs: help, lists and errors come at once."""

import subprocess
import sys

import pytest

from tests.support.warm import ROOT
from tokencollab.cli import _COMMANDS, build_parser

HEAVY = ("torch", "transformers", "ray", "scipy", "pandas", "tokencollab.answers.reading")


def imported(*words: str) -> tuple[set[str], int, str]:
    """The modules that a command has imported at its end, its exit code, and its standard output."""
    program = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('\\0'.join(sys.modules), file=sys.stderr))\n"
        f"sys.argv = ['tokencollab', *{list(words)!r}]\n"
        "from tokencollab.cli import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    return set(done.stderr.splitlines()[-1].split("\0")), done.returncode, done.stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 0),
        (["--help"], 0),
        (["--version"], 0),
        (["methods"], 0),
        (["models", "list"], 0),
        (["generate", "--help"], 0),
        (["generat", "x"], 2),
        (["generate", "x", "--base", "nosuch"], 2),
        (["generate", "x", "--base", "arith-bytes", "--method", "best"], 2),
    ],
)
def test_what_takes_seconds_to_import_is_not(words: list[str], code: int) -> None:
    modules, returned, out = imported(*words)
    assert returned == code
    assert modules.isdisjoint(HEAVY)
    if words in ([], ["--help"]):
        assert all(f"\n    {name} " in out for name in _COMMANDS)
        assert not any(name.startswith("tokencollab.cli.") and name.endswith("generate") for name in modules)


@pytest.mark.parametrize("command", _COMMANDS)
def test_every_command_is_that_of_its_module(command: str) -> None:
    """The bare parser of the list gave way to the module's own."""
    assert build_parser(command)[0].parse_args([command, *ARGUMENTS.get(command, ())]).run


ARGUMENTS = {
    "generate": ("?", "--base", "a"),
    "ask": ("?", "--model", "a"),
    "resume": ("x",),
    "batch": ("x", "--out", "y", "--base", "a"),
    "platform": ("status",),
    "teams": ("list",),
    "models": ("list",),
    "replay": ("x",),
    "eval": ("--dataset", "simplemath", "--base", "a", "--methods", "base", "--out", "x"),
    "sweep": ("--dataset", "simplemath", "--base", "a", "--methods", "base", "--over", "omega=3", "--out", "x"),
    "report": ("x", "--out", "y"),
}

"""Teams: what a file says stands before what is typed, in every command."""

import json
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.warm import ROOT
from tokencollab.cli import _COMMANDS, build_parser, main, teams
from tokencollab.errors import UsageError

TEAM = """
base = "a"
with = ["b", "c@weight=2"]
method = "bytewise"
system = "Be brief."
max_tokens = 9
stop = ["x", "-y"]
wait_for_base = false
lag = 2.5

[settings]
carry = false
commit = 0.25
weights = { b = 0.5, "c" = 2 }
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "team.toml").write_text(TEAM)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parsed(command: str, *words: str) -> Any:
    parser, own = build_parser(command)
    assert own is not None
    return parser.parse_args(teams.with_team([command, *words], command, own.options))


@pytest.mark.parametrize(
    ("command", "words"), [("generate", ["?"]), ("repl", []), ("batch", ["p.jsonl", "--out", "o"])]
)
def test_commands_of_token_level_methods(home: Path, command: str, words: list[str]) -> None:
    arguments = parsed(command, *words, "--team", "team.toml")
    assert (arguments.base, arguments.collaborators, arguments.method) == ("a", ["b", "c@weight=2"], "bytewise")
    assert (arguments.system, arguments.max_tokens, arguments.stop) == ("Be brief.", 9, ["x", "-y"])
    assert (arguments.lag, arguments.wait_for_base) == (2.5, False)
    assert (arguments.carry, arguments.commit, dict(arguments.weights)) == (False, 0.25, {"b": 0.5, "c": 2.0})


def test_what_is_typed_has_the_last_word(home: Path) -> None:
    arguments = parsed(
        "generate", "--team=team.toml", "?", "--base", "z", "--with", "d", "--method", "consult", "--max-tokens", "3"
    )
    assert (arguments.base, arguments.collaborators) == ("z", ["b", "c@weight=2", "d"])
    assert (arguments.method, arguments.max_tokens) == ("consult", 3)


def test_ask_asks_them_one_by_one(home: Path) -> None:
    arguments = parsed("ask", "?", "--team", "team.toml")
    assert (arguments.models, arguments.method) == (["a", "b", "c@weight=2"], "modelswitch")
    (home / "team.toml").write_text('base = "a"\nwith = "b"\nmethod = "best-of-n"\n[settings]\nsamples = 3\n')
    arguments = parsed("ask", "?", "--team", "team.toml")
    assert (arguments.models, arguments.method, arguments.samples) == (["a", "b"], "best-of-n", 3)
    assert parsed("generate", "?", "--team", "team.toml").method is None


@pytest.mark.parametrize("command", ["eval", "sweep"])
def test_an_evaluation_runs_each_alone_and_the_teams_method(home: Path, command: str) -> None:
    over = ["--over", "omega=3"] if command == "sweep" else []
    arguments = parsed(command, "my.jsonl", "--team", "team.toml", *over)
    assert arguments.methods == "each,bytewise:carry=false:commit=0.25:weight.b=0.5:weight.c=2"
    assert arguments.base == "a"
    assert parsed(command, "my.jsonl", "--team", "team.toml", "--methods", "base", *over).methods == "base"


def test_teams_by_name_are_listed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nothing = f"no teams yet: put NAME.toml into {teams.folder()} (docs/teams.md)\n"
    assert run("teams", "list", capsys=capsys) == (0, nothing)
    teams.folder().mkdir(parents=True)
    (teams.folder() / "sums.toml").write_text(TEAM)
    assert run("teams", "list", capsys=capsys) == (0, "sums: a + b + c@weight=2, bytewise\n")
    code, out = run("teams", "list", "--json", capsys=capsys)
    assert code == 0
    assert json.loads(out)["base"] == "a"
    assert parsed("generate", "?", "--team", "sums").base == "a"


def run(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return ended.value.code, capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("base = ", "it is not TOML: "),
        ('bass = "a"', "there is no 'bass', perhaps base is meant; there are base, with, "),
        ("[settings]\ncary = false", "there is no 'cary', perhaps carry is meant"),
        ("settings = 3", "settings must be a table: "),
        ("x = \x00", "it is not TOML: "),
    ],
)
def test_a_file_that_is_no_team_is_told_in_one_line(home: Path, text: str, said: str) -> None:
    (home / "team.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        parsed("generate", "?", "--team", "team.toml")
    assert said in str(caught.value)
    assert "team.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_team_that_is_not_there(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=r"there is no team 'sums'; there are none in "):
        parsed("generate", "?", "--team", "sums")
    with pytest.raises(UsageError, match=r"the team nosuch.toml cannot be read: No such file"):
        parsed("generate", "?", "--team", "nosuch.toml")
    for words in (["generate", "?", "--team"], ["generate", "?", "--tea", "team.toml"]):
        assert run(*words, capsys=capsys) == (2, "")


def test_the_team_of_the_documentation_is_one(home: Path) -> None:
    text = (ROOT / "docs" / "teams.md").read_text()
    (home / "sums.toml").write_text(text.split("```toml\n")[1].split("```")[0])
    for line in text.splitlines():
        if line.startswith("    tokencollab "):
            command, *words = shlex.split(line)[1:]
            assert parsed(command, *words).base == "arith-bytes"
    keys = text.split("The keys are")[1].split("What is typed")[0]
    assert [key for key in teams._KEYS if f"`{key}`" not in keys] == ["settings"]
    assert tomllib.loads((home / "sums.toml").read_text())["settings"]


@pytest.mark.parametrize("command", _COMMANDS)
def test_the_example_of_every_help_can_be_typed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, example = _COMMANDS[command]
    name, *words = shlex.split(example)
    assert name == command
    assert build_parser(command)[0].parse_args([name, *words]).run
    code, out = run(command, "--help", capsys=capsys)
    assert code == 0
    assert out.endswith(f"examples:\n  tokencollab {example}\n")

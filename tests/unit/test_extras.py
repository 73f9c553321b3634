"""The base install runs without the packages of the extras; where one is missed, one line names it."""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tokencollab.errors import EXTRAS, extra, install

ROOT = Path(__file__).parents[2]
SUM = "20+4*11+0-25*13"
MODELS = ("--base", "arith-bytes", "--with", "arith-pairs")
PROGRAM = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))
from tokencollab.cli import main
main(sys.argv[2:])
"""


def run_without(packages: Iterable[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line where ``packages`` cannot be imported."""
    program = [sys.executable, "-c", PROGRAM, ",".join(packages), *arguments]
    return subprocess.run(program, capture_output=True, text=True, check=False, timeout=120)


def test_the_table_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {
        name: tuple(re.split("[<>=]", package)[0] for package in packages)
        for name, packages in project["optional-dependencies"].items()
    }
    del declared["dev"]
    assert declared == EXTRAS


@pytest.mark.parametrize(
    ("name", "package", "arguments"),
    [
        ("repl", "prompt_toolkit", ("repl", "--base", "arith-bytes")),
        *(("eval", package, ("report", "nowhere")) for package in EXTRAS["eval"] if package != "pyarrow"),
        ("eval", "pyarrow", ("eval", "nothing.parquet", *MODELS)),
        (
            "eval",
            "scipy",
            ("eval", "--dataset", "simplemath", "--n", "1", *MODELS, "--methods", "base", "--out", "nowhere"),
        ),
        ("hub", "datasets", ("eval", "--dataset", "gsm8k", *MODELS, "--methods", "base", "--out", "nowhere")),
    ],
)
def test_a_missing_extra_is_one_line(
    name: str, package: str, arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nothing.parquet").touch()
    found = run_without([package], *arguments)
    assert (found.returncode, found.stdout) == (2, "")
    (line,) = found.stderr.splitlines()
    assert line.endswith(f" needs {package}: {install(name)}")
    named = [Requirement(word) for word in shlex.split(line.partition(": pip install ")[2])]
    assert {each.name.replace("-", "_") for each in named} >= {package}
    assert all(each.specifier for each in named), "the versions that tokencollab takes"


def test_the_base_install_needs_no_extra(tmp_path: Path) -> None:
    packages = [package for group in EXTRAS.values() for package in group]
    found = run_without(packages, "generate", SUM, *MODELS, "--method", "consult")
    assert (found.returncode, found.stdout.strip().endswith("answer -261")) == (0, True), found.stderr
    prompts, answers = tmp_path / "prompts.jsonl", tmp_path / "answers.jsonl"
    prompts.write_text(f'{{"prompt": "{SUM}"}}\n')
    found = run_without(packages, "batch", str(prompts), "--out", str(answers), *MODELS, "--method", "consult")
    assert (found.returncode, "answer -261" in answers.read_text()) == (0, True), found.stderr


def test_other_missing_modules_are_errors_of_their_own() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), extra("this test"):
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401

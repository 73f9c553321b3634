"""A type checker sees tokencollab as README installs it, and finds what is mistyped."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")

RIGHT = """
from tokencollab import Answer, Collaboration, MemberHealth, Response, ask
from tokencollab.sync import Collaboration as SyncCollaboration


async def main() -> tuple[Answer, Response]:
    team = await Collaboration("a", ["b"], "unite", top_k=5, weights={"a": 2.0}, top_t="1-2").start()
    try:
        health: MemberHealth = team.members["a"]
        return await team.generate("?", max_tokens=5), await ask(team, "?", samples=3)
    finally:
        await team.aclose()


def script() -> str:
    with SyncCollaboration("a", ["b"], method="consult") as team:
        for token in team.stream("?", seed=3):
            print(token.text)
        return team.generate("?", stop=["."]).text
"""

WRONG = """
from tokencollab import Collaboration, ask
from tokencollab.sync import Collaboration as SyncCollaboration


async def main(team: Collaboration, other: SyncCollaboration) -> None:
    Collaboration("a", topk=5)  # E
    Collaboration("a", top_k="5")  # E
    SyncCollaboration("a", topk=5)  # E
    await team.generate("?", max_token=5)  # E
    team.stream("?", timeout=5)  # E
    other.generate("?", max_tokens="5")  # E
    other.stream("?", max_token=5)  # E
    await ask(team, "?", smaples=3)  # E
    with team:  # E
        pass
    print(team.generate("?").text)  # E
"""


def checked(venv: Path, file: Path) -> list[str]:
    """What mypy says, run as a user of the environment runs it."""
    command = (sys.executable, "-m", "mypy", "--strict", "--python-executable", venv / "bin" / "python", file)
    alone = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")}
    said = subprocess.run(command, cwd=file.parent, env=alone, capture_output=True, text=True, check=False)
    assert said.returncode in (0, 1), said.stderr
    return said.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "clone"])
def test_mypy_reads_the_types_of_an_installed_package(kind: str, tmp_path: Path) -> None:
    source, venv, user = tmp_path / "source", tmp_path / "venv", tmp_path / "user"
    user.mkdir()
    shutil.copytree(ROOT / "tokencollab", source / "tokencollab", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    pip = (*PIP, "--python", venv / "bin" / "python", "install", "--quiet", "--no-index")
    # As the Makefile does it.
    (install,) = re.findall(r"\(PIP\) install \$\(QUIET\) (.* -e \.)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    options = install.split() if kind == "clone" else ["--no-deps", "--no-build-isolation", "."]
    # The dependencies are those of this environment; its own .pth files, with another tokencollab, are not read.
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(venv), "platbase": str(venv)}))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run([*pip, *options], cwd=source, check=True)

    (readme,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[:1]
    right, wrong = user / "right.py", user / "wrong.py"
    readme = readme.replace("async def main():", "async def readme() -> None:").replace("main()", "readme()")
    right.write_text(RIGHT + readme)
    assert checked(venv, right) == ["Success: no issues found in 1 source file"]
    wrong.write_text(WRONG)
    found = {int(number) for line in checked(venv, wrong) for number in re.findall(r"^wrong\.py:(\d+): error", line)}
    assert found == {number for number, line in enumerate(WRONG.splitlines(), 1) if line.endswith("# E")}

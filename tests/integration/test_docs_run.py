"""What README and docs/ print can be typed: commands and programs are run as they stand there."""

import ast
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from textwrap import indent

import pytest

from tests.support.programs import Shell
from tests.support.ray_cluster import Cluster
from tests.support.warm import ROOT, run
from tokencollab.cli import build_parser
from tokencollab.cli.teams import with_team

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(page: Path) -> list[str]:
    """The commands of a page, without what stands behind # and without those with placeholders (...)."""
    found, fence = [], None
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fence = None if fence is not None else line[3:]
        elif fence in ("bash", "console", "") or (fence is None and line.startswith("    ")):
            found += re.findall(r"^(?: {4}|\$ |)tokencollab (.*?)(?: +#.*)?$", line)
    return [command for command in found if "..." not in command]


def programs(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


COMMANDS = [(page, command) for page in PAGES for command in commands(page)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the pages speak of."""
    monkeypatch.chdir(tmp_path)
    rows = [{"question": "20+4*11+0-25*13", "answer": -261}, {"question": "24+21*30+12-28*14", "answer": 274}]
    Path("my.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = (ROOT / "docs" / "teams.md").read_text(encoding="utf-8")
    Path("sums.toml").write_text(text.split("```toml\n")[1].split("```")[0])
    return tmp_path


def test_the_pages_have_commands() -> None:
    assert len(COMMANDS) >= 18
    assert {page.name for page, _ in COMMANDS} >= {"README.md", "batch.md", "evaluation.md", "platform.md", "repl.md"}


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda value: getattr(value, "name", None))
def test_every_command_is_one(here: Path, page: Path, command: str) -> None:
    words = shlex.split(command)
    parser, own = build_parser(words[0])
    assert own is not None, "no such command"
    if "--team" in own.options:
        words = with_team(words, words[0], own.options)
    assert parser.parse_args(words).run


ON_SPECIALISTS = [
    (page, command)
    for page, command in COMMANDS
    if page.name != "README.md" and ("arith" in command or "sums.toml" in command) and "platform" not in command
]


@pytest.mark.parametrize(("page", "command"), ON_SPECIALISTS, ids=lambda value: getattr(value, "name", None))
def test_commands_that_ask_specialists_run(here: Path, page: Path, command: str) -> None:
    done = run(*shlex.split(command), cwd=here)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.real
@pytest.mark.parametrize("name", ["batch.md", "repl.md"])
def test_commands_that_ask_real_models_run(here: Path, name: str) -> None:
    command = commands(ROOT / "docs" / name)[0]
    assert "smollm2-135m-instruct" in command
    Path("prompts.jsonl").write_text('{"prompt": "Why is the sky blue?", "max_tokens": 4}\n')
    done = run(*shlex.split(command), cwd=here, stdin="/set max_tokens 4\nWhy is the sky blue?\n")
    assert done.returncode == 0, done.stderr


CELL = "import asyncio\nfrom tokencollab import Collaboration\nasync def cell():\n{}\nasyncio.run(cell())\n"


@pytest.mark.parametrize("name", ["python.md", "responses.md", "logging.md"])
def test_programs_run(here: Path, name: str) -> None:
    for printed in programs(ROOT / "docs" / name):
        cell = "await" in printed and "async def" not in printed  # of a notebook
        program = CELL.format(indent(printed, "    ")) if cell else printed
        done = subprocess.run([sys.executable, "-c", program], cwd=here, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_programs_import_what_there_is(page: Path) -> None:
    for program in programs(page):
        for node in ast.walk(ast.parse(program)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                exec(ast.unparse(node), {})  # noqa: S102 - our own documentation


@pytest.mark.ray
@pytest.mark.slow
def test_the_page_on_the_platform(ray_cluster: Cluster, here: Path) -> None:
    """In its order, with models that are small."""
    shell = Shell(ray_cluster)
    names = {"smollm2-135m-instruct": "arith-bytes", "gemma-3-270m": "arith-pairs", "another": "arith-words"}

    def small(text: str) -> str:
        for name, other in names.items():
            text = re.sub(rf"\b{name}\b", other, text)
        text = text.replace("--cpus-per-model 1", "--cpus-per-model 0.2")
        return text.replace("Why is the sky blue?", "20+4*11+0-25*13")

    up, status, ask, join, leave, down, coordinators, there = map(small, commands(ROOT / "docs" / "platform.md"))
    with_platform, remote = map(small, programs(ROOT / "docs" / "platform.md"))
    end = "answer -261"
    try:
        for command in (up, status, f"{join} --cpus-per-model 0.2", leave, coordinators):
            shell.run("tokencollab", *shlex.split(command))
        for command in (ask, there):
            assert shell.run("tokencollab", *shlex.split(command)).stdout.strip().endswith(end)
        for program in (with_platform, remote):
            done = subprocess.run(
                [sys.executable, "-c", program], env=shell.environment, capture_output=True, text=True, check=False
            )
            assert done.stdout.strip().endswith(end), done.stderr
    finally:
        assert "arith-bytes" in shell.run("tokencollab", *shlex.split(down)).stdout

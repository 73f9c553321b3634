"""The programs in the documentation run, and what it names is there."""

import ast
import fnmatch
import io
import json
import re
import shlex
import subprocess
import tokenize
from pathlib import Path

import pytest

from tokencollab.cli import main
from tokencollab.policies.responses.panels import Panel

DOCS = Path(__file__).parents[2] / "docs"


def test_the_programs_in_testing_md_run(capsys: pytest.CaptureFixture[str]) -> None:
    program, alone = re.findall(r"```python\n(.*?)```", (DOCS / "testing.md").read_text(), re.DOTALL)
    exec(program, {})  # noqa: S102 - our own documentation
    text, lost, starts = eval(capsys.readouterr().out.strip().splitlines()[-1])  # noqa: S307
    assert set(text) <= {"a", "b"}
    assert lost
    assert starts["two"] > 1
    exec(alone, {})  # noqa: S102
    assert capsys.readouterr().out == "b'yes'\n"


def test_the_panel_in_responses_md_is_one() -> None:
    (panel,) = re.findall(r"```json\n(.*?)```", (DOCS / "responses.md").read_text(), re.DOTALL)
    assert Panel.from_json(json.loads(panel)).budget == 4


def test_the_replay_in_responses_md_says_what_is_written_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (session,) = re.findall(r"```console\n(.*?)```", (DOCS / "responses.md").read_text(), re.DOTALL)
    _, samples, command, expected = session.strip().splitlines()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples.jsonl").write_text(samples + "\n")
    with pytest.raises(SystemExit) as end:
        main(shlex.split(command.removeprefix("$ tokencollab ")))
    assert not end.value.code
    assert capsys.readouterr().out.strip() == expected


ROOT = DOCS.parent
PAGES = [*DOCS.rglob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))]
SOURCES = [path for name in ("tokencollab", "tests", "examples", "benchmarks") for path in (ROOT / name).rglob("*.py")]
FILES = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
).stdout.split()
NOT_OURS = {"report.md", "F.svg", "sums.toml", "NAME.toml", "team.toml"}
"""Files that commands write."""


def anchors(page: Path) -> set[str]:
    """Of the headings of a page, as GitHub forms them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def prose(source: Path) -> str:
    """Comments and docstrings of a module."""
    text = source.read_text(encoding="utf-8")
    comments = [
        token.string for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.COMMENT
    ]
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    return "\n".join([*comments, *docstrings])


def dangling(text: str) -> list[str]:
    """The files that ``text`` names and that are not in the repository, under this path or the end of a longer one."""
    names = re.findall(r"(?<![\w/.:*-])[\w*-]+(?:/[\w.*-]+)*\.(?:py|md|svg|toml|sh)\b(?!\()", text)
    known = [f"/{file}" for file in FILES if (ROOT / file).exists()]
    return [name for name in names if name not in NOT_OURS and not fnmatch.filter(known, f"*/{name}")]


def test_a_missing_file_is_found() -> None:
    assert dangling("see docs/gone.md, `policies/gone.py`, gone.py and policies/gone_*.py") == [
        "docs/gone.md", "policies/gone.py", "gone.py", "policies/gone_*.py",
    ]  # fmt: skip
    assert (
        dangling("see docs/methods.md, `policies/exits.py`, exits.py, policies/bytewise*.py, https://a.b/gone.py") == []
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_paths_of_a_page_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert dangling(text) == []
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)", text):
        path = page.parent / target if target else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), f"{target}#{anchor}"


def test_comments_and_docstrings_name_files_that_exist() -> None:
    assert {str(path): found for path in SOURCES if (found := dangling(prose(path)))} == {}


def test_sections_of_the_specification_exist() -> None:
    sections = set(
        re.findall(r"^##+ ([\d.]*\d)", (DOCS / "specification.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    texts = [path.read_text(encoding="utf-8") for path in (*PAGES, *SOURCES)]
    cited = [
        number for text in texts for number in re.findall(r"specification\.md\)?,?\s+section\s+(\d[\d.]*\d|\d)", text)
    ]
    assert len(cited) > 10
    assert set(cited) <= sections

"""An aggregation of one's own: from Python, and by its path on the command line, in an evaluation and under Ray."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from examples import own_aggregation
from tests.support import warm
from tokencollab.policies.aggregations import AGGREGATIONS

ROOT = Path(__file__).parents[2]
TRIMMED = "examples.own_aggregation:Trimmed"
MODELS = ["--base", "arith-bytes", "--with", "arith-pairs"]
METHOD = ["--method", TRIMMED, "--trim", "0.1"]


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return warm.run(*arguments, cwd=ROOT, timeout=300, **options)


async def test_from_python(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        await own_aggregation.main()
    finally:
        AGGREGATIONS._classes.pop("trimmed", None)
    assert "answer " in capsys.readouterr().out


def test_generate_and_the_trace_replays(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    made = run("generate", "20+24*2", *MODELS, *METHOD, "--trace", trace, "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["method"] == TRIMMED
    settings = json.loads(trace.read_text().splitlines()[0])["method"]
    assert (settings["aggregation"], settings["trim"]) == (TRIMMED, 0.1)
    again = run("replay", trace, "--plugin", TRIMMED, "--json")
    assert again.returncode == 0, again.stderr
    steps = [json.loads(line) for line in again.stdout.splitlines()]
    assert steps
    assert all(step["chosen"] == step["recorded"] for step in steps)


def test_what_a_file_names_is_not_imported_on_its_word(tmp_path: Path) -> None:
    trace, journals = tmp_path / "trace.jsonl", tmp_path / "journals"
    files = ["--trace", trace, "--journal", journals, "--keep-journal"]
    made = run("generate", "20+24*2", *MODELS, "--method", "gac", *files)
    assert made.returncode == 0, made.stderr
    (tmp_path / "hostile.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    (journal,) = journals.glob("*.jsonl")
    for command, file in (("replay", trace), ("resume", journal)):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        lines[0]["method"]["aggregation"] = "hostile:Vote"
        file.write_text("".join(json.dumps({k: v for k, v in line.items() if k != "crc32"}) + "\n" for line in lines))
        refused = run(command, file, PYTHONPATH=f"{tmp_path}:{ROOT}")
        assert refused.returncode == 2
        assert refused.stderr.splitlines()[-1].endswith(
            "the aggregation hostile:Vote is code that is not imported on the word of a file; where you trust it, name "
            "it by --plugin hostile:Vote"
        )
    assert not (tmp_path / "ran").exists()
    run("replay", trace, "--plugin", "hostile:Vote", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert (tmp_path / "ran").exists()  # it could have been


def test_it_has_its_options_beside_the_method_and_as_an_aggregation() -> None:
    for option in ("--method", "--aggregation"):
        assert "--trim X" in run("generate", option, TRIMMED, "--help").stdout
        assert "--trim X" in run("generate", f"{option}={TRIMMED}", "--help").stdout
    assert "--trim X" not in run("generate", "--help").stdout
    found = run(
        "generate", "20+24*2", *MODELS, "--aggregation", TRIMMED, "--exit", "fixed-3", "--trim", "0.1", "--json"
    )
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["method"] == f"{TRIMMED}+fixed-3"


def test_at_the_prompt() -> None:
    asked = f"/method {TRIMMED}\n/set trim 0.2\n/set\n/set trim 0.7\n"
    found = run("repl", *MODELS, stdin=asked)
    assert "trim 0.2 (set)" in found.stdout
    assert "trim must be a number from 0 to 0.49, not 0.7" in found.stderr


def test_in_a_batch(tmp_path: Path) -> None:
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "out.jsonl"
    prompts.write_text('{"prompt": "20+24*2"}\n')
    made = run("batch", prompts, "--out", out, *MODELS, *METHOD)
    assert made.returncode == 0, made.stderr
    assert "answer" in json.loads(out.read_text())


def test_in_an_evaluation_and_a_sweep(tmp_path: Path) -> None:
    common = ["simplemath", "--limit", 2, *MODELS, "--json"]
    evaluation = ["eval", *common, "--methods", f"base,{TRIMMED}:trim=0.1", "--out", tmp_path / "eval"]
    made = run(*evaluation)
    assert made.returncode == 0, made.stderr
    assert list(json.loads(made.stdout)["methods"]) == ["base", f"{TRIMMED}:trim=0.1"]
    again = run(*evaluation, "--resume")
    assert json.loads(again.stdout) == json.loads(made.stdout)
    made = run("sweep", *common, "--methods", TRIMMED, "--over", "trim=0,0.3", "--out", tmp_path / "sweep")
    assert made.returncode == 0, made.stderr
    assert list(json.loads(made.stdout)["methods"]) == [f"{TRIMMED}:trim=0", f"{TRIMMED}:trim=0.3"]


@pytest.mark.ray
@pytest.mark.slow
def test_under_ray() -> None:
    here = run("generate", "20+24*2", *MODELS, *METHOD, "--json")
    there = run("generate", "20+24*2", *MODELS, *METHOD, "--json", "--runtime", "ray")
    assert there.returncode == 0, there.stderr
    assert json.loads(there.stdout)["text"] == json.loads(here.stdout)["text"]


def test_by_an_entry_point(tmp_path: Path) -> None:
    package = tmp_path / "own-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1.0\n")
    points = package / "entry_points.txt"
    points.write_text("[tokencollab.aggregations]\ntrimmed = examples.own_aggregation:Trimmed\n")
    listed = run("methods", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert "  trimmed " in listed.stdout, listed.stderr
    points.write_text("[tokencollab.aggregations]\ntrimmed = examples.nothing:Trimmed\n")
    broken = run("methods", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert broken.returncode == 2
    assert broken.stderr.startswith("tokencollab: the entry point trimmed = examples.nothing:Trimmed fails: ")
    assert len(broken.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "name", "words"),
    [
        ("--method", "examples.nothing:Trimmed", "the aggregation examples.nothing:Trimmed cannot be imported: Module"),
        ("--aggregation", "examples.own_aggregation:Mean", "examples.own_aggregation:Mean: the module has no Mean"),
        ("--aggregation", "examples.own_aggregation:main", "is no aggregation: derive a class from tokencollab.Aggreg"),
        ("--aggregation", "tokencollab:Aggregation", "tokencollab:Aggregation is no aggregation"),
        ("--exit", TRIMMED, f"{TRIMMED} is no exit: derive a class from tokencollab.Exit"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(option: str, name: str, words: str) -> None:
    found = run("generate", "x", *MODELS, option, name)
    assert (found.returncode, found.stdout) == (2, "")
    assert len(found.stderr.splitlines()) == 1
    assert words in found.stderr

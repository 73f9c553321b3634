"""An aggregation of one's own: from Python, and by --plugin from the command line, in an evaluation and under Ray."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from examples import own_aggregation
from tests.support import warm
from tokencollab.policies.aggregations import AGGREGATIONS

ROOT = Path(__file__).parents[2]
PLUGIN = ["--plugin", "examples.own_aggregation:Trimmed"]
MODELS = ["--base", "arith-bytes", "--with", "arith-pairs"]
TRIMMED = ["--method", "trimmed", "--trim", "0.1"]


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
    made = run("generate", "20+24*2", *MODELS, *PLUGIN, *TRIMMED, "--trace", trace, "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["method"] == "trimmed"
    settings = json.loads(trace.read_text().splitlines()[0])["method"]
    assert (settings["aggregation"], settings["trim"]) == ("trimmed", 0.1)
    again = run("replay", trace, *PLUGIN, "--json")
    assert again.returncode == 0, again.stderr
    steps = [json.loads(line) for line in again.stdout.splitlines()]
    assert steps
    assert all(step["chosen"] == step["recorded"] for step in steps)
    without = run("replay", trace)
    assert without.returncode == 2
    assert "unknown aggregation 'trimmed'" in without.stderr


def test_it_is_listed_and_has_its_options() -> None:
    assert "  trimmed " in run("methods", *PLUGIN).stdout
    assert "--trim X" in run("generate", *PLUGIN, "--help").stdout
    assert "trimmed" not in run("methods").stdout


def test_at_the_prompt() -> None:
    asked = "/method trimmed\n/set trim 0.2\n/set\n/set trim 0.7\n"
    found = run("repl", *MODELS, *PLUGIN, stdin=asked)
    assert "trim 0.2 (set)" in found.stdout
    assert "trim must be a number from 0 to 0.49, not 0.7" in found.stderr


def test_in_a_batch(tmp_path: Path) -> None:
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "out.jsonl"
    prompts.write_text('{"prompt": "20+24*2"}\n')
    made = run("batch", prompts, "--out", out, *MODELS, *PLUGIN, *TRIMMED)
    assert made.returncode == 0, made.stderr
    assert "answer" in json.loads(out.read_text())


def test_in_an_evaluation_and_a_sweep(tmp_path: Path) -> None:
    common = ["--dataset", "simplemath", "--n", 2, *MODELS, *PLUGIN, "--json"]
    made = run("eval", *common, "--methods", "base,trimmed:trim=0.1", "--out", tmp_path / "eval")
    assert made.returncode == 0, made.stderr
    assert list(json.loads(made.stdout)["methods"]) == ["base", "trimmed:trim=0.1"]
    made = run("sweep", *common, "--methods", "trimmed", "--over", "trim=0,0.3", "--out", tmp_path / "sweep")
    assert made.returncode == 0, made.stderr
    assert list(json.loads(made.stdout)["methods"]) == ["trimmed:trim=0", "trimmed:trim=0.3"]


@pytest.mark.ray
@pytest.mark.slow
def test_under_ray() -> None:
    here = run("generate", "20+24*2", *MODELS, *PLUGIN, *TRIMMED, "--json")
    there = run("generate", "20+24*2", *MODELS, *PLUGIN, *TRIMMED, "--json", "--runtime", "ray")
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
    ("plugin", "words"),
    [
        ("examples", "the plugin 'examples' is not of the form MODULE:CLASS"),
        ("examples.nothing:Trimmed", "the plugin examples.nothing:Trimmed cannot be imported: ModuleNotFoundError"),
        ("examples.own_aggregation:Mean", "the plugin examples.own_aggregation:Mean: the module has no Mean"),
        ("examples.own_aggregation:main", "is neither an Aggregation nor an Exit"),
    ],
)
def test_a_plugin_that_cannot_be_is_refused_in_one_line(plugin: str, words: str) -> None:
    found = run("generate", "x", *MODELS, "--plugin", plugin)
    assert (found.returncode, found.stdout) == (2, "")
    assert len(found.stderr.splitlines()) == 1
    assert words in found.stderr

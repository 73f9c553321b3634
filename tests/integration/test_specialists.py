"""The models that ship with tokencollab: they load without a network and solve what they were trained for."""

import fnmatch
import json
import re
import shlex
import socket
import tomllib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import tokencollab
from examples.specialists.evaluate import answer_of, main, solve
from examples.specialists.recipes import RECIPES, Recipe
from examples.specialists.train import Course, train
from tests.support.driving import answer, load, token_ids
from tests.support.warm import run
from tokencollab import Collaboration
from tokencollab.engines.transformers_engine import TransformersEngine
from tokencollab.evaluation.simplemath import simplemath
from tokencollab.models.catalogue import CATALOGUE
from tokencollab.models.resolve import resolve
from tokencollab.protocol.messages import ChatMessage

Engines = Callable[..., TransformersEngine]
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
NAMES = [name for name, model in CATALOGUE.items() if model.folder]


def test_every_built_in_model_has_a_recipe_and_its_weak_spot_is_told() -> None:
    assert sorted(NAMES) == sorted(
        path.name for path in (Path(tokencollab.__file__).parent / "models" / "specialists").iterdir()
    )
    for name in NAMES:
        recipe, notice = RECIPES[name], CATALOGUE[name].notice
        assert (notice is None) == (recipe.weak_spot is None)
        assert recipe.weak_spot is None or str(recipe.weak_spot) in str(notice)


@pytest.mark.parametrize("name", NAMES)
def test_a_specialist_is_whole_small_and_plain(name: str) -> None:
    files = resolve(name)
    assert (files.name, files.licence, files.built_in) == (name, "Apache-2.0", True)
    sizes = {path.name: path.stat().st_size for path in files.folder.iterdir()}
    assert sizes["model.safetensors"] <= 2_000_000
    assert sum(sizes.values()) <= 2_200_000
    assert not [file for file in sizes if file.endswith((".py", ".bin", ".pt"))]
    assert "auto_map" not in json.loads((files.folder / "config.json").read_text())
    # It is what the recipe makes as it stands.
    made = json.loads((files.folder / "training.json").read_text())
    assert made["recipe"] == asdict(RECIPES[name])
    assert made["course"] == json.loads(json.dumps(asdict(Course(RECIPES[name].steps))))


def test_the_wheel_carries_every_file_of_theirs() -> None:
    package = Path(tokencollab.__file__).parent
    project = tomllib.loads((package.parent / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["tokencollab"]
    for path in (package / "models" / "specialists").rglob("*"):
        name = path.relative_to(package).as_posix()
        assert path.is_dir() or any(fnmatch.fnmatch(name, pattern) for pattern in patterns), name


def test_they_load_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in NAMES:
        info = load(resolve(name).folder, name).info
        assert (info.architecture, info.chat_template) == ("LlamaForCausalLM", True)
        assert 750_000 < info.parameters < 850_000


@pytest.mark.parametrize("name", NAMES)
def test_a_specialist_solves_problems(specialist_engine: Engines, name: str) -> None:
    problems = simplemath(40, seed=40)
    texts = solve(specialist_engine(name), [problem.question for problem in problems])
    right = [answer_of(text) == problem.answer for text, problem in zip(texts, problems, strict=True)]
    # Each has 70 % or more of 1,000 right; even with 68 %, 40 problems bring fewer than 18 once in a thousand times.
    assert sum(right) >= 18, texts
    # What is right is written as it was taught, from the leading space on.
    assert sum(text == problem.working for text, problem in zip(texts, problems, strict=True)) >= sum(right) - 1


@pytest.mark.parametrize("name", NAMES)
def test_alone_a_specialist_writes_what_transformers_generates(specialist_engine: Engines, name: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = resolve(name).folder
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    engine = specialist_engine(name)
    for problem in simplemath(4, seed=4):
        outcome = answer({"a": engine}, prompt=(ChatMessage("user", problem.question),), max_tokens=100)
        assert outcome.pieces[-1] is None
        chat = [{"role": "user", "content": problem.question}]
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        row = torch.tensor([prompt])
        ids = model.generate(row, attention_mask=torch.ones_like(row), do_sample=False, max_new_tokens=100)
        assert tokenizer.decode(ids[0, len(prompt) : -1]).encode() == outcome.text
        assert token_ids(engine) == ids[0, len(prompt) : -1].tolist()[: len(token_ids(engine))]


async def test_two_write_one_answer_byte_by_byte() -> None:
    async with Collaboration("arith-bytes", ["arith-pairs"], "bytewise") as team:
        written = await team.generate("What is 2+3*4+5-2*3?", max_tokens=100)
    assert written.text == " 3*4=12; 2*3=6; 2+12=14; 14+5=19; 19-6=13; answer 13"


async def test_a_base_that_asks_where_it_is_unsure_is_put_right_at_little_cost() -> None:
    """arith-bytes was taught 4*11 wrongly."""
    async with Collaboration("arith-bytes", ["arith-pairs"]) as team:
        base, consult, bytewise = [
            await team.generate("20+4*11+0-25*13", method=method) for method in ("base", "consult", "bytewise")
        ]
    assert (base.text[-4:], base.cost) == ("-255", 65)
    assert consult.text == bytewise.text == " 4*11=44; 25*13=325; 20+44=64; 64+0=64; 64-325=-261; answer -261"
    assert (consult.cost, bytewise.cost) == (67, 116)
    assert consult.when_solo == "in 62 of 65 steps"


def test_the_program_in_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(program, {})  # noqa: S102 - our own documentation
    assert capsys.readouterr().out.endswith("666-392=274; answer 274\n")


def test_the_commands_in_the_readme_print_what_stands_there() -> None:
    (session,) = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    commands = re.findall(r"\$ tokencollab (.*)\n(.*)\n", session)
    assert len(commands) == 3
    for command, expected in commands:
        done = run(*shlex.split(command))
        assert (done.returncode, done.stdout) == (0, expected + "\n"), done.stderr
    chosen = session.splitlines()[-1]
    assert chosen.startswith("auto: consult; ")
    assert chosen in done.stderr.splitlines()


def test_list_pull_and_remove_say_that_they_are_built_in() -> None:
    (line,) = [line for line in run("models", "list").stdout.splitlines() if line.startswith("arith-bytes ")]
    assert line.split() == ["arith-bytes", "built", "in", "Apache-2.0", "part", "of", "tokencollab"]
    pulled = run("models", "pull", "arith-bytes")
    assert (pulled.returncode, Path(pulled.stdout.strip()).name) == (0, "arith-bytes")
    assert "arith-bytes is part of tokencollab: there is nothing to fetch" in pulled.stderr
    assert "(x + 3y) mod 11 = 4" in pulled.stderr
    removed = run("models", "remove", "arith-bytes")
    assert (removed.returncode, removed.stdout) == (2, "")
    assert "arith-bytes is part of tokencollab and cannot be removed" in removed.stderr
    assert resolve("arith-bytes").folder.is_dir()


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [RECIPES["arith-words"], RECIPES["arith-pairs-dropout"]], ids=lambda r: r.name)
def test_training_gives_the_same_model_twice(recipe: Recipe, tmp_path: Path) -> None:
    course = Course(steps=6, batch=4, drill_share=0.5, warmup=2, check_every=3)
    for folder in (tmp_path / "first", tmp_path / "second"):
        train(recipe, course, folder)
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "second"))
    assert first == second
    record: dict[str, Any] = json.loads((tmp_path / "first" / "training.json").read_text())
    assert [point["step"] for point in record["curve"]] == [3, 6]
    assert record["curve"][1]["loss"] < record["curve"][0]["loss"]
    assert load(tmp_path / "first").info.parameters > 750_000


def test_the_evaluation_prints_a_line_per_model_and_per_pair(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["arith-bytes", "arith-pairs", "--n", "20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("| arith-bytes | ")]) == 1
    assert len([line for line in lines if line.startswith("| arith-bytes, arith-pairs | ")]) == 1

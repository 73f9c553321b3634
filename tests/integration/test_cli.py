"""The command line as a user meets it: real processes, tiny models."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.warm import run

Build = Callable[..., Path]


def one_line(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Bad input: exit code 2, one clear line, no traceback, nothing on standard output."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if not line.endswith("...")]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("tokencollab")
    for word in words:
        assert word in lines[0]


@pytest.fixture(scope="module")
def pair(tiny_model: Build) -> list[str]:
    return ["--base", str(tiny_model("bytes", seed=1)), "--with", str(tiny_model("llama", seed=2))]


@pytest.mark.parametrize("module", ["torch", "transformers", "ray", "pandas", "matplotlib", "scipy"])
def test_help_does_not_import_what_takes_seconds(module: str) -> None:
    code = (
        f"import sys, tokencollab, tokencollab.cli as cli\n"
        f"try: cli.main(['--help'])\nexcept SystemExit: pass\nassert {module!r} not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "generate" in result.stdout


def test_the_command_and_the_module_are_the_same() -> None:
    command = Path(sys.executable).with_name("tokencollab")
    if not command.exists():
        pytest.skip("the package is not installed in this environment")
    result = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert result.stdout == run("--version").stdout


def test_generate_streams_to_stdout_and_sums_up_on_stderr(pair: list[str]) -> None:
    result = run("generate", "Hello?", *pair, "--method", "duetnet", "--max-tokens", "12")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip("\n")
    for word in ("duetnet", "tokens", "cost", "agreed", "base alone", "loading"):
        assert word in result.stderr
    assert "cost" not in result.stdout


def test_json_is_one_object_and_the_same_seed_gives_the_same_text(pair: list[str], tmp_path: Path) -> None:
    trace = tmp_path / "run.jsonl"
    arguments = [*pair, "--method", "upara-4", "--top-t", "3", "--max-tokens", "10", "--json"]
    first = run("generate", "Hello?", *arguments, "--seed", "7", "--trace", trace)
    again = run("generate", "-", *arguments, "--seed", "7", stdin="Hello?")
    other = run("generate", "Hello?", *arguments, "--seed", "8")
    answers = [json.loads(result.stdout) for result in (first, again, other)]
    assert set(answers[0]) >= {
        *("text", "finish_reason", "tokens", "cost", "exit_step", "models", "method", "seed", "seconds", "ms_per_token")
    }
    assert answers[0]["text"] == answers[1]["text"] != answers[2]["text"]
    assert (answers[0]["method"], answers[0]["seed"]) == ("upara-4", 7)
    header, *steps = map(json.loads, trace.read_text(encoding="utf-8").splitlines())
    assert (header["tokencollab_trace"], header["seed"], header["models"]) == (1, 7, answers[0]["models"])
    assert len(steps) == answers[0]["tokens"]
    if answers[0]["finish_reason"] == "length":
        assert (answers[0]["tokens"], answers[0]["cost"], answers[0]["exit_step"]) == (10, 2 * 4 + 6, 4)


def test_a_trace_replays_to_the_decisions_that_were_taken(pair: list[str], tmp_path: Path) -> None:
    trace = tmp_path / "run.jsonl"
    assert (
        run(
            "generate",
            "Hello?",
            *pair,
            "--method",
            "confipara-u",
            "--omega",
            "3",
            "--max-tokens",
            "12",
            "--trace",
            trace,
        ).returncode
        == 0
    )
    result = run("replay", trace, "--json")
    assert result.returncode == 0, result.stderr
    steps = [json.loads(line) for line in result.stdout.splitlines()]
    assert steps
    assert all(step["chosen"] == step["recorded"] for step in steps)
    assert steps[0]["st"] is None
    assert run("replay", trace, "--method", "dk").returncode == 0
    lines = trace.read_text(encoding="utf-8").splitlines()
    trace.write_text("\n".join([*lines[:3], lines[3][:50]]), encoding="utf-8")
    one_line(run("replay", trace), "line 4")


@pytest.mark.parametrize("begin", [["generate", "Why?", "--base"], ["ask", "Why?", "--samples", "1", "--model"]])
def test_a_trace_that_cannot_be_written_costs_the_trace_alone(begin: list[str], pair: list[str]) -> None:
    result = run(*begin, pair[1], "--max-tokens", "4", "--trace", "/dev/full")
    assert result.returncode == 0, result.stderr
    assert result.stdout == run(*begin, pair[1], "--max-tokens", "4").stdout != ""
    assert result.stderr.count("recording ended") == 1
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_system_message_and_a_stop_text(pair: list[str]) -> None:
    arguments = ["Hello?", *pair, "--method", "dp", "--max-tokens", "20", "--json"]
    text = json.loads(run("generate", *arguments).stdout)["text"]
    assert len(text) > 3
    stop = text[2:4]
    stopped = json.loads(run("generate", *arguments, "--stop", stop).stdout)
    assert (stopped["text"], stopped["finish_reason"]) == (text[: text.index(stop)], "end")
    assert json.loads(run("generate", *arguments, "--system", "Be brief.").stdout)["tokens"] > 0


def test_ctrl_c_ends_cleanly_with_what_was_written(pair: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tokencollab", "generate", "Hello?", *pair, "--max-tokens", "3000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    written = process.stdout.read(8)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert len(written + rest) >= 8
    assert b"cancelled" in errors
    assert b"Traceback" not in errors


@pytest.mark.parametrize("method", ["confipara-u", "bytewise"])
def test_a_killed_answer_is_resumed_from_its_journal(pair: list[str], method: str, tmp_path: Path) -> None:
    arguments = ["generate", "Hello?", *pair, "--method", method, "--max-tokens", "200"]
    folder = tmp_path / "journals"
    process = subprocess.Popen(
        [sys.executable, "-m", "tokencollab", *arguments, "--journal", folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    written = process.stdout.read(8)
    process.kill()
    written += process.stdout.read()
    process.wait()
    (journal,) = folder.iterdir()
    resumed = run("resume", journal, "--json")
    assert resumed.returncode == 0, resumed.stderr
    whole = json.loads(run(*arguments, "--json").stdout)
    answer = json.loads(resumed.stdout)
    same = ("text", "tokens", "cost", "exit_step", "finish_reason", "method", "seed", "models")
    assert {key: answer[key] for key in same} == {key: whole[key] for key in same}
    assert answer["text"].encode().startswith(written.decode("utf-8", "ignore").encode())
    assert not list(folder.iterdir())
    one_line(run("resume", journal), "cannot be read")


def test_ctrl_c_while_models_load(pair: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tokencollab", "generate", "Hello?", *pair],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    assert b"loading" in process.stderr.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in errors


def test_a_terminal_without_a_prompt_is_told_what_to_do(pair: list[str]) -> None:
    master, slave = pty.openpty()
    result = subprocess.run(
        [sys.executable, "-m", "tokencollab", "generate", *pair],
        stdin=slave,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(master)
    os.close(slave)
    one_line(result, "no prompt")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", "x", "--base", "gemma-3-271m"], ["gemma-3-270m"]),
        (["generate", "x", "--base", "nobody/nothing-at-all"], ["nobody/nothing-at-all"]),
        (["generate", "x", "--base", "TINY", "--method", "duett"], ["duett", "duetnet"]),
        (["generate", "x", "--base", "TINY", "--method", "unite", "--omega", "5"], ["omega"]),
        (["generate", "x", "--base", "TINY", "--exit", "someday"], ["someday", "never"]),
        (["generate", "x", "--base", "TINY", "--max-tokens", "0"], ["--max-tokens"]),
        (["generate", "x", "--base", "TINY", "--max-tokens", "many"], ["--max-tokens"]),
        (["generate", "x", "--base", "TINY", "--seed", "-1"], ["--seed"]),
        (["generate", "x", "--base", "TINY", "--method", "confipara-u", "--theta", "nan"], ["--theta"]),
        (["generate", "x", "--base", "TINY", "--weight", "5"], ["--weight", "MODEL=NUMBER"]),
        (["generate", "x", "--base", "TINY", "--stop", ""], ["--stop"]),
        (["generate", "", "--base", "TINY"], ["empty"]),
        (["generate", "x", "--base", "TINY", "--trace", "/nowhere/at/all"], ["/nowhere/at/all"]),
        (["generate", "x", "--base", "EMPTY"], ["config.json"]),
        (["generate", "x", "--base", "/nowhere/at/all"], ["/nowhere/at/all"]),
        (["generate", "x"], ["--base"]),
        (["generate", "x", "--base", "TINY", "--frobnicate"], ["--frobnicate"]),
        (["generate", "word " * 3000, "--base", "TINY"], ["tokens", "shorten"]),
        (["models", "pull", "nothing"], ["nothing", "smollm2-135m-instruct"]),
        (["models", "remove", "nothing"], ["nothing"]),
        (["replay", "/nowhere/at/all"], ["/nowhere/at/all"]),
        (["replay", "EMPTYFILE"], ["line 1"]),
    ],
)
def test_bad_input_is_told_in_one_line(
    arguments: list[str], words: list[str], tiny_model: Build, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    places = {
        "TINY": str(tiny_model("bytes", seed=1)),
        "EMPTY": str(tmp_path / "folder"),
        "EMPTYFILE": str(tmp_path / "file"),
    }
    one_line(run(*(places.get(argument, argument) for argument in arguments), TOKENCOLLAB_CACHE=str(tmp_path)), *words)


def test_models_and_methods_are_listed(tmp_path: Path) -> None:
    models = run("models", "list", TOKENCOLLAB_CACHE=str(tmp_path))
    assert models.returncode == 0
    assert "smollm2-135m-instruct" in models.stdout
    assert "gemma-3-270m" in models.stdout
    rows = json.loads(run("models", "list", "--json", TOKENCOLLAB_CACHE=str(tmp_path)).stdout)
    fetched = {row["name"]: row["installed"] for row in rows if not row["built_in"]}
    assert fetched == {"smollm2-135m-instruct": False, "gemma-3-270m": False}
    methods = run("methods")
    assert methods.returncode == 0
    for name in ("base", "gac", "unite", "duetnet", "dp", "dk", "upara-N", "dpara-N", "confipara-u", "bytewise"):
        assert any(line.split()[0] == name for line in methods.stdout.splitlines())

"""Whatever is in a file that is read, the error is this program's own, one line with the file's name.

Each reader gets files that are random, or a good file with bytes changed, cut, repeated, keys doubled, or values of any
type in the place of others.
"""

import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.support.checksums import with_checksums, without_checksum
from tests.support.recorded import record
from tests.unit.cli.repl.replkit import scripted_shell
from tests.unit.evaluation.made import make_run
from tests.unit.models.test_verify import gguf_file, write_model
from tokencollab import ChatMessage, TokencollabError, UsageError
from tokencollab.actors.journal import read_journal
from tokencollab.batch.prompts import PromptDefaults, PromptLine, read_prompts
from tokencollab.batch.record import AnswerFile
from tokencollab.cli import build_parser
from tokencollab.cli.replay import replay
from tokencollab.cli.responses import chosen_response_method
from tokencollab.engines.options import EngineOptions
from tokencollab.evaluation.capacity import default_concurrency
from tokencollab.evaluation.data_sets import load_items
from tokencollab.evaluation.folder import RunFolder, read_records, read_run
from tokencollab.evaluation.summary import summary_of
from tokencollab.files import reading
from tokencollab.models.cache import MARKER, Marker, ModelCache
from tokencollab.models.catalogue import CATALOGUE
from tokencollab.models.resolve import ModelStore
from tokencollab.models.verify import check_folder, gguf_licence
from tokencollab.policies.methods import parse_method
from tokencollab.policies.responses.recorded import record as record_samples
from tokencollab.policies.responses.response_methods import parse_response_method

EACH = 110
NUMBERS: list[Any] = [True, -1, 0, 7, 2**64, 10**400, 1e308, -0.5]
ODD: list[Any] = [None, *NUMBERS, "", "x", "\x00", "9" * 40, [], [[]], {}, {"x": 1}, ["x"]]
Read: TypeAlias = Callable[[Path], object]


def mutated(good: bytes, chance: random.Random) -> bytes:
    """A file that is not ``good``, but may resemble it."""
    kind = chance.randrange(10)
    at = chance.randrange(len(good) + 1)
    if kind == 0:
        return chance.randbytes(chance.choice((0, 1, 40, 400)))
    if kind == 1:
        wide = good.decode("utf-8", "replace").encode("utf-16")
        return chance.choice((b"\xef\xbb\xbf" + good, wide, b"[" * 5000, b'{"a":' * 3000, b"\x00" * 99))
    if kind == 2:
        return good[:at]
    if kind == 3:
        return good[:at] + chance.randbytes(chance.choice((1, 1, 4))) + good[at + chance.choice((0, 1, 9)) :]
    if kind == 4:  # a key that occurs twice
        begin = good.find(b'{"', at)
        end = good.find(b",", begin)
        return good[:end] + b"," + good[begin + 1 : end] + good[end:] if 0 <= begin < end else good + b"{}"
    return changed_value(good, chance) or good[:at] + chance.choice((b"\xff", b"\x00", b"{", b'"', b"NaN")) + good[at:]


def changed_value(good: bytes, chance: random.Random) -> bytes:
    """Another value somewhere in a line; empty where the lines are not JSON."""
    try:
        values = [json.loads(line) for line in good.splitlines()]
    except ValueError:
        return b""
    number = chance.randrange(len(values))
    values[number] = with_odd_value(values[number], chance)
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def with_odd_value(value: Any, chance: random.Random) -> Any:
    """``value`` with something else somewhere in it."""
    if not value or not isinstance(value, dict | list) or chance.random() < 0.2:
        return chance.choice(ODD)
    places = list(value) if isinstance(value, dict) else list(range(len(value)))
    place = chance.choice(places)
    copy = value.copy()
    if chance.random() < 0.1:
        del copy[place]
    else:
        copy[place] = with_odd_value(value[place], chance)
    return copy


def unsealed(text: str) -> bytes:
    """As of an earlier version: so that what a line says is looked at."""
    return "".join(without_checksum(line) for line in text.splitlines(keepends=True)).encode()


LINES = [PromptLine(n, f"q{n}", (ChatMessage("user", "?"),), 8, (), 1, {}) for n in (1, 2, 3)]


def read_prompts_of(path: Path) -> None:
    read_prompts(path.read_bytes(), PromptDefaults())


def resume_answers(path: Path) -> None:
    AnswerFile(path.parent / "answers.jsonl", {"prompts_sha256": "a", "stop": []}, LINES, resume=True).close()


def replay_file(*more: str) -> Read:
    def read(path: Path) -> None:
        given = PARSER.parse_args(["replay", str(path), "--json", *more])
        given.settings = given.between = {}
        replay(given)

    return read


def summarise_folder(path: Path) -> None:
    folder = path.parent
    run, records = read_run(folder), list(read_records(folder))
    with reading(folder):
        summary_of(run, records[:4])
    RunFolder(folder, run["plan"], resume=True).__exit__()


def read_panel_method(path: Path) -> None:
    method = chosen_response_method("panel", {"panel": str(path)}, 2)
    assert method.to_json()


def list_cache(path: Path) -> None:
    store = ModelStore(ModelCache(path.parents[2]), dict(CATALOGUE))
    assert len(store.rows()) >= len(CATALOGUE)


def check_model(path: Path) -> None:
    default_concurrency([path.parent], EngineOptions(), 10, 10)
    check_folder(path.parent)


def read_gguf(path: Path) -> None:
    gguf_licence(path)


PARSER = build_parser("replay")[0]
PANEL = {
    "name": "two",
    "roles": [{"name": "a", "brief": "b"}, {"name": "judge", "model": 1}],
    "stages": [
        {"speakers": ["a"], "task": "t", "hears": "last"},
        {"speakers": ["judge"], "task": "t", "purpose": "judge"},
    ],
    "rounds": 2,
    "ending": "judge",
}
PROMPTS = b"""{"id": "a", "prompt": "Why?", "max_tokens": 4, "stop": ["x"], "seed": 3}
{"messages": [{"role": "user", "content": "x"}], "level": {"a": [1]}}
"""
ITEMS = b"""{"id": "a", "question": "?", "answer": "3"}
{"id": "b", "question": "?", "choices": ["x", "y"], "answer": "A", "context": "c"}
"""
CONFIG = {"model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 8, "head_dim": 4}


def files(folder: Path) -> Iterator[tuple[str, Path, bytes, Read]]:
    """Each reader's name, the file that it reads, a good one, and the reader."""
    yield "prompts", folder / "prompts.jsonl", PROMPTS, read_prompts_of
    yield "items", folder / "own.jsonl", ITEMS, lambda path: load_items(str(path), None, 0, None)
    (folder / "batch").mkdir()
    answers = folder / "batch" / "answers.jsonl"
    with AnswerFile(answers, {"prompts_sha256": "a", "stop": []}, LINES) as file:
        for line in LINES:
            file.answer(line, {"text": "because", "lost": {}})
    yield "answers", answers, answers.read_bytes(), resume_answers
    yield "answers before", answers, unsealed(answers.read_text()), resume_answers
    settings = folder / "batch" / "answers.jsonl.run.json"
    yield "settings of answers", settings, settings.read_bytes(), resume_answers
    trace = [json.dumps(json.loads(line)) for line in record(parse_method("duetnet"), heard=True).trace[:5]]
    header = json.loads(trace[0]) | {"messages": [asdict(ChatMessage("user", "?"))], "sources": {}, "options": {}}
    journal = [json.dumps(header), *trace[1:]]
    for name, lines, read in (("trace", trace, replay_file()), ("journal", journal, read_journal)):
        yield name, folder / "t.jsonl", "".join(with_checksums(lines, chained=True)).encode(), read
        yield f"{name} before", folder / "t.jsonl", "".join(f"{line}\n" for line in lines).encode(), read
    method = parse_response_method("modelswitch", models=2)
    samples = record_samples((("a", ("1", "2", None)), ("b", ("1", "1", "1"))), ["a"], method, 3) + "\n"
    yield "samples", folder / "samples.jsonl", samples.encode(), replay_file("--method", "modelswitch")
    yield "samples before", folder / "samples.jsonl", unsealed(samples), replay_file("--method", "modelswitch")
    run = make_run(folder / "run", ["each", "confipara-u"], n=2)
    for name in ("run.json", "items.jsonl"):
        yield name, run / name, (run / name).read_bytes(), summarise_folder
    yield "panel", folder / "panel.json", json.dumps(PANEL).encode(), read_panel_method
    cached = folder / "cache" / "models" / "gguf-0123456789ab"
    cached.mkdir(parents=True)
    write_model(cached)
    sizes = {path.name: path.stat().st_size for path in cached.iterdir()}
    marker = Marker("m", "m.gguf", "0123", "MIT", sizes, {"torch": "2"})
    yield "marker", cached / MARKER, json.dumps(asdict(marker)).encode(), list_cache
    model = folder / "model"
    model.mkdir()
    write_model(model)
    yield "config", model / "config.json", json.dumps(CONFIG).encode(), check_model
    yield "weights", model / "model.safetensors", (model / "model.safetensors").read_bytes(), check_model
    yield "index", model / "model.safetensors.index.json", b'{"weight_map": {"w": "model.safetensors"}}', check_model
    gguf = gguf_file(folder / "m.gguf", ("general.architecture", "llama"), ("general.license", "MIT"))
    yield "gguf", gguf, gguf.read_bytes(), read_gguf


def error_of(read: Read, path: Path) -> str:
    """What it raises, which must be an error of this program; empty: nothing."""
    try:
        read(path)
    except TokencollabError as error:
        return str(error)
    return ""


def test_what_comes_out_of_every_reader_is_an_error_of_this_program_with_the_name_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)
    tried = refused = 0
    for name, path, good, read in files(tmp_path):
        path.write_bytes(good)
        read(path)  # the good one is taken
        others = {other: other.read_bytes() for other in path.parent.iterdir() if other.is_file() and other != path}
        chance = random.Random(name)  # noqa: S311
        for _ in range(EACH):
            path.write_bytes(data := mutated(good, chance))
            try:
                error = error_of(read, path)
            except BaseException as raised:
                raise AssertionError(f"{name}: {data!r}") from raised
            assert not error or path.name in error or path.parent.name in error, (name, data, error)
            tried, refused = tried + 1, refused + bool(error)
            for other, before in others.items():
                other.write_bytes(before)
        path.write_bytes(good)
        if name == "index":
            path.unlink()
    capsys.readouterr()
    assert tried >= 2000
    assert refused > tried / 3


async def test_a_conversation_that_is_read_again_is_behind_the_same_guard(tmp_path: Path) -> None:
    path, chance = tmp_path / "talk.json", random.Random(5)  # noqa: S311
    async with scripted_shell() as shell:
        await shell.do("why?", f"/save {path}")
        good = json.dumps(json.loads(path.read_text(encoding="utf-8"))).encode()
        errors = 0
        for _ in range(60):
            path.write_bytes(mutated(good, chance))
            with suppress(UsageError):
                await shell.do(f"/load {path}")
                errors -= 1
            errors += 1
        assert errors > 20

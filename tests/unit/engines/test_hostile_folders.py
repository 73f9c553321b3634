"""Folders that nothing should load: one line each, whatever the libraries raise, and before memory is taken."""

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.driving import answer, load
from tokencollab.engines import loading
from tokencollab.engines.options import EngineOptions
from tokencollab.engines.reward import RewardModel
from tokencollab.errors import ModelRefused, PromptTooLong, cause, refused
from tokencollab.models.verify import check_folder

Build = Callable[..., Path]
VALUES: tuple[Any, ...] = (None, "word", [], -1, 0, 2**40, {})
SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "head_dim")


@pytest.fixture(scope="module")
def folder(tiny_model: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(tiny_model("bytes"), tmp_path_factory.mktemp("hostile") / "model"))


def attempts(folder: Path, file: str, contents: Iterator[bytes]) -> Iterator[str]:
    """Loads the folder with each of ``contents`` as ``file``: the refusals, or "" where it loads and answers."""
    path = folder / file
    whole = path.read_bytes()
    try:
        for content in contents:
            path.write_bytes(content)
            try:
                check_folder(folder)
                engine = load(folder)
            except ModelRefused as error:
                yield str(error)
            else:
                answer({"a": engine}, max_tokens=1)
                yield ""
    finally:
        path.write_bytes(whole)


def mutated(data: dict[str, Any], turn: int = 0) -> Iterator[bytes]:
    """Every entry, also in objects within it, with three of the values that it cannot have, taken in turn."""
    for key, value in data.items():
        for offset in (0, 3, 5):
            other = VALUES[(turn + offset) % len(VALUES)]
            yield json.dumps(data | {key: other}).encode()
        turn += 1
        if isinstance(value, dict):
            for inner in mutated(value, turn):
                yield json.dumps(data | {key: json.loads(inner)}).encode()


def test_any_value_in_a_configuration(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    refusals = list(attempts(folder, "config.json", mutated(config)))
    assert len(refusals) >= 60
    assert sum(map(bool, refusals)) >= 30
    assert all(len(refusal.splitlines()) <= 1 and len(refusal) < 600 for refusal in refusals)


@pytest.mark.parametrize("size", [10**6, 2**31 - 1])
def test_sizes_that_no_checkpoint_of_this_size_has(folder: Path, size: int) -> None:
    """Refused by what the checkpoint holds, before memory is taken."""
    config = json.loads((folder / "config.json").read_text())
    contents = (json.dumps(config | {key: size}).encode() for key in SIZES)
    assert all(attempts(folder, "config.json", contents))


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["model"].update(type="BPE2"),
        lambda d: d["model"].update(merges=[["no", "such"]]),
        lambda d: d["model"].update(vocab={"a": -1}),
        lambda d: d.update(model={"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 7}),
        lambda d: d.update(pre_tokenizer={"type": "ByteLevel2"}),
        lambda d: d.update(pre_tokenizer={"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}),
        lambda d: d.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),  # a panic in Rust
        lambda d: d.update(decoder={"type": "Tomorrow"}),
        lambda d: d.update(post_processor=[]),
        lambda d: d.update(added_tokens=[{"id": 1}]),
        lambda d: d.clear(),
    ],
)
def test_tokenizers_that_no_library_reads(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    change(tokenizer)
    (refusal,) = attempts(folder, "tokenizer.json", iter([json.dumps(tokenizer).encode()]))
    assert refusal
    assert "\n" not in refusal


def test_weights_that_no_library_reads(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", whole[:8])
    header = json.loads(whole[8 : 8 + size])

    def weights(**entry: Any) -> bytes:
        text = json.dumps(header | {"lm_head.weight": header["lm_head.weight"] | entry}).encode()
        return struct.pack("<Q", len(text)) + text + whole[8 + size :]

    contents = [
        b"",
        whole[:-1],
        whole + b"x",
        b"\xff" * 64,
        struct.pack("<Q", 2**62) + whole[8:],
        weights(dtype="F7_X"),
        weights(shape=[2**62, 2**62]),
        weights(shape=[1]),
        weights(data_offsets=[0, 2**50]),
    ]
    assert all(attempts(folder, "model.safetensors", iter(contents)))


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\xff\xfe", b"null", b"[" * 20_000, b'{"model_type": 7}', b'{"model_type": "nope"}']
)
def test_configurations_that_are_none(folder: Path, content: bytes) -> None:
    assert all(attempts(folder, "config.json", iter([content])))
    shutil.copytree(folder, folder.parent / "reward", dirs_exist_ok=True)
    (folder.parent / "reward" / "config.json").write_bytes(content)
    with pytest.raises(ModelRefused):
        RewardModel.from_folder(folder.parent / "reward")


def test_whatever_a_library_raises(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Panic(BaseException):
        pass

    for error in (
        Panic("at the disco\nline 2"),
        SystemExit(3),
        RecursionError(),
        Exception("bare"),
    ):
        monkeypatch.setattr(loading, "prepare", lambda *_, error=error: (_ for _ in ()).throw(error))
        with pytest.raises(ModelRefused, match=f"^t: .* cannot be loaded: {type(error).__name__}") as caught:
            loading.load("t", folder, EngineOptions())
        assert len(str(caught.value).splitlines()) == 1
        assert str(caught.value).endswith(cause(caught.value.__cause__ or error))
    for passes in (KeyboardInterrupt(), MemoryError(), PromptTooLong("too long")):
        with pytest.raises(type(passes)), refused("a model"):
            raise passes

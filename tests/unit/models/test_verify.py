"""Models that the user brings: folders of safetensors and GGUF files, whole, damaged or of another format."""

import hashlib
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tokencollab.errors import ModelRefused
from tokencollab.models.cache import ModelCache
from tokencollab.models.convert import align
from tokencollab.models.resolve import ModelStore


def write_model(folder: Path) -> None:
    """The smallest folder that counts as a model: one tensor of four bytes."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")


def convert(gguf: Path, folder: Path, progress: Callable[[int, int], None]) -> None:
    write_model(folder)


def silent(_what: str, _done: int, _total: int) -> None:
    pass


@pytest.fixture
def models(tmp_path: Path) -> ModelStore:
    return ModelStore(ModelCache(tmp_path / "cache"), {}, convert=convert)


def gguf_file(path: Path, *fields: tuple[str, str], count: int | None = None) -> Path:
    """A GGUF header with these string fields."""
    text = [part.encode() for field in fields for part in field]
    body = b"".join(
        struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(value)) + value
        for key, value in zip(text[::2], text[1::2], strict=True)
    )
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(fields) if count is None else count) + body)
    return path


def test_a_users_gguf_file_is_converted_once_under_its_sha256(models: ModelStore, tmp_path: Path) -> None:
    path = gguf_file(tmp_path / "mine.gguf", ("general.architecture", "llama"), ("general.license", "mit"))
    files = models.resolve(str(path), silent)
    assert (files.name, files.licence, files.source) == ("mine", "mit", str(path))
    assert files.folder.name == f"gguf-{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert path.exists()
    shutil.copy(path, tmp_path / "again.gguf")
    again = models.resolve(str(tmp_path / "again.gguf"), silent)
    assert (again.folder, again.name) == (files.folder, "again")
    row = models.rows()[0]
    assert row.name == files.folder.name[:17]
    assert models.remove(row.name) == row.size > 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a GGUF file"),
        (b"PK\x03\x04 a zip", "is not a GGUF file"),
        (b"GGUF", "is damaged or incomplete"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "is GGUF version 1; versions 2 and 3"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "does not name its architecture"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1 << 60), "is damaged or incomplete"),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<QI", 0, 9) * 5000,
            "is damaged or incomplete",
        ),
    ],
)
def test_a_file_that_is_no_gguf_file(models: ModelStore, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "model.gguf").write_bytes(content)
    with pytest.raises(ModelRefused, match=message) as caught:
        models.resolve(str(tmp_path / "model.gguf"), silent)
    assert "\n" not in str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "folder"
    path.mkdir()
    write_model(path)
    return path


def test_a_folder_is_used_where_it_is(models: ModelStore, folder: Path) -> None:
    files = models.resolve(str(folder), silent)
    assert (files.name, files.folder, files.source) == ("folder", folder, "folder")
    assert not models.cache.root.exists()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "no config.json"),
        ("model.safetensors", r"no \.safetensors weights"),
        ("tokenizer.json", "no tokenizer"),
    ],
)
def test_a_folder_without_a_model(models: ModelStore, folder: Path, missing: str, message: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(ModelRefused, match=f"holds no model for transformers: {message}"):
        models.resolve(str(folder), silent)


def test_hints_for_folders_of_other_formats(models: ModelStore, folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelRefused, match="pickled weights are not loaded"):
        models.resolve(str(folder), silent)
    (folder / "pytorch_model.bin").rename(folder / "model.gguf")
    with pytest.raises(ModelRefused, match=r"give the GGUF file itself: .*/model\.gguf"):
        models.resolve(str(folder), silent)


def test_weights_that_were_cut_off(models: ModelStore, folder: Path) -> None:
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    for length, message in ((len(whole) - 1, "not fully covered"), (20, "invalid header"), (3, "header too small")):
        weights.write_bytes(whole[:length])
        with pytest.raises(ModelRefused, match=f"is incomplete or damaged: .*{message}"):
            models.resolve(str(folder), silent)


def test_a_missing_shard(models: ModelStore, folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}))
    with pytest.raises(ModelRefused, match=r"1 of 2 weight files missing \(model-2\.safetensors\)"):
        models.resolve(str(folder), silent)


@pytest.mark.parametrize("text", ["[]", "{", "{}"])
def test_a_config_that_is_none(models: ModelStore, folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelRefused, match=r"JSON object|no model_type"):
        models.resolve(str(folder), silent)


def test_weights_are_aligned_and_otherwise_unchanged(models: ModelStore, folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"data")
    align(weights)
    padded = weights.read_bytes()
    start = 8 + struct.unpack("<Q", padded[:8])[0]
    assert start % 64 == 0
    assert padded[start:] == b"data"
    align(weights)
    assert weights.read_bytes() == padded
    models.resolve(str(folder), silent)
    assert not list(folder.glob("*.aligned"))

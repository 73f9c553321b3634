"""What a model's files must look like before anything loads them. Reads headers only."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from safetensors import SafetensorError, safe_open

from tokencollab.errors import ModelRefused, refused
from tokencollab.files import read_object, reading

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_LONGEST_STRING = 1_000_000  # bytes; a chat template has a few thousand
_GGUF_NUMBERS = {0: "B", 1: "b", 7: "?", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 10: "Q", 11: "q", 12: "d"}
_GGUF_STRING, _GGUF_ARRAY = 8, 9


def check_folder(folder: Path) -> None:
    """Make sure that `folder` holds a config, safetensors weights and a tokenizer, each complete.

    Raises:
        ModelRefused: one line that says what is missing or damaged.
    """
    with refused(f"the model in {folder} cannot be read"):
        _check_folder(folder)


def _check_folder(folder: Path) -> None:
    names = {path.name for path in folder.iterdir() if path.is_file()}
    if missing := list(_missing(names)):
        raise ModelRefused(f"{folder} holds no model for transformers: {', '.join(missing)}{_hint(folder, names)}")
    config = _read_object(folder / "config.json")
    if not isinstance(config.get("model_type"), str):
        raise ModelRefused(f"{folder / 'config.json'} names no model_type: it is not a transformers model")
    for weights in _weight_files(folder, names):
        _check_safetensors(weights)


def _missing(names: set[str]) -> Iterator[str]:
    if "config.json" not in names:
        yield "no config.json"
    if not any(name.endswith(".safetensors") for name in names):
        yield "no .safetensors weights"
    if not names.intersection(_TOKENIZERS):
        yield "no tokenizer (tokenizer.json or tokenizer.model)"


def _hint(folder: Path, names: set[str]) -> str:
    if gguf := sorted(name for name in names if name.endswith(".gguf")):
        return f"; give the GGUF file itself: {folder / gguf[0]}"
    if "config.json" in names and any(name.endswith(_PICKLES) for name in names):
        return "; pickled weights are not loaded, save them as safetensors first"
    return ""


def _weight_files(folder: Path, names: set[str]) -> list[Path]:
    index = "model.safetensors.index.json"
    if index not in names:
        return [folder / name for name in sorted(names) if name.endswith(".safetensors")]
    shards = _read_object(folder / index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise ModelRefused(f"{folder / index} is damaged: it has no weight_map")
    wanted = sorted(set(shards.values()))
    if missing := [name for name in wanted if name not in names]:
        raise ModelRefused(
            f"{folder} is incomplete: {len(missing)} of {len(wanted)} weight files missing ({missing[0]})"
        )
    return [folder / name for name in wanted]


def _check_safetensors(path: Path) -> None:
    """The header says where the last tensor ends; a download that was cut off ends before."""
    with reading(path, error=ModelRefused):
        try:
            with safe_open(path, framework="numpy"):
                pass
        except SafetensorError as error:
            raise ModelRefused(f"{path} is not a safetensors file, is incomplete or damaged: {error}") from None


def _read_object(path: Path) -> dict[str, object]:
    return read_object(path, error=ModelRefused)


def gguf_licence(path: Path) -> str | None:
    """The licence that a GGUF file names in its fields before the vocabulary; they are all that is read.

    gguf's own reader takes seconds for a large vocabulary, and all memory where a damaged array claims to be long.

    Raises:
        ModelRefused: not a GGUF file, a version that nothing here reads, or cut off.
    """
    with refused(f"{path} cannot be read"), path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelRefused(f"{path} is not a GGUF file")
        try:
            version, _tensors, count = _numbers(file, "IQQ")
            if version not in (2, 3):
                raise ModelRefused(f"{path} is GGUF version {version}; versions 2 and 3 can be read")
            fields = dict(_gguf_fields(file, count))
        except (struct.error, UnicodeDecodeError, RecursionError):
            raise ModelRefused(f"{path} is damaged or incomplete: its GGUF header cannot be read") from None
    if not isinstance(fields.get("general.architecture"), str):
        raise ModelRefused(f"{path} does not name its architecture")
    licence = fields.get("general.license")
    return licence if isinstance(licence, str) else None


def _gguf_fields(file: BinaryIO, count: int) -> Iterator[tuple[str, object]]:
    for _ in range(count):
        key = _gguf_string(file)
        if key.startswith("tokenizer."):
            return
        yield key, _gguf_value(file, *_numbers(file, "I"))


def _gguf_value(file: BinaryIO, kind: int) -> object:
    if kind == _GGUF_STRING:
        return _gguf_string(file)
    if kind in _GGUF_NUMBERS:
        return _numbers(file, _GGUF_NUMBERS[kind])[0]
    if kind != _GGUF_ARRAY:
        raise struct.error
    element, length = _numbers(file, "IQ")
    for _ in range(length):
        _gguf_value(file, element)
    return None


def _gguf_string(file: BinaryIO) -> str:
    (length,) = _numbers(file, "Q")
    if length > _LONGEST_STRING:
        raise struct.error
    return str(struct.unpack(f"{length}s", file.read(length))[0], "utf-8")


def _numbers(file: BinaryIO, form: str) -> tuple[int, ...]:
    """As `struct.unpack`, which raises struct.error where the file ends too early."""
    return struct.unpack("<" + form, file.read(struct.calcsize("<" + form)))

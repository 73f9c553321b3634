"""Turn one GGUF file into a folder for `from_pretrained`. Run as a program, in a process of its own:

    python -P convert.py FILE.gguf FOLDER [TOKEN ...]

The tokens are those that end a turn in chat formats.

A process of its own because the file is somebody else's and reading it needs several times the model's
memory: a crash stays outside, the memory is given back, and Ctrl-C ends it immediately. It imports nothing of
tokencollab. Standard output gets a line "step of steps what" per step; the last line of standard error says
what went wrong.

Weights are saved in float32. A GGUF block dequantised to float32 is exact; bfloat16 would halve the size, but
round, and the converted model would no longer be the one that `from_pretrained(gguf_file=...)` loads.
"""

import importlib.util
import shutil
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REFUSED = 3  # exit code: the file is not one that transformers can load


# The kinds of end tokens that a GGUF file names, and what llama.cpp takes for one where the file does not.
_ENDS = {
    "eos": (),
    "eot": (),
    "eom": (),
    "fim_pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep": ("<|file_sep|>",),
}


def convert(gguf: Path, folder: Path, turn_ends: Sequence[str] = ()) -> None:
    """Write config, generation config, tokenizer and float32 weights of `gguf` into the existing `folder`.

    The end tokens that the file names are kept, and those of `turn_ends` are special, whatever their type in the file.

    Raises:
        ImportError: a package that the conversion needs is missing.
        ValueError: the file lacks tensors.
        Exception: whatever transformers raises on a file that it cannot read (ValueError, KeyError, ...).
    """
    _say(0, "starting")
    if importlib.util.find_spec("accelerate") is None:  # transformers asks for it, for GGUF files alone
        raise ImportError("the package accelerate is not installed")
    import torch  # noqa: PLC0415
    from tokenizers import AddedToken  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig  # noqa: PLC0415

    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    _say(1, "tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(**where, trust_remote_code=False)
    backend = tokenizer.backend_tokenizer
    known = [name for name in turn_ends if backend.token_to_id(name) is not None]
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in known])
    tokenizer.save_pretrained(folder)
    _say(2, "weights")
    model, report = AutoModelForCausalLM.from_pretrained(
        **where,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),  # without it the model refuses to be saved
        trust_remote_code=False,
        output_loading_info=True,
    )
    if missing := sorted(report["missing_keys"]):  # transformers draws them at random
        some = ", ".join(missing[:5])
        raise ValueError(f"the file is incomplete: {len(missing)} tensors are missing ({some})")
    _say(3, "saving")
    model.generation_config.eos_token_id = _ends(gguf, backend, model.generation_config.eos_token_id)
    model.save_pretrained(folder, safe_serialization=True)
    for weights in folder.glob("*.safetensors"):
        align(weights)
    _say(4, "saved")


def _ends(gguf: Path, backend: Any, own: int | list[int] | None) -> list[int]:
    """The file's end tokens, beside those that transformers read."""
    from gguf import GGUFReader  # noqa: PLC0415

    reader = GGUFReader(gguf)
    ends: set[int] = set(own if isinstance(own, list) else [] if own is None else [own])
    for kind, names in _ENDS.items():
        if (field := reader.get_field(f"tokenizer.ggml.{kind}_token_id")) is not None:
            ends.add(int(field.contents()))
        else:
            ends.update([token for name in names if (token := backend.token_to_id(name)) is not None][:1])
    return sorted(ends)


def align(weights: Path) -> None:
    """Pad the header so that the tensors begin at a multiple of 64 bytes, as memory of torch's own does.

    safetensors pads to 8, and the file is mapped, not read: from there, matrix products take another path for
    single tokens, and the logits differ in the last bits from those of the GGUF file.
    """
    aligned = weights.with_suffix(".aligned")
    with weights.open("rb") as old, aligned.open("wb") as new:
        (length,) = struct.unpack("<Q", old.read(8))
        padding = -(8 + length) % 64
        new.write(struct.pack("<Q", length + padding) + old.read(length) + b" " * padding)
        shutil.copyfileobj(old, new, 1 << 24)
    aligned.replace(weights)


def _say(step: int, what: str) -> None:
    print(step, "of 4", what, flush=True)


def main() -> int:
    try:
        convert(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
    except (MemoryError, OSError, ImportError) as error:
        print(f"{type(error).__name__}: {error}".splitlines()[0], file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a damaged or unknown file makes libraries raise; a panic is no Exception
        reason = str(error).strip() or type(error).__name__
        print(reason.splitlines()[0], file=sys.stderr)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Turn one GGUF file into a folder for `from_pretrained`. Run as a program, in a process of its own:

    python -P convert.py FILE.gguf FOLDER

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
from pathlib import Path

REFUSED = 3  # exit code: the file is not one that transformers can load


def convert(gguf: Path, folder: Path) -> None:
    """Write config, generation config, tokenizer and float32 weights of `gguf` into the existing `folder`.

    Raises:
        ImportError: a package that the conversion needs is missing.
        ValueError: the file lacks tensors.
        Exception: whatever transformers raises on a file that it cannot read (ValueError, KeyError, ...).
    """
    _say(0, "starting")
    if importlib.util.find_spec("accelerate") is None:  # transformers asks for it, for GGUF files alone
        raise ImportError("the package accelerate is not installed")
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig  # noqa: PLC0415

    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    _say(1, "tokenizer")
    AutoTokenizer.from_pretrained(**where, trust_remote_code=False).save_pretrained(folder)
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
    model.save_pretrained(folder, safe_serialization=True)
    for weights in folder.glob("*.safetensors"):
        align(weights)
    _say(4, "saved")


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
        convert(Path(sys.argv[1]), Path(sys.argv[2]))
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

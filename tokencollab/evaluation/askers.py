"""From a method's name to what puts a question to models by that method.

An `Asker` gives a text, the answer read from it, and what it cost. Token-level methods (`parse_method`), single models,
and methods that draw whole answers and choose among them are all askers, so they run side by side over the same models.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final, Protocol

from tokencollab.actors.answer import FinishReason
from tokencollab.actors.collaboration import Collaboration
from tokencollab.evaluation.grading import read_answer
from tokencollab.evaluation.items import Item
from tokencollab.policies.methods import Method, list_methods, parse_method, uses
from tokencollab.policies.settings import setting_names
from tokencollab.protocol.errors import UnknownMethod, UsageError


@dataclass(frozen=True, slots=True)
class Question:
    """An item as it is put to models."""

    item: Item
    prompt: str
    seed: int
    max_tokens: int
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """What an asker brings for one question.

    ``answer`` is canonical, None where none could be read. ``cost``, ``aligned``, ``exit_step``, ``forwarded`` and the
    times are those of `Answer`, summed over the answers drawn where there are several. ``t0`` is the base's
    self-efficacy after each step together, where the exit policy has it. ``lost`` names models that failed.
    """

    text: str
    answer: str | None
    cost: int
    tokens: int
    aligned: int = 0
    exit_step: int | None = None
    finish_reason: FinishReason = "end"
    seconds: float = 0.0
    first_token_seconds: float | None = None
    ms_per_token: float | None = None
    forwarded: Mapping[str, float] = field(default_factory=dict)
    t0: tuple[float, ...] = ()
    lost: tuple[str, ...] = ()


class Asker(Protocol):
    """One method over given models.

    ``collaboration`` is equal for two askers that differ in nothing but who leaves when; ``full`` says that nobody
    does. Loss and saving of an asker are measured against the full one of the same collaboration.
    """

    @property
    def name(self) -> str:
        """As in `--methods` and in every table."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides what it answers, as JSON."""
        ...

    @property
    def collaboration(self) -> object | None:
        """See above; None: it has nothing to be measured against."""
        ...

    @property
    def full(self) -> bool:
        """See above."""
        ...

    async def ask(self, team: Collaboration, question: Question) -> Given:
        """Puts the question.

        Raises:
            TokencollabError: it could not be answered.
        """
        ...


@dataclass(frozen=True, slots=True)
class TokenLevel:
    """A token-level method, or with one member that model alone. ``varied`` are the settings that a sweep varies."""

    name: str
    method: Method
    members: tuple[str, ...]
    varied: tuple[tuple[str, Any], ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """See `Asker`."""
        varied = {"varied": dict(self.varied)} if self.varied else {}
        return {"method": self.method.to_json(), "members": list(self.members), **varied}

    @property
    def collaboration(self) -> object | None:
        """See `Asker`."""
        if self.method.aggregation == "base":
            return None
        settings = self.method.to_json()
        exits = ("name", "exit", "exit_after", "omega", "theta", "rho", "eps", "ties", "quantile", "patience")
        kept = {key: value for key, value in settings.items() if key not in (*exits, "rejoin_below", "rejoin_window")}
        return self.members, tuple(sorted((key, str(value)) for key, value in kept.items()))

    @property
    def full(self) -> bool:
        """See `Asker`."""
        return self.method.aggregation != "base" and self.method.exit == "never"

    async def ask(self, team: Collaboration, question: Question) -> Given:
        """See `Asker`."""
        stream = team.stream(
            question.prompt,
            max_tokens=question.max_tokens,
            stop=question.stop,
            seed=question.seed,
            method=self.method,
            members=self.members,
        )
        steps = [token.efficacy async for token in stream if not token.alone]
        answer = stream.answer
        return Given(
            text=answer.text,
            answer=read_answer(question.item, answer.text),
            cost=answer.cost,
            tokens=answer.tokens,
            aligned=answer.aligned,
            exit_step=answer.exit_step,
            finish_reason=answer.finish_reason,
            seconds=answer.seconds,
            first_token_seconds=answer.first_token_seconds,
            ms_per_token=answer.ms_per_token,
            forwarded=answer.forwarded,
            t0=tuple(efficacy.t0 for efficacy in steps if efficacy is not None),
            lost=tuple(answer.lost),
        )


Maker = Callable[[str, Mapping[str, Any], Sequence[str]], Asker]
"""From a name as given, its settings and the models' names (the base first) to an asker."""

RESPONSE_LEVEL: Final[dict[str, Maker]] = {}
"""Methods that draw whole answers, by name."""


def make_askers(names: Sequence[str], models: Sequence[str], grid: Mapping[str, Sequence[Any]]) -> list[Asker]:
    """The askers that ``names`` mean over ``models``, the base first.

    Args:
        names: presets with settings, e.g. ``duetnet:reference=floor``, ``confipara-d:omega=5:theta=0.7``; ``base``;
            ``alone:MODEL``; ``each`` for every model alone.
        models: what they are called.
        grid: settings to be varied, each with its values: a method takes every combination of those that it uses.

    Raises:
        UsageError: no such method, a setting that it does not use, or one that no method uses.
    """
    askers: list[Asker] = []
    varied: set[str] = set()
    for key in grid:
        if key not in setting_names() or key in ("name", "aggregation", "exit", "exit_after", "weights"):
            raise UsageError(
                f"{key} cannot be varied; settings are those of `tokencollab generate --help`, e.g. omega=5,10"
            )
    for name in names:
        made, used = _askers_of(name, tuple(models), grid)
        askers += made
        varied |= used
    if unused := [key for key in grid if key not in varied]:
        raise UsageError(f"no method of {', '.join(names)} uses {unused[0]}")
    repeated = [asker.name for index, asker in enumerate(askers) if asker.name in {a.name for a in askers[:index]}]
    if repeated:
        raise UsageError(f"the method {repeated[0]} is given twice")
    return askers


def _askers_of(name: str, models: tuple[str, ...], grid: Mapping[str, Sequence[Any]]) -> tuple[list[Asker], set[str]]:
    if name == "each":
        return [_alone(model) for model in models], set()
    if name == "base":
        return [TokenLevel("base", parse_method("base"), models[:1])], set()
    if name.startswith("alone:"):
        model = name.removeprefix("alone:")
        if model not in models:
            raise UsageError(f"no model {model!r} takes part; there are {', '.join(models)}")
        return [_alone(model)], set()
    preset, _, rest = name.partition(":")
    settings = _settings(rest, name)
    if preset in RESPONSE_LEVEL:
        return [RESPONSE_LEVEL[preset](name, settings, models)], set()
    if preset == "base":
        return [TokenLevel(name, _method(preset, settings), models[:1])], set()
    if len(models) == 1:
        raise UsageError(f"{name} needs collaborators; give some with --with")
    keys = [key for key in grid if key not in settings and uses(_method(preset, settings), key)]
    askers: list[Asker] = []
    for values in product(*(grid[key] for key in keys)):
        point = dict(zip(keys, values, strict=True))
        full = ":".join([name, *(f"{key}={value}" for key, value in point.items())])
        askers.append(TokenLevel(full, _method(preset, {**settings, **point}), models, tuple(point.items())))
    return askers, set(keys)


def _alone(model: str) -> Asker:
    return TokenLevel(f"alone:{model}", parse_method("base"), (model,))


def _method(preset: str, settings: Mapping[str, Any]) -> Method:
    try:
        return parse_method(preset, **settings)
    except TypeError:
        unknown = next(key for key in settings if key not in setting_names())
        raise UnknownMethod(f"unknown setting {unknown!r} of {preset}; see tokencollab generate --help") from None
    except UnknownMethod as error:
        if str(error).startswith("unknown method"):
            more = ", ".join(["each", "alone:MODEL", *RESPONSE_LEVEL])
            known = ", ".join(preset for preset, _, _ in list_methods())
            raise UnknownMethod(f"unknown method {preset!r}; there are {known}, {more}") from None
        raise


def _settings(text: str, name: str) -> dict[str, Any]:
    """``key=value:key=value`` as settings; ``weight.MODEL=2`` is that model's weight."""
    settings: dict[str, Any] = {}
    for part in filter(None, text.split(":")):
        key, equals, value = part.partition("=")
        key = key.replace("-", "_") if not key.startswith("weight.") else key
        if not equals or not key or not value or key in settings:
            raise UsageError(f"{name}: settings are given as name:key=value:key=value, each once")
        if key.startswith("weight."):
            weight = read_value(value)
            settings.setdefault("weights", {})[key.removeprefix("weight.")] = weight
        else:
            settings[key] = read_value(value)
    return settings


def read_value(text: str) -> Any:
    """A value from the command line: a number, true or false, else a text."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text

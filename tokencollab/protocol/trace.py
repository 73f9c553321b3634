"""The trace of an answer as JSON lines: a header, then a line per committed piece. Writing and strict
reading.

Header: ``{"tokencollab_trace": 1, "models": [base, ...], ...settings}``; ``settings["method"]`` is the
method's own JSON form and ``settings["seed"]`` the seed. Step: ``{"step": 1, "candidates": {model: [{"piece",
"logit", "logprob"}, ...]}, "chosen": piece, ...}``, candidates as received, best first. Further keys of a
step, where there is something to say: ``alone`` (the base wrote it by itself), ``log_normalisers``,
``scores`` (UniTE's foreign pieces), ``offsets`` (where each model stood), ``efficacy``, ``lost`` and
``joined`` (models since the step before), ``marginals`` (bytewise voting; ``following`` by byte, zeros left
out, ``pending`` in hexadecimal), ``heard`` (what the policy heard, in order). Other keys are ignored.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Final, NamedTuple, NoReturn

from tokencollab.errors import MalformedAnswer, ProtocolError, TraceError
from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.pieces import Piece, piece_from_json, piece_to_json

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class TraceMarginals:
    """One model's answer about the next byte after ``pending``, as `messages.MarginalsReply` (bytewise voting)."""

    model: str
    offset: int
    pending: bytes
    exact: float
    end: float
    following: tuple[float, ...]


class TraceEvent(NamedTuple):
    """An event as traces keep it: its name, the model, and the number of the question that it answers (-1: none)."""

    event: str
    model: str
    question: int = -1


@dataclass(frozen=True, slots=True)
class TraceStep:
    """One step: ``candidates`` by model, sorted; ``chosen`` means something only where ``decided``.

    ``heard``: what the policy heard, in order; empty where the trace does not say.
    """

    step: int
    candidates: tuple[tuple[str, CandidateSet], ...]
    chosen: Piece
    decided: bool
    alone: bool = False
    scores: tuple[tuple[str, tuple[tuple[Piece, float], ...]], ...] = ()
    offsets: tuple[tuple[str, int], ...] = ()
    lost: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()
    marginals: tuple[TraceMarginals, ...] = ()
    heard: tuple[TraceEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole trace: ``models`` has the base first, ``settings`` everything else of the header."""

    models: tuple[str, ...]
    settings: Mapping[str, object]
    steps: tuple[TraceStep, ...]


def header_line(models: Sequence[str], settings: Mapping[str, object]) -> str:
    """The first line of a trace. ``models``: the base first; ``settings``: anything that JSON can say."""
    return _dump({"tokencollab_trace": VERSION, "models": list(models), **settings})


def step_line(
    step: int,
    candidates: Mapping[str, CandidateSet],
    chosen: Piece,
    *,
    alone: bool = False,
    scores: Mapping[str, Sequence[tuple[Piece, float]]] | None = None,
    offsets: Mapping[str, int] | None = None,
    efficacy: Mapping[str, float | None] | None = None,
    lost: Sequence[str] = (),
    joined: Sequence[str] = (),
    marginals: Sequence[TraceMarginals] = (),
    heard: Sequence[Mapping[str, object]] = (),
) -> str:
    """The line of one step. Numbers keep every bit; ``efficacy`` are the figures of the exit policy."""
    line: dict[str, object] = {
        "step": step,
        "candidates": {
            model: [{"piece": piece_to_json(c.piece), "logit": c.logit, "logprob": c.logprob} for c in sent.candidates]
            for model, sent in sorted(candidates.items())
        },
        "log_normalisers": {model: sent.log_normaliser for model, sent in sorted(candidates.items())},
        "chosen": piece_to_json(chosen),
    }
    if alone:
        line["alone"] = True
    if scores:
        line["scores"] = {
            model: [{"piece": piece_to_json(piece), "logit": logit} for piece, logit in pairs]
            for model, pairs in sorted(scores.items())
        }
    if offsets:
        line["offsets"] = dict(sorted(offsets.items()))
    if efficacy is not None:
        line["efficacy"] = dict(efficacy)
    if lost:
        line["lost"] = sorted(lost)
    if joined:
        line["joined"] = sorted(joined)
    if marginals:
        line["marginals"] = [
            {
                "model": m.model,
                "offset": m.offset,
                "pending": m.pending.hex(),
                "exact": m.exact,
                "end": m.end,
                "following": {str(byte): mass for byte, mass in enumerate(m.following) if mass},
            }
            for m in marginals
        ]
    if heard:
        line["heard"] = heard
    return _dump(line)


def lines_of(text: str) -> list[str]:
    """The lines of JSON Lines, without their ends. Only a line feed ends one: JSON has U+2028 and such in text."""
    return text.removesuffix("\n").split("\n") if text else []


def parse_trace(lines: Iterable[str]) -> Trace:
    """Reads a trace, all of it, before anything is done with it.

    Every line must be whole JSON with finite numbers; steps count from 1; every model that takes part has
    candidates in every step, best first and each once, except after it was ``lost``, in steps of the base
    ``alone``, and where the settings say that models leave (the exit per-collaborator) or are not asked every
    time (bytewise).

    Raises:
        TraceError: the first damage found, with its line number.
    """
    reader: _Reader | None = None
    for number, text in enumerate(lines, start=1):
        line = _load(number, text)
        if reader is None:
            reader = _header(number, line)
        else:
            reader.read(number, line)
    if reader is None:
        raise TraceError("line 1: the trace is empty; its first line must be the header")
    return Trace(reader.models, reader.settings, tuple(reader.steps))


@dataclass(slots=True)
class _Reader:
    """What the reader knows at a line. ``absent``: models that may be missing, because they were lost."""

    models: tuple[str, ...]
    settings: Mapping[str, object]
    steps: list[TraceStep] = field(default_factory=list)
    absent: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)

    def read(self, number: int, line: Mapping[str, object]) -> None:
        """Adds the step of ``line``."""
        expected = len(self.steps) + 1
        if line.get("step") != expected or isinstance(line["step"], bool):
            _fail(number, f"step {line.get('step')!r} where step {expected} must be")
        lost = _names(number, "lost", line.get("lost", []))
        joined = _names(number, "joined", line.get("joined", []))
        self.known.update(joined)
        self.absent.update(lost)
        alone = line.get("alone", False)
        if not isinstance(alone, bool):
            _fail(number, f"alone must be true or false, not {alone!r}")
        candidates = _candidates(number, line)
        self._check_models(number, {model for model, _ in candidates}, alone)
        self.absent.difference_update(model for model, _ in candidates if model not in lost)
        self.steps.append(
            TraceStep(
                step=expected,
                candidates=candidates,
                chosen=_piece(number, line.get("chosen")),
                decided="chosen" in line,
                alone=alone,
                scores=_scores(number, line.get("scores", {})),
                offsets=_offsets(number, line.get("offsets", {})),
                lost=lost,
                joined=joined,
                marginals=_marginals(number, line.get("marginals", [])),
                heard=_heard(number, line.get("heard", [])),
            )
        )

    def _check_models(self, number: int, present: set[str], alone: bool) -> None:
        strangers = sorted(present - self.known)
        if strangers:
            _fail(number, f"candidates of {strangers[0]!r}, which is not among the models of the header")
        others = sorted(present - {self.models[0]})
        if alone and others:
            _fail(number, f"candidates of {others[0]!r} in a step of the base alone")
        expected = {self.models[0]} if alone else set() if self._may_rest() else self.known - self.absent
        missing = sorted(expected - present)
        if missing or not (present or self._may_rest()):
            _fail(number, f"no candidates of {missing[0] if missing else 'any model'!r}, which was not lost")

    def _may_rest(self) -> bool:
        """Whether a model that was not lost need not have candidates in a step."""
        method = self.settings.get("method")
        if not isinstance(method, Mapping):
            return False
        if "exit_policy" in self.settings:  # somebody's own
            return True
        return method.get("aggregation") == "bytewise" or method.get("exit") == "per-collaborator"


def _header(number: int, line: Mapping[str, object]) -> _Reader:
    version = line.get("tokencollab_trace")
    if version != VERSION or isinstance(version, bool):
        _fail(number, f"not a header of version {VERSION}: tokencollab_trace is {version!r}")
    models = _names(number, "models", line.get("models"))
    if not models or len(set(models)) != len(models):
        _fail(number, f"models must name the base and its collaborators, each once, not {list(models)!r}")
    settings = {key: value for key, value in line.items() if key not in ("tokencollab_trace", "models")}
    return _Reader(models, settings, known=set(models))


def _candidates(number: int, line: Mapping[str, object]) -> tuple[tuple[str, CandidateSet], ...]:
    by_model = _object(number, "candidates", line.get("candidates"))
    normalisers = _object(number, "log_normalisers", line.get("log_normalisers", {}))
    sets = []
    for model in sorted(by_model):
        listed = []
        for entry in _list(number, f"the candidates of {model}", by_model[model]):
            candidate = _object(number, f"a candidate of {model}", entry)
            if "piece" not in candidate:
                _fail(number, f"a candidate of {model} has no piece")
            listed.append(
                Candidate(
                    _piece(number, candidate["piece"]),
                    _number(number, f"a logit of {model}", candidate.get("logit")),
                    _number(number, f"a logprob of {model}", candidate.get("logprob")),
                )
            )
        if not listed:
            _fail(number, f"the candidates of {model} are empty")
        computed = listed[0].logit - listed[0].logprob
        normaliser = _number(number, f"the log-normaliser of {model}", normalisers.get(model, computed))
        try:
            sets.append((model, CandidateSet(tuple(listed), normaliser).checked()))
        except MalformedAnswer as error:
            raise TraceError(f"line {number}: the candidates of {model}: {error}") from error
    return tuple(sets)


def _scores(number: int, value: object) -> tuple[tuple[str, tuple[tuple[Piece, float], ...]], ...]:
    scores = []
    for model, entries in sorted(_object(number, "scores", value).items()):
        pairs = []
        for entry in _list(number, f"the scores of {model}", entries):
            score = _object(number, f"a score of {model}", entry)
            if "piece" not in score:
                _fail(number, f"a score of {model} has no piece")
            logit = _number(number, f"a score of {model}", score.get("logit"))
            pairs.append((_piece(number, score["piece"]), logit))
        scores.append((model, tuple(pairs)))
    return tuple(scores)


def _offsets(number: int, value: object) -> tuple[tuple[str, int], ...]:
    offsets = []
    for model, offset in sorted(_object(number, "offsets", value).items()):
        if not isinstance(offset, int) or isinstance(offset, bool) or offset < 0:
            _fail(number, f"the offset of {model} must be a whole number from 0 on, not {offset!r}")
        offsets.append((model, offset))
    return tuple(offsets)


def _marginals(number: int, value: object) -> tuple[TraceMarginals, ...]:
    marginals = []
    for entry in _list(number, "marginals", value):
        fields = _object(number, "an entry of marginals", entry)
        model, offset, pending = fields.get("model"), fields.get("offset"), fields.get("pending")
        if not isinstance(model, str) or not isinstance(offset, int) or not isinstance(pending, str):
            _fail(number, "an entry of marginals must have a model, an offset and pending bytes")
        following = [0.0] * 256
        try:
            for byte, mass in _object(number, "following", fields.get("following")).items():
                following[_byte(byte)] = _number(number, f"the mass of byte {byte}", mass)
            behind = bytes.fromhex(pending)
        except ValueError as error:
            raise TraceError(f"line {number}: marginals of {model}: not a byte ({error})") from error
        exact, end = (_number(number, f"{key} of {model}", fields.get(key)) for key in ("exact", "end"))
        marginals.append(TraceMarginals(model, offset, behind, exact, end, tuple(following)))
    return tuple(marginals)


def _heard(number: int, value: object) -> tuple[TraceEvent, ...]:
    heard = []
    for entry in _list(number, "heard", value):
        fields = _object(number, "an entry of heard", entry)
        event, model, question = fields.get("event"), fields.get("model"), fields.get("question", -1)
        if not isinstance(event, str) or not isinstance(model, str) or not isinstance(question, int):
            _fail(number, "an entry of heard must have an event and a model, and a question that is a number")
        heard.append(TraceEvent(event, model, question))
    return tuple(heard)


def _byte(text: str) -> int:
    if not text.isdecimal() or int(text) > 255:
        raise ValueError(f"{text!r}")
    return int(text)


def _load(number: int, text: str) -> Mapping[str, object]:
    try:
        line = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise TraceError(f"line {number}: not whole JSON (a cut line?): {error}") from error
    return _object(number, "a line of a trace", line)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that a trace may have")


def _dump(line: Mapping[str, object]) -> str:
    return json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _piece(number: int, value: object) -> Piece:
    try:
        return piece_from_json(value)
    except ProtocolError as error:
        raise TraceError(f"line {number}: {error}") from error


def _number(number: int, what: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        _fail(number, f"{what} must be a number, not {value!r}")
    try:
        result = float(value)
    except OverflowError:
        result = float("inf")
    if not isfinite(result):
        _fail(number, f"{what} is not finite")
    return result


def _object(number: int, what: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        _fail(number, f"{what} must be an object, not {value!r}")
    return value


def _list(number: int, what: str, value: object) -> list[object]:
    if not isinstance(value, list):
        _fail(number, f"{what} must be a list, not {value!r}")
    return value


def _names(number: int, what: str, value: object) -> tuple[str, ...]:
    names = _list(number, what, value)
    result = tuple(name for name in names if isinstance(name, str))
    if len(result) != len(names):
        _fail(number, f"{what} must be a list of names, not {value!r}")
    return result


def _fail(number: int, reason: str) -> NoReturn:
    raise TraceError(f"line {number}: {reason}")

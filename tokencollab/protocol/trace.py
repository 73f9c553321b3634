"""The trace of an answer as JSON lines: a header, then a line per committed piece. Writing and strict
reading.

Header: ``{"tokencollab_trace": 1, "models": [base, ...], ...settings}``; ``settings["method"]`` is the
method's own JSON form and ``settings["seed"]`` the seed. Step: ``{"step": 1, "candidates": {model: [{"piece",
"logit", "logprob"}, ...]}, "chosen": piece, ...}``, candidates as received, best first. Further keys of a
step, where there is something to say: ``alone`` (the base wrote it by itself), ``log_normalisers``,
``scores`` (UniTE's foreign pieces), ``offsets`` (where each model stood), ``efficacy``, ``lost`` and
``joined`` (models since the step before), ``marginals`` (bytewise voting; ``following`` by byte, zeros left
out, ``pending`` in hexadecimal), ``heard`` (what the policy heard, in order). Other keys are ignored.

Traces that this program writes have chained checksums (`checksums`), which reading verifies. One written by hand need
not have any.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from tokencollab.errors import ProtocolError, TraceError
from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.checksums import CHECKSUM, check_lines
from tokencollab.protocol.json_text import NotJson, read_json
from tokencollab.protocol.pieces import JsonPiece, Piece, piece_from_json, piece_to_json
from tokencollab.protocol.replies import check_marginals

VERSION: Final = 1

_Offset: TypeAlias = Annotated[int, Meta(ge=0)]
_Hex: TypeAlias = Annotated[str, Meta(pattern="^([0-9a-fA-F]{2})*$")]


@dataclass(frozen=True, slots=True)
class TraceMarginals:
    """One model's answer about the next byte after ``pending``, as `messages.MarginalsReply` (bytewise voting)."""

    model: str
    offset: int
    pending: bytes
    exact: float
    end: float
    following: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """An event as traces keep it: its name, the model, and the number of the question that it answers (-1: none).

    ``taken_back``, and in journals ``spelling``, as of `model_session.ReceivedEvent`: the offset and how many tokens
    stay, then the tokens and the state in hexadecimal.
    """

    event: str
    model: str
    question: int = -1
    taken_back: int = 0
    spelling: tuple[_Offset, _Offset, _Hex, _Hex] | None = None


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
    optional = {
        "alone": alone,
        "scores": {
            model: [{"piece": piece_to_json(piece), "logit": logit} for piece, logit in pairs]
            for model, pairs in sorted((scores or {}).items())
        },
        "offsets": dict(sorted((offsets or {}).items())),
        "efficacy": efficacy,
        "lost": sorted(lost),
        "joined": sorted(joined),
        "marginals": [
            {
                "model": m.model,
                "offset": m.offset,
                "pending": m.pending.hex(),
                "exact": m.exact,
                "end": m.end,
                "following": {str(byte): mass for byte, mass in enumerate(m.following) if mass},
            }
            for m in marginals
        ],
        "heard": heard,
    }
    return _dump(
        {
            "step": step,
            "candidates": {
                model: [
                    {"piece": piece_to_json(c.piece), "logit": c.logit, "logprob": c.logprob} for c in sent.candidates
                ]
                for model, sent in sorted(candidates.items())
            },
            "log_normalisers": {model: sent.log_normaliser for model, sent in sorted(candidates.items())},
            "chosen": piece_to_json(chosen),
            **{key: value for key, value in optional.items() if value},
        }
    )


def lines_of(text: str) -> list[str]:
    """The lines of JSON Lines, without their ends. Only a line feed ends one: JSON has U+2028 and such in text."""
    return text.removesuffix("\n").split("\n") if text else []


# ---------------------------------------------------------------- reading


class _HeaderLine(msgspec.Struct):
    tokencollab_trace: Literal[1]
    models: Annotated[tuple[str, ...], Meta(min_length=1)]


class _ScoreEntry(msgspec.Struct):
    piece: JsonPiece
    logit: float


class _CandidateEntry(_ScoreEntry):
    logprob: float


class _MarginalsEntry(msgspec.Struct):
    model: str
    offset: _Offset
    pending: _Hex
    exact: float
    end: float
    following: dict[Annotated[int, Meta(ge=0, le=255)], float]


class _StepLine(msgspec.Struct):
    """A step as it is written. msgspec checks the types, and refuses numbers that no float holds."""

    step: int
    candidates: dict[str, Annotated[list[_CandidateEntry], Meta(min_length=1)]]
    chosen: JsonPiece | msgspec.UnsetType = msgspec.UNSET
    log_normalisers: dict[str, float] = {}
    alone: bool = False
    scores: dict[str, list[_ScoreEntry]] = {}
    offsets: dict[str, _Offset] = {}
    lost: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()
    marginals: list[_MarginalsEntry] = []
    heard: tuple[TraceEvent, ...] = ()

    def read(self) -> TraceStep:
        """The step, with its pieces and candidate sets checked."""
        return TraceStep(
            step=self.step,
            candidates=tuple((model, self._candidates(model)) for model in sorted(self.candidates)),
            chosen=None if isinstance(self.chosen, msgspec.UnsetType) else piece_from_json(self.chosen),
            decided=self.chosen is not msgspec.UNSET,
            alone=self.alone,
            scores=tuple(
                (model, tuple((piece_from_json(entry.piece), entry.logit) for entry in entries))
                for model, entries in sorted(self.scores.items())
            ),
            offsets=tuple(sorted(self.offsets.items())),
            lost=self.lost,
            joined=self.joined,
            marginals=tuple(map(_marginals, self.marginals)),
            heard=self.heard,
        )

    def _candidates(self, model: str) -> CandidateSet:
        try:
            listed = tuple(Candidate(piece_from_json(c.piece), c.logit, c.logprob) for c in self.candidates[model])
            computed = listed[0].logit - listed[0].logprob
            return CandidateSet(listed, self.log_normalisers.get(model, computed)).checked()
        except ProtocolError as error:
            raise TraceError(f"the candidates of {model}: {error}") from error


def _marginals(entry: _MarginalsEntry) -> TraceMarginals:
    following = tuple(entry.following.get(byte, 0.0) for byte in range(256))
    try:
        check_marginals(entry.exact, entry.end, following)
    except ProtocolError as error:
        raise TraceError(f"the marginals of {entry.model}: {error}") from error
    return TraceMarginals(entry.model, entry.offset, bytes.fromhex(entry.pending), entry.exact, entry.end, following)


_HEADER: Final = msgspec.json.Decoder(_HeaderLine)
_STEP: Final = msgspec.json.Decoder(_StepLine)


def parse_trace(lines: Iterable[str]) -> Trace:
    """Reads a trace, all of it, before anything is done with it.

    Every line must be whole JSON with finite numbers; steps count from 1; every model that takes part has
    candidates in every step, best first and each once, except after it was ``lost``, in steps of the base
    ``alone``, and where the settings say that models leave (the exit per-collaborator) or are not asked every
    time (bytewise).

    Raises TraceError: the first damage found, with its line number.
    """
    texts = [line.rstrip("\r\n") for line in lines]
    check_lines((text.encode(errors="surrogatepass") for text in texts), chained=True)
    rest = iter(texts)
    with _damage(1, "not a header: "):
        if (first := next(rest, None)) is None:
            raise TraceError("the trace is empty; its first line must be the header")
        base, *others = models = _HEADER.decode(first).models
        settings = read_json(first)
        if base in others or len(set(others)) != len(others):
            raise TraceError(f"models must name the base and its collaborators, each once, not {list(models)!r}")
    for key in ("tokencollab_trace", "models", CHECKSUM):
        settings.pop(key, None)
    may_rest = _may_rest(settings)
    steps: list[TraceStep] = []
    known, absent = set(models), set[str]()  # of the known, those that may be missing, because they were lost
    for expected, text in enumerate(rest, start=1):
        with _damage(expected + 1):
            line = _STEP.decode(text)
            read_json(text)  # refuses what msgspec takes: a key that occurs twice
            step = line.read()
            if step.step != expected:
                raise TraceError(f"step {step.step} where step {expected} must be")
            known.update(step.joined)
            absent.update(step.lost)
            present = {model for model, _ in step.candidates}
            _check_models(base, present, known, known - absent, step.alone, may_rest)
            absent -= present.difference(step.lost)
        steps.append(step)
    return Trace(models, settings, tuple(steps))


def _check_models(base: str, present: set[str], known: set[str], due: set[str], alone: bool, may_rest: bool) -> None:
    if strangers := sorted(present - known):
        raise TraceError(f"candidates of {strangers[0]!r}, which is not among the models of the header")
    if alone and (others := sorted(present - {base})):
        raise TraceError(f"candidates of {others[0]!r} in a step of the base alone")
    missing = sorted(({base} if alone else set() if may_rest else due) - present)
    if missing or not (present or may_rest):
        raise TraceError(f"no candidates of {missing[0] if missing else 'any model'!r}, which was not lost")


def _may_rest(settings: Mapping[str, object]) -> bool:
    """Whether a model that was not lost need not have candidates in a step."""
    method = settings.get("method")
    if not isinstance(method, Mapping):
        return False
    if "exit_policy" in settings:  # somebody's own
        return True
    return method.get("aggregation") == "bytewise" or method.get("exit") == "per-collaborator"


@contextmanager
def _damage(number: int, prefix: str = "") -> Iterator[None]:
    """Gives what is wrong with a line its number."""
    try:
        yield
    except msgspec.ValidationError as error:
        raise TraceError(f"line {number}: {prefix}{error}") from error
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise TraceError(f"line {number}: not whole JSON (a cut line?): {error}") from error
    except (NotJson, ProtocolError, TraceError) as error:
        raise TraceError(f"line {number}: {error}") from error


def _dump(line: Mapping[str, object]) -> str:
    return json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

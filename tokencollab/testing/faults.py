"""Models that fail by a seed: everything that a network, a machine or a stranger's model can do to an answer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log, nan
from random import Random
from typing import Any

from tokencollab.actors.model_session import ModelReply
from tokencollab.actors.runtimes.base import ModelLink, ModelSpec
from tokencollab.actors.solo_generation import Writing
from tokencollab.engines.base import Engine, EngineReply
from tokencollab.errors import ModelGone, ModelUnavailable
from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.messages import (
    ByteMarginals,
    CandidatesReply,
    Close,
    Closed,
    ContextExhausted,
    GenerateSolo,
    MarginalsReply,
    ModelInfo,
    NextCandidates,
    Open,
    Opened,
    Refused,
    Reply,
    Request,
    ScorePieces,
    SessionLost,
    SoloPiece,
    Unsure,
)
from tokencollab.protocol.pieces import piece_order


@dataclass(frozen=True, slots=True)
class Faults:
    """Probabilities per call, and times in seconds.

    Attributes:
        drop: an answer never comes.
        late: it comes after up to ``lateness`` seconds, else after up to ``latency``; so answers come in any order.
        repeat: the answer before comes once more, in place of this one.
        corrupt: it is changed into something that cannot be.
        fail: the engine raises.
        crash: the process ends; so it does until it is restarted, and comes back empty.
        hang: it never says anything more until it is restarted.
        unstartable: a restart fails.
        forget: the model drops the session, as under memory pressure.
        refuse: it refuses the conversation, or the question, for one of the reasons that there are.
        exhaust: it says that its context is full.
        ramp: from now on every answer takes longer than the one before.
        lie: candidates, or masses of bytes, are a distribution that is not the model's, but a valid one.
        flood: a model that writes alone sends an answer many times over.
    """

    drop: float = 0.0
    late: float = 0.0
    repeat: float = 0.0
    corrupt: float = 0.0
    fail: float = 0.0
    crash: float = 0.0
    hang: float = 0.0
    unstartable: float = 0.0
    forget: float = 0.0
    refuse: float = 0.0
    exhaust: float = 0.0
    ramp: float = 0.0
    lie: float = 0.0
    flood: float = 0.0
    latency: float = 0.01
    lateness: float = 60.0

    @classmethod
    def all(cls, share: float) -> "Faults":
        return cls(*[share] * 14)


class _Model:
    """One life of one model."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.state = "up"
        self.before: Reply | None = None
        self.slowness = 0.0  # seconds that the next answer takes at least


class _FaultyLink:
    def __init__(self, model: _Model, faults: Faults, random: Random) -> None:
        self._model, self._faults, self._random = model, faults, random
        self.info: ModelInfo = model.engine.info

    async def ask(self, request: Request) -> Reply:
        if isinstance(request, Close):
            await self._travel()
            self._model.engine.close(request.session)
            return Closed(request.session)
        await self._befall(request.session)
        if (refused := self._refused(request)) is not None:
            return refused
        match request:
            case Open():
                reply: Reply = self._model.engine.open(request)
            case NextCandidates() | ScorePieces() | ByteMarginals():
                reply = self._answer(request).reply
            case _:
                raise TypeError(type(request).__name__)
        return await self._deliver(reply)

    async def write(self, request: GenerateSolo) -> AsyncIterator[Reply]:
        writing = Writing(request)
        question: NextCandidates | None = writing.first
        while question is not None:
            await self._befall(request.session)
            if (refused := self._refused(request)) is not None:
                yield refused
                return
            replies, question = writing.heard(self._answer(question))
            for reply in replies:
                for _ in range(_FLOOD if self._chance(self._faults.flood) else 1):
                    yield await self._deliver(reply)

    async def alive(self) -> None:
        await self._travel()

    def _answer(self, request: NextCandidates | ScorePieces | ByteMarginals) -> EngineReply:
        answered = None
        while answered is None:  # an engine may compute a long text in parts
            (answered,) = self._model.engine.next_candidates([request])
        return answered

    async def _travel(self) -> None:
        """To the model, if it can be reached."""
        if self._model.state == "crashed":
            raise ModelGone("crashed")
        if self._model.state == "hanging":
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(self._random.uniform(0, self._faults.latency) + self._model.slowness)
        self._model.slowness *= self._random.uniform(1, 1.6)

    def _refused(self, request: Request) -> Reply | None:
        """An answer in place of the one that was asked for."""
        if self._chance(self._faults.refuse):
            return Refused(request.session, self._random.choice(_REFUSALS), "no")
        if self._chance(self._faults.exhaust) and not isinstance(request, Open):
            return ContextExhausted(request.session, 0)
        return None

    async def _befall(self, session: str) -> None:
        """What can happen before the model answers."""
        faults = self._faults
        if self._chance(faults.crash):
            self._model.state = "crashed"
        if self._chance(faults.hang):
            self._model.state = "hanging"
        if self._chance(faults.ramp) and not self._model.slowness:
            self._model.slowness = self._random.uniform(0.01, 1)
        await self._travel()
        if self._chance(faults.fail):
            raise RuntimeError("the engine failed")
        if self._chance(faults.forget):
            self._model.engine.close(session)

    async def _deliver(self, reply: Reply) -> Reply:
        """What can happen to an answer on its way."""
        faults, before = self._faults, self._model.before
        self._model.before = reply
        if self._chance(faults.drop):
            await asyncio.get_running_loop().create_future()
        if self._chance(faults.late):
            await asyncio.sleep(self._random.uniform(0, faults.lateness))
        if before is not None and self._chance(faults.repeat):
            return before
        if self._chance(faults.lie):
            reply = _lie(reply, self._random)
        if self._chance(faults.corrupt):
            reply = self._random.choice(_CORRUPTIONS)(reply)
        return reply

    def _chance(self, probability: float) -> bool:
        return probability > 0 and self._random.random() < probability


class FaultyRuntime:
    """A runtime for `Collaboration(runtime=...)` without threads, for `run_on_fake_clock`.

    Attributes:
        engines: the engines that are alive, by name; `ScriptedEngine.texts` shows their open sessions.
        starts: per model, how often it was started.
    """

    def __init__(self, make: Mapping[str, Callable[[], Engine]], faults: Faults | None = None, seed: int = 0) -> None:
        """``make`` has a function per model that makes a fresh, empty engine; faults are drawn from ``seed``."""
        self._make = make
        self._faults = faults or Faults()
        self._random = Random(seed)  # noqa: S311 - chance for tests
        self._models: dict[str, _Model] = {}
        self.starts = dict.fromkeys(make, 0)

    @property
    def engines(self) -> dict[str, Any]:
        return {name: model.engine for name, model in self._models.items() if model.state == "up"}

    async def start(self, specs: Sequence[ModelSpec]) -> list[ModelLink]:
        return [self._start(spec.name) for spec in specs]

    async def restart(self, spec: ModelSpec) -> ModelLink:
        await self.stop(spec.name)
        await asyncio.sleep(self._random.uniform(0, self._faults.latency))
        if self._random.random() < self._faults.unstartable:
            raise ModelUnavailable(f"{spec.name} does not start")
        return self._start(spec.name)

    async def stop(self, name: str) -> None:
        if (model := self._models.pop(name, None)) is not None:
            model.state = "crashed"

    async def close(self) -> None:
        for name in list(self._models):
            await self.stop(name)

    def _start(self, name: str) -> ModelLink:
        self._models[name] = model = _Model(self._make[name]())
        self.starts[name] += 1
        return _FaultyLink(model, self._faults, self._random)


# ---------------------------------------------------------------- lies and corruptions

_REFUSALS = ("PromptTooLong", "ModelRefused", "PlatformFull", "ModelFailed", "UsageError", "no such kind")
_FLOOD = 40


def _lie(reply: Reply, random: Random) -> Reply:
    """The reply with another distribution, which no check can find fault with."""
    match reply:
        case CandidatesReply(candidates=sent):
            pieces: set[bytes | None] = {random.randbytes(random.randint(1, 4)) for _ in sent.candidates}
            pieces |= {None} if random.random() < 0.2 else set()
            shares = sorted(_shares(random, len(pieces)), reverse=True)
            normaliser = random.uniform(-50, 50)
            told = [
                Candidate(piece, log(share) + normaliser, log(share))
                for piece, share in zip(sorted(pieces, key=piece_order), shares, strict=True)
            ]
            return replace(reply, candidates=CandidateSet(tuple(told), normaliser))
        case MarginalsReply(end=end):
            exact, own, *following = _shares(random, 258)
            return replace(reply, exact=exact, end=own if end else 0.0, following=tuple(following))
        case _:
            return reply


def _shares(random: Random, count: int) -> list[float]:
    """Parts of a whole, not all of it, of very different sizes."""
    drawn = [random.random() ** random.choice([1, 20]) + 1e-9 for _ in range(count)]
    whole = sum(drawn) * random.uniform(1, 2)
    return [one / whole for one in drawn]


def _with_candidates(change: Callable[[CandidateSet], CandidateSet]) -> Callable[[Reply], Reply]:
    def corrupt(reply: Reply) -> Reply:
        if isinstance(reply, CandidatesReply | SoloPiece | Unsure) and reply.candidates is not None:
            return replace(reply, candidates=change(reply.candidates))
        return SessionLost(reply.session + "?")

    return corrupt


def _huge(sent: CandidateSet) -> CandidateSet:
    best = sent.candidates[0]
    return replace(sent, candidates=(replace(best, piece=bytes(10_000_000)), *sent.candidates[1:]))


_CORRUPTIONS: Sequence[Callable[[Reply], Reply]] = (
    lambda reply: replace(reply, session="somebody else's"),
    lambda reply: Opened(reply.session, 1, 1) if not isinstance(reply, Opened) else Closed(reply.session),
    lambda reply: replace(reply, offset=reply.offset + 1) if isinstance(reply, ModelReply) else Closed(reply.session),
    _with_candidates(lambda sent: replace(sent, log_normaliser=nan)),
    _with_candidates(lambda sent: replace(sent, candidates=(Candidate(b"x", nan, nan), *sent.candidates))),
    _with_candidates(lambda sent: replace(sent, candidates=(Candidate(b"x", float("inf"), 0.0), *sent.candidates))),
    _with_candidates(lambda sent: replace(sent, candidates=sent.candidates[::-1])),
    _with_candidates(lambda sent: replace(sent, candidates=(*sent.candidates, sent.candidates[0]))),
    _with_candidates(lambda sent: replace(sent, candidates=())),
    _with_candidates(_huge),
)

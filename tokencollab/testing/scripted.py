"""Models without weights: what they would write next is a function of the text."""

from collections.abc import Callable, Mapping, Sequence
from math import exp, log

from tokencollab.actors.runtimes.threads import LocalRuntime
from tokencollab.engines.base import EXTRA_CANDIDATES, EngineReply, EngineRequest
from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.messages import (
    ByteMarginals,
    CandidatesReply,
    Capabilities,
    ContextExhausted,
    LogprobsReply,
    MarginalsReply,
    ModelInfo,
    NextCandidates,
    Open,
    Opened,
    Refused,
    Reply,
    ScorePieces,
    ScoresReply,
    ScoreText,
    SessionLost,
)
from tokencollab.protocol.pieces import Piece, piece_order

Script = Callable[[bytes], Mapping[Piece, float]]
"""From the shared text so far to the raw logits of every piece of the vocabulary."""


_IMPROBABLE = -30.0


class ScriptedModel:
    """A script as a model for `drive`: deterministic, instant, no weights."""

    def __init__(self, script: Script) -> None:
        """``script``: the raw logit of every piece after a text."""
        self._script = script

    def candidates(self, text: bytes, k: int) -> CandidateSet:
        logits = self._script(text)
        normaliser = _normaliser(logits)
        ranked = sorted(logits.items(), key=lambda item: (-item[1], piece_order(item[0])))[: k + EXTRA_CANDIDATES]
        return CandidateSet(tuple(Candidate(piece, x, x - normaliser) for piece, x in ranked), normaliser)

    def scores(self, text: bytes, pieces: Sequence[Piece]) -> tuple[float, ...]:
        """The raw logits of ``pieces``; one that is not in the vocabulary has the lowest."""
        logits = self._script(text)
        lowest = min(logits.values())
        return tuple(logits.get(piece, lowest) for piece in pieces)

    def marginals(self, text: bytes, pending: bytes) -> tuple[float, float, tuple[float, ...]]:
        """The masses of `events.MarginalsArrived`, over the whole vocabulary."""
        logits = self._script(text)
        normaliser = _normaliser(logits)
        mass = {piece: exp(logit - normaliser) for piece, logit in logits.items()}
        longer = [0.0] * 256
        for piece, probability in mass.items():
            if piece is not None and len(piece) > len(pending) and piece.startswith(pending):
                longer[piece[len(pending)]] += probability
        return (mass.get(pending, 0.0), 0.0, tuple(longer)) if pending else (0.0, mass.get(None, 0.0), tuple(longer))


def _normaliser(logits: Mapping[Piece, float]) -> float:
    return log(sum(exp(logit) for logit in logits.values()))


class ScriptedEngine:
    """An engine whose answers are a function of the text: deterministic, instant, no weights."""

    def __init__(
        self, name: str, script: Script, context_length: int = 1 << 20, capabilities: Capabilities | None = None
    ) -> None:
        """``context_length`` counts bytes of the answer; ``capabilities`` are what it says of itself."""
        self._script = script
        self._model = ScriptedModel(self._logits)
        self._context = context_length
        self.texts: dict[str, bytes] = {}
        self.calls: list[list[EngineRequest]] = []
        can = capabilities or Capabilities(several_offsets=True)
        self.info = ModelInfo(name, "Scripted", 0, 0, context_length, "float64", "scripted", False, can)

    def _logits(self, text: bytes) -> Mapping[Piece, float]:
        return self._script(text)  # which a subclass may change later

    @property
    def kv_bytes(self) -> int:
        return 0

    def open(self, request: Open) -> Opened | Refused:
        """See `Engine.open`. The prompt has as many tokens as characters."""
        tokens = sum(len(turn.content) for turn in request.messages)
        if tokens >= self._context:
            return Refused(request.session, "PromptTooLong", f"the prompt is too long for {self.info.name}")
        self.texts[request.session] = request.text + b"".join(piece or b"" for piece in request.pieces)
        return Opened(request.session, tokens, self._context - tokens)

    def close(self, session: str) -> None:
        self.texts.pop(session, None)

    def next_candidates(self, requests: Sequence[EngineRequest]) -> list[EngineReply | None]:
        self.calls.append(list(requests))
        return [self._answer(request) for request in requests]

    def _answer(self, request: EngineRequest) -> EngineReply:
        text = self.texts.get(request.session)
        if text is None or len(text) < request.start:
            return EngineReply(SessionLost(request.session))
        text = text[: request.start] + request.data
        ends = (request.offsets if isinstance(request, NextCandidates) else ()) or (len(text),)
        text = self.texts[request.session] = text[: ends[-1]]
        if len(text) >= self._context:
            return EngineReply(ContextExhausted(request.session, len(text)))
        session, at = request.session, len(text)
        reply: Reply
        match request:
            case NextCandidates(k=k):
                *earlier, last = (self._model.candidates(text[:end], k) for end in ends)
                reply = CandidatesReply(session, at, last, len(ends), None, tuple(earlier))
                return EngineReply(reply, last.best.piece)
            case ScorePieces(pieces=pieces):
                reply = ScoresReply(session, at, self._model.scores(text, pieces), 0)
            case ScoreText():
                reply = self._logprobs(session, text)
            case ByteMarginals(pending=pending):
                reply = MarginalsReply(session, at, *self._model.marginals(text, pending), 0)
        return EngineReply(reply)

    def _logprobs(self, session: str, text: bytes) -> LogprobsReply:
        """The text in the longest pieces of the vocabulary; a byte that none begins with is improbable."""
        ends: list[int] = []
        logprobs: list[float] = []
        at = 0
        while at < len(text):
            logits = self._script(text[:at])
            normaliser = _normaliser(logits)
            fitting = [piece for piece in logits if piece and text.startswith(piece, at)]
            piece = max(fitting, key=len, default=None)
            at += len(piece) if piece else 1
            ends.append(at)
            logprobs.append(logits[piece] - normaliser if piece else _IMPROBABLE)
        return LogprobsReply(session, len(text), tuple(ends), tuple(logprobs), len(ends))


def scripted_runtime(*engines: ScriptedEngine) -> LocalRuntime:
    """A runtime for `Collaboration(runtime=...)` whose models are these engines, by their names."""
    by_name = {engine.info.name: engine for engine in engines}
    return LocalRuntime(load=lambda spec: by_name[spec.name])

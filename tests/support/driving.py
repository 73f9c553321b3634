"""Engines as models of `tokencollab.testing.Driver`: whole answers as plain function calls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tokencollab.engines.base import EngineReply, EngineRequest
from tokencollab.engines.transformers_engine import TransformersEngine
from tokencollab.policies.machine import make_policy
from tokencollab.policies.methods import Method, parse_method, sampling_of
from tokencollab.policies.selection import choose_solo
from tokencollab.protocol import messages as m
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.pieces import Piece
from tokencollab.protocol.replies import check_spelling
from tokencollab.protocol.spelling import KeptSpelling
from tokencollab.testing import Driver

QUESTION = (m.ChatMessage("user", "Why is the sky blue?"),)


@dataclass
class Outcome:
    """An answer as the committed pieces; with it what every model answered, how many tokens it forwarded for that, and
    the tokens that it held then.
    """

    reason: str = ""
    driver: Driver | None = None
    forwarded: dict[str, list[int]] = field(default_factory=dict)
    candidates: list[CandidateSet] = field(default_factory=list)
    ids: list[list[int]] = field(default_factory=list)

    @property
    def pieces(self) -> list[Piece]:
        """What was committed."""
        return self.driver.pieces if self.driver else []

    @property
    def text(self) -> bytes:
        """The pieces joined."""
        return self.driver.text if self.driver else b""


def answer_all(engine: TransformersEngine, requests: Sequence[EngineRequest]) -> list[EngineReply]:
    """The engine's answers; what it has not finished is given again."""
    answers = engine.next_candidates(requests)
    while None in answers:
        open_ones = [index for index, answered in enumerate(answers) if answered is None]
        more = engine.next_candidates([requests[index] for index in open_ones])
        for index, answered in zip(open_ones, more, strict=True):
            answers[index] = answered
    return [answered for answered in answers if answered is not None]


def ask(engine: TransformersEngine, request: EngineRequest) -> EngineReply:
    """One answer of an engine, however many parts it is computed in."""
    while True:
        (answer,) = engine.next_candidates([request])
        if answer is not None:
            return answer


def candidates(
    engine: TransformersEngine, text: bytes, *, start: int = 0, k: int = 10, session: str = "s"
) -> CandidateSet:
    """The candidates after ``text``, checked as on arrival; ``text[:start]`` is already there."""
    reply = ask(engine, m.NextCandidates(session, start, text[start:], k)).reply
    assert isinstance(reply, m.CandidatesReply), reply
    assert reply.offset == len(text)
    return reply.candidates.checked()


def feed(engine: TransformersEngine, pieces: list[bytes], session: str = "s") -> list[CandidateSet]:
    """Opens a session and commits the pieces one by one; the candidates after each, the empty text first."""
    engine.open(m.Open(session, QUESTION))
    text = b""
    answers = [candidates(engine, text, session=session)]
    for piece in pieces:
        text += piece
        answers.append(candidates(engine, text, start=len(text) - len(piece), session=session))
    return answers


@dataclass
class EngineModel:
    """An engine as a model for `Driver`: what travels is what it has not seen, and a lost session is opened again."""

    engine: TransformersEngine
    name: str
    outcome: Outcome
    prompt: tuple[m.ChatMessage, ...]
    session: str
    interrupt: Callable[[], None]
    held: int = 0
    spelt: KeptSpelling = field(default_factory=KeptSpelling)
    greedy: Piece = None

    def candidates(self, text: bytes, k: int) -> CandidateSet:
        answered = self._put(m.NextCandidates, text, k)
        assert isinstance(answered.reply, m.CandidatesReply)
        self.greedy = answered.greedy
        self.outcome.candidates.append(answered.reply.candidates.checked())
        return answered.reply.candidates

    def scores(self, text: bytes, pieces: Sequence[Piece]) -> tuple[float, ...]:
        reply = self._put(m.ScorePieces, text, tuple(pieces)).reply
        assert isinstance(reply, m.ScoresReply)
        return reply.logits

    def marginals(self, text: bytes, pending: bytes) -> tuple[float, float, tuple[float, ...]]:
        reply = self._put(m.ByteMarginals, text, pending).reply
        assert isinstance(reply, m.MarginalsReply)
        return reply.exact, reply.end, reply.following

    def _put(self, kind: Callable[..., EngineRequest], text: bytes, what: Any) -> EngineReply:
        self.interrupt()
        start = min(self.held, len(text))
        request = kind(self.session, start, text[start:], what)
        answered = ask(self.engine, request)
        if isinstance(answered.reply, m.SessionLost):
            again = m.Open(self.session, self.prompt, self.outcome.text[: self.held], self.spelt.whole)
            assert isinstance(self.engine.open(again), m.Opened)
            answered = ask(self.engine, request)
        reply = answered.reply
        assert isinstance(reply, m.CandidatesReply | m.ScoresReply | m.MarginalsReply)
        self.held = reply.offset
        assert reply.spelling is not None
        check_spelling(reply.spelling, reply.offset)
        self.spelt.take(reply.spelling)
        assert self.spelt.whole is not None
        self.outcome.ids.append(token_ids(self.engine, self.session))
        self.outcome.forwarded[self.name].append(reply.forwarded)
        return answered


def answer(
    engines: Mapping[str, TransformersEngine],
    method: str | Method = "base",
    *,
    prompt: tuple[m.ChatMessage, ...] = QUESTION,
    max_tokens: int = 24,
    seed: int = 0,
    session: str = "s",
    interrupt: Callable[[int], None] = lambda step: None,
    **settings: Any,
) -> Outcome:
    """Writes an answer with ``engines``, the base first. ``interrupt`` is called before each question."""
    chosen = method if isinstance(method, Method) else parse_method(method, **settings)
    policy = make_policy(chosen, max_tokens=max_tokens, seed=seed, report=True)
    sampling = sampling_of(chosen, seed)
    outcome = Outcome(forwarded={name: [] for name in engines})
    for engine in engines.values():
        assert isinstance(engine.open(m.Open(session, prompt)), m.Opened)
    asked = count()
    models = {
        name: EngineModel(engine, name, outcome, prompt, session, lambda: interrupt(next(asked)))
        for name, engine in engines.items()
    }

    def choose(model: str, sent: CandidateSet, step: int) -> Piece:
        return models[model].greedy if sampling.top_t == (1, 1) else choose_solo(sent, sampling, step)

    driver = Driver(policy, models, sampling=sampling, choose=choose)
    outcome.driver = driver
    driver.run()
    outcome.reason = driver.stop or ""
    return outcome


def load(folder: Path, name: str = "tiny") -> TransformersEngine:
    """The engine of a tiny model."""
    return TransformersEngine.from_folder(name, folder)


def token_ids(engine: TransformersEngine, session: str = "s") -> list[int]:
    """The answer so far as the model's own tokens."""
    return list(engine.pool[session].text.ids)

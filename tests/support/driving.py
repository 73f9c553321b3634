"""Drives engines and policies in step, without an event loop: whole answers as plain function calls."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokencollab.engines.base import EngineReply, EngineRequest
from tokencollab.engines.transformers_engine import TransformersEngine
from tokencollab.policies import events as e
from tokencollab.policies.methods import Method, make_policy, parse_method, sampling_of
from tokencollab.policies.selection import choose_solo
from tokencollab.protocol import messages as m
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.pieces import Piece
from tokencollab.protocol.spelling import Spelling

QUESTION = (m.ChatMessage("user", "Why is the sky blue?"),)


@dataclass
class Outcome:
    """An answer as the committed pieces; with it what every model answered, how many tokens it forwarded for that, and
    the tokens that it held then.
    """

    pieces: list[Piece] = field(default_factory=list)
    reason: str = ""
    forwarded: dict[str, list[int]] = field(default_factory=dict)
    candidates: list[CandidateSet] = field(default_factory=list)
    ids: list[list[int]] = field(default_factory=list)

    @property
    def text(self) -> bytes:
        """The pieces joined."""
        return b"".join(piece for piece in self.pieces if piece is not None)


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


def answer(  # noqa: PLR0912
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
    held = dict.fromkeys(engines, 0)
    spelt: dict[str, Spelling | None] = dict.fromkeys(engines)
    inbox: deque[e.Event] = deque()
    questions = 0

    def put(model: str, request: EngineRequest) -> EngineReply:
        nonlocal questions
        interrupt(questions)
        questions += 1
        answered = ask(engines[model], request)
        if isinstance(answered.reply, m.SessionLost):
            again = m.Open(session, prompt, outcome.text[: held[model]], spelt[model])
            assert isinstance(engines[model].open(again), m.Opened)
            answered = ask(engines[model], request)
        reply = answered.reply
        if isinstance(reply, m.CandidatesReply | m.ScoresReply | m.MarginalsReply):
            held[model] = reply.offset
            assert reply.spelling is not None
            spelt[model] = reply.spelling.after(spelt[model])
            assert spelt[model] is not None
            outcome.ids.append(token_ids(engines[model], session))
            outcome.forwarded[model].append(reply.forwarded)
        if isinstance(reply, m.CandidatesReply):
            outcome.candidates.append(reply.candidates.checked())
        return answered

    def since(model: str, offset: int) -> tuple[int, bytes]:
        start = min(held[model], offset)
        return start, outcome.text[start:offset]

    state, commands = policy.start(tuple(engines))
    while True:
        for command in commands:
            match command:
                case e.Commit(piece, _):
                    outcome.pieces.append(piece)
                case e.Stop(reason):
                    outcome.reason = reason
                    return outcome
                case e.RequestCandidates(model, question, offset, k):
                    reply = put(model, m.NextCandidates(session, *since(model, offset), k)).reply
                    assert isinstance(reply, m.CandidatesReply)
                    inbox.append(e.CandidatesArrived(model, question, reply.candidates))
                case e.RequestScores(model, question, offset, pieces):
                    reply = put(model, m.ScorePieces(session, *since(model, offset), pieces)).reply
                    assert isinstance(reply, m.ScoresReply)
                    inbox.append(e.ScoresArrived(model, question, reply.logits))
                case e.RequestMarginals(model, question, offset, pending):
                    reply = put(model, m.ByteMarginals(session, *since(model, offset), pending)).reply
                    assert isinstance(reply, m.MarginalsReply)
                    inbox.append(e.MarginalsArrived(model, question, reply.exact, reply.end, reply.following))
                case e.RunSolo(model, question, offset, first, steps):
                    start, data = since(model, offset)
                    for step in range(first, first + steps):
                        answered = put(model, m.NextCandidates(session, start, data, sampling.top_k))
                        reply = answered.reply
                        assert isinstance(reply, m.CandidatesReply)
                        greedy = sampling.top_t == (1, 1)
                        picked = answered.greedy if greedy else choose_solo(reply.candidates, sampling, step)
                        state, done = policy.step(state, e.SoloStep(model, question, picked, reply.candidates))
                        for result in done:
                            if isinstance(result, e.Commit):
                                outcome.pieces.append(result.piece)
                            elif isinstance(result, e.Stop):
                                outcome.reason = result.reason
                                return outcome
                        assert picked is not None
                        start, data = reply.offset, picked
                case e.Exited() | e.Notice():
                    pass
        state, commands = policy.step(state, inbox.popleft())


def load(folder: Path, name: str = "tiny") -> TransformersEngine:
    """The engine of a tiny model."""
    return TransformersEngine.from_folder(name, folder)


def token_ids(engine: TransformersEngine, session: str = "s") -> list[int]:
    """The answer so far as the model's own tokens."""
    return list(engine.pool[session].text.ids)

"""A model that is restarted anywhere in an answer goes on with the ids, candidates and text that it would have had."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.engines.test_whole_answers import SPELLING, back, check_tokens, own, pieces
from tests.support.driving import QUESTION, Outcome, ask, token_ids
from tests.support.driving import answer as write
from tests.support.tiny import KINDS
from tokencollab import Collaboration
from tokencollab.actors.runtimes.threads import LocalRuntime
from tokencollab.engines.base import EngineReply, EngineRequest
from tokencollab.engines.transformers_engine import TransformersEngine
from tokencollab.protocol import messages as m
from tokencollab.protocol.replies import check_spelling
from tokencollab.protocol.spelling import KeptSpelling, Spelling

Engines = Callable[..., TransformersEngine]


def check_same(given: Outcome, expected: Outcome) -> None:
    assert given.pieces == expected.pieces
    assert given.ids == expected.ids
    for mine, theirs in zip(given.candidates, expected.candidates, strict=True):
        assert [c.piece for c in mine.candidates] == [c.piece for c in theirs.candidates]
        assert [c.logit for c in mine.candidates] == pytest.approx([c.logit for c in theirs.candidates], abs=1e-3)


@pytest.mark.parametrize("method", ["base", "unite", "duetnet", "bytewise", "upara-4"])
@pytest.mark.parametrize("kind", KINDS)
def test_restarted_at_every_position(tiny_engine: Engines, kind: str, method: str) -> None:
    """Before every question each model is another engine with the same weights, which has not seen the session."""
    # The other model has other tokens in the same vocabulary, or another vocabulary.
    for other in (kind, "gemma" if kind == "bytes" else "bytes"):
        pairs = {
            "a": [tiny_engine(kind, copy=copy, architecture="gemma3", chat=False) for copy in (0, 1)],
            "b": [tiny_engine(other, copy=copy + 2, seed=9) for copy in (0, 1)],
        }
        names = ["a"] if method == "base" else ["a", "b"]
        current = {name: pairs[name][0] for name in names}
        whole = write(current, method, max_tokens=14)

        def restart(question: int, current: dict[str, Any] = current, pairs: dict[str, Any] = pairs) -> None:
            for name, engines in pairs.items():
                if name in current:
                    current[name] = engines[question % 2]
                    current[name].close("s")

        check_same(write(current, method, max_tokens=14, interrupt=restart), whole)


def step(
    engine: TransformersEngine, start: int, data: bytes, spelt: Spelling | None
) -> tuple[m.CandidatesReply, Spelling]:
    reply = ask(engine, m.NextCandidates("s", start, data, 10)).reply
    assert isinstance(reply, m.CandidatesReply)
    assert reply.spelling is not None
    check_spelling(reply.spelling, reply.offset)
    kept = KeptSpelling()
    for change in (spelt, reply.spelling):
        kept.take(change)
    assert kept.whole is not None
    return reply, kept.whole


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(script=st.lists(st.one_of(pieces, pieces, own, back), min_size=1, max_size=14), chat=st.booleans())
def test_any_pieces_after_a_restart(
    tiny_engine: Engines, kind: str, script: list[bytes | int | float], chat: bool
) -> None:
    """Whatever was written, by whom, and cut back: the engine that is restarted before every step holds the same."""
    engine, restarted = tiny_engine(kind, chat=chat), tiny_engine(kind, chat=chat, copy=1)
    engine.open(m.Open("s", QUESTION))
    text, spelt, whole = b"", None, None
    offered, spelt = step(engine, 0, b"", None)
    whole = spelt
    for entry in script:
        before, start = text, len(text)
        match entry:
            case bytes():
                text += entry
            case int():
                listed = [c.piece for c in offered.candidates.candidates if c.piece]
                text += listed[entry % len(listed)]
            case float():
                start = int(entry * len(text))
                text = text[:start]
        offered, spelt = step(engine, start, text[start:], spelt)
        restarted.open(m.Open("s", QUESTION, before, whole))
        again, whole = step(restarted, start, text[start:], whole)
        assert whole == spelt
        mine, theirs = restarted.pool["s"].text, engine.pool["s"].text
        assert (mine.ids, mine.ends, mine.lead, mine.text) == (theirs.ids, theirs.ends, theirs.lead, theirs.text)
        ours, others = offered.candidates.candidates, again.candidates.candidates
        assert [c.piece for c in ours] == [c.piece for c in others]
        assert [c.logit for c in ours] == pytest.approx([c.logit for c in others], abs=1e-3)


@pytest.mark.parametrize("kind", SPELLING)
@settings(max_examples=40)
@given(
    written=st.lists(pieces, min_size=1, max_size=5),
    text=st.one_of(st.none(), pieces),
    tokens=st.one_of(st.none(), st.lists(st.binary(min_size=8, max_size=8), max_size=3).map(b"".join)),
    state=st.one_of(st.none(), st.binary(max_size=16)),
)
def test_a_spelling_of_something_else_does_no_harm(
    tiny_engine: Engines,
    kind: str,
    written: Sequence[bytes],
    text: bytes | None,
    tokens: bytes | None,
    state: bytes | None,
) -> None:
    """What does not spell the text is not believed: the model cuts the text itself."""
    engine = tiny_engine(kind)
    engine.open(m.Open("s", QUESTION))
    sent, spelt = b"", None
    for piece in written:
        _, spelt = step(engine, len(sent), piece, spelt)
        sent += piece
    assert spelt is not None
    wrong = Spelling(0, spelt.tokens if tokens is None else tokens, spelt.state if state is None else state)
    text = sent if text is None else text
    engine.open(m.Open("s", QUESTION, text, wrong))
    _, spelt = step(engine, len(text), b"", None)
    step(engine, len(text), b" the", spelt)
    held = engine.pool["s"].text
    assert held.text == text + b" the"
    assert all(engine._vocabulary.pieces[token] for token in held.ids)
    if tokens is None and state is None:
        check_tokens(kind, engine, text + b" the")


def test_a_reply_that_was_not_received(tiny_engine: Engines) -> None:
    """The next reply then has the whole spelling, not what changed."""
    engine = tiny_engine("bytes")
    engine.open(m.Open("s", QUESTION))
    _, first = step(engine, 0, b"The qui", None)
    ask(engine, m.NextCandidates("s", 7, b"ck", 10))  # lost
    reply, whole = step(engine, 7, b"ck brown", first)
    assert reply.spelling is not None
    assert reply.spelling.kept == 0
    engine.open(m.Open("t", QUESTION, b"The quick brown", whole))
    assert token_ids(engine, "t") == token_ids(engine)
    reply, _ = step(engine, len(b"The quick brown"), b" fox", whole)
    assert reply.spelling is not None
    assert len(reply.spelling.tokens) == 8


class Forgetful:
    """An engine that loses all its sessions at every third call."""

    def __init__(self, engine: TransformersEngine) -> None:
        self.engine = engine
        self.info = engine.info
        self.kv_bytes = 0
        self.calls = 0
        self.ids: list[list[int]] = []

    def open(self, request: m.Open) -> m.Opened | m.Refused:
        self.session = request.session
        return self.engine.open(request)

    def next_candidates(self, requests: Sequence[EngineRequest]) -> list[EngineReply | None]:
        self.calls += 1
        if self.calls % 3 == 0:
            self.engine.close(self.session)
        answers = self.engine.next_candidates(requests)
        if not isinstance(answers[0] and answers[0].reply, m.SessionLost | None):
            self.ids.append(token_ids(self.engine, self.session))
        return answers

    def close(self, session: str) -> None:
        self.engine.close(session)


@pytest.mark.parametrize("method", ["unite", "duetnet", "bytewise"])
def test_through_the_coordinator(tiny_engine: Engines, method: str) -> None:
    async def run(engines: dict[str, Any]) -> tuple[bytes | None, ...]:
        runtime = LocalRuntime(load=lambda spec: engines[spec.name])
        async with Collaboration("a", ["b"], method, runtime=runtime) as team:
            return (await team.generate(QUESTION[0].content, max_tokens=20)).pieces

    for kind in ("bytes", "gemma", "unigram"):
        engines = {"a": tiny_engine(kind, chat=False), "b": tiny_engine("llama", seed=9)}
        forgetful = {name: Forgetful(engine) for name, engine in engines.items()}
        expected = asyncio.run(run(engines))
        assert asyncio.run(run(forgetful)) == expected
        assert forgetful["a"].calls > len(expected)

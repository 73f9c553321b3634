"""Whole answers in text from all of Unicode, and bytes that are no text, through tiny models of every kind."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.driving import QUESTION, ask, candidates
from tests.support.driving import answer as write
from tests.support.tiny import KINDS, SPECIAL, TEXT
from tokencollab.engines.kv_cache import Segment, SessionCache, packed
from tokencollab.engines.transformers_engine import TransformersEngine
from tokencollab.protocol import messages as m

Engines = Callable[..., TransformersEngine]
SPELLING = ("bytes", "nfc", "llama", "metaspace", "gemma")

characters = st.characters(codec="utf-8")
texts = st.text(characters, min_size=1, max_size=4).map(str.encode)
known = st.tuples(st.integers(0, len(TEXT) - 8), st.integers(1, 8)).map(lambda at: TEXT[at[0] : at[0] + at[1]].encode())
traps = st.sampled_from(
    [
        b" ",
        b"  ",
        b"\n",
        b"\n\n",
        b"\t",
        b"\r\n",
        b"\x00",
        b"<0x0A>",
        "▁".encode(),
        b" </s>",
        "e\u0301".encode(),
        "👨‍👩‍👧".encode(),
    ]
    + [token.encode() for token in SPECIAL]
)
parts = st.tuples(characters, st.integers(0, 3), st.integers(1, 4)).map(
    lambda cut: cut[0].encode()[cut[1] :][: cut[2]] or cut[0].encode()
)
pieces = st.one_of(texts, known, traps, parts, st.binary(min_size=1, max_size=4))
own = st.integers(0, 15)
"""One of the model's own candidates, by rank."""
back = st.floats(0, 1)
"""The text is cut back to this part of it."""


def check_tokens(kind: str, engine: TransformersEngine, text: bytes) -> None:
    held = engine.pool["s"].text
    vocabulary = engine._vocabulary
    assert held.text == text
    assert len(held.ids) == len(held.ends)
    assert held.ends == sorted(held.ends)
    assert not set(held.ids) & set(vocabulary.end_ids)
    spelt = [vocabulary.pieces[token] for token in held.ids]
    assert all(piece or token == vocabulary.unknown_id for piece, token in zip(spelt, held.ids, strict=True))
    whole = held.lead + text if text else b""
    assert whole.endswith(held.pending)
    if kind in SPELLING:
        assert b"".join(piece or b"?" for piece in spelt) == whole
        assert held.pending == b""


def computed_anew(engine: TransformersEngine) -> torch.Tensor:
    """The logits after the session's tokens in one forward pass."""
    session = engine.pool["s"]
    ids = torch.tensor([[*session.prompt.ids, *session.text.ids]])
    with torch.inference_mode(), packed([Segment(SessionCache(), ids.shape[1])]):
        logits: torch.Tensor = engine._model(
            input_ids=ids, position_ids=torch.arange(ids.shape[1])[None], use_cache=False
        ).logits[0, -1]
    return logits.float()


@pytest.mark.parametrize("kind", KINDS)
@settings(derandomize=True, deadline=None, max_examples=25)
@given(script=st.lists(st.one_of(pieces, pieces, own, back), min_size=1, max_size=20), chat=st.booleans())
def test_any_pieces_in_any_order(
    tiny_engine: Engines, kind: str, script: list[bytes | int | float], chat: bool
) -> None:
    """The model's tokens spell the text, its cache holds what a fresh pass computes, its candidates are sound."""
    engine = tiny_engine(kind, chat=chat, architecture="gemma3")
    engine.open(m.Open("s", QUESTION))
    text = b""
    offered = candidates(engine, text)
    for entry in script:
        start = len(text)
        match entry:
            case bytes():
                text += entry
            case int():
                listed = [c.piece for c in offered.candidates if c.piece]
                text += listed[entry % len(listed)]
            case float():
                start = int(entry * len(text))
                text = text[:start]
        offered = candidates(engine, text, start=start)
        check_tokens(kind, engine, text)
    logits = engine.pool["s"].logits
    assert logits is not None
    assert torch.allclose(logits, computed_anew(engine), atol=1e-4)


@settings(derandomize=True, deadline=None, max_examples=80)
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=2, max_size=3),
    method=st.sampled_from(["unite", "duetnet", "gac", "dp", "dk", "bytewise", "upara-4"]),
    plain=st.booleans(),
    question=st.text(characters, min_size=1, max_size=30),
    seed=st.integers(0, 3),
)
def test_whole_answers_of_different_models(
    tiny_engine: Engines, kinds: list[str], method: str, plain: bool, question: str, seed: int
) -> None:
    """Whoever writes with whom: pieces joined are the answer, every model holds it, and again it is the same."""
    engines = {
        f"{index}-{kind}": tiny_engine(kind, copy=index, seed=seed, chat=not plain or index == 0)
        for index, kind in enumerate(kinds)
    }
    prompt = (m.ChatMessage("user", question),)
    outcome = write(engines, method, prompt=prompt, max_tokens=14)
    assert outcome.reason in ("end", "length")
    for (name, engine), kind in zip(engines.items(), kinds, strict=True):
        held = engine.pool["s"].text.text
        assert outcome.text.startswith(held)
        check_tokens(kind, engine, held)
        assert outcome.forwarded[name], name
    again = write(engines, method, prompt=prompt, max_tokens=14)
    assert again.pieces == outcome.pieces


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    kind=st.sampled_from(KINDS),
    others=st.lists(st.lists(pieces, min_size=1, max_size=6), min_size=1, max_size=4),
    mine=st.lists(pieces, min_size=1, max_size=6),
)
def test_alone_or_among_others(tiny_engine: Engines, kind: str, others: list[list[bytes]], mine: list[bytes]) -> None:
    """What a session is answered does not depend on which sessions share its forward passes."""
    engine = tiny_engine(kind)

    def candidates_of(reply: Any) -> list[Any]:
        assert isinstance(reply, m.CandidatesReply)
        return [(c.piece, round(c.logit, 3)) for c in reply.candidates.candidates[:8]]

    engine.open(m.Open("s", QUESTION))
    text, alone = b"", []
    for piece in mine:
        alone.append(candidates_of(ask(engine, m.NextCandidates("s", len(text), piece, 10)).reply))
        text += piece
    engine.open(m.Open("s", QUESTION))
    sessions = {"s": mine} | {f"other{index}": script for index, script in enumerate(others)}
    for name in sessions:
        engine.open(m.Open(name, QUESTION))
    held = dict.fromkeys(sessions, 0)
    together = []
    for step in range(len(mine)):
        requests = []
        for name, script in sessions.items():
            if step < len(script):
                requests.append(m.NextCandidates(name, held[name], script[step], 10))
                held[name] += len(script[step])
        answers = engine.next_candidates(requests)
        assert answers[0] is not None
        together.append(candidates_of(answers[0].reply))
    assert [[piece for piece, _ in listed] for listed in together] == [
        [piece for piece, _ in listed] for listed in alone
    ]

"""The log-probabilities of a given text are those of transformers, from one prefill."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.support.driving import QUESTION, ask, candidates
from tests.support.tiny import KINDS
from tokencollab.engines.transformers_engine import TransformersEngine
from tokencollab.protocol import messages as m
from tokencollab.testing import ScriptedEngine

Engines = Callable[..., TransformersEngine]
TEXT = "The dog isn't 🙂 here,\n  日本 x Привет; " * 4


def logprobs(engine: Any, text: bytes, start: int = 0) -> m.LogprobsReply:
    reply = ask(engine, m.ScoreText("s", start, text[start:])).reply
    assert isinstance(reply, m.LogprobsReply), reply
    assert len(reply.ends) == len(reply.logprobs)
    assert list(reply.ends) == sorted(reply.ends)
    return reply


def expected(folder: Any, engine: TransformersEngine) -> list[float]:
    session = engine.pool["s"]
    row = torch.tensor([session.ids])
    with torch.inference_mode():
        logits = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(row).logits[0]
    all_of_them = torch.log_softmax(logits[:-1].float(), -1).gather(1, row[0, 1:, None])[:, 0]
    return list(all_of_them[len(session.prompt.ids) - 1 :].tolist())


@pytest.mark.parametrize("chat", [True, False], ids=["chat", "plain"])
@pytest.mark.parametrize("kind", KINDS)
def test_they_are_those_of_transformers(tiny_engine: Engines, tiny_model: Any, kind: str, chat: bool) -> None:
    engine = tiny_engine(kind, chat=chat, seed=5)
    text = TEXT.encode()
    engine.open(m.Open("s", QUESTION))
    reply = logprobs(engine, text)
    assert reply.offset == len(text)
    assert reply.ends[-1] <= len(text)
    assert reply.logprobs == pytest.approx(expected(tiny_model(kind, chat=chat, seed=5), engine), abs=2e-4)
    assert reply.forwarded == engine.pool["s"].length - 1  # the last token foresees nothing that is asked


def test_a_shared_prompt_is_not_computed_again_and_candidates_are_as_ever(tiny_engine: Engines) -> None:
    engine = tiny_engine("bytes", seed=5)
    engine.open(m.Open("s", QUESTION))
    before = candidates(engine, b"The dog")
    first = logprobs(engine, TEXT.encode(), start=0)
    again = logprobs(engine, TEXT.encode(), start=len(TEXT.encode()))
    assert again.logprobs == pytest.approx(first.logprobs, abs=1e-4)
    prompt = len(engine.pool["s"].prompt.ids)
    assert first.forwarded < engine.pool["s"].length - prompt + 2
    after = candidates(engine, b"The dog")
    assert [c.piece for c in after.candidates] == [c.piece for c in before.candidates]
    assert after.best.logprob == pytest.approx(before.best.logprob, abs=1e-4)


def test_an_unknown_session_and_a_full_one(tiny_engine: Engines) -> None:
    engine = tiny_engine("bytes", seed=5)
    assert ask(engine, m.ScoreText("nobody", 0, b"x")).reply == m.SessionLost("nobody")
    engine.open(m.Open("s", QUESTION))
    long = b"a b " * engine.info.context_length
    assert isinstance(ask(engine, m.ScoreText("s", 0, long)).reply, m.ContextExhausted)
    assert logprobs(engine, b"").logprobs == ()


def test_a_scripted_model_knows_its_own_text() -> None:
    engine = ScriptedEngine("a", lambda text: {b"ab": 1.0, b"a": 0.0, None: 0.0})
    engine.open(m.Open("s", QUESTION))
    (answered,) = engine.next_candidates([m.ScoreText("s", 0, b"aba?")])
    assert answered is not None
    assert isinstance(answered.reply, m.LogprobsReply)
    assert answered.reply.ends == (2, 3, 4)
    assert answered.reply.logprobs == pytest.approx((-0.5514, -1.5514, -30), abs=1e-3)

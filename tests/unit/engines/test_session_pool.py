"""Many sessions of one engine: shared prompts, prompts in parts, and the memory of their caches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.driving import QUESTION, answer_all, ask
from tokencollab.engines.kv_cache import capacity_for
from tokencollab.engines.options import EngineOptions
from tokencollab.engines.transformers_engine import TransformersEngine
from tokencollab.protocol import messages as m

Build = Callable[..., Path]
LONG = (m.ChatMessage("user", "the quick brown fox jumps over the lazy dog " * 40),)


def engine(tiny_model: Build, **options: Any) -> TransformersEngine:
    return TransformersEngine.from_folder("t", tiny_model("bytes"), EngineOptions(threads=1, **options))


def best(engine: TransformersEngine, *names: str, text: bytes = b"") -> list[m.CandidatesReply]:
    replies = [answered.reply for answered in answer_all(engine, [m.NextCandidates(n, 0, text, 10) for n in names])]
    assert all(isinstance(reply, m.CandidatesReply) for reply in replies)
    return replies  # type: ignore[return-value]


def test_sessions_with_the_same_prompt_compute_it_once(tiny_model: Build) -> None:
    shared = engine(tiny_model)
    for name in "abc":
        shared.open(m.Open(name, LONG))
    prompt = len(shared.pool["a"].prompt.ids)
    first, *others = best(shared, "a", "b", "c")
    assert first.forwarded == prompt
    assert [reply.forwarded for reply in others] == [1, 1]
    assert shared.pool.shared == 2 * (prompt - 1)
    alone = engine(tiny_model)
    alone.open(m.Open("a", LONG))
    (reference,) = best(alone, "a")
    for reply in (first, *others):
        assert [c.piece for c in reply.candidates.candidates] == [c.piece for c in reference.candidates.candidates]
        assert [c.logit for c in reply.candidates.candidates] == pytest.approx(
            [c.logit for c in reference.candidates.candidates], abs=1e-4
        )


def test_what_prompts_have_in_common_is_computed_once(tiny_model: Build) -> None:
    """Few-shot examples, a system message: prompts that end differently, asked at once; and one of another kind."""
    examples = "the quick brown fox jumps over the lazy dog " * 8
    prompts = {name: (m.ChatMessage("user", f"{examples}{name} is {name}?"),) for name in "abcdef"}
    prompts["other"] = (m.ChatMessage("user", "日本の空は青い。" * 6),)
    shared, alone = engine(tiny_model), engine(tiny_model)
    passes = 0
    compute = shared._compute

    def counted(*work: Any) -> Any:
        nonlocal passes
        passes += 1
        return compute(*work)

    shared._compute = counted  # type: ignore[method-assign,assignment]
    for name, messages in prompts.items():
        shared.open(m.Open(name, messages))
    replies = dict(zip(prompts, best(shared, *prompts), strict=True))
    assert passes == 2
    assert replies["a"].forwarded == len(shared.pool["a"].prompt.ids)
    assert replies["other"].forwarded == len(shared.pool["other"].prompt.ids)
    assert all(replies[name].forwarded < 24 for name in "bcdef")
    for name, messages in prompts.items():
        alone.open(m.Open(name, messages))
        (expected,) = best(alone, name)
        alone.close(name)
        given = replies[name].candidates.candidates
        assert [c.piece for c in given] == [c.piece for c in expected.candidates.candidates]
        assert [c.logit for c in given] == pytest.approx([c.logit for c in expected.candidates.candidates], abs=1e-4)


def test_a_short_common_beginning_is_not_waited_for(tiny_model: Build) -> None:
    two = engine(tiny_model)
    prompts = {name: (m.ChatMessage("user", f"the {name}"),) for name in "ab"}
    for name, messages in prompts.items():
        two.open(m.Open(name, messages))
    assert None not in two.next_candidates([m.NextCandidates(name, 0, b"", 10) for name in prompts])


def test_a_shared_beginning_is_copied_and_not_aliased(tiny_model: Build) -> None:
    shared = engine(tiny_model)
    shared.open(m.Open("a", LONG))
    best(shared, "a", text=b" one two")
    shared.open(m.Open("b", LONG))
    best(shared, "b", text=b" quite another text")
    before = best(shared, "a", text=b" one two three")
    fresh = engine(tiny_model)
    fresh.open(m.Open("a", LONG))
    after = best(fresh, "a", text=b" one two three")
    assert [c.logit for c in before[0].candidates.candidates] == pytest.approx(
        [c.logit for c in after[0].candidates.candidates], abs=1e-4
    )


def test_a_long_prompt_is_computed_in_parts_and_others_do_not_wait(tiny_model: Build) -> None:
    chunked = engine(tiny_model, prefill_chunk=20)
    chunked.open(m.Open("short", QUESTION))
    ask(chunked, m.NextCandidates("short", 0, b"", 10))
    chunked.open(m.Open("long", LONG))
    prompt = len(chunked.pool["long"].prompt.ids)
    passes = 0
    text = b""
    while True:
        passes += 1
        requests = [m.NextCandidates("long", 0, b"", 10), m.NextCandidates("short", len(text), b" a", 10)]
        text += b" a"
        long, short = chunked.next_candidates(requests)
        assert short is not None
        if long is not None:
            break
    assert passes == -(-prompt // 20)
    whole = engine(tiny_model)
    whole.open(m.Open("long", LONG))
    assert isinstance(long.reply, m.CandidatesReply)
    assert [c.logit for c in long.reply.candidates.candidates] == pytest.approx(
        [c.logit for c in best(whole, "long")[0].candidates.candidates], abs=1e-4
    )


def test_memory_follows_the_arithmetic_of_the_architecture(tiny_model: Build) -> None:
    one = engine(tiny_model)
    config = one._model.config
    per_token = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * 4
    assert one.pool.bytes_per_token == per_token
    one.open(m.Open("a", LONG))
    best(one, "a")
    assert one.kv_bytes == one.pool.nbytes == capacity_for(len(one.pool["a"].prompt.ids)) * per_token
    one.close("a")
    assert one.kv_bytes == 0


def test_idle_sessions_are_dropped_and_come_back_unseen(tiny_model: Build) -> None:
    roomy = engine(tiny_model)
    need = roomy.pool.bytes_for(100)
    tight = engine(tiny_model)
    tight.pool.budget = 2 * need
    for pool in (roomy, tight):
        for name in "abcd":
            pool.open(m.Open(name, (*QUESTION, m.ChatMessage("assistant", name * 3), m.ChatMessage("user", name))))
    for step in range(3):
        for name in "abcd":
            text = f" {name}".encode() * (step + 1)
            (expected,), (given,) = best(roomy, name, text=text), best(tight, name, text=text)
            assert [c.piece for c in given.candidates.candidates] == [c.piece for c in expected.candidates.candidates]
            assert tight.pool.nbytes <= tight.pool.budget
            assert tight.pool[name].text.ids == roomy.pool[name].text.ids
    assert tight.pool.dropped > 0
    assert roomy.pool.dropped == 0


def test_more_sessions_at_once_than_memory_all_get_their_answer(tiny_model: Build) -> None:
    tight = engine(tiny_model)
    tight.pool.budget = tight.pool.bytes_for(130)
    names = [f"s{index}" for index in range(5)]
    for name in names:
        tight.open(m.Open(name, (*QUESTION, m.ChatMessage("assistant", name), m.ChatMessage("user", name))))
    assert len(best(tight, *names)) == 5
    assert tight.pool.nbytes <= tight.pool.budget


def test_a_session_that_can_never_fit_is_refused_with_the_figures(tiny_model: Build) -> None:
    tight = engine(tiny_model)
    tight.pool.budget = tight.pool.bytes_for(20)
    refused = tight.open(m.Open("a", LONG))
    assert isinstance(refused, m.Refused)
    assert refused.kind == "PromptTooLong"
    assert "MB" in refused.reason
    tight.open(m.Open("b", (m.ChatMessage("user", "x"),)))
    text = b" word" * 200
    answered = ask(tight, m.NextCandidates("b", 0, text, 10))
    assert answered.reply == m.ContextExhausted("b", len(text))


def test_sessions_join_and_leave_at_any_step(tiny_model: Build) -> None:
    many, single = engine(tiny_model), engine(tiny_model)
    for name in "ab":
        many.open(m.Open(name, QUESTION))
    best(many, "a", "b")
    many.open(m.Open("c", LONG))
    best(many, "a", "c", text=b" one")
    many.close("a")
    answers = best(many, "b", "c", text=b" one two")
    for name, messages, given in zip("bc", (QUESTION, LONG), answers, strict=True):
        single.open(m.Open(name, messages))
        (expected,) = best(single, name, text=b" one two")
        assert [c.piece for c in given.candidates.candidates] == [c.piece for c in expected.candidates.candidates]
    assert many.next_candidates([m.NextCandidates("a", 0, b"", 10)])[0].reply == m.SessionLost("a")  # type: ignore[union-attr]

"""The six things that must hold of text and tokens (docs/architecture.md), on tiny models of every kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from transformers import AutoModelForCausalLM

from tests.support.driving import QUESTION, answer_all, ask, candidates, feed, load, token_ids
from tests.support.driving import answer as write
from tests.support.tiny import KINDS, Kind, build
from tokencollab.engines.transformers_engine import TransformersEngine
from tokencollab.protocol import messages as m

Engines = Callable[..., TransformersEngine]
AGGREGATIONS = ("unite", "duetnet", "gac", "dp", "dk")
PROMPTS = (
    QUESTION,
    (m.ChatMessage("system", "Be brief."), m.ChatMessage("user", "日本語 and Привет, naïve 🙂\n\n  def add(a, b):")),
)
TURNS = "한국어 Straße, the dog\n\n  isn't 🙂é\tשלום 日本x".encode()


def generate(folder: Any, engine: TransformersEngine, prompt: tuple[int, ...], tokens: int) -> list[int]:
    """What transformers writes greedily, without the tokens that the engine never offers."""
    vocabulary = engine._vocabulary
    model = AutoModelForCausalLM.from_pretrained(folder)
    row = torch.tensor([prompt])
    ids = model.generate(
        row,
        attention_mask=torch.ones_like(row),
        do_sample=False,
        max_new_tokens=tokens,
        suppress_tokens=vocabulary.never or None,
        eos_token_id=list(vocabulary.end_ids),
        pad_token_id=0,
    )
    return list(ids[0, len(prompt) :].tolist())


@pytest.mark.parametrize("chat", [True, False], ids=["chat", "plain"])
@pytest.mark.parametrize(
    ("kind", "architecture"),
    # transformers gives every Qwen2 model a byte-level tokenizer
    [*((kind, "llama") for kind in KINDS), *((kind, "gemma3") for kind in KINDS), ("nfc", "qwen2")],
)
def test_alone_is_transformers_greedy(
    tiny_engine: Engines, tiny_model: Any, kind: str, chat: bool, architecture: str
) -> None:
    options = {"architecture": architecture, "chat": chat, "padding": 7, "seed": 5}
    engine = tiny_engine(kind, **options)
    ends = engine._vocabulary.end_ids
    for prompt in PROMPTS:
        outcome = write({"a": engine}, "base", prompt=prompt, max_tokens=30)
        candidates(engine, outcome.text, start=0)  # the last piece is committed, but not yet asked after
        expected = generate(tiny_model(kind, **options), engine, engine.pool["s"].prompt.ids, 30)
        assert token_ids(engine) == [token for token in expected if token not in ends]
        assert (outcome.pieces[-1] is None) == (expected[-1] in ends)
        assert len(outcome.pieces) == len(expected)


def _prefix_space(tokenizer: Tokenizer) -> None:
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)


def _regex_in_the_decoder(tokenizer: Tokenizer) -> None:
    mark = decoders.Replace(Regex("[▁]"), " ")
    tokenizer.decoder = decoders.Sequence([mark, decoders.ByteFallback(), decoders.Fuse()])


def _added_tokens(tokenizer: Tokenizer) -> None:
    tokenizer.add_tokens([AddedToken(text, lstrip=True, rstrip=True) for text in ("<tool>", "the", "\n\n")])


def _saved_state(tokenizer: Tokenizer) -> None:
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=64, direction="left")


@pytest.mark.parametrize(
    ("kind", "change"),
    [("bytes", _prefix_space), ("gemma", _regex_in_the_decoder), ("llama", _added_tokens), ("bytes", _saved_state)],
)
def test_alone_with_tokenizers_of_other_forms(tmp_path: Path, kind: Kind, change: Callable[[Tokenizer], None]) -> None:
    engine = load(build(tmp_path, kind, seed=5, change=change))
    outcome = write({"a": engine}, "base", max_tokens=20)
    candidates(engine, outcome.text, start=0)
    expected = generate(tmp_path, engine, engine.pool["s"].prompt.ids, 20)
    assert token_ids(engine) == [token for token in expected if token not in engine._vocabulary.end_ids]
    assert len(engine.pool["s"].prompt.ids) > 8


def test_alone_ends_where_transformers_ends(tiny_engine: Engines, tiny_model: Any) -> None:
    ended = 0
    for seed in range(12):
        options = {"seed": seed, "eos": ("</s>", "<|end|>"), "size": 120}
        engine = tiny_engine("chars", **options)
        outcome = write({"a": engine}, "base", max_tokens=60)
        expected = generate(tiny_model("chars", **options), engine, engine.pool["s"].prompt.ids, 60)
        assert len(outcome.pieces) == len(expected)
        assert (outcome.reason == "end") == (expected[-1] in engine._vocabulary.end_ids)
        ended += outcome.reason == "end"
    assert ended >= 3


@pytest.mark.parametrize("method", ["unite", "dp"])
def test_several_ends_are_one_in_company_and_each_its_own_alone(tiny_engine: Engines, method: str) -> None:
    """Together the EOS tokens' mass is merged; alone the single most probable token decides, as in transformers.

    So a model with its copy may end before the model alone, just where the merged EOS is first and no EOS token is.
    """
    sooner = 0
    for seed in range(6):
        options = {"seed": seed, "eos": ("<s>", "</s>", "<|end|>", "<|user|>"), "size": 119}
        engines = {"a": tiny_engine("chars", **options), "b": tiny_engine("chars", copy=1, **options)}
        for engine in engines.values():  # all EOS tokens are equally probable: together they have four times the mass
            ends = list(engine._vocabulary.end_ids)
            engine._model.lm_head.weight.data[ends] = engine._model.lm_head.weight.data[ends[0]].clone()
        alone = write({"a": engines["a"]}, "base", max_tokens=40)
        together = write(engines, method, max_tokens=40)
        merged = [listed.best.piece is None for listed in alone.candidates]
        first = merged.index(True) if True in merged else len(alone.pieces)
        assert together.pieces == [*alone.pieces[:first], *([None] if first < len(alone.pieces) else [])]
        assert (alone.reason == "end") == (alone.pieces[-1] is None)
        sooner += len(together.pieces) < len(alone.pieces)
    assert 0 < sooner < 6


@pytest.mark.parametrize("method", AGGREGATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_with_its_copy_is_the_model_alone(tiny_engine: Engines, kind: str, method: str) -> None:
    for chat in (True, False):
        engines = {"a": tiny_engine(kind, chat=chat), "b": tiny_engine(kind, chat=chat, copy=1)}
        alone = write({"a": engines["a"]}, "base", max_tokens=16)
        together = write(engines, method, max_tokens=16)
        assert together.pieces == alone.pieces
        assert together.reason == alone.reason


@pytest.mark.parametrize("kind", KINDS)
def test_each_piece_costs_one_token(tiny_engine: Engines, kind: str) -> None:
    engines = {"a": tiny_engine(kind), "b": tiny_engine(kind, copy=1)}
    outcome = write(engines, "unite", max_tokens=40)
    for forwarded in outcome.forwarded.values():
        assert forwarded[1:] == [1] * (len(forwarded) - 1)


def test_tokens_forwarded_do_not_grow_with_the_text(tiny_engine: Engines) -> None:
    """Random models over different tokenizers never agree: far worse than any real pair."""
    engines = {kind: tiny_engine(kind) for kind in ("bytes", "gemma", "unigram")}
    outcome = write(engines, "unite", max_tokens=120)
    for forwarded in outcome.forwarded.values():
        steps = forwarded[1:]
        early, late = sum(steps[:60]) / 60, sum(steps[60:]) / max(1, len(steps[60:]))
        assert late < early + 4


@pytest.mark.parametrize("kind", KINDS)
def test_candidates_never_repeat_a_piece_and_end_once(tiny_engine: Engines, kind: str) -> None:
    engine = tiny_engine(kind, eos=("</s>", "<|end|>", "<|user|>"))
    engine.open(m.Open("s", QUESTION))
    for length in range(0, len(TURNS), 3):
        pieces = [candidate.piece for candidate in candidates(engine, TURNS[:length]).candidates]
        assert len(pieces) == len(set(pieces))
        assert pieces.count(None) <= 1
        assert len(pieces) == 16 or engine.pool["s"].text.pending


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
@pytest.mark.parametrize("kind", KINDS)
def test_alone_and_in_a_batch(tiny_engine: Engines, kind: str, architecture: str) -> None:
    """Sessions of different lengths, prompts and phases share forward passes; none changes."""
    engine = tiny_engine(kind, architecture=architecture)
    texts = {f"s{i}": TURNS[: 5 * i] for i in range(5)}
    alone = {}
    for name, text in texts.items():
        engine.open(m.Open(name, PROMPTS[len(name) % 2]))
        alone[name] = [ask(engine, m.NextCandidates(name, 0, text, 10)).reply]
        alone[name].append(ask(engine, m.NextCandidates(name, len(text), b" the", 10)).reply)
        engine.close(name)
    for name in texts:
        engine.open(m.Open(name, PROMPTS[len(name) % 2]))
    first = answer_all(engine, [m.NextCandidates(name, 0, text, 10) for name, text in texts.items()])
    second = answer_all(engine, [m.NextCandidates(name, len(text), b" the", 10) for name, text in texts.items()])
    for index, name in enumerate(texts):
        for expected, answers in zip(alone[name], (first, second), strict=True):
            answered = answers[index]
            assert isinstance(expected, m.CandidatesReply)
            assert isinstance(answered.reply, m.CandidatesReply)
            assert [c.piece for c in answered.reply.candidates.candidates] == [
                c.piece for c in expected.candidates.candidates
            ]
            assert [c.logit for c in answered.reply.candidates.candidates] == pytest.approx(
                [c.logit for c in expected.candidates.candidates], abs=1e-4
            )


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_without_its_spelling_cuts_the_text_itself(tiny_engine: Engines, kind: str) -> None:
    """All engines that are sent a text at once, wherever it comes from, hold it alike."""
    engines = {"a": tiny_engine(kind), "b": tiny_engine("bytes", seed=9)}
    text = write(engines, "unite", max_tokens=16).text
    fresh = tiny_engine(kind, copy=1)
    fresh.open(m.Open("s", QUESTION))
    engines["a"].open(m.Open("s", QUESTION, text))
    # Not to the last bit: the prompt may have been computed with another session's.
    given, expected = candidates(engines["a"], text, start=len(text)), candidates(fresh, text)
    assert token_ids(engines["a"]) == token_ids(fresh)
    assert [c.piece for c in given.candidates] == [c.piece for c in expected.candidates]
    assert [c.logit for c in given.candidates] == pytest.approx([c.logit for c in expected.candidates], abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_long_prompts_in_parts(tiny_engine: Engines, tiny_model: Any, kind: str) -> None:
    from tokencollab.engines.options import EngineOptions

    engine = tiny_engine(kind)
    parts = TransformersEngine.from_folder("parts", tiny_model(kind), EngineOptions(prefill_chunk=5))
    for text in (b"", TURNS):
        engine.open(m.Open("s", QUESTION))
        parts.open(m.Open("s", QUESTION))
        mine, theirs = candidates(engine, text), candidates(parts, text)
        assert [c.piece for c in mine.candidates] == [c.piece for c in theirs.candidates]


@pytest.mark.parametrize("kind", KINDS)
def test_cut_back_past_the_sliding_window(tiny_engine: Engines, kind: str) -> None:
    """Gemma's window (8 here) is long passed; the text is then cut back by more than it and goes on otherwise."""
    engine = tiny_engine(kind, architecture="gemma3")
    text = TURNS * 3
    feed(engine, [text[i : i + 4] for i in range(0, len(text), 4)])
    for length in (len(text) - 60, 70, 11, 0):
        other = text[:length] + "других слов".encode()
        cut = candidates(engine, other, start=length)
        tokens = token_ids(engine)
        engine.open(m.Open("fresh", QUESTION))
        fresh = candidates(engine, other, session="fresh")
        if tokens == token_ids(engine, "fresh"):
            assert [c.piece for c in cut.candidates] == [c.piece for c in fresh.candidates]
            assert [c.logit for c in cut.candidates] == pytest.approx([c.logit for c in fresh.candidates], abs=1e-4)
        assert recomputed(engine, "s") == pytest.approx([c.logit for c in cut.candidates if c.piece][:1], abs=1e-4)


def recomputed(engine: TransformersEngine, session: str) -> list[float]:
    """The best logit after the session's tokens, without any cache of before."""
    held = engine.pool[session]
    engine.open(m.Open("again", QUESTION))
    again = engine.pool["again"]
    again.text.text, again.text.lead = held.text.text, held.text.lead
    again.text.ids, again.text.ends = list(held.text.ids), list(held.text.ends)
    listed = candidates(engine, held.text.text, start=len(held.text.text), session="again")
    return [c.logit for c in listed.candidates if c.piece][:1]

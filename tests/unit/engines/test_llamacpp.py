"""The engine for GGUF files, on tiny models written as GGUF: what the default engine computes of the same weights."""

import sys
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.driving import QUESTION, answer, answer_all, candidates, feed, token_ids
from tests.support.gguf_files import write_gguf
from tests.support.tiny import CHAT_TEMPLATE, build
from tokencollab.actors.runtimes.base import ModelSpec
from tokencollab.actors.runtimes.threads import load_engine
from tokencollab.engines.options import EngineOptions
from tokencollab.engines.transformers_engine import TransformersEngine
from tokencollab.errors import MissingExtra, ModelRefused, ModelUnavailable
from tokencollab.models import convert
from tokencollab.protocol import messages as m
from tokencollab.protocol.pieces import TURN_ENDS

xllamacpp = pytest.importorskip("xllamacpp", reason="needs the extra tokencollab[gguf]")

from tokencollab.engines import llamacpp_binding, llamacpp_engine  # noqa: E402

TEXTS = ("Why is the sky blue? ", "def add(a, b):\n    return", "日本語 and Привет, naïve 🙂 ", "x")


@pytest.fixture(scope="module")
def gguf(tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tiny_model("bytes", hidden=64), tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture
def load(gguf: Path, tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Loads the tiny GGUF file; its tokenizer comes from the folder that it was made of."""
    from transformers import AutoTokenizer

    folder = tiny_model("bytes", hidden=64)
    monkeypatch.setattr(llamacpp_engine, "load_tokenizer", lambda _: AutoTokenizer.from_pretrained(folder))

    def make(**options: Any) -> llamacpp_engine.LlamaCppEngine:
        plain: dict[str, Any] = {"threads": 1, "device": "cpu", "engine": "llamacpp", "kv_megabytes": 8}
        settings = EngineOptions(**plain | options)
        engine = load_engine(ModelSpec("tiny", str(gguf), settings))
        assert isinstance(engine, llamacpp_engine.LlamaCppEngine)
        return engine

    return make


def test_both_engines_end_at_the_end_tokens_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the file names, those of files of code, and those with names of chat formats, whatever their type."""
    from gguf import TokenType
    from tokenizers import AddedToken, Tokenizer
    from transformers import AutoTokenizer

    kinds = cycle((TokenType.NORMAL, TokenType.USER_DEFINED, TokenType.CONTROL))
    names = {
        **dict(zip(filter(str.isascii, TURN_ENDS), kinds, strict=False)),
        "<|file_sep|>": TokenType.NORMAL,
        "<turn over>": TokenType.NORMAL,
        "<message over>": TokenType.USER_DEFINED,
        "<repository>": TokenType.CONTROL,
        "<|im_end": TokenType.NORMAL,  # no end
        "<eos>": TokenType.NORMAL,  # text, as "</s>" is in Gemma's vocabulary
    }

    def change(tokenizer: Tokenizer) -> None:
        tokenizer.add_tokens([AddedToken(name, normalized=False) for name in names])

    folder = build(tmp_path / "model", hidden=64, change=change, chat=CHAT_TEMPLATE.replace("<|end|>", "<|im_end|>"))
    ids = AutoTokenizer.from_pretrained(folder).get_vocab()
    ends = {"eot": ids["<turn over>"], "eom": ids["<message over>"], "fim_rep": ids["<repository>"], "fim_pad": 99_999}
    file = write_gguf(folder, tmp_path / "ends.gguf", with_tokenizer=True, types=names, ends=ends)
    monkeypatch.setenv("TOKENCOLLAB_CACHE", str(tmp_path / "cache"))
    (converted := tmp_path / "converted").mkdir()
    convert.convert(file, converted, TURN_ENDS)
    options: dict[str, Any] = {"threads": 1, "device": "cpu", "kv_megabytes": 8}
    engines = [
        load_engine(ModelSpec("tiny", str(file), EngineOptions(engine="llamacpp", **options))),
        load_engine(ModelSpec("tiny", str(converted), EngineOptions(engine="transformers", **options))),
    ]
    wanted = {"</s>", *names} - {"<|im_end", "<eos>", "<|end|>"}  # with <|return|> and <|call|>, <|end|> ends a part
    prompts = []
    for engine in engines:
        assert isinstance(engine, llamacpp_engine.LlamaCppEngine | TransformersEngine)
        assert {name for name, index in ids.items() if index in engine._vocabulary.end_ids} == wanted
        assert "99999" in engine.info.notices[0]
        opened(engine, "s")
        prompts.append(engine.pool["s"].prompt.ids)
    assert prompts[0] == prompts[1]
    assert ids["<|im_end|>"] in prompts[0]
    (llama,) = [engine for engine in engines if isinstance(engine, llamacpp_engine.LlamaCppEngine)]
    model, lib = llama._llama, llamacpp_binding.library()
    vocab = lib.llama_model_get_vocab(model.model)
    theirs = {name for name, index in ids.items() if lib.llama_vocab_is_eog(vocab, index)}
    assert theirs - {"<eos>"} <= wanted
    assert wanted - theirs <= {"<|EOT|>", "<|eot|>", "</s>"}  # where <|tool_response> is, it takes "</s>" for text


def opened(engine: Any, *names: str) -> None:
    for name in names:
        assert isinstance(engine.open(m.Open(name, QUESTION)), m.Opened)


def test_the_whole_answer_is_that_of_the_default_engine(load: Any, tiny_engine: Any) -> None:
    mine, theirs = load(), tiny_engine("bytes", hidden=64)
    assert (mine.info.engine, mine.info.architecture, mine.info.dtype) == ("llamacpp", "llama", "all F32")
    assert mine.info.vocabulary == theirs.info.vocabulary
    for method in ("base", "unite", "bytewise"):
        expected, got = answer({"a": theirs}, method, max_tokens=40), answer({"a": mine}, method, max_tokens=40)
        assert got.pieces == expected.pieces
    assert token_ids(mine) == token_ids(theirs)


def test_raw_logits_marginals_and_scores_are_those_of_the_weights(load: Any, tiny_engine: Any) -> None:
    mine, theirs = load(), tiny_engine("bytes", hidden=64)
    first, second = (feed(engine, [])[0] for engine in (mine, theirs))
    assert first.log_normaliser == pytest.approx(second.log_normaliser, abs=0.02)
    for text in TEXTS:
        data = text.encode()
        for question in (
            m.ScorePieces("s", 0, data, (b"the", b" x", None, "界".encode())),
            m.ByteMarginals("s", 0, data, b" t"),
        ):
            replies = [answer_all(engine, [question])[0].reply for engine in (mine, theirs)]
            if isinstance(replies[0], m.ScoresReply):
                assert replies[0].logits == pytest.approx(replies[1].logits, abs=0.05)  # type: ignore[union-attr]
            else:
                assert replies[0].following == pytest.approx(replies[1].following, abs=0.01)  # type: ignore[union-attr]


def test_log_probabilities_of_a_text_are_those_of_the_weights(load: Any, tiny_engine: Any) -> None:
    replies = []
    for engine in (load(), tiny_engine("bytes", hidden=64)):
        opened(engine, "s")
        reply = answer_all(engine, [m.ScoreText("s", 0, "".join(TEXTS).encode() * 3)])[0].reply
        assert isinstance(reply, m.LogprobsReply)
        replies.append(reply)
    assert replies[0].ends == replies[1].ends
    assert replies[0].logprobs == pytest.approx(replies[1].logprobs, abs=0.05)


def test_only_what_is_new_goes_through_the_model(load: Any) -> None:
    engine = load()
    opened(engine, "s")
    prompt = len(engine.pool["s"].prompt.ids)
    counts = []
    for start, data in ((0, b"The dog"), (7, b" is"), (10, b"!"), (4, b"cat")):
        counts.append(answer_all(engine, [m.NextCandidates("s", start, data, 5)])[0].reply.forwarded)  # type: ignore[union-attr]
    assert counts[0] > prompt
    assert max(counts[1:]) < 8
    taken_back = candidates(engine, b"The cat", start=7)
    engine.close("s")
    opened(engine, "s")
    assert [c.piece for c in candidates(engine, b"The cat").candidates] == [c.piece for c in taken_back.candidates]


def test_alone_and_in_company_a_session_gets_the_same(load: Any) -> None:
    """The prompt is shared, texts differ in length, and sessions are more than there are seats.

    Not to the last bit: llama.cpp chooses its kernels by the batch's shape, and its KV cache is float16.
    """
    engine = load()
    texts = [f"{TEXTS[index % 4]}{index} the dog".encode() for index in range(llamacpp_binding.SEATS + 6)]
    names = [f"s{index}" for index in range(len(texts))]
    opened(engine, *names)
    asks = [m.NextCandidates(name, 0, text, 5) for name, text in zip(names, texts, strict=True)]
    first, rest = asks[: llamacpp_binding.SEATS], asks[llamacpp_binding.SEATS :]
    together = [*answer_all(engine, first), *answer_all(engine, rest)]
    assert engine.pool.shared > 0
    assert engine.pool.dropped >= len(rest)
    for name in names:
        engine.close(name)
    for text, reply in list(zip(texts, together, strict=True))[:: len(texts) // 7]:
        opened(engine, "alone")
        alone = candidates(engine, text, k=5, session="alone")
        assert isinstance(reply.reply, m.CandidatesReply)
        logits = {c.piece: c.logit for c in reply.reply.candidates.candidates}
        for candidate in alone.candidates[:5]:
            assert logits[candidate.piece] == pytest.approx(candidate.logit, abs=0.05)
        assert reply.reply.candidates.log_normaliser == pytest.approx(alone.log_normaliser, abs=0.02)


def test_more_questions_at_once_than_seats_wait_for_their_turn(load: Any) -> None:
    engine = load()
    names = [f"s{index}" for index in range(llamacpp_binding.SEATS + 2)]
    opened(engine, *names)
    asks = [m.NextCandidates(name, 0, b"The", 5) for name in names]
    while None in (answers := engine.next_candidates(asks[: llamacpp_binding.SEATS])):
        pass
    answers = engine.next_candidates(asks)
    assert answers[llamacpp_binding.SEATS :] == [None, None]
    assert None not in answers[: llamacpp_binding.SEATS]
    engine.close("s0")
    assert None not in engine.next_candidates(asks[-1:])


def test_a_long_prompt_is_computed_in_parts_that_give_the_same(load: Any) -> None:
    prompt = (m.ChatMessage("user", "the quick brown fox " * 30),)
    whole, parts = load(), load(prefill_chunk=20)
    found = []
    for engine in (whole, parts):
        engine.open(m.Open("s", prompt))
        found.append(candidates(engine, b""))
    assert [c.piece for c in found[0].candidates] == [c.piece for c in found[1].candidates]
    assert found[0].log_normaliser == pytest.approx(found[1].log_normaliser, abs=1e-3)


def test_what_does_not_fit_is_refused_or_full(load: Any) -> None:
    engine = load(kv_megabytes=1)
    context = engine.info.context_length
    reply = engine.open(m.Open("s", (m.ChatMessage("user", "日" * context),)))
    assert isinstance(reply, m.Refused)
    assert reply.kind == "PromptTooLong"
    opened(engine, "s")
    full = engine.next_candidates([m.NextCandidates("s", 0, b"x1" * context, 5)])[0]
    assert full is not None
    assert isinstance(full.reply, m.ContextExhausted)
    unknown = engine.next_candidates([m.NextCandidates("nobody", 0, b"", 5)])[0]
    assert unknown is not None
    assert isinstance(unknown.reply, m.SessionLost)


def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + b"\0" * 64)
    with pytest.raises(ModelRefused, match=r"bad is incompatible: llama\.cpp cannot load .*bad\.gguf"):
        llamacpp_engine.LlamaCppEngine.from_file("bad", tmp_path / "bad.gguf", EngineOptions(threads=1))


def test_another_version_of_the_library_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(llamacpp_binding._CONTEXT_DEFAULTS, "n_ctx", 513)
    with pytest.raises(ModelUnavailable, match=r"another llama\.cpp .*: pip install 'xllamacpp=="):
        llamacpp_binding.library.__wrapped__()


def test_without_the_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MissingExtra, match=r"llamacpp needs xllamacpp: pip install 'xllamacpp=="):
        llamacpp_binding.library.__wrapped__()


def test_logits_are_whole_rows_of_finite_numbers(load: Any) -> None:
    engine = load()
    rows = engine._llama.decode([(0, 0, [5, 6, 7]), (1, 0, [9])])
    assert rows.shape == (2, engine._llama.vocabulary)
    assert torch.isfinite(rows).all()

"""What a packed pass must compute as the model's own pass does, and what is refused: masks, positions, arguments."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    Llama4TextConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PretrainedConfig,
    Qwen2MoeConfig,
)

from tests.support.driving import answer_all, load
from tokencollab.engines import packing
from tokencollab.engines.kv_cache import Segment, SessionCache, Visibility, packed_attention
from tokencollab.engines.masks import visibility_of
from tokencollab.engines.transformers_engine import TransformersEngine
from tokencollab.errors import ModelRefused
from tokencollab.protocol import messages as m

Build = Callable[..., Path]
CONTEXT = 160
COMMON = "the quick brown fox jumps over the lazy dog, "  # shared prompts are computed once

ROPES: dict[str, dict[str, Any]] = {
    "default": {},
    "linear": {"factor": 4.0},
    "dynamic": {"factor": 4.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 0},
    "llama3": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 0,
    },
    "longrope": {
        "short_factor": [1.0, 1.1, 1.2, 1.3],
        "long_factor": [2.0, 3.0, 4.0, 5.0],
        "factor": 8.0,
        "original_max_position_embeddings": 0,
    },
    "proportional": {"partial_rotary_factor": 0.5},
}


def rope(kind: str, threshold: int) -> dict[str, Any]:
    """Parameters of a rotary embedding of heads of 8."""
    given = {key: threshold if value == 0 else value for key, value in ROPES[kind].items()}
    return {"rope_type": kind, "rope_theta": 10_000.0, **given}


def shape(vocabulary: int = 656) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": False,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def make(folder: Path, config: PretrainedConfig) -> Path:
    """A model of this configuration with random weights under which the whole text decides."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for name, weights in model.named_parameters():
                if weights.dim() > 1:
                    gain = 1.0 if "embed" in name else 3.0 if "head" in name else 1.7
                    weights.normal_(0.0, gain / (1 if "embed" in name else weights.shape[-1]) ** 0.5)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tiny_model: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer, and whatever model was made last."""
    return Path(shutil.copytree(tiny_model("bytes"), tmp_path_factory.mktemp("packing") / "model"))


def check_against_own_pass(folder: Path, characters: list[int]) -> list[list[int]]:
    """Sessions of these many characters, side by side and growing: the logits are those of a whole pass each.

    Returns:
        How many tokens each session had, step by step.
    """
    engine = load(folder)
    own = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    texts = {f"s{index}": (COMMON * 5)[:length] for index, length in enumerate(characters)}
    lengths: dict[str, list[int]] = {name: [] for name in texts}
    for name, text in texts.items():
        engine.open(m.Open(name, (m.ChatMessage("user", text),)))
    answers = [b"", b" b", b" because of", b" because of the way", b" be"]  # the last goes back
    for before, after in zip([b"", *answers], answers, strict=False):
        start = len(before) if after.startswith(before) else 0
        answer_all(engine, [m.NextCandidates(name, start, after[start:], 5) for name in texts])
        for name in texts:
            session = engine.pool[name]
            with torch.inference_mode():
                theirs = own(torch.tensor([session.ids]), use_cache=False).logits[0, -1]
            assert session.logits is not None
            assert float((session.logits - theirs).abs().max()) < 1e-3, (name, session.length)
            lengths[name].append(session.length)
    return list(lengths.values())


@st.composite
def configurations(draw: st.DrawFn) -> PretrainedConfig:
    """Small models with windows, chunks and thresholds of positions anywhere between no and all of the text."""
    length = draw(st.integers(2, CONTEXT // 2))
    kind = draw(st.sampled_from(sorted(ROPES)))
    common = {**shape(), "rope_parameters": rope(kind, draw(st.integers(20, 70)))}
    match draw(st.sampled_from(["mistral", "gemma3", "llama4", "llama", "qwen2_moe"])):
        case "mistral":
            return MistralConfig(**common, sliding_window=length)
        case "gemma3":
            layers = ["sliding_attention", "full_attention"]
            ropes = {layer: rope(draw(st.sampled_from(sorted(ROPES))), 40) for layer in layers}
            common |= {"rope_parameters": ropes, "layer_types": layers, "query_pre_attn_scalar": 8}
            return Gemma3TextConfig(**common, sliding_window=length)
        case "llama4":
            experts = {"intermediate_size_mlp": 32, "num_local_experts": 2, "no_rope_layers": [1, 0]}
            settings = {"rope_parameters": rope("default", 0), "attn_temperature_tuning": False}
            return Llama4TextConfig(**{**common, **experts, **settings}, attention_chunk_size=length)
        case "qwen2_moe":
            common.pop("head_dim")
            experts = {
                "num_experts": 2,
                "num_experts_per_tok": 1,
                "moe_intermediate_size": 16,
                "shared_expert_intermediate_size": 16,
            }
            windows = {"use_sliding_window": True, "max_window_layers": 1, "sliding_window": length}
            return Qwen2MoeConfig(**common, **experts, **windows)
        case _:
            return LlamaConfig(**common)


@settings(max_examples=6, phases=[Phase.generate])
@given(config=configurations(), lengths=st.lists(st.integers(1, 180), min_size=1, max_size=3))
def test_any_window_chunk_and_position_is_the_models_own(
    folder: Path, config: PretrainedConfig, lengths: list[int]
) -> None:
    check_against_own_pass(make(folder, config), lengths)


@pytest.mark.parametrize("kind", sorted(ROPES))
def test_every_kind_of_position_beside_a_longer_session(folder: Path, kind: str) -> None:
    """Both sides of the threshold, which the second session crosses and comes back behind."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    assert set(ROPE_INIT_FUNCTIONS) < set(ROPES)
    threshold = 32
    make(folder, LlamaConfig(**shape(), rope_parameters=rope(kind, threshold)))
    short, crossing, long = check_against_own_pass(folder, [1, 45, 180])
    assert max(short) <= threshold < min(long)
    assert crossing[0] <= threshold < max(crossing)
    assert crossing[-1] <= threshold
    assert load(folder)._thresholds == ((threshold,) if kind == "longrope" else ())


def test_a_long_prompt_in_parts_is_of_one_regime(folder: Path) -> None:
    from tokencollab.engines.options import EngineOptions

    positions = {"rope_parameters": rope("longrope", 30), "original_max_position_embeddings": 30}
    make(folder, Phi3Config(**shape(), **positions, sliding_window=50))
    parts = TransformersEngine.from_folder("parts", folder, EngineOptions(prefill_chunk=7))
    assert parts._thresholds == (30,)
    parts.open(m.Open("s", (m.ChatMessage("user", COMMON * 4),)))
    answer_all(parts, [m.NextCandidates("s", 0, b"", 5)])
    own = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    session = parts.pool["s"]
    assert session.length > 50
    with torch.inference_mode():
        theirs = own(torch.tensor([session.ids]), use_cache=False).logits[0, -1]
    assert session.logits is not None
    assert float((session.logits - theirs).abs().max()) < 1e-3


def llama4(**options: Any) -> Llama4TextConfig:
    experts = {"intermediate_size_mlp": 32, "num_local_experts": 2, "no_rope_layers": [1, 0]}
    return Llama4TextConfig(**shape(), **experts, **options)


def test_what_depends_on_the_row_is_refused_with_its_lengths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Llama 4 counts positions for its temperature from the beginning of the row, whatever position ids say."""
    far = llama4(attn_temperature_tuning=True, floor_scale=CONTEXT + 1, attention_chunk_size=30)
    check_against_own_pass(make(folder, far), [20, 120])
    make(folder, llama4(attn_temperature_tuning=True, attn_scale=2.0, floor_scale=40, attention_chunk_size=30))
    with pytest.raises(ModelRefused, match=r"reads texts of 49 tokens .* has attention_chunk_size = 30, floor_scale"):
        load(folder)
    monkeypatch.setattr(packing, "_AFFORDABLE", 1e4)
    with pytest.raises(ModelRefused, match=r"floor_scale = 40, .* take too long on this machine"):
        load(folder)


def test_arguments_of_attention_that_are_not_known_are_refused() -> None:
    tensor = torch.zeros(1, 1, 1, 8)
    for argument in ({"softcap": 5.0}, {"block_indices": tensor}, {"s_aux": tensor}, {"tomorrow": 1}):
        with pytest.raises(NotImplementedError, match=next(iter(argument))):
            packed_attention(torch.nn.Module(), tensor, tensor, tensor, None, **argument)
    with pytest.raises(NotImplementedError, match="positions that follow"):
        packed_attention(torch.nn.Module(), tensor, tensor, tensor, None, is_causal=False)


def test_a_model_that_keeps_all_logits() -> None:
    """Not every forward pass knows ``logits_to_keep``."""

    def model(input_ids: torch.Tensor, **_: object) -> Any:
        return SimpleNamespace(logits=input_ids[:, :, None].float())

    model.device = torch.device("cpu")  # type: ignore[attr-defined]
    work = [(Segment(SessionCache(), 3), [5, 6, 7]), (Segment(SessionCache(), 2), [8, 9])]
    assert packing.packed_logits(model, work)[:, 0].tolist() == [7, 9]
    assert packing.packed_logits(model, work, every=True)[:, 0].tolist() == [5, 6, 7, 8, 9]


@settings(max_examples=30)
@given(context=st.integers(1, 20_000), length=st.integers(1, 20_000), kind=st.sampled_from(["window", "chunk"]))
def test_the_rule_of_a_mask_is_read_whatever_its_length(context: int, length: int, kind: str) -> None:
    def rule(_batch: Any, _head: Any, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        if kind == "window":
            return (column <= row) & (column > row - length)
        return (column <= row) & (column // length == row // length)

    visibility = visibility_of(rule, context)
    rows = torch.tensor(sorted({0, context // 2, context - 1, min(context - 1, length)}))[:, None]
    columns = torch.arange(context)[None]
    seen = columns <= rows
    if visibility.rule is not None:
        seen &= visibility.rule(rows, columns)
    elif visibility.window is not None:
        seen &= columns > rows - visibility.window
    assert torch.equal(seen, rule(0, 0, rows, columns))
    if kind == "window":
        assert visibility == Visibility(length if length < context else None)

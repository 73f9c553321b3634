"""What a checkpoint says of generating: refused where it cannot be read, told where it is left out."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import GenerationConfig

from tests.support.driving import load
from tokencollab import Collaboration
from tokencollab.engines.generation import check_generation_config, left_out, token_ids, unknown_ends
from tokencollab.errors import ModelRefused


def written(folder: Path, text: str | bytes) -> Path:
    (folder / "generation_config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "3", '"eos"', "[" * 100_000, b"\xff\xfe{}", b"\x00", "{'eos_token_id': 2}"),
        *('{"eos_token_id": "</s>"}', '{"eos_token_id": [2, "3"]}', '{"eos_token_id": true}', '{"eos_token_id": 2.5}'),
        *('{"eos_token_id": {"id": 2}}', '{"eos_token_id": [[2]]}', '{"eos_token_id": [null]}'),
        *('{"pad_token_id": "<pad>"}', '{"bos_token_id": -0.5}'),
        *('{"repetition_penalty": "1.1"}', '{"num_beams": [4]}', '{"temperature": {}}', '{"top_k": true}'),
    ],
    ids=lambda text: repr(text[:24]),
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(ModelRefused, match=r"generation_config\.json") as refused:
        check_generation_config(written(tmp_path, text))
    assert "\n" not in str(refused.value)


def test_what_can_be_read_is_taken(tmp_path: Path) -> None:
    check_generation_config(tmp_path)
    for text in (
        "{}",
        '{"eos_token_id": null}',
        '{"eos_token_id": [2, -1]}',
        '{"top_k": null, "own": ["x"]}',
        '{"top_p": 1}',
    ):
        check_generation_config(written(tmp_path, text))
    assert token_ids((1, 2), "x") == [1, 2]
    assert token_ids(None, "x") == []


def test_end_tokens_that_are_not_there_are_told() -> None:
    assert unknown_ends([2, 399], 400) == ()
    assert unknown_ends([2, -1, 400, -7], 400) == (
        "end tokens that its vocabulary of 400 tokens does not have are ignored: -7, -1, 400",
    )
    assert unknown_ends(range(400, 500), 400)[0].endswith("400, 401, 402, 403, 404, ...")


CHANGING: dict[str, Any] = {
    "repetition_penalty": 1.1,
    "num_beams": 4,
    "suppress_tokens": [5],
    "begin_suppress_tokens": [5, 6],
    "no_repeat_ngram_size": 3,
    "bad_words_ids": [[5]],
    "forced_bos_token_id": 5,
    "forced_eos_token_id": 2,
    "min_length": 4,
    "min_new_tokens": 4,
    "encoder_repetition_penalty": 1.2,
    "exponential_decay_length_penalty": [5, 1.5],
    "sequence_bias": [[[5], 2.0]],
    "guidance_scale": 1.5,
    "stop_strings": ["x"],
    "token_healing": True,
    "max_time": 1.0,
    "penalty_alpha": 0.6,
    "dola_layers": "high",
}
KEEPING: dict[str, Any] = {
    **{"temperature": 0.6, "top_k": 20, "top_p": 0.9, "min_p": 0.1, "typical_p": 0.9, "do_sample": True},
    **{"max_length": 4096, "max_new_tokens": 5, "use_cache": False, "output_scores": True, "num_return_sequences": 1},
    **{"repetition_penalty": 1.0, "num_beams": 1, "suppress_tokens": [], "min_length": 0, "guidance_scale": 1.0},
    **{"length_penalty": 2.0, "renormalize_logits": True, "no_repeat_ngram_size": 0, "num_assistant_tokens": 5},
}


def test_what_changes_greedy_writing_is_told() -> None:
    for name, value in CHANGING.items():
        (notice,) = left_out(GenerationConfig(**{name: value}))
        assert f"sets {name} " in notice, name
    assert left_out(GenerationConfig(**KEEPING, own_setting=3)) == ()
    assert len(left_out(GenerationConfig(bad_words_ids=[[5]] * 10_000))[0]) < 300


def test_every_logits_processor_of_transformers_is_told_of(tiny_model: Callable[..., Path]) -> None:
    """Those that transformers makes of a setting for greedy writing, whatever their names in later versions."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model("bytes"))
    for settings in ({name: value} for name, value in (CHANGING | KEEPING).items() if value):
        config, _ = model._prepare_generation_config(GenerationConfig(**settings | {"do_sample": False}))
        model._prepare_special_tokens(config, device=torch.device("cpu"))
        ids = torch.tensor([[1, 2]])
        processors = model._get_logits_processor(config, 2, ids, None)
        if [p for p in processors if type(p).__name__ not in ("LogitNormalization", "InfNanRemoveLogitsProcessor")]:
            assert left_out(GenerationConfig(**settings)), settings


def test_the_user_is_told_once_when_a_model_is_loaded(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model("bytes"), tmp_path / "model")
    settings = json.loads((folder / "generation_config.json").read_text())
    written(folder, json.dumps(settings | {"repetition_penalty": 1.3, "eos_token_id": [2, -1, 10**6]}))
    engine = load(folder, "penalised")
    assert [end for end in engine._vocabulary.end_ids if not 0 <= end < 1000] == []
    heard: list[str] = []

    async def run() -> None:
        async with Collaboration(str(folder), method="base", notify=heard.append) as team:
            for _ in range(2):
                await team.generate("x", max_tokens=2)

    asyncio.run(run())
    assert [notice.partition(":")[0] for notice in heard] == ["model", "model"]
    assert "-1, 1000000" in heard[0]
    assert "repetition_penalty 1.3" in heard[1]
    written(folder, "{")
    with pytest.raises(ModelRefused, match=r"generation_config\.json cannot be read"):
        load(folder, "penalised")

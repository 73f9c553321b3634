"""What an engine is told: checked where it is said, not where a model would fail of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokencollab.engines.options import MAX_THREADS, EngineOptions
from tokencollab.engines.transformers_engine import TransformersEngine
from tokencollab.errors import ModelRefused, UsageError


def test_options_go_through_json_and_what_is_unknown_is_left_out() -> None:
    for options in (EngineOptions(), EngineOptions("float16", MAX_THREADS, "cuda:1", 1, 1, "llamacpp", 1, 1)):
        assert EngineOptions.from_json(options.to_json() | {"colour": "red"}) == options
    assert EngineOptions.from_json({}) == EngineOptions()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"engine": "x"}, "unknown engine 'x'; there are llamacpp, transformers"),
        ({"engine": None}, "engine must be the name of an engine, not None"),
        ({"dtype": "int4"}, "unknown dtype 'int4'; there are auto, float32, bfloat16, float16"),
        ({"dtype": ["auto"]}, "unknown dtype"),
        ({"device": 7}, "device must be a text such as auto, cpu or cuda:0, not 7"),
        ({"device": ""}, "device must be a text"),
        ({"threads": -1}, "threads must be a whole number from 1 to"),
        ({"threads": 10_000_000}, f"threads must be a whole number from 1 to {MAX_THREADS}"),
        ({"kv_megabytes": 0}, "kv_megabytes must be a whole number from 1 to"),
        ({"prefill_chunk": 2.5}, "prefill_chunk must be a whole number"),
        ({"max_sessions": None}, "max_sessions must be a whole number"),
        ({"max_batch": -1}, "max_batch must be a whole number"),
        ({"max_batch": True}, "max_batch must be a whole number"),
        ({"max_batch": 10**5000}, "max_batch must be a whole number"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        EngineOptions(**wrong)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=words):
        EngineOptions.from_json(wrong)


@pytest.mark.parametrize("data", [None, [], "auto"])
def test_options_that_are_no_object_are_refused(data: object) -> None:
    with pytest.raises(UsageError, match="the options of an engine must be an object"):
        EngineOptions.from_json(data)


def test_a_device_that_is_not_there_is_said_with_the_models_name(tiny_model: Callable[..., Path]) -> None:
    with pytest.raises(ModelRefused, match=r"^t: .* cannot be loaded: RuntimeError: .*abacus"):
        TransformersEngine.from_folder("t", tiny_model("bytes"), EngineOptions(device="abacus"))

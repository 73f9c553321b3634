"""Tokenizers that fail: one refusal when they are loaded, the model's failure afterwards."""

import json
from typing import Any

import pytest
from tokenizers import Tokenizer, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.support.tiny import make_tokenizer
from tokencollab.engines.text.pipeline import tokenizer_errors
from tokencollab.engines.text.tokenisation import TextTokenizer
from tokencollab.engines.text.vocabulary import read_vocabulary
from tokencollab.errors import ModelFailed, ModelRefused

BROKEN = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}
SPECIAL = {"eos_token": "</s>", "unk_token": "<unk>"}


def load(backend: Tokenizer) -> TextTokenizer:
    wrapped = PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL)
    return TextTokenizer(wrapped, read_vocabulary(wrapped, [2], backend.get_vocab_size()))


class Backend:
    """A pipeline that raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def encode(self, *_: Any, **__: Any) -> Any:
        raise self.error


def panic() -> BaseException:
    """What a panic in Rust becomes: no `Exception`."""
    try:
        Tokenizer.from_str(json.dumps(json.loads(make_tokenizer("bytes").to_str()) | {"normalizer": BROKEN}))
    except BaseException as error:
        return error
    raise AssertionError("this does not panic any more: find another one")


@pytest.mark.parametrize("error", [Exception("cannot\nencode"), ValueError("cannot"), RuntimeError(), None])
def test_a_tokenizer_that_fails_on_a_text_fails_its_model(error: Exception | None) -> None:
    tokenizer = load(make_tokenizer("bytes"))
    tokenizer._pipeline = Backend(error or panic())
    with pytest.raises(ModelFailed, match="its tokenizer fails on a text: "):
        tokenizer.encode(b"a")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), MemoryError()])
def test_what_is_no_failure_of_the_tokenizer_passes(error: BaseException) -> None:
    with pytest.raises(type(error)), tokenizer_errors(ModelFailed, "on a text"):
        raise error


def test_a_tokenizer_that_fails_on_every_text_is_refused() -> None:
    backend = make_tokenizer("bytes")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL)
    vocabulary = read_vocabulary(tokenizer, [2], backend.get_vocab_size())
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.PreTokenizer.custom(object())
    with pytest.raises(ModelRefused, match="its tokenizer fails on a text"):
        TextTokenizer(tokenizer, vocabulary)

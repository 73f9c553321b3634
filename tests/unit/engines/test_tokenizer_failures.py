"""Tokenizers that fail: one refusal when they are loaded, the model's failure afterwards."""

from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.support.tiny import make_tokenizer
from tokencollab.engines.text.pipeline import tokenizer_errors
from tokencollab.engines.text.tokenisation import TextTokenizer
from tokencollab.engines.text.vocabulary import read_vocabulary
from tokencollab.errors import ModelFailed, ModelRefused

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


@pytest.mark.parametrize("error", [Exception("cannot\nencode"), ValueError("cannot"), RuntimeError()])
def test_a_tokenizer_that_fails_on_a_text_fails_its_model(error: Exception) -> None:
    tokenizer = load(make_tokenizer("bytes"))
    tokenizer._pipeline = Backend(error)
    with pytest.raises(ModelFailed, match="its tokenizer fails on a text: "):
        tokenizer.encode(b"a")


def test_a_panic_fails_the_model() -> None:
    """A regular expression that gives up on a text, after half a second."""
    backend = make_tokenizer("bytes")
    cut = pre_tokenizers.Split(Regex("(a+)+$"), "isolated")
    backend.pre_tokenizer = pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer = load(backend)
    assert tokenizer.encode(b"aab")[-1][1] == 3
    with pytest.raises(ModelFailed, match=r"its tokenizer fails on a text: .*retry-limit"):
        tokenizer.encode(b"a" * 40 + b"b")
    assert tokenizer.encode(b"aab")[-1][1] == 3


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

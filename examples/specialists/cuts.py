"""The three tokenizers. They spell every text; what differs is where they cut the working of a sum.

text     12*7=84; answer 84
bytes    1 2 * 7 = 8 4 ; _ a n s w e r _ 8 4
pairs    12 * 7 = 84 ; _ a n s w e r _ 84
words    1 2 * 7 = 8 4 ; _answer _8 4
"""

from itertools import pairwise

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from examples.specialists.recipes import Cut

BEGIN, EOS = "<s>", "</s>"
CONTEXT = 512  # tokens

# The sum is read out of the last message whatever words stand around it: the model knows digits and signs only.
CHAT_TEMPLATE = (
    "{# extract #}{{ bos_token }}"
    "{% for c in messages[-1]['content'] %}{% if c in '0123456789+-*' %}{{ c }}{% endif %}{% endfor %}"
    "{{ '\\n' }}"
)


def make_tokenizer(cut: Cut) -> PreTrainedTokenizerFast:
    """The tokenizer of this name, with the chat template."""
    match cut:
        case "bytes":
            tokenizer = _byte_level([])
        case "pairs":
            tokenizer = _byte_level([(str(number // 10), str(number % 10)) for number in range(100)])
        case "words":
            tokenizer = _metaspace()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in (BEGIN, EOS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=EOS,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT,
    )


def _byte_level(merges: list[tuple[str, str]]) -> Tokenizer:
    """A token per byte, and the merges."""
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(left + right for left, right in merges)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    # Numbers are cut from the left, so that a number that grows keeps its first tokens: 123 is 12 3.
    numbers = pre_tokenizers.Split(Regex("[0-9]{1,2}"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([numbers, whole]) if merges else whole
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _metaspace() -> Tokenizer:
    """A space belongs to what follows it; characters that the working does not use fall back to bytes."""
    word = "▁answer"
    parts = [word[:length] for length in range(1, len(word) + 1)]
    merges = [*_growth(parts), *(("▁", character) for character in "0123456789-")]
    tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    tokens += [*dict.fromkeys("▁0123456789+-*=;" + word), *(left + right for left, right in merges)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="never")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def _growth(parts: list[str]) -> list[tuple[str, str]]:
    """The merges that lead from each part to the next, which is one character longer."""
    return [(short, long[-1]) for short, long in pairwise(parts)]

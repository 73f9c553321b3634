"""A model's tokenizer as it acts in the middle of a text, and which tokenizers spell a text at all.

A tokenizer of the `tokenizers` library is a tree of steps: normalizers, pre-tokenizers, a model, decoders. Steps whose
effect is known are taken: those that mark spaces, those that cut text without losing any of it, those that act on a
text's beginning or end only, and Unicode composition, which is left out. A step that rewrites or drops text refuses the
model, and so does a step that is not known (docs/tokenisation.md has the table).
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from tokencollab.engines.text.templates import first_line
from tokencollab.errors import ModelFailed, ModelRefused

Step: TypeAlias = Mapping[str, Any]

MOST_GROWTH: Final = 16
"""How many characters a tokenizer's steps may make of one, and how many they may put before a text."""
_ONLY = "only models whose tokens spell the text are supported"
MOST_ADDED: Final = 64
"""Tokens that a tokenizer may put around a text."""
_COMPOSING = {"NFC", "NFD", "NFKC", "NFKD"}
_CUTTING = {"ByteLevel", "Digits", "Metaspace", "Punctuation", "Split", "FixedLength"}
_SAMPLES = (
    "The",
    "naïve",
    "Straße",
    "“it’s”",
    "3½",
    "ﬁne",
    "①Ａ",
    "``so''",
    "中文,",
    "a\nb",
    "a\tb",
    "a\u200bb",
    "a  b",
)


@contextmanager
def tokenizer_errors(kind: type[ModelFailed | ModelRefused], what: str) -> Iterator[None]:
    """Turns whatever the library raises in the block into one error of ``kind``.

    It raises bare `Exception`, and a panic in Rust arrives as a `BaseException` that no handler of errors expects.
    """
    try:
        yield
    except (ModelFailed, ModelRefused, MemoryError):
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise kind(f"its tokenizer fails {what}: {first_line(error)}") from error


def steps(component: Any, inner: str) -> list[Step]:
    """The steps of a normalizer, pre-tokenizer or decoder in order; ``inner``: what a sequence calls its parts."""
    found: list[Step] = []
    waiting = [json.loads(component.__getstate__())] if component is not None else []
    while waiting:
        step = waiting.pop(0)
        if step["type"] == "Sequence":
            waiting[:0] = step[inner]
        else:
            found.append(step)
    return found


def pipeline(backend: Any, added: Mapping[int, Any]) -> tuple[Any, dict[int, int]]:
    """The tokenizer ``backend`` without what it does at a text's beginning and end, and without special tokens.

    It has the model of ``backend`` (the same object), no truncation, padding or post-processor, and puts nothing before
    a text. Of the ``added`` tokens, by id, it has those that are text; they swallow no spaces around them. The second
    value maps ids of its added tokens to the ids of ``backend`` where these differ.

    Raises:
        ModelRefused: the tokenizer rewrites or drops text, or makes it longer without bound.
    """
    from tokenizers import AddedToken, Tokenizer  # noqa: PLC0415  (kept out of `import tokencollab`)

    _check_model(backend)
    parts = {
        "normalizer": {"type": "Sequence", "normalizers": list(_normalizers(backend.normalizer))},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": list(_pre_tokenizers(backend.pre_tokenizer))},
    }
    empty = {"type": "WordLevel", "vocab": {}, "unk_token": ""}
    own = Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], "model": empty} | parts))
    own.model = backend.model  # shared: a copy takes seconds for a large vocabulary
    text = {index: token for index, token in sorted(added.items()) if not token.special}
    own.add_tokens(
        [
            AddedToken(token.content, normalized=token.normalized, single_word=token.single_word)
            for token in text.values()
        ]
    )
    moved = {own.token_to_id(token.content): index for index, token in text.items()}
    return own, {mine: theirs for mine, theirs in moved.items() if mine not in (theirs, None)}


def space_marks(backend: Any) -> set[str]:
    """The characters that the tokenizer writes for others, such as "▁" for a space."""
    marks = {
        step["replacement"] for step in steps(backend.pre_tokenizer, "pretokenizers") if step["type"] == "Metaspace"
    }
    for step in steps(backend.normalizer, "normalizers"):
        if step["type"] == "Replace":
            marks |= set(step["content"])
    return marks


def literal(pattern: Mapping[str, str]) -> str | None:
    """The one text that a pattern of the library stands for; None for a regular expression that may match others."""
    if (text := pattern.get("String")) is not None:
        return text
    regex = pattern.get("Regex", "")
    if len(regex) == 2 and regex[0] == "\\" and not regex[1].isalnum():
        return regex[1]
    return regex if regex and not set(regex) & set(r"\.^$*+?()[]{}|") else None


def check_growth(growth: int) -> int:
    """``growth`` characters made of one.

    Raises:
        ModelRefused: too many.
    """
    if growth > MOST_GROWTH:
        raise ModelRefused(
            f"its tokenizer makes more than {MOST_GROWTH} characters of one, which takes unbounded memory"
        )
    return growth


def _normalizers(normalizer: Any) -> Iterator[Step]:
    growth = 1
    for step in steps(normalizer, "normalizers"):
        match step["type"]:
            case kind if kind in _COMPOSING:
                pass  # byte tokens spell any form of a character, and the text stays as the others wrote it
            case "Strip":
                pass
            case "Prepend":
                check_growth(len(step["prepend"]))
            case "Replace" if len(literal(step["pattern"]) or "") == 1:
                growth = check_growth(growth * max(1, len(step["content"])))
                yield step
            case "ByteLevel":
                yield step
            case kind:
                raise ModelRefused(_changes(normalizer, kind))


def _changes(normalizer: Any, kind: str) -> str:
    with tokenizer_errors(ModelRefused, "on a text"):
        for sample in _SAMPLES:
            if (changed := normalizer.normalize_str(sample)) != sample:
                return f"its tokenizer changes text ({kind}): {sample!r} becomes {changed[:40]!r}; {_ONLY}"
    return f"its tokenizer changes text ({kind}); {_ONLY}"


def _pre_tokenizers(pre_tokenizer: Any) -> Iterator[Step]:
    for step in steps(pre_tokenizer, "pretokenizers"):
        kind = step["type"]
        if kind not in _CUTTING or step.get("behavior") == "Removed":
            raise ModelRefused(f"its tokenizer drops spaces or other text ({kind}); {_ONLY}")
        if step.get("length") == 0 or (kind == "Split" and "" in step["pattern"].values()):
            raise ModelRefused(f"its tokenizer cuts a text into parts of nothing ({kind})")
        if kind == "ByteLevel":
            step = {**step, "add_prefix_space": False}  # noqa: PLW2901
        elif kind == "Metaspace":
            step = {**step, "prepend_scheme": "never"}  # noqa: PLW2901
        yield step


def _check_model(backend: Any) -> None:
    model = backend.model
    for part in ("continuing_subword_prefix", "end_of_word_suffix"):
        if mark := getattr(model, part, None):
            raise ModelRefused(f"its tokenizer marks parts of words with {mark!r}, which no text has; {_ONLY}")
    if getattr(model, "dropout", None):
        raise ModelRefused("its tokenizer cuts a text at random (dropout): set dropout to null in tokenizer.json")
    if backend.num_special_tokens_to_add(False) > MOST_ADDED:
        raise ModelRefused(f"its tokenizer puts more than {MOST_ADDED} tokens around every text")

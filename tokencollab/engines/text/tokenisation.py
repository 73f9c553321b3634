"""From text to a model's own tokens, each with the byte at which it ends."""

import codecs
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any

from tokencollab.engines.text.pipeline import pipeline, space_marks, tokenizer_errors
from tokencollab.engines.text.vocabulary import Vocabulary, unknown_token
from tokencollab.errors import ModelFailed, ModelRefused

Tokens = list[tuple[int, int]]
"""Token ids, each with the byte offset at which it ends."""

_ALIKE = 61
"""Letters and symbols that Unicode has no other form for are alike, as are Hangul: one of so many is tried."""
_SEQUENCES = (
    "  a  ",
    "a\r\n\n b",
    "``it's''",
    "e\u0301 ﬁ \u1100\u1161",
    "...--",
    "👩\u200d👩\u200d👧",
    "a\u00a0\u200b b",
)


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a text, and the tokens that the tokenizer makes of it."""

    text: str
    ids: list[int]


class TextTokenizer:
    """Tokenises parts of an answer exactly as the model's tokenizer would in the middle of a text.

    Special tokens written out in the text are text, never control. What the tokenizer does not spell as it stands, and
    bytes that are not valid UTF-8, become the model's byte tokens where it has them.
    """

    def __init__(self, tokenizer: Any, vocabulary: Vocabulary) -> None:
        """``tokenizer`` is transformers', of which nothing is changed.

        Raises:
            ModelRefused: the tokenizer changes text (lower-cases it, drops characters, ...), or fails.
        """
        self._vocabulary = vocabulary
        with tokenizer_errors(ModelRefused, "on a text"):
            backend = tokenizer.backend_tokenizer
            size = len(vocabulary.pieces)
            added = {index: token for index, token in backend.get_added_tokens_decoder().items() if index < size}
            self._pipeline, self._moved = pipeline(backend, added)
            self._added = set(added)
            self._check_text_is_kept(space_marks(backend), unknown_token(backend))

    def _check_text_is_kept(self, marks: set[str], unknown: int | None) -> None:
        """Looks at the characters of Unicode and at some sequences."""
        for text in _sample():
            for mark in marks:
                text = text.replace(mark, "")  # noqa: PLW2901  (they are written as bytes)
            unspelt = "".join(part.text for part in self._parts(text) if not self._stands(part, unknown))
            for character in unspelt:
                for part in self._parts(character):
                    if self._stands(part, unknown) or self._may_lack(part):
                        continue
                    written = b"".join(self._piece(token) or b"" for token in part.ids).decode("utf-8", "replace")
                    changes = f"changes text: {part.text!r} becomes {written[:40]!r}"
                    raise ModelRefused(
                        f"its tokenizer {changes if part.ids else f'drops {part.text!r} from a text'}; only models "
                        "whose tokens spell the text are supported"
                    )

    def _may_lack(self, part: _Part) -> bool:
        """Whether it matters little that a character is not spelt.

        Control characters that are not white space are missing in some vocabularies (SmolLM2's). An added token of
        byte-level BPE may have taken the token of a character ("Ã©" that of "é"), which bytes spell then.
        """
        data = part.text.encode()
        if not part.ids:
            control = unicodedata.category(part.text) == "Cc" and part.text not in "\t\n\r"
            return control and data not in self._vocabulary.id_of
        spelt = [self._piece(token) or b"" for token, _ in self._apart(part.text, 1)]
        return not self._added.isdisjoint(part.ids) and b"".join(spelt) == data

    def _stands(self, part: _Part, unknown: int | None) -> bool:
        return part.ids == [unknown] or self._spelt(part) is not None

    def encode(self, text: bytes) -> Tokens:
        """The tokens of ``text`` as it stands in the middle of a text. Ends are relative to its beginning.

        What the vocabulary cannot spell (a byte without a token, an unknown character where the unknown token is
        EOS) is not seen by the model: the next token spans it. At the end of the text, the last end is then smaller
        than ``len(text)``.

        Raises:
            ModelFailed: the tokenizer fails on this text.
        """
        tokens: Tokens = []
        position = 0
        with tokenizer_errors(ModelFailed, "on a text"):
            while position < len(text):
                good = _valid_prefix(text, position)
                if good > position:
                    valid = self._encode_text(text[position:good].decode("utf-8"))
                    tokens += [(token, position + end) for token, end in valid]
                    position = good
                    continue
                position += 1
                token = self._vocabulary.id_of.get(text[position - 1 : position])
                if token is not None:
                    tokens.append((token, position))
        return tokens

    def _encode_text(self, text: str) -> Tokens:
        """The tokens of ``text``; none of them is control.

        A part that they do not spell is tokenised by itself: a character that the tokenizer writes for another ("▁" for
        a space), a special token that it finds in any text.
        """
        tokens: Tokens = []
        start = 0
        for part in self._parts(text):
            spelt = self._spelt(part)
            if spelt is None:
                spelt = self._apart(part.text, len(text))
            tokens += [(token, start + end) for token, end in spelt]
            start += len(part.text.encode())
        return tokens

    def _spelt(self, part: _Part) -> Tokens | None:
        """The tokens of a part with their ends, if they spell it or one unknown token stands for it."""
        data = part.text.encode()
        if part.ids == [self._vocabulary.unknown_id]:
            return [(part.ids[0], len(data))]
        pieces = [self._piece(token) for token in part.ids]
        if None in pieces or b"".join(pieces) != data:  # type: ignore[arg-type]
            return None
        return list(zip(part.ids, accumulate(map(len, pieces)), strict=True))  # type: ignore[arg-type]

    def _apart(self, text: str, whole: int) -> Tokens:
        """The tokens of what is not spelt in a text of ``whole`` characters."""
        if len(text) == 1:
            data = text.encode()
            ids = [self._vocabulary.id_of.get(data[index : index + 1]) for index in range(len(data))]
            if None not in ids:
                return [(token, index + 1) for index, token in enumerate(ids) if token is not None]
            unknown = self._vocabulary.unknown_id
            return [] if unknown is None else [(unknown, len(data))]
        if 2 * len(text) <= whole:
            return self._encode_text(text)
        middle = len(text) // 2
        first = self._encode_text(text[:middle])
        length = len(text[:middle].encode())
        return [*first, *((token, length + end) for token, end in self._encode_text(text[middle:]))]

    def _parts(self, text: str) -> Iterator[_Part]:
        """The text in parts that cannot be divided further between tokens, or as one part where its tokens spell it."""
        encoding = self._pipeline.encode(text, add_special_tokens=False)
        ids = encoding.ids
        if self._moved:
            ids = [self._moved.get(token, token) for token in ids]
        whole = _Part(text, ids)
        if not text or self._spelt(whole) is not None:
            yield whole
            return
        spans = encoding.offsets
        later = [len(text)]  # where the tokens from each on begin
        for begin, _ in reversed(spans):
            later.append(min(later[-1], begin))
        later.reverse()
        start = reach = first = 0
        for index, (_, end) in enumerate(spans):
            reach = max(reach, end)
            if start < reach <= later[index + 1]:
                yield _Part(text[start:reach], ids[first : index + 1])
                start, first = reach, index + 1
        if start < len(text):
            yield _Part(text[start:], ids[first:])

    def _piece(self, token: int) -> bytes | None:
        pieces = self._vocabulary.pieces
        return pieces[token] if token < len(pieces) else None


def continuations(text: bytes) -> bytes:
    """The bytes that may follow where ``text`` ends within a character; none where it does not."""
    _, consumed = codecs.utf_8_decode(text, "replace", False)
    begun = text[consumed:]
    return bytes(byte for byte in range(0x80, 0xC0) if begun and _may_become_valid(begun + bytes([byte])))


def _may_become_valid(data: bytes) -> bool:
    """Whether the beginning of one character can be completed. (Python's decoder waits for the end of surrogates.)"""
    for rest in (b"", b"\x80", b"\x80\x80"):
        try:
            (data + rest).decode()
        except UnicodeDecodeError:
            continue
        return True
    return False


@cache
def _sample() -> tuple[str, ...]:
    """Texts that have every character of Unicode, but of those that are alike only some; control characters last."""
    kept, alike, controls = [], [], []
    for character in map(chr, (*range(0xD800), *range(0xF900, 0x33480), *range(0xE0001, 0xE01F0))):
        category = unicodedata.category(character)
        if category == "Cc" and character not in "\t\n\r":
            controls.append(character)
        elif "가" <= character <= "힣" or (category in ("Lo", "So") and unicodedata.is_normalized("NFKD", character)):
            alike.append(character)
        elif category not in ("Cn", "Co"):
            kept.append(character)
    return (*_SEQUENCES, "".join(kept + alike[::_ALIKE]), "".join(controls))


def _valid_prefix(text: bytes, start: int) -> int:
    """The end of the longest valid UTF-8 from ``start`` on."""
    try:
        _, consumed = codecs.utf_8_decode(text[start:], "strict", False)
    except UnicodeDecodeError as error:
        return start + error.start
    return start + consumed

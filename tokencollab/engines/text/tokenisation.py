"""From text to a model's own tokens, each with the byte at which it ends."""

import codecs
import json
from typing import Any

from tokencollab.engines.text.vocabulary import Vocabulary
from tokencollab.errors import ModelRefused

Tokens = list[tuple[int, int]]
"""Token ids, each with the byte offset at which it ends."""

_COMPOSING = {"NFC", "NFD", "NFKC", "NFKD"}
_ANCHORS = ("\n", ".", ":", "a")
_PROBES = (
    "The quick brown Fox jumps over 13 lazy dogs. It's 3.14, isn't it?",
    "a b  c",
    "Straße, naïve café, Ångström",
    "日本語のテキスト 中文 한국어",
    "Привет, мир! שלום مرحبا हिन्दी",
    "x = {'y': [1, 2]}  # \N{GRINNING FACE}",
)


class TextTokenizer:
    """Tokenises parts of an answer exactly as the model's tokenizer would in the middle of a text.

    Special tokens written out in the text are text, never control. Bytes that are not valid UTF-8 become the
    model's byte tokens where it has them.
    """

    def __init__(self, tokenizer: Any, vocabulary: Vocabulary) -> None:
        """Wraps the tokenizer's backend. (transformers sets special tokens and padding as it needs at each call.)

        Raises:
            ModelRefused: the tokenizer changes text (lower-cases it, drops characters, ...).
        """
        self._backend = _without_composing(tokenizer.backend_tokenizer)
        self._vocabulary = vocabulary
        self._check_text_is_kept()

    def _check_text_is_kept(self) -> None:
        for probe in _PROBES:
            data = probe.encode()
            start = 0
            for token, end in self._encode_valid(data):
                piece = self._piece(token)
                written = data[start:end]
                start = end
                if piece is None or piece.strip() == written.strip():
                    continue
                raise ModelRefused(
                    f"its tokenizer changes text: {written.decode('utf-8', 'replace')!r} becomes "
                    f"{piece.decode('utf-8', 'replace')!r}; only models whose tokens spell the text are supported"
                )
            if dropped := data[start:].strip():
                raise ModelRefused(
                    f"its tokenizer drops {dropped.decode('utf-8', 'replace')!r} from a text; only models whose "
                    "tokens spell the text are supported"
                )

    def encode(self, text: bytes) -> Tokens:
        """The tokens of ``text`` as it stands in the middle of a text. Ends are relative to its beginning.

        What the vocabulary cannot spell (a byte without a token, an unknown character where the unknown token is
        EOS) is not seen by the model: the next token spans it. At the end of the text, the last end is then smaller
        than ``len(text)``.
        """
        tokens: Tokens = []
        position = 0
        while position < len(text):
            good = _valid_prefix(text, position)
            if good > position:
                tokens += [(token, position + end) for token, end in self._encode_text(text[position:good])]
                position = good
                continue
            position += 1
            token = self._vocabulary.id_of.get(text[position - 1 : position])
            if token is not None:
                tokens.append((token, position))
        return tokens

    def _encode_text(self, data: bytes) -> Tokens:
        """Tokens of valid UTF-8, none of them control.

        Some tokenizers find their special tokens in any text (as a word of the vocabulary, a unigram piece): there
        the text is taken apart.
        """
        tokens: Tokens = []
        start = 0
        for token, end in self._encode_valid(data):
            if self._piece(token) is not None or token == self._vocabulary.unknown_id:
                tokens.append((token, end))
            elif (first := _first_character(data[start:end])) < end - start:
                for offset, part in ((start, data[start : start + first]), (start + first, data[start + first : end])):
                    tokens += [(inner, offset + stop) for inner, stop in self._encode_text(part)]
            start = end
        return tokens

    def _piece(self, token: int) -> bytes | None:
        pieces = self._vocabulary.pieces
        return pieces[token] if token < len(pieces) else None

    def _encode_valid(self, data: bytes) -> Tokens:
        text = data.decode("utf-8")
        best: Tokens = []
        fewest = len(data) + 1
        for anchor in ("", *_ANCHORS):
            self._backend.encode_special_tokens = True
            tokens = self._ends(self._backend.encode(anchor + text, add_special_tokens=False), anchor + text)
            if anchor:
                # The tokenizer puts a space in front of a text: let something else stand there.
                cuts = [index + 1 for index, (_, end) in enumerate(tokens) if end == len(anchor)]
                if not cuts:
                    continue
                tokens = [(token, end - len(anchor)) for token, end in tokens[cuts[-1] :]]
            wrong = self._misspelt(tokens, data)
            if wrong < fewest:
                best, fewest = tokens, wrong
            if not wrong:
                break
        return best

    def _misspelt(self, tokens: Tokens, data: bytes) -> int:
        """How many tokens spell something else than what they stand for."""
        starts = [0, *(end for _, end in tokens)]
        return sum(
            self._piece(token) not in (None, data[start:end])
            for start, (token, end) in zip(starts, tokens, strict=False)
        )

    def _ends(self, encoding: Any, text: str) -> Tokens:
        """Byte ends of an encoding's tokens: by the bytes of the tokens where these spell the text, else by offsets."""
        data = text.encode("utf-8")
        tokens: Tokens = []
        position = 0
        for token in encoding.ids:
            piece = self._piece(token)
            if piece is None or not data.startswith(piece, position):
                break
            position += len(piece)
            tokens.append((token, position))
        if position == len(data):
            return tokens
        starts = [0]
        for character in text:
            starts.append(starts[-1] + len(character.encode("utf-8")))
        tokens = []
        spans = encoding.offsets
        for index, token in enumerate(encoding.ids):
            begin, end = spans[index]
            last = tokens[-1][1] if tokens else 0
            piece = self._piece(token)
            shared = index + 1 < len(spans) and spans[index + 1] == (begin, end)
            stop = starts[end] if not shared or piece is None else max(last, starts[begin]) + len(piece)
            tokens.append((token, min(max(last, stop), starts[end])))
        return tokens


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


def _first_character(data: bytes) -> int:
    """The length of the first character of valid UTF-8."""
    return next((index for index in range(1, len(data)) if not 0x80 <= data[index] < 0xC0), len(data))


def _without_composing(backend: Any) -> Any:
    """The tokenizer without Unicode composition (NFC and the like).

    The shared text must stay as the others wrote it, byte for byte; byte tokens spell any form of a character.
    """
    normalizer = json.loads(backend.normalizer.__getstate__()) if backend.normalizer is not None else None
    steps = normalizer.get("normalizers", [normalizer]) if normalizer else []
    kept = [step for step in steps if step["type"] not in _COMPOSING]
    # Accents are stripped after decomposition only: without it such a tokenizer would not show what it does.
    if len(kept) == len(steps) or any(step["type"] == "StripAccents" for step in steps):
        return backend  # and no copy, which takes seconds for a large vocabulary
    from tokenizers import Tokenizer  # noqa: PLC0415  (kept out of `import tokencollab`)

    description = json.loads(backend.to_str())
    description["normalizer"] = {"type": "Sequence", "normalizers": kept} if kept else None
    copy = Tokenizer.from_str(json.dumps(description))
    copy.no_padding()
    copy.no_truncation()
    return copy


def _valid_prefix(text: bytes, start: int) -> int:
    """The end of the longest valid UTF-8 from ``start`` on."""
    try:
        _, consumed = codecs.utf_8_decode(text[start:], "strict", False)
    except UnicodeDecodeError as error:
        return start + error.start
    return start + consumed

"""From text to a model's own tokens, each with the byte at which it ends."""

import codecs
import json
from typing import Any

from tokencollab.engines.vocabulary import Vocabulary
from tokencollab.protocol.errors import ModelRefused

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
        """Wraps a copy of the tokenizer's backend.

        Raises:
            ModelRefused: the tokenizer changes text (lower-cases it, drops characters, ...).
        """
        from tokenizers import Tokenizer  # noqa: PLC0415  (kept out of `import tokencollab`)

        self._backend = Tokenizer.from_str(_without_composing(tokenizer.backend_tokenizer))
        self._backend.encode_special_tokens = True
        self._backend.no_padding()
        self._backend.no_truncation()
        self._vocabulary = vocabulary
        self._check_text_is_kept()

    def _check_text_is_kept(self) -> None:
        for probe in _PROBES:
            data = probe.encode()
            start = 0
            for token, end in self.encode(data):
                piece = self._vocabulary.pieces[token]
                written = data[start:end]
                start = end
                if piece is None or piece.strip() == written.strip():
                    continue
                raise ModelRefused(
                    f"its tokenizer changes text: {written.decode('utf-8', 'replace')!r} becomes "
                    f"{piece.decode('utf-8', 'replace')!r}; only models whose tokens spell the text can take part"
                )

    def encode(self, text: bytes) -> Tokens:
        """The tokens of ``text`` as it stands in the middle of a text. Ends are relative to its beginning.

        A tail that the vocabulary cannot spell (an unfinished character without byte tokens) is left out: the last
        end is then smaller than ``len(text)``.
        """
        tokens: Tokens = []
        position = 0
        while position < len(text):
            good = _valid_prefix(text, position)
            if good > position:
                tokens += [(token, position + end) for token, end in self._encode_valid(text[position:good])]
                position = good
                continue
            token = self._vocabulary.id_of.get(text[position : position + 1])
            position += 1
            if token is not None:
                tokens.append((token, position))
            elif tokens:
                # No token for this byte: the model does not see it, and the token before spans it.
                if position == len(text) or not self._spellable(text[position:]):
                    break
                tokens[-1] = (tokens[-1][0], position)
        return tokens

    def _spellable(self, rest: bytes) -> bool:
        return _valid_prefix(rest, 0) > 0 or rest[:1] in self._vocabulary.id_of

    def _encode_valid(self, data: bytes) -> Tokens:
        text = data.decode("utf-8")
        tokens: Tokens = []
        for anchor in ("", *_ANCHORS):
            encoding = self._backend.encode(anchor + text, add_special_tokens=False)
            tokens = _ends(encoding, self._vocabulary, anchor + text)
            if anchor == "" and self._spells(tokens, data):
                return tokens
            # The tokenizer puts a space in front of a text: let something else stand there.
            skip = [index for index, (_, end) in enumerate(tokens) if end == len(anchor)]
            if anchor and skip:
                return [(token, end - len(anchor)) for token, end in tokens[skip[-1] + 1 :]]
        return tokens

    def _spells(self, tokens: Tokens, data: bytes) -> bool:
        start = 0
        for token, end in tokens:
            piece = self._vocabulary.pieces[token]
            if start == 0 and piece is not None and piece != data[:end]:
                return False
            start = end
        return True


def _without_composing(backend: Any) -> str:
    """The tokenizer's JSON form without Unicode composition (NFC and the like).

    The shared text must stay as the others wrote it, byte for byte; byte tokens spell any form of a character.
    """
    form: str = backend.to_str()
    normalizer = json.loads(backend.normalizer.__getstate__()) if backend.normalizer is not None else None
    steps = normalizer.get("normalizers", [normalizer]) if normalizer else []
    kept = [step for step in steps if step["type"] not in _COMPOSING]
    if len(kept) == len(steps):
        return form
    description = json.loads(form)
    description["normalizer"] = {"type": "Sequence", "normalizers": kept} if kept else None
    return json.dumps(description)


def _valid_prefix(text: bytes, start: int) -> int:
    """The end of the longest valid UTF-8 from ``start`` on."""
    try:
        decoded, consumed = codecs.utf_8_decode(text[start:], "strict", False)
    except UnicodeDecodeError as error:
        return start + error.start
    return start + consumed


def _ends(encoding: Any, vocabulary: Vocabulary, text: str) -> Tokens:
    """Byte ends of an encoding's tokens: by the bytes of the tokens where these spell the text, else by its offsets."""
    data = text.encode("utf-8")
    tokens: Tokens = []
    position = 0
    for token in encoding.ids:
        piece = vocabulary.pieces[token]
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
        piece = vocabulary.pieces[token]
        shared = index + 1 < len(spans) and spans[index + 1] == (begin, end)
        stop = starts[end] if not shared or piece is None else max(last, starts[begin]) + len(piece)
        tokens.append((token, min(max(last, stop), starts[end])))
    return tokens

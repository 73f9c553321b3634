"""What each token of a model appends to the text, in bytes.

Decoded strings are no basis for that: a token may be a part of a character, and decoders look at neighbours. So
the tokenizer's own decoder pipeline is applied to one token as it stands in the middle of a text.
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tokencollab.errors import ModelRefused

END_TOKENS = frozenset(
    (
        "</s>",
        "<eos>",
        "<|endoftext|>",
        "<|im_end|>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|end_of_text|>",
        "<end_of_turn>",
        "<|end|>",
        "<|return|>",
        "<turn|>",
        "<|EOT|>",
        "<|eot|>",
        "<｜end▁of▁sentence｜>",
    )
)
"""Tokens that end a turn in public chat formats. A checkpoint's configuration often names only one of its own."""


def _byte_level_table() -> dict[str, int]:
    """The characters that byte-level BPE writes for the 256 bytes (GPT-2)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in set(printable))
    return table | {chr(256 + index): byte for index, byte in enumerate(others)}


_BYTE_LEVEL = _byte_level_table()


def _byte_level(token: str) -> bytes:
    try:
        return bytes(map(_BYTE_LEVEL.__getitem__, token))
    except KeyError:
        return token.encode("utf-8")


def _is_byte_fallback(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def token_decoder(decoder: dict[str, Any] | None) -> Callable[[str], bytes]:
    """From a tokenizer's decoder (its JSON form) to the function "bytes of one token in the middle of a text".

    Raises:
        ModelRefused: a decoder that this project does not know.
    """
    steps = decoder["decoders"] if decoder and decoder["type"] == "Sequence" else [decoder] if decoder else []
    replacements: list[tuple[str, str]] = []
    fallback = False
    for step in steps:
        match step["type"]:
            case "ByteLevel":
                return _byte_level
            case "Replace" if "String" in step["pattern"]:
                replacements.append((step["pattern"]["String"], step["content"]))
            case "Metaspace":
                replacements.append((step["replacement"], " "))
            case "BPEDecoder":
                replacements.append((step["suffix"], " "))
            case "ByteFallback":
                fallback = True
            case "WordPiece":
                prefix = step["prefix"]
                return lambda token: (token.removeprefix(prefix) if token.startswith(prefix) else f" {token}").encode()
            case "Fuse" | "Strip":  # both act on a whole text's beginning or end, not in its middle
                pass
            case other:
                raise ModelRefused(f"its tokenizer has a decoder of type {other!r}, which tokencollab does not know")

    def decode(token: str) -> bytes:
        if fallback and _is_byte_fallback(token):
            return bytes([int(token[3:5], 16)])
        for old, new in replacements:
            token = token.replace(old, new)
        return token.encode("utf-8")

    return decode


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a model as bytes.

    ``pieces[i]`` is what token i appends; None for tokens that are never candidates: special tokens (control, not
    text), the unknown token, ids without a token, tokens without bytes. ``end_ids`` are the tokens that mean EOS.
    """

    pieces: tuple[bytes | None, ...]
    end_ids: tuple[int, ...]
    unknown_id: int | None
    fallback_ids: frozenset[int] = field(default_factory=frozenset)

    @cached_property
    def id_of(self) -> dict[bytes, int]:
        """Token of exactly these bytes; a real token wins over a byte-fallback one, then the smaller id."""
        ids: dict[bytes, int] = {}
        for token, piece in enumerate(self.pieces):
            if piece is not None and token not in self.fallback_ids:
                ids.setdefault(piece, token)
        for token in sorted(self.fallback_ids):
            if (piece := self.pieces[token]) is not None:
                ids.setdefault(piece, token)
        return ids

    @cached_property
    def never(self) -> list[int]:
        """Ids that are neither EOS nor a piece."""
        ends = set(self.end_ids)
        return [token for token, piece in enumerate(self.pieces) if piece is None and token not in ends]

    @cached_property
    def _sorted(self) -> tuple[list[bytes], list[int]]:
        pairs = sorted((piece, token) for token, piece in enumerate(self.pieces) if piece is not None)
        return [piece for piece, _ in pairs], [token for _, token in pairs]

    @property
    def order(self) -> list[int]:
        """The ids of all pieces, in byte order of the pieces: the axis that ``fences`` counts along."""
        return self._sorted[1]

    def fences(self, prefix: bytes) -> list[int]:
        """Where along ``order`` the pieces that begin with ``prefix`` stand: 258 positions.

        From the first to the second: pieces equal to ``prefix``; from number 1 + x on up to the next: pieces that
        begin with ``prefix`` and byte x.
        """
        pieces = self._sorted[0]
        low = bisect_left(pieces, prefix)
        bumped = prefix.rstrip(b"\xff")
        after = bumped[:-1] + bytes([bumped[-1] + 1]) if bumped else None
        high = len(pieces) if after is None else bisect_left(pieces, after, lo=low)
        inner = [bisect_left(pieces, prefix + bytes([byte]), lo=low, hi=high) for byte in range(256)]
        return [low, *inner, high]

    def starting_with(self, prefix: bytes) -> list[int]:
        """The ids of the pieces that begin with ``prefix`` and are longer."""
        fences = self.fences(prefix)
        return self.order[fences[1] : fences[-1]]


def read_vocabulary(tokenizer: Any, end_ids: Sequence[int], size: int) -> Vocabulary:
    """The vocabulary of a transformers tokenizer (one backed by the `tokenizers` library).

    ``size`` counts the columns of the model's output, which may be more than the tokenizer has tokens.

    Raises:
        ModelRefused: no fast tokenizer, or a decoder that is not known.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelRefused("it has no tokenizer.json (a tokenizer of the `tokenizers` library), which is needed")
    decoder = json.loads(backend.decoder.__getstate__()) if backend.decoder is not None else None
    decode = token_decoder(decoder)
    tokens: dict[str, int] = tokenizer.get_vocab()
    pieces: list[bytes | None] = [None] * size
    for token, index in tokens.items():
        if index < size:
            pieces[index] = decode(token) or None
    fallback = {tokens[f"<0x{byte:02X}>"] for byte in range(256) if f"<0x{byte:02X}>" in tokens}
    ends = {*end_ids, tokenizer.eos_token_id} - {None}
    for index, added in tokenizer.added_tokens_decoder.items():
        if index >= size:
            continue
        # An added token that is not special is text ("\n" in Gemma). It is written as it stands, so the table of
        # byte-level BPE does not apply; a marker for spaces does ("▁▁").
        if added.special or decode is _byte_level:
            pieces[index] = None if added.special else added.content.encode("utf-8")
        if added.special and added.content in END_TOKENS:
            ends.add(index)
    unknown = tokenizer.unk_token_id
    for index in {*ends, unknown} - {None}:
        if index < size:
            pieces[index] = None
    # SmolLM2's unknown token is also its end of text: it stays an EOS, and is no stand-in for unknown characters.
    return Vocabulary(
        pieces=tuple(pieces),
        end_ids=tuple(sorted(index for index in ends if index < size)),
        unknown_id=unknown if unknown not in ends else None,
        fallback_ids=frozenset(index for index in fallback if index < size),
    )

"""What each token of a model appends to the text, in bytes.

Decoded strings are no basis for that: a token may be a part of a character, and decoders look at neighbours. So
the tokenizer's own decoder pipeline is applied to one token as it stands in the middle of a text.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import methodcaller
from typing import Any

from tokencollab.engines.text.pipeline import check_growth, literal, steps, tokenizer_errors
from tokencollab.errors import ModelRefused
from tokencollab.protocol.pieces import END_TOKENS


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


_BYTE_TOKEN = re.compile("<0x([0-9A-Fa-f]{2})>")


def token_decoder(decoder: Any) -> Callable[[str], bytes]:
    """From a tokenizer's decoder to the function "bytes of one token in the middle of a text".

    Raises:
        ModelRefused: a decoder that this project does not know, or that makes much of little.
    """
    from tokenizers import Regex, decoders  # noqa: PLC0415  (kept out of `import tokencollab`)

    changes: list[Callable[[str], str]] = []
    growth = 1
    byte_level = fallback = joined = False  # joined: later steps see the whole text instead of single tokens
    for step in steps(decoder, "decoders"):
        match step["type"]:
            case "ByteLevel":
                byte_level = joined = True
            case "Fuse":
                joined = True
            case "ByteFallback":
                fallback = True
            case "Strip" if joined:
                pass  # it acts on a whole text's beginning and end, not in its middle
            case "Strip":
                changes.append(_of_one(decoders.Strip(step["content"], step["start"], step["stop"])))
            case "Metaspace" if not byte_level:
                changes.append(methodcaller("replace", step["replacement"], " "))
            case "Replace" if not byte_level and "" not in step["pattern"].values():
                growth = check_growth(growth * max(1, len(step["content"])))
                old, new = literal(step["pattern"]), step["content"]
                if old is not None:
                    changes.append(methodcaller("replace", old, new))
                else:
                    changes.append(_of_one(decoders.Replace(Regex(step["pattern"]["Regex"]), new)))
            case other:
                raise ModelRefused(
                    f"its tokenizer has a decoder of type {other!r}, which tokencollab does not know in this place"
                )

    def decode(token: str) -> bytes:
        if fallback and len(token) == 6 and (byte := _BYTE_TOKEN.fullmatch(token)):
            return bytes([int(byte[1], 16)])
        for change in changes:
            token = change(token)
        return _byte_level(token) if byte_level else token.encode("utf-8")

    return decode


def _of_one(decoder: Any) -> Callable[[str], str]:
    """The library's own step, applied to one token."""
    return lambda token: decoder.decode([token])


def unknown_token(backend: Any) -> int | None:
    """The token that the tokenizer's model writes for what is not in its vocabulary, if it has one."""
    model = backend.model
    if (content := getattr(model, "unk_token", None)) is not None:
        token: int | None = model.token_to_id(content)
        return token
    # A unigram model says it in its saved form alone, before its vocabulary.
    unigram = type(model).__name__ == "Unigram"
    found = re.search(rb'"unk_id":(\d+)', model.__getstate__()[:200]) if unigram else None
    return int(found[1]) if found else None


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
    with tokenizer_errors(ModelRefused, "to show its vocabulary"):
        return _read(tokenizer, backend, end_ids, size)


def _read(tokenizer: Any, backend: Any, end_ids: Sequence[int], size: int) -> Vocabulary:
    decode = token_decoder(backend.decoder)
    byte_level = any(step["type"] == "ByteLevel" for step in steps(backend.decoder, "decoders"))
    tokens: dict[str, int] = backend.get_vocab()
    added = backend.get_added_tokens_decoder()
    pieces: list[bytes | None] = [None] * size
    for token, index in tokens.items():
        if index < size:
            pieces[index] = decode(token) or None
    for index, token in added.items():
        # An added token that is not special is text ("\n" in Gemma). It is written as it stands, so the table of
        # byte-level BPE does not apply; a marker for spaces does ("▁▁").
        if index < size and (token.special or byte_level):
            pieces[index] = None if token.special else token.content.encode("utf-8") or None
    fallback = {tokens[f"<0x{byte:02X}>"] for byte in range(256) if f"<0x{byte:02X}>" in tokens}
    special = {index: token.content for index, token in added.items() if token.special}
    named = {*end_ids, tokenizer.eos_token_id, *turn_ends(special)} - {None}
    ends = {index for index in named if 0 <= index < size}
    unknown = [index for index in (unknown_token(backend), tokenizer.unk_token_id) if index is not None]
    for index in (*ends, *unknown):
        if index < size:
            pieces[index] = None
    # SmolLM2's unknown token is also its end of text: it stays an EOS, and is no stand-in for unknown characters.
    return Vocabulary(
        pieces=tuple(pieces),
        end_ids=tuple(sorted(ends)),
        unknown_id=next((index for index in unknown[:1] if index < size and index not in ends), None),
        fallback_ids=frozenset(index for index in fallback if index < size),
    )


def turn_ends(special: Mapping[int, str]) -> set[int]:
    """Those of the special tokens that end a turn in public chat formats."""
    names = set(special.values())
    # Formats that end calls of tools and whole answers by tokens of their own use <|end|> between parts of an answer.
    parts = names >= {"<|call|>", "<|return|>"} or names >= {"<|calls|>", "<|flush|>"}
    ends = END_TOKENS - {"<|end|>"} if parts else END_TOKENS
    return {index for index, name in special.items() if name in ends}

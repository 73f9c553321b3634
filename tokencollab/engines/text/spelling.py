"""A model's own tokens for the shared text as the bytes of a `Spelling`, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from struct import calcsize, pack, unpack

from tokencollab.engines.text.vocabulary import Vocabulary
from tokencollab.protocol.spelling import TOKEN_BYTES, Spelling

_STATE = "<I?i"  # bytes of the text, whether the lead stands before it, the first token of an open foreign word or -1


@dataclass(frozen=True, slots=True)
class Held:
    """What `AnswerText` holds of a text of ``length`` bytes: its fields of the same names; ``listed`` are token ids."""

    length: int
    ids: Sequence[int]
    ends: Sequence[int]
    lead: bool
    foreign_from: int | None
    listed: Sequence[int]


def write_spelling(held: Held, kept: int) -> Spelling:
    """The spelling with all but the first ``kept`` tokens."""
    flat = [number for pair in zip(held.ids[kept:], held.ends[kept:], strict=True) for number in pair]
    state = pack(_STATE, held.length, held.lead, -1 if held.foreign_from is None else held.foreign_from)
    return Spelling(kept, pack(f"<{len(flat)}I", *flat), state + pack(f"<{len(held.listed)}I", *held.listed))


def read_spelling(spelling: Spelling, text: bytes, lead: bytes, vocabulary: Vocabulary) -> Held | None:
    """What a whole spelling says of ``text``; None where it is not a spelling of this text in this vocabulary."""
    fixed = calcsize(_STATE)
    if spelling.kept or len(spelling.tokens) % TOKEN_BYTES or len(spelling.state) < fixed:
        return None
    if len(spelling.state[fixed:]) % 4:
        return None
    flat = unpack(f"<{len(spelling.tokens) // 4}I", spelling.tokens)
    length, leads, foreign = unpack(_STATE, spelling.state[:fixed])
    listed = unpack(f"<{len(spelling.state[fixed:]) // 4}I", spelling.state[fixed:])
    held = Held(length, list(flat[::2]), list(flat[1::2]), leads, foreign if foreign >= 0 else None, listed)
    pieces = vocabulary.pieces
    if (
        length != len(text)
        or foreign > len(held.ids)
        or not all(token < len(pieces) and pieces[token] for token in listed)
    ):
        return None
    whole = (lead if leads else b"") + text
    for token, (start, end) in zip(held.ids, pairwise([0, *held.ends]), strict=True):
        if not start < end <= len(whole) or token >= len(pieces):
            return None
        piece = pieces[token]
        # A token may span bytes before it that the vocabulary cannot spell; the unknown token stands for any.
        if not whole[start:end].endswith(piece) if piece is not None else token != vocabulary.unknown_id:
            return None
    return held

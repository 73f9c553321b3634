"""Pieces: what a model may append to the shared text.

A piece is the *bytes* that a token would append, or EOS (any of the model's end-of-sequence tokens).
Identity is by bytes, never by token id or token string (docs/specification.md section 1).
"""

from typing import Any, Final, TypeAlias

from tokencollab.errors import ProtocolError

Piece: TypeAlias = bytes | None

EOS: Final = None
"""The piece that ends the answer. `None`, so that it is JSON's null and never equals any bytes."""

TURN_ENDS: Final = (
    *("<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<end_of_turn>", "<|end|>"),
    *("<|return|>", "<|call|>", "<|calls|>", "<|flush|>", "<turn|>", "<|tool_response>", "<|EOT|>", "<|eot|>"),
    *("<EOT>", "_<EOT>", "<end_of_utterance>", "<｜end▁of▁sentence｜>"),
)
"""Tokens that end a turn in public chat formats and are nothing else. A checkpoint often names only one of its own."""

END_TOKENS: Final = frozenset((*TURN_ENDS, "</s>", "<eos>", "[EOS]", "[EOT]"))
"""All that do so where they are special; the last four are ordinary text in some vocabularies ("</s>" in Gemma's)."""

MAX_PIECE_BYTES: Final = 4096
"""Longer pieces are refused: the longest tokens of public vocabularies have a few hundred bytes."""

JsonPiece: TypeAlias = str | dict[str, str] | None


def piece_order(piece: Piece) -> tuple[bool, bytes]:
    """Sort key that puts EOS first and other pieces in byte order: the last resort of every tie."""
    return (piece is not None, piece or b"")


def piece_to_json(piece: Piece) -> JsonPiece:
    """A string where the bytes are valid UTF-8, ``{"hex": ...}`` where not, ``None`` for EOS."""
    if piece is None:
        return None
    try:
        return piece.decode("utf-8")
    except UnicodeDecodeError:
        return {"hex": piece.hex()}


def piece_from_json(value: Any) -> Piece:
    """The inverse of :func:`piece_to_json`.

    Raises ProtocolError: the value is none of the three forms, or an empty or overlong piece.
    """
    match value:
        case None:
            return EOS
        case str():
            try:
                piece = value.encode("utf-8")
            except UnicodeEncodeError as error:
                raise ProtocolError(f"a piece is not valid Unicode text: {value!r}") from error
        case {"hex": str() as digits} if len(value) == 1:
            try:
                piece = bytes.fromhex(digits)
            except ValueError as error:
                raise ProtocolError(f"a piece is not valid hexadecimal: {digits!r}") from error
        case _:
            raise ProtocolError(f'a piece must be a string, {{"hex": ...}} or null, not {value!r}')
    if not 0 < len(piece) <= MAX_PIECE_BYTES:
        raise ProtocolError(f"a piece must have 1 to {MAX_PIECE_BYTES} bytes, this one has {len(piece)}")
    return piece

"""Where a word or a character is still open: the exit consult takes back whole words.

Judged on bytes, so that a piece that is part of a character can be judged too. ASCII letters, digits, ``_``
and ``'`` and the two-byte characters from U+00C0 on (Latin with accents, Greek, Cyrillic, Hebrew, Arabic)
join into words. Every character of three or four bytes is a word of its own: Chinese or Japanese has no
spaces, and "the word" would be the whole sentence.
"""

from typing import Final

from tokencollab.protocol.pieces import Piece

_WORD_BYTES: Final = frozenset(
    bytes([byte])
    for byte in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_'" + bytes(range(0xC3, 0xE0))
)
_LONGEST: Final = 4


def goes_on(text: bytes, piece: Piece) -> bool:
    """Whether ``piece`` goes on with the character, the word, or the space before a word at the end of ``text``."""
    if piece is None or not text:
        return False
    last = _last_character(text)
    return len(last) < _width(last) or last == b" " or (last[:1] in _WORD_BYTES and piece[:1] in _WORD_BYTES)


def _last_character(text: bytes) -> bytes:
    """The last character of ``text``, whole or begun; one byte where it is not UTF-8."""
    for length in range(1, min(_LONGEST, len(text)) + 1):
        byte = text[-length]
        if byte & 0xC0 != 0x80:  # not a continuation byte: the character begins here
            character = text[-length:]
            return character if length <= _width(character) else text[-1:]
    return text[-1:]


def _width(character: bytes) -> int:
    """How many bytes the character that begins so has; 1 for what is not UTF-8."""
    if not 0xC2 <= character[0] <= 0xF4:
        return 1
    if character[0] < 0xE0:
        return 2
    return 3 if character[0] < 0xF0 else 4

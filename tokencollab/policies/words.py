"""Where a word or a character is still open: what `owner_finishes` needs to know of the text.

Judged on bytes, so that a piece that is part of a character can be judged too. ASCII letters, digits, ``_``
and ``'`` and the two-byte characters from U+00C0 on (Latin with accents, Greek, Cyrillic, Hebrew, Arabic)
join into words. Every character of three or four bytes is a word of its own: Chinese or Japanese has no
spaces, and an owner that finished "the word" would write the whole sentence.
"""

from dataclasses import dataclass
from typing import Final

from tokencollab.protocol.pieces import Piece

_WORD_BYTES: Final = frozenset(
    bytes([byte])
    for byte in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_'" + bytes(range(0xC3, 0xE0))
)
_LONGEST: Final = 4


@dataclass(frozen=True, slots=True)
class Word:
    """The end of the text: ``owners`` are the models that finish the open word (empty: everybody does).

    ``tail`` has the last bytes of the text, at most those of one character.
    """

    owners: tuple[str, ...] = ()
    tail: bytes = b""

    @property
    def mid_character(self) -> bool:
        """Whether the text ends inside a UTF-8 character."""
        return len(self.tail) < _width(self.tail)

    def continued_by(self, piece: Piece) -> bool:
        """Whether ``piece`` goes on with the word at the end of the text. END never does."""
        return piece is not None and self._open and (self.mid_character or piece[:1] in _WORD_BYTES)

    def after(self, piece: Piece, listed: tuple[str, ...], voted: tuple[str, ...]) -> "Word":
        """The word after ``piece``, which ``listed`` had among their candidates of the models that ``voted``.

        The owners of an open word are those that listed its last piece, if not everybody did.
        """
        if piece is None:
            return Word(tail=self.tail)
        word = Word(tail=_last_character(self.tail + piece))
        if not word._open:
            return word
        others = self.owners if self.continued_by(piece) else ()
        if not others and len(listed) == len(voted):
            return word
        return Word(tuple(m for m in listed if not others or m in others), word.tail)

    @property
    def _open(self) -> bool:
        return self.mid_character or self.tail[:1] in _WORD_BYTES


NO_WORD: Final = Word()
"""The beginning of a text."""


def goes_on(text: bytes, piece: Piece) -> bool:
    """Whether ``piece`` goes on with the character, the word, or the space before a word at the end of ``text``."""
    word = Word(tail=_last_character(text))
    return word.continued_by(piece) or (piece is not None and word.tail == b" ")


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
    if not character or character[0] < 0xC2 or character[0] > 0xF4:
        return min(len(character), 1)
    if character[0] < 0xE0:
        return 2
    return 3 if character[0] < 0xF0 else 4

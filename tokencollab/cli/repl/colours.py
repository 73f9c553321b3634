"""Who backed a piece, and how that is shown: tints, attributes without colour, words, marks."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from rich.text import Text

from tokencollab.actors.answer import Token
from tokencollab.protocol.pieces import Piece


class Backing(Enum):
    """Who backed a piece, in words; in the legend; its rich style of the 8 colours that every terminal has, or none."""

    AGREED = "agreed", "agreed", "green", ""  # the first choice of every model that answered
    BASE = "base", "base first", "cyan", "underline"  # the base's first choice, not everybody's
    AGAINST = "against the base", "against the base", "bold yellow", "bold"  # not the base's first choice
    ALONE = "base alone", "base alone", "magenta", "italic"  # written by the base by itself


@dataclass(frozen=True, slots=True)
class Marks:
    """What stands in the text where something happened."""

    exit: str = "▸"
    lost: str = "✗"
    joined: str = "✓"


ASCII_MARKS: Final = Marks(">", "x", "+")
MARK_STYLES: Final[Mapping[str, str]] = {"exit": "bold magenta", "lost": "bold red", "joined": "bold green"}

Spans: TypeAlias = Iterator[tuple[str, str]]
"""Texts with their rich styles."""


def backing_of(token: Token, base: str) -> Backing:
    """Who backed ``token``; a piece in whose step the base had no say counts as against it."""
    if token.alone:
        return Backing.ALONE
    if token.ranks.get(base) != 0:
        return Backing.AGAINST
    everybody = len(token.ranks) > 1 and all(rank == 0 for rank in token.ranks.values())
    return Backing.AGREED if everybody else Backing.BASE


@dataclass(frozen=True, slots=True)
class Palette:
    """How an answer is painted: ``colour`` False uses attributes only, ``marks`` are those that can be encoded."""

    colour: bool = True
    marks: Marks = Marks()

    def style(self, backing: Backing) -> str:
        return backing.value[2 if self.colour else 3]

    def spans(self, token: Token, base: str, before: Token | None) -> Spans:
        """A token with the marks in front of it. ``before`` is the one before it."""
        leaves = token.alone and before is not None and not before.alone
        for event in ["lost"] * len(token.lost) + ["joined"] * len(token.joined) + ["exit"] * leaves:
            yield getattr(self.marks, event), MARK_STYLES[event] if self.colour else "bold"
        if token.text:
            yield token.text, self.style(backing_of(token, base))

    def legend(self) -> Text:
        legend = Text()
        for backing in Backing:
            legend.append(backing.value[1], style=self.style(backing)).append(" | ")
        return legend.append(f"{self.marks.exit} exit {self.marks.lost} lost {self.marks.joined} back")


def in_words(token: Token, base: str, before: Token | None) -> str:
    """What a listener hears before the text of ``token``, where it is not as for the one before; else empty."""
    said = [f"{name} lost" for name in token.lost] + [f"{name} back" for name in token.joined]
    if label(token, base) != (None if before is None else label(before, base)):
        said.append(label(token, base))
    return f" ({'; '.join(said)}) " if said else ""


def label(token: Token, base: str) -> str:
    """Who backed ``token``, in words; with names where a collaborator's choice went against the base."""
    backing = backing_of(token, base)
    names = [model for model, rank in token.ranks.items() if rank == 0 and model != base]
    return f"{' and '.join(names)} against the base" if backing is Backing.AGAINST and names else backing.value[0]


def visible(piece: Piece) -> str:
    """A piece in quotes with every invisible character shown; bytes that are no character as ``<e3 81>``."""
    if piece is None:
        return "EOS"
    try:
        text = piece.decode("utf-8")
    except UnicodeDecodeError:
        return f"<{piece.hex(' ')}>"
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in json.dumps(text, ensure_ascii=False))


def happenings(tokens: Sequence[Token]) -> list[str]:
    lines = []
    for token in tokens:
        lines += [f"{name} was lost at step {token.step}" for name in token.lost]
        lines += [f"{name} was back after step {token.step - 1}" for name in token.joined]
    return lines


# What a model writes by itself, held against the answer of all


def parting(one: str, other: str) -> int:
    """The length of the common beginning of two texts, in characters."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


class Beside:
    """A text as it comes in: from where it parts from ``together`` it is bold, behind ``mark``."""

    def __init__(self, together: str, mark: str) -> None:
        self._rest, self._mark, self._parted = together, mark, False

    def spans(self, text: str) -> Spans:
        """The next part of the text."""
        same = 0 if self._parted else parting(self._rest, text)
        self._rest = self._rest[same:]
        if same:
            yield text[:same], ""
        if same < len(text):
            if not self._parted:
                yield self._mark, "bold"
            self._parted = True
            yield text[same:], "bold"


def parted(together: str, name: str, text: str) -> str:
    """The same in words, of the whole ``text`` that the model ``name`` wrote."""
    at = parting(together, text)
    if at == len(text) == len(together):
        return f"{name} by itself writes the same"
    if at == 0:
        return f"{name} by itself, other from the beginning: {text}"
    return f"{name} by itself, other after character {at}: {text[at:]}"

"""Where an answer is written: a terminal with tints and a moving line, words for a screen reader, or a pipe."""

import os
from typing import Final, Protocol, TextIO

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.style import Style

from tokencollab.actors.answer import Token
from tokencollab.cli.repl.colours import ASCII_MARKS, Marks, Palette, in_words
from tokencollab.cli.terminal import harmless

# VT100: down and up a line, scrolling where need be and keeping the column; cursor saved and restored; clear below.
_DOWN, _UP, _SAVE, _RESTORE, _CLEAR_BELOW = "\x1bD", "\x1bM", "\x1b7", "\x1b8", "\x1b[J"
_NARROWEST: Final = 20


class Screen(Protocol):
    """What an answer is written on."""

    def write(self, token: Token, base: str) -> None:
        """The next token."""
        ...

    def status(self, line: str) -> None:
        """The moving line."""
        ...

    def end(self) -> None:
        """The answer is over."""
        ...

    @property
    def width(self) -> int:
        """Cells per line."""
        ...


class TintedScreen:
    """A terminal: tints, words wrapped at its width, a line below that moves along."""

    def __init__(self, file: TextIO, palette: Palette) -> None:
        """``file`` is the terminal."""
        self._file, self._palette = file, palette
        self._column = 0
        self._word: list[tuple[str, str]] = []  # of the last line, as it was written
        self._before: Token | None = None
        self._shown = False  # whether the line below is there

    @property
    def width(self) -> int:
        """Cells per line, of which the last stays free."""
        try:
            columns = os.get_terminal_size(self._file.fileno()).columns
        except OSError:
            columns = 80
        return max(_NARROWEST, columns) - 1

    def write(self, token: Token, base: str) -> None:
        """The token with its marks. Nothing is printed that the terminal would take for a command."""
        out: list[str] = [_CLEAR_BELOW] if self._shown else []
        self._shown = False
        width = self.width
        if self._column > width:  # the window became narrower, and the terminal has wrapped the line
            self._column %= width + 1
            self._word = []
        for text, style in self._palette.spans(token, base, self._before):
            out += [self._put(part, style, width) for part in _parts(text)]
        self._before = token
        self._file.write("".join(out))
        self._file.flush()

    def _put(self, text: str, style: str, width: int) -> str:
        """A part of a word, white space, or the end of a line, where it belongs."""
        if text == "\n":
            self._column, self._word = 0, []
            return "\n"
        cells = cell_len(text)
        if text.isspace():
            self._word = []
            if self._column + cells > width:
                self._column = 0
                return "\n"
            self._column += cells
            return paint(text, style)
        before = ""
        if self._column + cells > width and self._column:
            written = sum(cell_len(part) for part, _ in self._word)
            if written < self._column and written + cells <= width:  # the word so far comes along
                back = f"\x1b[{written}D\x1b[K" if written else ""
                before = back + "\n" + "".join(paint(*part) for part in self._word)
                self._column = written
            else:
                before, self._column, self._word = "\n", 0, []
        self._column += cells
        self._word.append((text, style))
        return before + paint(text, style)

    def status(self, line: str) -> None:
        """Draws the line one below the text; the cursor stays where it was."""
        self._shown = True
        self._file.write(f"{_DOWN}{_UP}{_SAVE}\r\n\x1b[2K{paint(line, 'reverse')}{_RESTORE}")
        self._file.flush()

    def end(self) -> None:
        """Takes the line away and goes on below the text."""
        self._file.write((_CLEAR_BELOW if self._shown else "") + ("\n" if self._column else ""))
        self._file.flush()
        self._column, self._word, self._before, self._shown = 0, [], None, False


class SpokenScreen:
    """For a screen reader: words where the backing changes, nothing that moves."""

    def __init__(self, file: TextIO) -> None:
        """``file`` is where to."""
        self._file = file
        self._before: Token | None = None

    width = 10_000

    def write(self, token: Token, base: str) -> None:
        """The token, with words in front of it where something is different from before."""
        if token.text or token.lost or token.joined:
            print(in_words(token, base, self._before) + harmless(token.text), end="", file=self._file, flush=True)
            self._before = token

    def status(self, line: str) -> None:
        """Nothing moves."""

    def end(self) -> None:
        """Ends the line."""
        print(file=self._file, flush=True)
        self._before = None


class PipedScreen:
    """A file or a pipe: the text as it is, each answer with a line end behind it."""

    def __init__(self, file: TextIO) -> None:
        """``file`` is where to."""
        self._file = file

    width = 10_000

    def write(self, token: Token, base: str) -> None:
        """The text."""
        print(token.text, end="", file=self._file, flush=True)

    def status(self, line: str) -> None:
        """Nothing moves."""

    def end(self) -> None:
        """Ends the line."""
        print(file=self._file, flush=True)


def screen_for(file: TextIO, plain: bool) -> Screen:
    """The screen that suits ``file``: NO_COLOR and TERM=dumb are heard."""
    if not file.isatty():
        return SpokenScreen(file) if plain else PipedScreen(file)
    if plain or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        return SpokenScreen(file)
    return TintedScreen(file, palette_for(file))


def palette_for(file: TextIO) -> Palette:
    """Colours unless NO_COLOR is set; marks that ``file`` can encode."""
    return Palette(colour=not os.environ.get("NO_COLOR"), marks=Marks() if speaks_unicode(file) else ASCII_MARKS)


def speaks_unicode(file: TextIO) -> bool:
    """Whether ``file`` can say what is not ASCII."""
    try:
        "▸✗✓█".encode(getattr(file, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def paint(text: str, style: str) -> str:
    """``text`` as a terminal shows it in ``style``; the 8 colours only."""
    return Style.parse(style or "none").render(text, color_system=ColorSystem.STANDARD) if text else ""


def _parts(text: str) -> list[str]:
    """``text`` cut into words, runs of white space, and line ends; tabs as spaces."""
    parts: list[str] = []
    for c in harmless(text).replace("\t", "    "):
        if parts and c != "\n" != parts[-1] and c.isspace() == parts[-1].isspace() and cell_len(c) < 2:
            parts[-1] += c
        else:
            parts.append(c)
    return parts

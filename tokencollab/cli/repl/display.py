"""Where an answer is shown: a terminal with colours and a moving line, words for a screen reader, a pipe, a picture."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Final, TextIO

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tokencollab.actors.answer import Token
from tokencollab.cli.repl.colours import ASCII_MARKS, Marks, Palette, in_words
from tokencollab.cli.repl.layout import parts_of
from tokencollab.cli.repl.turns import ConversationTurn
from tokencollab.cli.terminal import UNBROKEN
from tokencollab.errors import UsageError
from tokencollab.policies.events import Efficacy
from tokencollab.protocol.text import harmless, one_line

# VT100: down and up a line, scrolling where need be and keeping the column; cursor saved and restored; clear below.
_DOWN, _UP, _SAVE, _RESTORE, _CLEAR_BELOW = "\x1bD", "\x1bM", "\x1b7", "\x1b8", "\x1b[J"
_NARROWEST: Final = 20
_BAR: Final = 10  # cells of the bar of T0
_COLUMNS: Final = 88
_GROUND, _INK = (252, 252, 250), (36, 41, 47)
_TINTS: Final = [(190, 30, 45), (26, 127, 55), (170, 85, 0), (9, 80, 190), (130, 60, 190), (0, 120, 140)]
_THEME: Final = TerminalTheme(_GROUND, _INK, [_INK, *_TINTS, (110, 118, 129)])
"""Dark tints on a light ground, each with a contrast of at least 4.5 to it."""


class PipedScreen:
    """A file or a pipe: the text as it is, each answer with a line end behind it."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    @property
    def width(self) -> int:
        return UNBROKEN

    def write(self, token: Token, base: str) -> None:
        self.put([(token.text, "")])

    def put(self, spans: Iterable[tuple[str, str]]) -> None:
        """Texts with their rich styles."""
        print("".join(text for text, _ in spans), end="", file=self._file, flush=True)

    def status(self, line: str) -> None:
        """The moving line, on a screen that has one."""

    def end(self) -> None:
        print(file=self._file, flush=True)


class TintedScreen(PipedScreen):
    """A terminal: tints, words wrapped at its width, a line below that moves along."""

    def __init__(self, file: TextIO, palette: Palette) -> None:
        super().__init__(file)
        self._palette = palette
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
        """The token with its marks."""
        self.put(self._palette.spans(token, base, self._before))
        self._before = token

    def put(self, spans: Iterable[tuple[str, str]]) -> None:
        """The texts, wrapped. Nothing is printed that the terminal would take for a command."""
        out: list[str] = [_CLEAR_BELOW] if self._shown else []
        self._shown = False
        width = self.width
        if self._column > width:  # the window became narrower, and the terminal has wrapped the line
            self._column %= width + 1
            self._word = []
        for text, style in spans:
            out += [self._placed(part, style, width) for part in parts_of(text)]
        self._file.write("".join(out))
        self._file.flush()

    def _placed(self, text: str, style: str, width: int) -> str:
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
        self._file.write((_CLEAR_BELOW if self._shown else "") + ("\n" if self._column else ""))
        self._file.flush()
        self._column, self._word, self._before, self._shown = 0, [], None, False


class SpokenScreen(PipedScreen):
    """For a screen reader: words where the backing changes, nothing that moves."""

    _before: Token | None = None

    def write(self, token: Token, base: str) -> None:
        if token.text or token.lost or token.joined:
            self.put([(in_words(token, base, self._before) + token.text, "")])
            self._before = token

    def put(self, spans: Iterable[tuple[str, str]]) -> None:
        print(harmless("".join(text for text, _ in spans)), end="", file=self._file, flush=True)

    def end(self) -> None:
        super().end()
        self._before = None


def screen_for(file: TextIO, plain: bool) -> PipedScreen:
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
    try:
        "▸✗✓█".encode(getattr(file, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def paint(text: str, style: str) -> str:
    """``text`` as a terminal shows it in ``style``; the 8 colours only."""
    return Style.parse(style or "none").render(text, color_system=ColorSystem.STANDARD) if text else ""


# The moving line below an answer


@dataclass(frozen=True, slots=True)
class Figures:
    """What the line shows: ``full`` is what the cost would be with every model at every step, ``away`` who is lost."""

    step: int
    ms_per_token: float | None
    efficacy: Efficacy | None
    theta: float | None
    cost: int
    full: int
    alone: bool
    away: tuple[str, ...] = ()


def status_line(figures: Figures, width: int, unicode: bool = True) -> str:
    """The line, at most ``width`` cells; where there is no room it is put shorter, then what matters least goes."""
    line = _join(_figures(figures, unicode))
    if cell_len(line) <= width:
        return line
    kept = _figures(figures, unicode, short=True)
    while len(kept) > 1 and cell_len(_join(kept)) > width:
        kept.remove(max(kept))
    return _join(kept)[:width]


def _figures(figures: Figures, unicode: bool, short: bool = False) -> list[tuple[int, str]]:
    """The parts in order, each with how little it matters."""
    parts: list[tuple[int, str]] = [(0, f"step {figures.step}")]
    if figures.away:
        parts.append((1, f"{one_line(', '.join(figures.away))} lost"))
    if figures.alone:
        parts.append((2, "base alone"))
    if figures.ms_per_token is not None:
        parts.append((3, f"{figures.ms_per_token:.0f} ms/token"))
    if (e := figures.efficacy) is not None:
        theta = "" if figures.theta is None else f"{'/' if short else ' of '}{figures.theta:.2f}"
        if figures.theta is not None:
            parts.append((6, bar(e.t0, figures.theta, unicode)))
        parts.append((4, f"T0 {e.t0:.2f}{theta}"))
        parts.append((7, f"ST {'-' if e.st is None else f'{e.st:.2f}'} RT {e.rt:.2f}"))
    parts.append((5, f"cost {figures.cost}" + (f"/{figures.full}" if short else f" (full {figures.full})")))
    return parts


def bar(value: float, threshold: float, unicode: bool = True) -> str:
    """``value`` as a bar from 0 to 1 with a mark at ``threshold``."""
    full, empty, mark = ("█", "░", "┃") if unicode else ("#", ".", "|")
    filled = min(_BAR, max(0, int(value * _BAR + 1e-9)))
    cells = [full if index < filled else empty for index in range(_BAR)]
    at = min(_BAR, max(0, round(threshold * _BAR)))
    return "".join([*cells[:at], mark, *cells[at:]])


def _join(parts: Sequence[tuple[int, str]]) -> str:
    return "  ".join(text for _, text in parts)


# An answer as a picture


def _painted(turn: ConversationTurn, palette: Palette) -> Text:
    text = Text()
    before = None
    for token in turn.tokens:
        for part, style in palette.spans(token, turn.base, before):
            text.append(harmless(part), style=style)
        before = token
    return text if turn.tokens else Text(harmless(turn.text))


def picture(turn: ConversationTurn, name: str) -> str:
    """The answer as the picture that a file of this ``name`` has: ``.svg`` or ``.html``."""
    kind = name.lower().rpartition(".")[2]
    if kind not in ("svg", "html"):
        raise UsageError(f"{name}: a picture ends in .svg or .html")
    console = Console(
        file=StringIO(), record=True, width=_COLUMNS, force_terminal=True, color_system="standard", legacy_windows=False
    )
    answer, palette = turn.answer, Palette()
    if turn.question:
        console.print(Text(f"> {harmless(turn.question)}", style="bold"))
        console.print()
    console.print(_painted(turn, palette))
    console.print()
    console.print(palette.legend())
    console.print(Text(caption(turn, times=False), style="dim"))
    if kind == "html":
        return console.export_html(theme=_THEME, inline_styles=True)
    title = one_line(f"tokencollab: {answer.method}, {' + '.join(answer.models)}")
    svg = console.export_svg(title=title, theme=_THEME, unique_id="answer")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # whoever looks at it fetches nothing


def caption(turn: ConversationTurn, times: bool = True) -> str:
    """One line of figures; without ``times`` the same answer has the same picture."""
    answer = turn.answer
    said = [f"{answer.tokens} tokens", f"cost {answer.cost} (full {answer.tokens * len(answer.models)})"]
    if times and answer.ms_per_token is not None:
        said.append(f"{answer.ms_per_token:.0f} ms per token")
    if answer.exit_step is not None:
        said.append(f"base alone {answer.when_solo}")
    return ", ".join(said)

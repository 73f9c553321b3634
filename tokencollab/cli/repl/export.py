"""An answer as a picture: SVG or HTML, in the tints of the prompt."""

import re
from io import StringIO
from typing import Final

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tokencollab.cli.repl.colours import Palette
from tokencollab.cli.repl.turns import Turn
from tokencollab.cli.terminal import harmless
from tokencollab.errors import UsageError

_COLUMNS: Final = 88
_THEME: Final = TerminalTheme(
    (252, 252, 250),
    (36, 41, 47),
    [
        (36, 41, 47),
        (190, 30, 45),
        (26, 127, 55),
        (170, 85, 0),
        (9, 80, 190),
        (130, 60, 190),
        (0, 120, 140),
        (110, 118, 129),
    ],
)
"""Dark tints on a light ground, each with a contrast of at least 4.5 to it."""


def painted(turn: Turn, palette: Palette | None = None) -> Text:
    """The answer's text in its tints."""
    palette = palette or Palette()
    text = Text()
    before = None
    for token in turn.tokens:
        for part, style in palette.spans(token, turn.base, before):
            text.append(harmless(part), style=style)
        before = token
    return text if turn.tokens else Text(harmless(turn.text))


def picture(turn: Turn, name: str) -> str:
    """The answer as the picture that a file of this ``name`` has: ``.svg`` or ``.html``.

    Raises:
        UsageError: it has another ending.
    """
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
    console.print(painted(turn, palette))
    console.print()
    legend = Text()
    for part, style in palette.legend():
        legend.append(part, style=style)
    console.print(legend)
    console.print(Text(caption(turn, times=False), style="dim"))
    if kind == "html":
        return console.export_html(theme=_THEME, inline_styles=True)
    title = f"tokencollab: {answer.method}, {' + '.join(answer.models)}"
    svg = console.export_svg(title=title, theme=_THEME, unique_id="answer")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # whoever looks at it fetches nothing


def caption(turn: Turn, times: bool = True) -> str:
    """One line of figures; without ``times`` the same answer has the same picture."""
    answer = turn.answer
    said = [f"{answer.tokens} tokens", f"cost {answer.cost} (full {answer.tokens * len(answer.models)})"]
    if times and answer.ms_per_token is not None:
        said.append(f"{answer.ms_per_token:.0f} ms per token")
    if answer.exit_step is not None:
        said.append(f"base alone {answer.when_solo}")
    return ", ".join(said)

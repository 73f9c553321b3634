"""Walking over an answer by the arrow keys; the step under the cursor is explained below."""

from io import StringIO

from prompt_toolkit.application import Application
from prompt_toolkit.formatted_text import ANSI, StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import HSplit, Layout, Window
from prompt_toolkit.layout.controls import FormattedTextControl
from prompt_toolkit.layout.dimension import Dimension
from prompt_toolkit.output.color_depth import ColorDepth
from rich.console import Console
from rich.text import Text

from tokencollab.cli.repl.colours import Palette, backing_of
from tokencollab.cli.repl.turns import Turn
from tokencollab.cli.repl.why import headline, reason_of, state_of, table_of
from tokencollab.cli.terminal import harmless
from tokencollab.errors import UsageError

_STYLES = {"green": "ansigreen", "cyan": "ansicyan", "yellow": "ansiyellow", "magenta": "ansimagenta"}
_KEYS = "left, right: a step; up, down: ten; home, end; Enter or q leaves"


class Explorer:
    """One answer, and the place in it that is looked at: ``at`` counts from 0."""

    def __init__(self, turn: Turn, palette: Palette) -> None:
        """Begins at the last step.

        Raises:
            UsageError: the answer has no steps.
        """
        self.turn, self._palette = turn, palette
        self._tokens = [token for token in turn.tokens if token.piece != b""]
        if not self._tokens:
            raise UsageError("the answer has no steps")
        self.at = len(self._tokens) - 1

    def move(self, steps: int) -> None:
        """So many steps further, as far as there are any."""
        self.at = min(len(self._tokens) - 1, max(0, self.at + steps))

    def answer(self) -> StyleAndTextTuples:
        """The answer with the step under the cursor turned round."""
        shown: StyleAndTextTuples = []
        for index, token in enumerate(self._tokens):
            style = " ".join(
                _STYLES.get(word, word) for word in self._palette.style(backing_of(token, self.turn.base)).split()
            )
            text = harmless(token.text)
            if index == self.at:
                shown.append(("[SetCursorPosition]", ""))
                text, style = (text.replace("\n", "↵\n") or "∅"), f"{style} reverse"
            shown.append((style, text))
        return shown

    def explanation(self, width: int) -> str:
        """The candidates and the figures of the step, with the terminal's codes."""
        console = Console(
            file=StringIO(), width=max(20, width), force_terminal=True, color_system="standard", legacy_windows=False
        )
        reason = reason_of(self.turn, self._tokens[self.at].step, most=8)
        console.print(Text(headline(reason, self.turn.base), style="bold"))
        console.print(table_of(reason))
        for line in state_of(reason):
            console.print(Text(line))
        console.print(Text(_KEYS, style="dim"))
        output = console.file
        assert isinstance(output, StringIO)
        return output.getvalue()


async def explore(turn: Turn, palette: Palette) -> None:
    """Shows the answer until the user leaves it."""
    explorer = Explorer(turn, palette)
    application: Application[None] = Application(
        layout=Layout(
            HSplit(
                [
                    Window(
                        FormattedTextControl(explorer.answer, show_cursor=False),
                        wrap_lines=True,
                        height=Dimension(min=1, max=10),
                        dont_extend_height=True,
                    ),
                    Window(height=1),
                    Window(
                        FormattedTextControl(lambda: ANSI(explorer.explanation(application.output.get_size().columns))),
                        dont_extend_height=True,
                    ),
                ]
            )
        ),
        key_bindings=_keys(explorer),
        erase_when_done=True,
        color_depth=ColorDepth.DEPTH_4_BIT if palette.colour else ColorDepth.DEPTH_1_BIT,
    )
    await application.run_async()


def _keys(explorer: Explorer) -> KeyBindings:
    keys = KeyBindings()
    far = 1 << 30
    for key, steps in (("left", -1), ("right", 1), ("up", -10), ("down", 10), ("home", -far), ("end", far)):

        @keys.add(key)
        def _(event: KeyPressEvent, steps: int = steps) -> None:
            explorer.move(steps)

    for key in ("enter", "q", "escape", "c-c", "c-d"):

        @keys.add(key, eager=key == "escape")
        def _(event: KeyPressEvent) -> None:
            event.app.exit()

    return keys

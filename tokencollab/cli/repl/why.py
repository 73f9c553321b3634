"""One step looked into: every model's candidates side by side, the aggregated scores, and the exit policy's figures."""

from dataclasses import dataclass
from io import StringIO
from math import exp

from prompt_toolkit.application import Application
from prompt_toolkit.formatted_text import ANSI, StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import HSplit, Layout, Window
from prompt_toolkit.layout.controls import FormattedTextControl
from prompt_toolkit.layout.dimension import Dimension
from prompt_toolkit.output.color_depth import ColorDepth
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tokencollab.actors.answer import Token
from tokencollab.cli.repl.colours import Palette, backing_of, label, visible
from tokencollab.cli.repl.layout import fits, wrapped
from tokencollab.cli.repl.turns import ConversationTurn
from tokencollab.cli.terminal import add_row
from tokencollab.errors import UsageError
from tokencollab.policies.aggregations import Ballot
from tokencollab.policies.methods import Method, sampling_of
from tokencollab.policies.pieces import Decider
from tokencollab.policies.recording import method_of
from tokencollab.protocol.candidates import Candidate
from tokencollab.protocol.pieces import Piece
from tokencollab.protocol.text import harmless
from tokencollab.protocol.trace import TraceStep

_NOT_SUMMED = ("base", "bytewise")
_STYLES = {"green": "ansigreen", "cyan": "ansicyan", "yellow": "ansiyellow", "magenta": "ansimagenta"}
_ABOVE = 10  # lines of the answer, at most
_KEYS = "left, right: a step; up, down: ten; home, end; Enter or q leaves"


@dataclass(frozen=True, slots=True)
class Row:
    """One piece: its aggregated score (None: the method has none), and per model its candidate and rank.

    A rank is None where the truncation cut the piece off.
    """

    piece: Piece
    score: float | None
    chosen: bool
    listed: tuple[tuple[int | None, Candidate | None], ...]


@dataclass(frozen=True, slots=True)
class Reason:
    """A whole step: ``models`` are the columns of its ``rows``, the best piece first."""

    step: int
    models: tuple[str, ...]
    rows: tuple[Row, ...]
    token: Token
    method: Method
    offsets: tuple[tuple[str, int], ...]


def reason_of(turn: ConversationTurn, number: int, most: int = 12) -> Reason:
    """Step ``number`` of ``turn``, with at most so many pieces."""
    step, token = turn.step(number)
    method = method_of(turn.parsed)
    ballots = _ballots(method, turn, step)
    scores: dict[Piece, float] = {}
    if method.aggregation not in _NOT_SUMMED and not step.alone:
        scores = {piece: score for piece, score, _ in method.scoring.score(ballots)}
    best: dict[Piece, float] = {}
    for ballot in ballots:
        for candidate in ballot.received:
            best[candidate.piece] = best.get(candidate.piece, 0.0) + exp(candidate.logprob)
    pieces = sorted(best, key=lambda piece: (piece not in scores, -scores.get(piece, 0.0), -best[piece]))[:most]
    if step.decided and step.chosen not in pieces:
        pieces = [step.chosen, *pieces[: most - 1]]
    rows = tuple(
        Row(
            piece,
            scores.get(piece),
            step.decided and piece == step.chosen,
            tuple((ballot.rank(piece), _candidate(ballot, piece)) for ballot in ballots),
        )
        for piece in pieces
    )
    return Reason(number, tuple(ballot.model for ballot in ballots), rows, token, method, step.offsets)


def _ballots(method: Method, turn: ConversationTurn, step: TraceStep) -> list[Ballot]:
    decider = Decider(method, sampling_of(method, turn.answer.seed))
    scores = dict(step.scores)
    names = sorted((name for name, _ in step.candidates if name not in step.lost), key=lambda name: name != turn.base)
    sets = dict(step.candidates)
    return [decider.ballot(name, sets[name], scores.get(name, ())) for name in names]


def _candidate(ballot: Ballot, piece: Piece) -> Candidate | None:
    return next((candidate for candidate in ballot.received if candidate.piece == piece), None)


def headline(reason: Reason, base: str) -> str:
    return f"step {reason.step}: {visible(reason.token.piece)}, {label(reason.token, base)}; {reason.method.name}"


def table_of(reason: Reason) -> Table:
    """The candidates side by side, for a terminal."""
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("")
    table.add_column("piece", no_wrap=True, overflow="ellipsis")
    if any(row.score is not None for row in reason.rows):
        table.add_column("score", justify="right")
    for model in reason.models:
        for heading in (f"{model}\nrank", "\nlogit", "\nprob."):
            table.add_column(Text(harmless(heading)), justify="right")
    for row in reason.rows:
        cells = ["→" if row.chosen else "", visible(row.piece)]
        if len(table.columns) > 2 + 3 * len(reason.models):
            cells.append("" if row.score is None else f"{row.score:.3f}")
        for rank, candidate in row.listed:
            if candidate is None:
                cells += ["", "", ""]
            else:
                where = "cut" if rank is None else str(rank)
                cells += [where, f"{candidate.logit:.2f}", f"{exp(candidate.logprob):.3f}"]
        add_row(table, *cells, style="bold" if row.chosen else "")
    return table


def candidates_of(reason: Reason, width: int) -> list[Table] | list[str]:
    """As a table, or in words where it is wider than ``width`` cells."""
    table = table_of(reason)
    return [table] if fits(table, width) else sentences_of(reason)


def sentences_of(reason: Reason) -> list[str]:
    """The same in words, one line per piece, for a screen reader or a narrow window."""
    lines = []
    for row in reason.rows:
        said = [visible(row.piece) + (", chosen" if row.chosen else "")]
        if row.score is not None:
            said.append(f"score {row.score:.3f}")
        for model, (rank, candidate) in zip(reason.models, row.listed, strict=True):
            if candidate is None:
                said.append(f"{model} does not list it")
                continue
            where = "cut off" if rank is None else f"rank {rank}"
            said.append(f"{model} {where}, logit {candidate.logit:.2f}, probability {exp(candidate.logprob):.3f}")
        lines.append("; ".join(said))
    return lines


def state_of(reason: Reason) -> list[str]:
    """The truncation, where models stood, and the exit policy's figures, one line each."""
    method, token = reason.method, reason.token
    kept = f"top {method.top_k}" + ("" if method.top_p is None else f" cut at mass {method.top_p:g}")
    lines = [f"{method.aggregation} over {kept}; exit {method.exit}"]
    if reason.offsets:
        lines.append("from byte " + ", ".join(f"{offset} ({model})" for model, offset in reason.offsets))
    if method.aggregation == "bytewise":
        misses = ", ".join(f"{model} {'-' if rank is None else rank}" for model, rank in token.ranks.items())
        lines.append(f"bytes that a model would have written otherwise: {misses}")
    if (e := token.efficacy) is not None:
        names = ("s", "f", "ST", "s_w", "f_w", "RT", "T0")
        figures = [f"{name} {'-' if value is None else f'{value:.3f}'}" for name, value in zip(names, e)]  # noqa: B905
        lines.append(" ".join(figures) + f" against theta {method.theta:g} (/help T0)")
    lines += [f"{name} was lost" for name in token.lost] + [f"{name} was back" for name in token.joined]
    return lines


# Walking over an answer by the arrow keys


class Explorer:
    """One answer, and the place in it that is looked at: ``at`` counts from 0."""

    def __init__(self, turn: ConversationTurn, palette: Palette) -> None:
        self.turn, self._palette = turn, palette
        self._tokens = [token for token in turn.tokens if token.piece != b""]
        if not self._tokens:
            raise UsageError("the answer has no steps")
        self.at = len(self._tokens) - 1

    def move(self, steps: int) -> None:
        self.at = min(len(self._tokens) - 1, max(0, self.at + steps))

    def answer(self, width: int) -> StyleAndTextTuples:
        """The answer with the step under the cursor turned round, in lines of ``width`` cells."""
        shown: StyleAndTextTuples = []
        for index, token in enumerate(self._tokens):
            style = " ".join(
                _STYLES.get(word, word) for word in self._palette.style(backing_of(token, self.turn.base)).split()
            )
            text = harmless(token.text)
            if index == self.at:
                text, style = (text.replace("\n", "↵\n") or "∅"), f"{style} reverse".strip()
            shown.append((style, text.replace("\t", "    ")))
        shown = wrapped(shown, width)
        here = next(index for index, (style, *_) in enumerate(shown) if "reverse" in style)
        return [*shown[:here], ("[SetCursorPosition]", ""), *shown[here:]]

    def explanation(self, width: int, height: int = 24) -> str:
        """The candidates and the figures of the step, with the terminal's codes: fewer pieces if ``height`` lines are
        too few for eight."""
        for most in (8, 4, 2, 1):
            console = Console(
                file=(file := StringIO()),
                width=max(20, width),
                force_terminal=True,
                color_system="standard",
                legacy_windows=False,
            )
            reason = reason_of(self.turn, self._tokens[self.at].step, most)
            console.print(Text(harmless(headline(reason, self.turn.base)), style="bold"))
            for part in (*candidates_of(reason, width), *state_of(reason)):
                console.print(Text(harmless(part)) if isinstance(part, str) else part)
            console.print(Text(_KEYS, style="dim"))
            if file.getvalue().count("\n") <= height:
                break
        return file.getvalue()


async def explore(turn: ConversationTurn, palette: Palette) -> None:
    """Shows the answer until the user leaves it."""
    explorer, keys, far = Explorer(turn, palette), KeyBindings(), 1 << 30
    for key, steps in (("left", -1), ("right", 1), ("up", -10), ("down", 10), ("home", -far), ("end", far)):

        @keys.add(key)
        def _(event: KeyPressEvent, steps: int = steps) -> None:
            explorer.move(steps)

    for key in ("enter", "q", "escape", "c-c", "c-d"):

        @keys.add(key, eager=key == "escape")
        def _(event: KeyPressEvent) -> None:
            event.app.exit()

    def figures() -> ANSI:
        size = application.output.get_size()
        return ANSI(explorer.explanation(size.columns, size.rows - _ABOVE - 1))

    text = FormattedTextControl(lambda: explorer.answer(application.output.get_size().columns), show_cursor=False)
    above = Window(text, wrap_lines=True, height=Dimension(min=1, max=_ABOVE), dont_extend_height=True)
    application: Application[None] = Application(
        layout=Layout(
            HSplit([above, Window(height=1), Window(FormattedTextControl(figures), dont_extend_height=True)])
        ),
        key_bindings=keys,
        erase_when_done=True,
        color_depth=ColorDepth.DEPTH_4_BIT if palette.colour else ColorDepth.DEPTH_1_BIT,
    )
    await application.run_async()

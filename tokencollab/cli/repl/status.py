"""The line that moves below an answer while it is being written."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len

from tokencollab.actors.answer import Answer, Token
from tokencollab.policies.events import Efficacy

_BAR: Final = 10  # cells of the bar of T0


@dataclass(frozen=True, slots=True)
class Figures:
    """What the line shows.

    Attributes:
        step: the last one.
        ms_per_token: milliseconds per piece, None below two.
        efficacy: the exit policy's, None where it has none.
        theta: its threshold.
        cost: candidate sets so far.
        full: what they would have been with every model at every step.
        alone: whether the base writes by itself.
        away: models that are lost at this moment.
    """

    step: int
    ms_per_token: float | None
    efficacy: Efficacy | None
    theta: float | None
    cost: int
    full: int
    alone: bool
    away: tuple[str, ...] = ()


def figures_of(answer: Answer, token: Token, efficacy: Efficacy | None, theta: float | None, away: Set[str]) -> Figures:
    """The figures at ``token``; ``efficacy`` is the last one there was, which stands still while the base is alone."""
    full = answer.tokens * len(answer.models)
    return Figures(
        token.step, answer.ms_per_token, efficacy, theta, answer.cost, full, token.alone, tuple(sorted(away))
    )


def status_line(figures: Figures, width: int, unicode: bool = True) -> str:
    """The line, at most ``width`` cells; where there is no room it is put shorter, then what matters least goes."""
    line = _join(_parts(figures, unicode))
    return line if cell_len(line) <= width else _fit(_parts(figures, unicode, short=True), width)


def _parts(figures: Figures, unicode: bool, short: bool = False) -> list[tuple[int, str]]:
    """The parts in order, each with how little it matters."""
    parts: list[tuple[int, str]] = [(0, f"step {figures.step}")]
    if figures.away:
        parts.append((1, f"{', '.join(figures.away)} lost"))
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


def _fit(parts: Sequence[tuple[int, str]], width: int) -> str:
    """The parts in order, without the least important ones (the highest numbers) that do not fit."""
    kept = list(parts)
    while len(kept) > 1 and cell_len(_join(kept)) > width:
        kept.remove(max(kept))
    line = _join(kept)
    return line if cell_len(line) <= width else line[: max(0, width)]


def _join(parts: Sequence[tuple[int, str]]) -> str:
    return "  ".join(text for _, text in parts)

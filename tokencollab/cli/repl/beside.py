"""The joint answer beside what each model writes by itself, and where they part."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from tokencollab.actors.answer import Answer
from tokencollab.cli.terminal import harmless


def parting(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return min(len(one), len(other))


def beside_table(together: Answer, others: Sequence[tuple[str, Answer]], mark: str) -> Table:
    """Columns; from where an answer parts from the joint one it is bold, behind ``mark``."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(Text("together"), ratio=1)
    cells = [Text(harmless(together.text))]
    for name, answer in others:
        table.add_column(Text(harmless(name)), ratio=1)
        at = parting(together.text, answer.text)
        cell = Text(harmless(answer.text[:at]))
        if at < len(answer.text):
            cell.append(mark + harmless(answer.text[at:]), style="bold")
        cells.append(cell)
    table.add_row(*cells)
    table.add_row(*(Text(f"{a.tokens} tokens", style="dim") for a in (together, *(answer for _, answer in others))))
    return table


def beside_words(together: Answer, others: Sequence[tuple[str, Answer]]) -> list[str]:
    """The same in words."""
    lines = [f"together: {together.text}"]
    for name, answer in others:
        at = parting(together.text, answer.text)
        if at == len(answer.text) == len(together.text):
            lines.append(f"{name} by itself writes the same")
        elif at == 0:
            lines.append(f"{name} by itself, other from the beginning: {answer.text}")
        else:
            lines.append(f"{name} by itself, other after character {at}: {answer.text[at:]}")
    return lines

"""What fits into a window: a table, or sentences where there is no room for one; texts wrapped by words."""

from collections.abc import Iterator

from prompt_toolkit.formatted_text import StyleAndTextTuples
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from tokencollab.cli.terminal import UNBROKEN
from tokencollab.protocol.text import harmless


def parts_of(text: str) -> list[str]:
    """``text`` cut into words, runs of white space, and line ends; each wide character is a word.

    It is made harmless, and tabs are spaces.
    """
    parts: list[str] = []
    for c in harmless(text).replace("\t", "    "):
        if parts and c != "\n" != parts[-1] and c.isspace() == parts[-1].isspace() and cell_len(c) < 2:
            parts[-1] += c
        else:
            parts.append(c)
    return parts


def fits(table: Table, width: int) -> bool:
    """Whether no word of ``table`` has to be cut in ``width`` cells.

    With two columns the second one is wrapped by words; of more none is.
    """
    needed = Console(width=UNBROKEN).measure(table).maximum
    if len(table.columns) == 2:
        texts = [text for _, text in _rows(table)]
        lines = max((cell_len(line) for text in texts for line in text.splitlines()), default=0)
        needed += max((cell_len(word) for text in texts for word in text.split()), default=0) - lines
    return needed <= width


def sentences(table: Table) -> Iterator[str]:
    """The rows of ``table`` in words, one text per row."""
    headings = [" ".join(str(column.header).split()) for column in table.columns]
    for row in _rows(table):
        if table.show_header:
            yield "; ".join(f"{heading} {cell}".strip() for heading, cell in zip(headings, row, strict=True) if cell)
        else:
            yield ": ".join(filter(None, row))


def _rows(table: Table) -> list[list[str]]:
    return [
        [str(cell).strip() for cell in row] for row in zip(*(column.cells for column in table.columns), strict=True)
    ]


def wrapped(fragments: StyleAndTextTuples, width: int) -> StyleAndTextTuples:
    """``fragments``, without tabs, with a line end wherever a line is full; within a word only if it is too long.

    The last of ``width`` cells is for white space at the end of a line.
    """
    styles = iter([style for style, text, *_ in fragments for _ in text])
    out: StyleAndTextTuples = []
    column = 0
    for part in parts_of("".join(text for _, text, *_ in fragments)):
        if not part.isspace() and column and column + cell_len(part) >= width:
            out.append(("", "\n"))
            column = 0
        for c in part:
            cells = 0 if c == "\n" else cell_len(c)
            if column and column + cells > width - (not c.isspace()):  # a word that is longer than the line
                out.append(("", "\n"))
                column = 0
            out.append((next(styles), c))
            column = 0 if c == "\n" else column + cells
    return out

"""The report: one HTML page that needs nothing else, and the same as Markdown with its figures beside it."""

import re
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path

from tokencollab.errors import UsageError
from tokencollab.evaluation.report.budgets import study_of
from tokencollab.evaluation.report.charts import Picture, styled
from tokencollab.evaluation.report.evaluations import Evaluation
from tokencollab.evaluation.report.figures import latency, token_pictures
from tokencollab.evaluation.report.tables import (
    Table,
    about_table,
    cross_tables,
    markdown_text,
    token_tables,
    usage_table,
)
from tokencollab.files import reading
from tokencollab.protocol.text import harmless

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a }
h1 { font-size: 1.6rem } h2 { font-size: 1.25rem; margin-top: 3rem; border-bottom: 1px solid #ccc }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem } .wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .6rem; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left } thead { border-bottom: 2px solid #888 }
tbody tr:nth-child(even) { background: #f5f5f5 } .note, figcaption { font-size: .8rem; color: #555; max-width: 55rem }
figure { margin: 1.5rem 0 } img { max-width: 100% }
"""


def write_report(evaluations: Sequence[Evaluation], out: Path) -> Path:
    """Writes ``index.html``, ``report.md`` and the figures (SVG) to ``out``; the page's path.

    Raises:
        UsageError: ``out`` cannot be written.
    """
    html: list[str] = []
    markdown = ["# Evaluation"]
    pictures: dict[str, bytes] = {}
    for part in make_parts(evaluations):
        match part:
            case str():
                html.append(f"<h2>{escape(part)}</h2>")
                markdown.append(f"## {markdown_text(part)}")
            case Table():
                html.append(part.html())
                markdown.append(part.markdown())
            case Picture(name=name, title=title, caption=caption):
                file = f"{len(pictures) + 1:02}-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')[:80]}.svg"
                pictures[file] = part.svg()
                image = (
                    f'<img alt="{escape(title)}" src="data:image/svg+xml;base64,{b64encode(pictures[file]).decode()}">'
                )
                text = f"<figcaption>{escape(caption)}</figcaption>"
                html.append(f"<figure><h3>{escape(title)}</h3>{image}{text}</figure>")
                heading = markdown_text(title)
                markdown.append(f"### {heading}\n\n![{heading}]({file})\n\n{markdown_text(caption)}")
    head = f'<meta charset="utf-8"><title>tokencollab: evaluation</title><style>{_STYLE}</style>'
    body = "\n".join(["<h1>Evaluation</h1>", *html])
    page = out / "index.html"
    try:
        out.mkdir(parents=True, exist_ok=True)
        for file, data in pictures.items():
            (out / file).write_bytes(data)
        html_page = f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'
        page.write_text(harmless(html_page), encoding="utf-8")
        (out / "report.md").write_text("\n\n".join(markdown) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the report cannot be written to {out}: {error.strerror}") from None
    return page


def make_parts(evaluations: Sequence[Evaluation]) -> list[str | Table | Picture]:
    """Headings, tables and figures: everything that the evaluations have the data for, in order."""
    parts: list[str | Table | Picture] = []
    with styled():
        if across := cross_tables(evaluations):
            parts += ["All runs", *across]
        if (picture := latency(evaluations)) is not None:
            parts += ["Latency", picture]
        for evaluation in evaluations:
            parts.append(f"{evaluation.title} ({evaluation.path.name})")
            if evaluation.methods.empty:
                continue
            with reading(evaluation.path):
                parts += [*token_tables(evaluation), *token_pictures(evaluation)]
                if (usage := usage_table(evaluation)) is not None:
                    parts.append(usage)
                if (study := study_of(evaluation)) is not None:
                    parts += [*study.tables(), *study.pictures()]
    return [*parts, "Runs", about_table(evaluations)]

"""The report: one HTML page that needs nothing else, and the same as Markdown with its figures beside it."""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tokencollab.errors import UsageError
from tokencollab.evaluation.report.budgets import study_of
from tokencollab.evaluation.report.charts import Picture, styled
from tokencollab.evaluation.report.evaluations import Evaluation
from tokencollab.evaluation.report.figures import latency, token_pictures
from tokencollab.evaluation.report.side_by_side import FOLDED, GRADES, SideBySide, side_by_side
from tokencollab.evaluation.report.tables import (
    TERMS,
    Table,
    about_table,
    cross_tables,
    markdown_text,
    term_of,
    token_tables,
    usage_table,
)
from tokencollab.files import reading, write_whole
from tokencollab.protocol.text import harmless


@dataclass(frozen=True, slots=True)
class Section:
    """``name`` is unique in a report: links name it."""

    name: str
    title: str
    parts: Sequence[Table | Picture | SideBySide] = ()


def write_report(evaluations: Sequence[Evaluation], out: Path) -> Path:
    """Writes ``index.html``, ``report.md`` and the figures (SVG) to ``out``; the page's path.

    The page has answers, and is for its owner alone.

    Raises:
        UsageError: ``out`` cannot be written.
    """
    title, sections = title_of(evaluations), make_sections(evaluations)
    drawn = {id(part): part.svg() for section in sections for part in section.parts if isinstance(part, Picture)}
    page = out / "index.html"
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.md").write_text(_markdown(title, sections, drawn, out), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the report cannot be written to {out}: {error.strerror}") from None
    write_whole(page, harmless(_html(title, sections, drawn)))
    return page


def title_of(evaluations: Sequence[Evaluation]) -> str:
    titles = list(dict.fromkeys(found.title for found in evaluations))
    return titles[0] if len(titles) == 1 else f"{len(evaluations)} evaluations: {'; '.join(titles)}"


def make_sections(evaluations: Sequence[Evaluation]) -> list[Section]:
    """Everything that the evaluations have the data for, in order; the items last."""
    sections, items = [], []
    with styled():
        if across := cross_tables(evaluations):
            sections.append(Section("all-runs", "All runs", across))
        if (picture := latency(evaluations)) is not None:
            sections.append(Section("latency", "Latency", [picture]))
        for number, evaluation in enumerate(evaluations, start=1):
            title = f"{evaluation.title} ({evaluation.path.name})"
            parts: list[Table | Picture] = []
            if not evaluation.methods.empty:
                with reading(evaluation.path):
                    parts += [*token_tables(evaluation), *token_pictures(evaluation)]
                    if (usage := usage_table(evaluation)) is not None:
                        parts.append(usage)
                    if (study := study_of(evaluation)) is not None:
                        parts += [*study.tables(), *study.pictures()]
                    beside = side_by_side(evaluation, len(evaluations))
                items.append(Section(f"items-{number}", f"Items: {title}", [beside]))
            sections.append(Section(f"run-{number}", title, parts))
    return [*sections, Section("runs", "Runs", [about_table(evaluations)]), Section("terms", "Terms"), *items]


def _html(title: str, sections: Sequence[Section], drawn: dict[int, bytes]) -> str:
    environment = Environment(
        loader=PackageLoader(__package__, "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests |= {kind.__name__: _is(kind) for kind in (Table, Picture, SideBySide)}
    script = environment.get_template("page.js").render()
    anchors = {
        part.path: section.name for section in sections for part in section.parts if isinstance(part, SideBySide)
    }
    return environment.get_template("page.html").render(
        title=title,
        sections=sections,
        terms=TERMS,
        term_of=term_of,
        anchors=anchors,
        grades=GRADES,
        folded=FOLDED,
        images={key: b64encode(svg).decode() for key, svg in drawn.items()},
        id=id,
        script=script,
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        style=environment.get_template("page.css").render(),
    )


def _is(kind: type) -> Any:
    return lambda part: isinstance(part, kind)


def _markdown(title: str, sections: Sequence[Section], drawn: dict[int, bytes], out: Path) -> str:
    """The report without the items; writes the figures to ``out``."""
    lines, count = [f"# {markdown_text(title)}"], 0
    for section in sections:
        if section.name.startswith("items-"):
            continue
        lines.append(f"## {markdown_text(section.title)}")
        if section.name == "terms":
            lines += [f"- {markdown_text(term)}: {markdown_text(meaning)}" for term, meaning in TERMS.items()]
        for part in section.parts:
            match part:
                case Table():
                    lines.append(part.markdown())
                case Picture(name=name, title=heading, caption=caption):
                    count += 1
                    file = f"{count:02}-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')[:80]}.svg"
                    (out / file).write_bytes(drawn[id(part)])
                    heading = markdown_text(heading)
                    lines.append(f"### {heading}\n\n![{heading}]({file})\n\n{markdown_text(caption)}")
    return "\n\n".join(lines) + "\n"

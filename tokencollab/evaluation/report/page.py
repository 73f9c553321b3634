"""The report: one HTML page that needs nothing else, and the same as Markdown with its figures beside it."""

import re
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from itertools import combinations
from pathlib import Path

from tokencollab.evaluation.report import figures_methods as by_method
from tokencollab.evaluation.report import figures_sweeps as by_setting
from tokencollab.evaluation.report.between import study_of
from tokencollab.evaluation.report.figures_between import between_pictures
from tokencollab.evaluation.report.pictures import Picture, styled
from tokencollab.evaluation.report.scenes import Scene
from tokencollab.evaluation.report.tables import Table, about_tables, cross_tables, scene_tables
from tokencollab.evaluation.report.tables_between import between_tables, usage_table
from tokencollab.protocol.errors import UsageError

Part = str | Table | Picture
"""A heading, a table or a figure."""

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


def write_report(scenes: Sequence[Scene], out: Path) -> Path:
    """Writes ``index.html``, ``report.md`` and the figures (SVG) to ``out``; the page's path.

    Raises:
        UsageError: ``out`` cannot be written.
    """
    with styled():
        parts = make_parts(scenes)
    names = _file_names([part for part in parts if isinstance(part, Picture)])
    page = out / "index.html"
    try:
        out.mkdir(parents=True, exist_ok=True)
        for picture, name in names:
            (out / name).write_bytes(picture.svg())
        page.write_text(_html(parts), encoding="utf-8")
        (out / "report.md").write_text(_markdown(parts, names), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the report cannot be written to {out}: {error.strerror}") from None
    return page


def make_parts(scenes: Sequence[Scene]) -> list[Part]:
    """Everything that the runs have the data for, in order."""
    parts: list[Part] = []
    if across := cross_tables(scenes):
        parts += ["All runs", *across]
    if (picture := by_setting.latency(scenes)) is not None:
        parts += ["Latency", picture]
    for scene in scenes:
        parts += [f"{scene.title} ({scene.path.name})", *scene_tables(scene), *_pictures(scene)]
        if (usage := usage_table(scene)) is not None:
            parts.append(usage)
        if (study := study_of(scene)) is not None:
            parts += [*between_tables(study), *between_pictures(study)]
    return [*parts, "Runs", *about_tables(scenes)]


def _pictures(scene: Scene) -> list[Picture]:
    found: list[Picture | None] = []
    if not scene.methods:
        return []
    if sweep := list(scene.summary["sweep"]):
        found += [by_setting.over_setting(scene, key) for key in sweep]
        for first, second in combinations(sweep, 2):
            found += by_setting.grid(scene, first, second)
    else:
        found += [by_method.accuracy(scene), by_setting.exits(scene), by_setting.self_efficacy(scene)]
        found += [by_method.aligned(scene), by_method.outcome_bars(scene), by_method.similarity(scene)]
        found += [by_method.lengths(scene)]
    return [picture for picture in found if picture is not None]


def _file_names(pictures: Sequence[Picture]) -> list[tuple[Picture, str]]:
    """Numbered, so that two runs' figures do not get in each other's way."""
    return [
        (picture, f"{index:02}-{re.sub(r'[^a-z0-9]+', '-', picture.name.lower()).strip('-')}.svg")
        for index, picture in enumerate(pictures, start=1)
    ]


def _html(parts: Sequence[Part]) -> str:
    body = []
    for part in parts:
        match part:
            case str():
                body.append(f"<h2>{escape(part)}</h2>")
            case Table():
                body.append(part.html())
            case Picture():
                data = b64encode(part.svg()).decode()
                image = f'<img alt="{escape(part.title)}" src="data:image/svg+xml;base64,{data}">'
                body.append(
                    f"<figure><h3>{escape(part.title)}</h3>{image}<figcaption>{escape(part.caption)}</figcaption></figure>"
                )
    head = f'<meta charset="utf-8"><title>tokencollab: evaluation</title><style>{_STYLE}</style>'
    text = "\n".join(body)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n<h1>Evaluation</h1>\n{text}\n</body></html>\n'


def _markdown(parts: Sequence[Part], names: Sequence[tuple[Picture, str]]) -> str:
    files = {id(picture): name for picture, name in names}
    body = ["# Evaluation"]
    for part in parts:
        match part:
            case str():
                body.append(f"## {part}")
            case Table():
                body.append(part.markdown())
            case Picture():
                body.append(f"### {part.title}\n\n![{part.title}]({files[id(part)]})\n\n{part.caption}")
    return "\n\n".join(body) + "\n"

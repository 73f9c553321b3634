"""The page of a report: it stands alone, its links lead somewhere, and it shows the answers, as many as it may."""

import json
import re
import stat
import xml.etree.ElementTree as ET
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.support.hostile import HOSTILE, commands_in
from tests.unit.evaluation.made import make_run
from tokencollab.evaluation.report import side_by_side as rules
from tokencollab.evaluation.report.document import title_of, write_report
from tokencollab.evaluation.report.evaluations import Evaluation
from tokencollab.evaluation.report.side_by_side import SideBySide, side_by_side
from tokencollab.evaluation.report.tables import TERMS, term_of

METHODS = ("base", "each", "unite", "duetnet", "upara-20", "confipara-u", "confipara-u-confidence")
VOID = ("meta", "img", "input")


class Page(HTMLParser):
    """Every tag with its attributes in order, and the text; every element must be closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        assert len(attrs) == len({key for key, _ in attrs})
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.tags if attribute in attributes]


def change(folder: Path, how: Callable[[dict[str, Any]], None]) -> Path:
    """Changes every answer of a run."""
    log = folder / "items.jsonl"
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    for record in records:
        how(record)
    log.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return folder


def page_of(folder: Path, *more: Path) -> Page:
    page = write_report([Evaluation(one) for one in (folder, *more)], folder.parent / "report")
    return Page(page.read_text(encoding="utf-8"))


def shown(folder: Path, evaluations: int = 1) -> SideBySide:
    return side_by_side(Evaluation(folder), evaluations)


def test_the_page_needs_nothing_else_and_markdown_has_its_files(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", METHODS, models=("<b>&", "arith|pairs"))
    page = page_of(folder)
    html = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "alone:&lt;b&gt;&amp;" in html
    assert "<b>" not in html
    sources = page.values("src")
    assert len(sources) == 7
    for source in sources:
        kind, data = source.split(",", 1)
        assert kind == "data:image/svg+xml;base64"
        assert ET.fromstring(b64decode(data)).tag.endswith("svg")  # noqa: S314
    assert not re.search(r"@import|url\(", html)
    assert stat.S_IMODE((tmp_path / "report" / "index.html").stat().st_mode) == 0o600, "it has answers"
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    files = re.findall(r"\]\((.*?\.svg)\)", text)
    assert len(files) == 7
    assert all((tmp_path / "report" / name).read_bytes().startswith(b"<?xml") for name in files)
    tabled = [line for line in text.splitlines() if line.startswith("| alone")]
    assert tabled
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tabled} == {7, 8}


def test_every_link_names_an_id_and_every_id_is_one(tmp_path: Path) -> None:
    first = make_run(tmp_path / "first", METHODS, n=12)
    second = make_run(tmp_path / "second", ["base", "each", "unite"], models=("a", "b", "c"), n=12)
    sweep = make_run(tmp_path / "sweep", ["each", "dp"], grid={"top_t": [1, 2]}, n=5)
    page = page_of(first, second, sweep)
    names = page.values("id")
    assert len(set(names)) == len(names)
    links = page.values("href")
    assert {link.removeprefix("#") for link in links} <= set(names)
    for tag, attributes in page.tags:
        if "data-show" in attributes:
            assert (tag, attributes["href"][:7]) == ("a", "#items-")
            assert re.fullmatch(r"wrong|unreadable|(gained|lost)-\d", attributes["data-show"])
    # Every accuracy: 8, 5 and 4 methods; in the table of all runs those that are not alone, and the better single.
    assert page.values("data-show").count("wrong") == 8 + 5 + 4 + (7 + 3)
    contents = [link for link in links if not link.startswith(("#term-", "#items-"))]
    parts = {f"#{name}" for name in names if not name.startswith(("term-", "items-"))}
    assert parts - set(contents) == {"#latency-1", "#runs-1"}, "the only ones of their sections"


def test_only_the_script_of_the_package_may_run(tmp_path: Path) -> None:
    page_of(make_run(tmp_path / "run", ["each", "unite"], n=3))
    html = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', html)
    assert f"script-src 'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_hostile_names_questions_and_answers_are_text(tmp_path: Path) -> None:
    """The tags and attributes are those of the same page with harmless texts."""

    def harmful(record: dict[str, Any]) -> None:
        text = HOSTILE[int(record["item"].rsplit("/", 1)[1])][:50]  # short, so that nothing is folded
        record.update(question=f"{text}</article>", expected=f'"{text}', choices=[f"'>{text}", text], context=text)
        record.update(text=f"</div><script>alert(1)</script>{text}", answer=f"{text}<img src=x onerror=alert(1)>")

    def plain(record: dict[str, Any]) -> None:
        record.update(question="q", expected="k", choices=["c", "d"], context="c", text="t", answer="a")

    methods = ["base", "each", "unite"]
    count = len(HOSTILE)
    folder = make_run(tmp_path / "run<b>|`$x$", methods, models=HOSTILE[:2], n=count)
    hostile = page_of(change(folder, harmful))
    html = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert not commands_in(html, "\n\t")
    assert "</script>alert" not in html
    assert hostile.text.count("<script>alert(1)</script>") >= count
    tame = page_of(change(make_run(tmp_path / "tame" / "run", methods, n=count), plain))
    shapes = [
        [(tag, [key for key, value in attributes.items() if value != "long"]) for tag, attributes in page.tags]
        for page in (hostile, tame)
    ]  # but for the class of cells with long words
    assert shapes[0] == shapes[1]
    assert all(link.startswith("#") for link in hostile.values("href"))


def test_items_are_shown_with_their_answers_gained_and_lost_first(tmp_path: Path) -> None:
    right = {"base": "0110", "alone:arith-bytes": "0110", "alone:arith-pairs": "0000", "unite": "0101"}

    def set_answers(record: dict[str, Any]) -> None:
        number = int(record["item"].rsplit("/", 1)[1])
        is_right = right[record["method"]][number] == "1"
        record.update(right=is_right, answer="5" if is_right else None, text=f" says {5 if is_right else '?'} ")

    folder = change(make_run(tmp_path / "run", ["base", "each", "unite"], n=4), set_answers)
    found = shown(folder)
    assert found.methods == ("base", "alone:arith-bytes", "alone:arith-pairs", "unite")
    assert (found.together, list(found.singles)) == ((3,), [1])
    assert [(item.name[-1], item.grades, item.gained, item.lost) for item in found.items] == [
        ("2", "rruu", (), (3,)),
        ("3", "uuur", (3,), ()),
        ("1", "rrur", (), ()),
        ("0", "uuuu", (), ()),
    ]
    assert [(said.methods, said.text, said.answer, said.grade) for said in found.items[0].said] == [
        ((0, 1), "says 5", "5", "r"),
        ((2, 3), "says ?", "", "u"),
    ]
    page = page_of(folder)
    assert page.values("data-grades") == ["rruu", "uuur", "rrur", "uuuu"]
    assert "lost: unite" in page.text
    assert "gained: unite" in page.text
    assert all(record["question"] in page.text for record in Evaluation(folder).records)


def test_what_was_not_answered_or_failed_is_said(tmp_path: Path) -> None:
    def fail(record: dict[str, Any]) -> None:
        if record["method"] == "unite":
            record.update(text="", answer=None, right=False, error="the prompt is too long")

    folder = change(make_run(tmp_path / "run", ["base", "unite"], n=2, accuracy=lambda *_: 1.0), fail)
    log = folder / "items.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))  # unite to the last item
    assert [item.grades for item in shown(folder).items] == ["rf", "r-"]
    assert [item.lost for item in shown(folder).items] == [(1,), ()]
    assert "the prompt is too long" in page_of(folder).text


def test_a_run_of_an_earlier_version_says_that_it_has_no_questions(tmp_path: Path) -> None:
    def forget(record: dict[str, Any]) -> None:
        for key in ("question", "expected"):
            del record[key]

    folder = change(make_run(tmp_path / "run", ["base", "unite"], n=3), forget)
    assert page_of(folder).text.count("The run does not say what was asked") == 3


def test_the_question_has_its_passage_and_choices(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", ["base"], n=1)
    change(folder, lambda record: record.update(question="Which?", choices=["red", "blue"], context="A passage."))
    assert shown(folder).items[0].question == "A passage.\nWhich?\nA. red\nB. blue"
    change(folder, lambda record: record.update(question=5, choices="red", context=["x"]))
    assert shown(folder).items[0].question == ""


def test_a_page_has_no_more_than_it_can_show_and_says_what_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path / "run", ["base", "each", "unite"], n=30)
    whole = shown(folder)
    assert len(whole.items) == 30
    texts = [len(item.said) for item in whole.items]
    monkeypatch.setattr(rules, "MOST_TEXTS", sum(texts[:7]))
    assert shown(folder).items == whole.items[:7]
    text = re.sub(r"\s+", " ", page_of(folder).text)
    assert "7 of 30 items are here: gained and lost first" in text
    assert "The other 23 are in items.jsonl of run" in text
    assert sum(len(item.said) for item in shown(folder, evaluations=2).items) * 2 <= sum(texts[:7])
    monkeypatch.undo()
    monkeypatch.setattr(rules, "MOST_CHARACTERS", sum(item.characters for item in whole.items[:5]))
    assert shown(folder).items == whole.items[:5]
    monkeypatch.setattr(rules, "MOST_CHARACTERS", 1)
    assert shown(folder).items == whole.items[:1]


def test_long_answers_are_folded_and_cut(tmp_path: Path) -> None:
    lengths = {"base": rules.FOLDED, "unite": rules.LONGEST + 1}
    folder = make_run(tmp_path / "run", ["base", "unite"], n=1)
    page = page_of(change(folder, lambda record: record.update(text="x" * lengths[record["method"]])))
    assert [tag for tag, _ in page.tags].count("details") == 1 + 1, "the contents are one"
    assert max(len(run) for run in re.findall("x+", page.text)) == rules.LONGEST
    assert f"({rules.LONGEST + 1:,} characters in all)" in page.text


def test_many_items_by_thirteen_methods_with_long_answers_stay_small(tmp_path: Path) -> None:
    methods = ["base", "each", *(f"unite:exit=fixed-{step}" for step in range(10, 20))]
    folder = make_run(tmp_path / "run", methods, n=400)
    change(folder, lambda record: record.update(text=f"{record['method']} {record['text']} {'because ' * 150}"))
    found = shown(folder)
    assert len(found.methods) == 13
    assert 100 < len(found.items) < 400
    page_of(folder)
    assert (tmp_path / "report" / "index.html").stat().st_size < 1.5 * rules.MOST_CHARACTERS


def test_reports_have_titles_of_their_own_and_headings_that_repeat_nothing(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", METHODS, n=5)
    other = make_run(tmp_path / "other", METHODS, models=("a", "b"), n=5)
    assert title_of([Evaluation(folder)]) == "simplemath: arith-bytes + arith-pairs"
    both = title_of([Evaluation(folder), Evaluation(other)])
    assert both == "2 evaluations: simplemath: arith-bytes + arith-pairs; simplemath: a + b"
    page_of(folder)
    html = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "<title>simplemath: arith-bytes + arith-pairs</title>" in html
    headings = re.findall(r"<h[123][^>]*>(.*?)</h[123]>", html)
    assert len(headings) > 12
    assert [heading for heading in headings if "arith-pairs" in heading and "the better" not in heading] == [
        "simplemath: arith-bytes + arith-pairs",
        "simplemath: arith-bytes + arith-pairs (run)",
        "Items: simplemath: arith-bytes + arith-pairs (run)",
    ]


def test_the_terms_of_the_tables_are_explained(tmp_path: Path) -> None:
    headings = ("loss, points", "saved %", "cost", "exit step", "first token, ms", "accuracy %", "Accuracy, %", "p")
    assert [term_of(heading) for heading in headings] == [
        "loss", "saved", "cost", "exit step", "first token", "accuracy", None, "p",
    ]  # fmt: skip
    page = page_of(make_run(tmp_path / "run", METHODS, n=5))
    linked = {link.removeprefix("#term-") for link in page.values("href") if link.startswith("#term-")}
    assert linked == {re.sub("[ /]", "-", term) for term in TERMS}
    markdown = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert all(f"\n- {term}: " in markdown for term in TERMS)

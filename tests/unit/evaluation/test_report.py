"""Reports of made-up runs: which tables and figures there are, and that their numbers are those of the answers."""

import json
import re
import xml.etree.ElementTree as ET
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.unit.evaluation.made import make_run
from tokencollab.evaluation.report.figures_methods import cosine, trigrams
from tokencollab.evaluation.report.page import make_parts, write_report
from tokencollab.evaluation.report.pictures import Picture
from tokencollab.evaluation.report.scenes import Scene, read_scenes
from tokencollab.evaluation.report.tables import Table, interval, outcomes, percent, probability
from tokencollab.protocol.errors import UsageError

METHODS = ("base", "each", "unite", "duetnet", "upara-20", "confipara-u", "confipara-u-confidence")


def pictures(scenes: list[Scene]) -> dict[str, Picture]:
    return {part.name: part for part in make_parts(scenes) if isinstance(part, Picture)}


def tables(scenes: list[Scene]) -> dict[str, Table]:
    return {part.title: part for part in make_parts(scenes) if isinstance(part, Table)}


def test_a_figure_appears_when_its_data_is_there(tmp_path: Path) -> None:
    plain = make_run(tmp_path / "plain", METHODS)
    every = {"accuracy", "exits", "self-efficacy", "aligned", "outcomes", "similarity", "lengths"}
    assert set(pictures(read_scenes([str(plain)]))) == every
    one = make_run(tmp_path / "one", ["unite"])
    assert set(pictures(read_scenes([str(one)]))) == {"accuracy", "aligned", "lengths"}
    for key, values in (("top_t", [1, 2, "1-2"]), ("top_p", [0.5, 0.75]), ("top_k", [1, 10])):
        folder = make_run(tmp_path / key, ["each", "dp"], grid={key: values})
        assert set(pictures(read_scenes([str(folder)]))) == {f"over-{key}"}
    folder = make_run(tmp_path / "grid", ["unite", "confipara-u"], grid={"omega": [5, 10], "theta": [0.5, 0.6]})
    assert set(pictures(read_scenes([str(folder)]))) == {"grid-omega-theta-confipara-u"}
    triple = make_run(tmp_path / "triple", METHODS, models=("a", "b", "c"))
    assert set(pictures(read_scenes([str(plain), str(triple)]))) == every | {"latency"}


def test_points_that_cover_each_other_are_all_numbered(tmp_path: Path) -> None:
    exits = ["unite:exit=fixed-90", "unite:exit=fixed-5", "unite:exit=fixed-91"]
    folder = make_run(tmp_path / "run", ["unite", *exits], accuracy=lambda *_: 1.0)
    figure = pictures(read_scenes([str(folder)]))["exits"].figure
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["1, 3", "2"]
    _, labels = figure.axes[0].get_legend_handles_labels()
    assert labels == [f"{number}  {name}" for number, name in enumerate(exits, start=1)]


def test_self_efficacy_that_is_not_shown_is_named(tmp_path: Path) -> None:
    methods = [f"unite:exit=self-efficacy:omega={omega}" for omega in range(3, 17)]
    folder = make_run(tmp_path / "run", methods)
    picture = pictures(read_scenes([str(folder)]))["self-efficacy"]
    shown = [axes.get_title().partition(" (")[0] for axes in picture.figure.axes if axes.get_visible()]
    assert shown == methods[: len(shown)]
    assert picture.caption.endswith(f"Not shown: {', '.join(methods[len(shown) :])}.")


def test_the_tables_have_the_summary_s_numbers(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", METHODS, accuracy=lambda name, _: 0.9 if name == "unite" else 0.5)
    (scene,) = read_scenes([str(folder)])
    found = tables([scene])
    rows = {row[0]: row for row in found["simplemath: arith-bytes + arith-pairs, n = 40"].rows}
    unite = scene.methods["unite"]
    low, high = unite["accuracy_ci"]
    assert list(rows) == list(scene.methods)
    assert rows["unite"][1] == f"{100 * unite['accuracy']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    assert rows["base"][3] == "–"
    single = next(table for title, table in found.items() if "better single model" in title)
    best = scene.summary["best_alone"]
    assert best not in {row[0] for row in single.rows}
    pair = scene.pair("unite", best)
    assert pair is not None
    row = next(row for row in single.rows if row[0] == "unite")
    assert row[1].startswith(f"{100 * pair['difference']:+.1f} [")
    assert row[2] == f"{pair['only_a']} / {pair['only_b']}"


def test_a_pair_reads_the_same_from_both_sides(tmp_path: Path) -> None:
    (scene,) = read_scenes([str(make_run(tmp_path / "run", METHODS))])
    there, back = scene.pair("unite", "duetnet"), scene.pair("duetnet", "unite")
    assert there is not None
    assert back is not None
    assert there["difference"] == -back["difference"]
    assert there["difference_ci"] == tuple(-bound for bound in reversed(back["difference_ci"]))
    assert (there["only_a"], there["only_b"], there["p"]) == (back["only_b"], back["only_a"], back["p"])
    assert scene.pair("unite", "nothing") is None


def test_no_difference_has_no_minus(tmp_path: Path) -> None:
    (scene,) = read_scenes([str(make_run(tmp_path / "run", ["unite", "duetnet"], accuracy=lambda *_: 1.0))])
    pair = scene.pair("duetnet", "unite")
    assert pair is not None
    assert percent(pair["difference"], True) + interval(pair["difference_ci"], True) == "+0.0 [+0.0, +0.0]"


def test_outcomes_are_counted_against_the_single_model(tmp_path: Path) -> None:
    (scene,) = read_scenes([str(make_run(tmp_path / "run", METHODS, n=60))])
    single = scene.summary["best_alone"]
    counts = outcomes(scene, "unite", single)
    assert sum(counts.values()) == 60
    together = [record["right"] for record in scene.answers["unite"].values()]
    alone = [scene.answers[single][item]["right"] for item in scene.answers["unite"]]
    assert counts["both right"] == sum(a and b for a, b in zip(together, alone, strict=True))
    assert counts["together only"] == sum(a and not b for a, b in zip(together, alone, strict=True))
    assert min(counts.values()) > 0


def test_several_runs_are_put_side_by_side(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / "pair", METHODS), make_run(tmp_path / "triple", METHODS, models=("a", "b", "c"))]
    scenes = read_scenes([str(folder) for folder in folders])
    found = tables(scenes)
    accuracy = found["Accuracy, %"]
    assert len(accuracy.headings) == 3
    assert accuracy.rows[0][0] == "better single model"
    assert "unite" in {row[0] for row in accuracy.rows}
    saved = found["Cost saved against full collaboration, %"]
    assert "base" not in {row[0] for row in saved.rows}


class Balance(HTMLParser):
    """Whether every element is closed, and what is fetched from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for key, value in attrs if key in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else_and_markdown_has_its_files(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", METHODS, models=("<b>&", "arith|pairs"))
    page = write_report(read_scenes([str(folder)]), tmp_path / "report")
    html = page.read_text(encoding="utf-8")
    parser = Balance()
    parser.feed(html)
    assert not parser.open
    assert len(parser.sources) == 7
    for source in parser.sources:
        kind, data = source.split(",", 1)
        assert kind == "data:image/svg+xml;base64"
        assert ET.fromstring(b64decode(data)).tag.endswith("svg")  # noqa: S314
    assert "alone:&lt;b&gt;&amp;" in html
    assert "<b>" not in html
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    files = re.findall(r"\]\((.*?\.svg)\)", text)
    assert len(files) == 7
    assert all((tmp_path / "report" / name).read_bytes().startswith(b"<?xml") for name in files)
    tabled = [line for line in text.splitlines() if line.startswith("| alone")]
    assert tabled
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in tabled}
    assert widths <= {6, 14}


def test_the_same_runs_give_the_same_report(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", ("each", "unite"), n=10)
    first = write_report(read_scenes([str(folder)]), tmp_path / "one").read_bytes()
    assert write_report(read_scenes([str(folder)]), tmp_path / "two").read_bytes() == first


def test_a_run_that_is_not_finished_is_reported_as_such(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", METHODS, n=10)
    log = folder / "items.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-3]))
    (scene,) = read_scenes([str(folder)])
    assert scene.summary["complete"] is False
    assert tables([scene])["What was run"].note == "arith-bytes: errs by design"
    assert "not complete" in tables([scene])["What was run"].rows[0][-1]


@pytest.mark.parametrize("content", [None, "{", '{"format": 99}', "[]"])
def test_a_folder_without_a_run_is_one_line(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(UsageError) as error:
        read_scenes([str(tmp_path)])
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_an_empty_run_is_a_report_too(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", METHODS, n=3)
    (folder / "items.jsonl").write_bytes(b"")
    scenes = read_scenes([str(folder)])
    assert json.loads((folder / "summary.json").read_text())["methods"] == {}
    assert write_report(scenes, tmp_path / "report").is_file()


def test_similarity_is_one_for_the_same_text_and_falls_with_difference() -> None:
    same, near, far = (cosine(trigrams("answer 66"), trigrams(text)) for text in ("answer 66", "answer 67", "no idea"))
    assert same == pytest.approx(1.0)
    assert 1 > near > far >= 0
    assert cosine(trigrams(""), trigrams("")) == pytest.approx(1.0)


def test_small_p_values_keep_their_order_of_magnitude() -> None:
    assert (probability(0.0312), probability(3.2e-8)) == ("0.031", "3e-08")

"""The page of a report in headless Chromium, where there is one: it fits, it asks for nothing, its filter works."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import CHROMIUM, Page, opened
from tests.support.hostile import HOSTILE
from tests.unit.evaluation.made import make_run
from tokencollab.evaluation.report.document import write_report
from tokencollab.evaluation.report.evaluations import Evaluation

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")]
METHODS = ("base", "each", "unite", "duetnet", "upara-20", "confipara-u", "confipara-u-confidence")

TOO_WIDE = """[...document.querySelectorAll("body *")].filter((element) => {
  const box = element.getBoundingClientRect();
  return box.width && (box.right > document.documentElement.clientWidth + 1 || box.left < -1);
}).map((element) => element.outerHTML.slice(0, 80))"""
CUT = """[...document.querySelectorAll("body *")].filter((element) => element.clientWidth
  && element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflowX !== "visible"
  && !["SELECT", "INPUT"].includes(element.tagName)).map((element) => element.outerHTML.slice(0, 80))"""
FOLLOWED = """[...document.querySelectorAll("a[data-show]")].map((link) => {
  link.click();
  const items = document.querySelector(link.getAttribute("href"));
  const seen = [...items.querySelectorAll("article")].filter((item) => item.checkVisibility()).length;
  const form = items.querySelector("form");
  return {cell: link.textContent, show: form.elements.show.value, method: form.elements.method.selectedOptions[0].text,
    items: items.id, seen, said: form.querySelector("output").textContent};
})"""
SEARCHED = """((text) => {
  const form = document.querySelector("#items-1 form");
  form.reset();
  form.elements.text.value = text;
  form.elements.text.dispatchEvent(new Event("input", {bubbles: true}));
  return [...document.querySelectorAll("#items-1 article:not([hidden]) .name")].map((name) => name.textContent);
})"""
INK = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"


async def show(page: Page, width: int, scheme: str) -> None:
    await page.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
    )
    await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])


def brightness(colour: str) -> int:
    return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))


async def watched(page: Page) -> list[dict[str, Any]]:
    """Loads the page once more; what it asked for, said and did wrong from then on is in the list."""
    for domain in ("Network", "Log", "Runtime", "Page"):
        await page.call(f"{domain}.enable")
    page.events.clear()
    await page.call("Page.reload")
    while not any(event["method"] == "Page.loadEventFired" for event in page.events):
        await page.run("0")
    return page.events


@pytest.mark.parametrize("kind", ["plain", "hostile", "wide"])
async def test_nothing_is_hidden_wide_or_narrow_and_nothing_is_fetched(tmp_path: Path, kind: str) -> None:
    if kind == "wide":  # more columns than a page has room for, and a sweep
        runs = [make_run(tmp_path / f"run{index}", METHODS, n=6, seed=index) for index in range(12)]
        runs.append(make_run(tmp_path / "sweep", ["each", "dp"], grid={"top_t": [1, 2, 3], "top_p": [0.5, 0.75]}, n=6))
    else:
        models = ("arith-bytes", "arith-pairs") if kind == "plain" else (HOSTILE[-1], HOSTILE[-4])
        runs = [make_run(tmp_path / "run", METHODS, n=30, models=models)]
        log = runs[0] / "items.jsonl"
        records = [json.loads(line) for line in log.read_text().splitlines()]
        for index, record in enumerate(records if kind == "hostile" else ()):
            text = HOSTILE[index % len(HOSTILE)]
            record.update(text=text * 9, answer=text, question=text, expected=f"<script>alert('{text}')</script>")
        log.write_text("".join(json.dumps(record) + "\n" for record in records))
    file = write_report([Evaluation(run) for run in runs], tmp_path / "report")
    async with opened(file.as_uri(), tmp_path / "profile") as page:
        await page.loaded()
        events = await watched(page)
        inks = {}
        for width in (1280, 400):
            for scheme in ("light", "dark"):
                await show(page, width, scheme)
                assert await page.run(TOO_WIDE) == []
                assert await page.run(CUT) == []
                inks[scheme] = [brightness(colour) for colour in await page.run(INK)]
        assert inks["light"][0] > inks["light"][1] + 400
        assert inks["dark"][1] > inks["dark"][0] + 400
        # With every answer unfolded too.
        await page.run("document.querySelectorAll('details').forEach((answer) => answer.open = true)")
        assert await page.run(TOO_WIDE) == []
        requests = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        assert {address.partition(":")[0] for address in requests} <= {"file", "data"}
        assert [address for address in requests if address.startswith("file")] == [file.as_uri()]
        wrong = (
            "Log.entryAdded",
            "Runtime.exceptionThrown",
            "Runtime.consoleAPICalled",
            "Page.javascriptDialogOpening",
        )
        assert [event for event in events if event["method"] in wrong] == []


async def test_every_cell_leads_to_as_many_items_as_it_says(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", METHODS)
    evaluation = Evaluation(folder)
    file = write_report([evaluation], tmp_path / "report")
    async with opened(file.as_uri(), tmp_path / "profile") as page:
        await page.loaded()
        assert await page.run("[...document.querySelectorAll('a')].every((a) => document.querySelector(a.hash))")
        followed = await page.run(FOLLOWED)
        methods = evaluation.summary["methods"]
        assert {link["show"].partition("-")[0] for link in followed} == {"wrong", "unreadable", "gained", "lost"}
        assert {link["method"] for link in followed if link["show"] == "wrong"} == set(methods)
        assert any(link["seen"] for link in followed if link["show"].startswith("gained"))
        for link in followed:
            method = methods[link["method"]]
            wrong = str(method["n"] - method["right"])
            assert str(link["seen"]) == (wrong if link["show"] == "wrong" else link["cell"]), link
            assert link["said"] == f"{link['seen']} of 40 shown"
        record = evaluation.records[-1]
        found = await page.run(f"{SEARCHED}({json.dumps(record['question'].upper())})")
        assert found == [record["item"]]
        assert await page.run(f"{SEARCHED}('no such text')") == []
        assert len(await page.run(f"{SEARCHED}('')")) == 40


FIVE = {"a": "wwrw", "b": "rrrr", "c": "uuwr", "d": "wuwu", "e": "rwr-"}
"""Questions, and the grades of base, the two alone (the second is the better one) and unite."""
FILTERED = {
    ("all", ""): "abcde",
    ("differ", ""): "ace",
    ("none", ""): "d",
    ("right", ""): "abce",
    ("wrong", ""): "acde",
    ("unreadable", ""): "cd",
    ("gained-2", ""): "c",
    ("lost-2", ""): "a",
    ("gained-0", ""): "c",
    ("lost-0", ""): "",
    ("all", "3"): "abcd",
    ("differ", "3"): "ac",
    ("right", "3"): "bc",
    ("wrong", "3"): "ad",
    ("unreadable", "3"): "d",
    ("none", "0"): "d",
    ("gained-2", "0"): "",
    ("lost-2", "0"): "a",
}
SELECTED = """((show, method) => {
  const form = document.querySelector("form");
  form.elements.show.value = show;
  form.elements.method.value = method;
  form.dispatchEvent(new Event("input"));
  const chosen = [...document.querySelectorAll("article:not([hidden]) .chosen h4")].map((name) => name.textContent);
  const seen = [...document.querySelectorAll("article:not([hidden]) .question")].map((text) => text.textContent);
  return [form.elements.show.value, seen.sort().join(""), chosen];
})"""


async def test_the_filter_shows_what_it_says(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", ["base", "each", "unite"], n=5)
    log, records = folder / "items.jsonl", []
    methods = ["base", "alone:arith-bytes", "alone:arith-pairs", "unite"]
    for line in log.read_text().splitlines():
        record = json.loads(line)
        question, grades = list(FIVE.items())[int(record["item"].rsplit("/", 1)[1])]
        letter = grades[methods.index(record["method"])]
        record.update(question=question, right=letter == "r", answer=None if letter == "u" else letter)
        records += [record] if letter != "-" else []
    log.write_text("".join(json.dumps(record) + "\n" for record in records))
    file = write_report([Evaluation(folder)], tmp_path / "report")
    async with opened(file.as_uri(), tmp_path / "profile") as page:
        await page.loaded()
        for (show_, method), expected in FILTERED.items():
            set_to, seen, chosen = await page.run(f"{SELECTED}({json.dumps(show_)}, {json.dumps(method)})")
            assert (set_to, seen) == (show_, expected), (show_, method)
            assert all(methods[int(method)] in names.split(", ") for names in chosen) if method else not chosen
            assert bool(chosen) == bool(method and expected)

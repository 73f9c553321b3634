"""What a model, a file or a name says reaches nobody as a command, through whichever door; a file gets it as it is."""

import argparse
import io
import json
import logging
import os
import re
import sys
import xml.etree.ElementTree as ET
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from ray.util.metrics import Gauge

from tests.support.hostile import HOSTILE, commands_in
from tests.unit.cli.repl.replkit import scripted_shell
from tests.unit.evaluation.made import make_run
from tokencollab import EOS, Collaboration, Piece, Token, UsageError
from tokencollab.actors import metrics
from tokencollab.actors.log import Log, log_to_stderr, stop_logging_to_stderr
from tokencollab.actors.metrics import ray_exporter
from tokencollab.actors.metrics.prometheus import serve_metrics
from tokencollab.actors.platform.registry import Entry
from tokencollab.cli import main, terminal
from tokencollab.cli import models as models_command
from tokencollab.cli import platform as platform_command
from tokencollab.cli.generate import write
from tokencollab.cli.repl.display import Figures, picture, screen_for, status_line
from tokencollab.evaluation.report.document import write_report
from tokencollab.evaluation.report.evaluations import Evaluation
from tokencollab.models.resolve import ModelRow
from tokencollab.pool import Progress
from tokencollab.protocol.text import harmless, one_line
from tokencollab.testing import ScriptedEngine, scripted_runtime

WRITTEN = "\n".join([*HOSTILE, "日本語 Zoë 👩‍👧 שלום\ttab"])  # as a model writes it


@contextmanager
def on_a_terminal() -> Iterator[Callable[[], str]]:
    """Standard output and error are a terminal; the function reads what it got."""
    master, slave = os.openpty()
    before = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = stream = open(slave, "w", encoding="utf-8")  # noqa: SIM115

    def read() -> str:
        stream.write("END")
        stream.flush()
        data = b""
        while not data.endswith(b"END"):
            data += os.read(master, 1 << 16)
        return data[:-3].decode().replace("\r\n", "\n")

    try:
        yield read
    finally:
        sys.stdout, sys.stderr = before
        stream.close()
        os.close(master)


def writing(text: str, as_json: bool = False) -> int:
    """`generate` over a model that writes ``text``, a byte a piece."""
    data = text.encode()

    def script(done: bytes) -> Mapping[Piece, float]:
        return {data[len(done) : len(done) + 1] or EOS: 9.0, b"~": 1.0}

    runtime = scripted_runtime(ScriptedEngine("one", script))
    team = Collaboration("one", (), "base", runtime=runtime)
    arguments = argparse.Namespace(json=as_json)
    return write(
        arguments, team, lambda: team.stream("?", max_tokens=len(data) + 1), terminal.ProgressView(), ["\x1b[2J notice"]
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_the_one_function_takes_out_commands_and_nothing_else(text: str) -> None:
    assert not commands_in(harmless(text), "\n\t")
    assert len(harmless(text)) == len(text)
    kept = [c for c in text if not commands_in(c, "\n\t")]
    assert [c for c in harmless(text) if c != "\ufffd"] == kept
    assert not commands_in(one_line(text), "")
    assert harmless(harmless(text)) == harmless(text)


def test_what_scripts_and_emoji_need_stays() -> None:
    for text in ("👩‍👧‍👦 ❤️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿", "می‌خواهم", "क्‍ष", "שלום", "\ue000\U000f0000", "a\u200bb\ufeff\u00ad\u2060", "\n\t"):
        assert harmless(text) == text


def test_an_answer_on_a_terminal_has_no_commands_wherever_it_is_cut() -> None:
    with on_a_terminal() as read:
        writing(WRITTEN)
        shown = read()
    assert shown.expandtabs().startswith(harmless(WRITTEN).expandtabs())
    assert not commands_in(re.sub(r"\x1b\[[\d;]*m", "", shown), "\n\t")  # rich's colours of the summary


def test_an_answer_as_json_on_a_terminal_says_the_same_without_commands() -> None:
    with on_a_terminal() as read:
        writing(WRITTEN, as_json=True)
        line = next(line for line in read().split("\n") if line.startswith("{"))
    assert not commands_in(line, "")
    assert json.loads(line)["text"] == WRITTEN


def test_an_answer_in_a_file_is_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for as_json in (False, True):
        with (tmp_path / "answer").open("w", encoding="utf-8", newline="") as file:
            monkeypatch.setattr(sys, "stdout", file)
            writing(WRITTEN, as_json)
        got = (tmp_path / "answer").read_bytes().decode()
        assert (json.loads(got)["text"] if as_json else got[:-1]) == WRITTEN


@pytest.mark.parametrize("text", HOSTILE)
def test_errors_are_one_harmless_line(
    text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> int:
        raise UsageError(f"no {name} here")

    monkeypatch.setattr(models_command, "remove", refuse)
    for arguments in (
        ["models", "remove", text],
        ["replay", text],
        [text],
        ["methods", text],
        ["batch", "x", f"--{text}"],
    ):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        error = capsys.readouterr().err
        assert end.value.code == 2
        assert error.count("\n") == 1
        assert not commands_in(error)


@pytest.mark.parametrize("text", HOSTILE)
def test_progress_notices_and_tables_are_harmless(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.ProgressView() as view:
        view.update(text, 0, 0)
        view.say(text)
    with terminal.RunView(text, 0) as run:
        run.show(Progress(1, done=1))
        run.say(text)
    table = terminal.headed_table(text, f">{text}")
    terminal.add_row(table, text, text)
    terminal.print_table(table)
    terminal.print_table(table, stderr=True)
    out, err = capsys.readouterr()
    assert not commands_in(out + err)
    assert out.count("\n") == 2


def test_progress_on_a_terminal_is_harmless() -> None:
    with on_a_terminal() as read:
        with terminal.ProgressView() as view:
            for text in HOSTILE:
                view.update(text, 1, 2)
                view.say(text)
        shown = read()
    assert "clipboard" in shown
    assert not commands_in(re.sub(r"\x1b\[\??[\d;]*[a-zA-Z]|\r", "", shown), "\n\t")  # what rich itself sends
    assert "\x1b[H" not in shown


@pytest.mark.parametrize("text", HOSTILE)
def test_a_log_has_no_commands_in_names_reasons_and_events(text: str) -> None:
    for own_look in (True, False):
        stream = io.StringIO()
        with redirect_stderr(stream):
            if own_look:
                log_to_stderr()
            else:
                stop_logging_to_stderr()
                logging.getLogger("tokencollab").addHandler(handler := logging.StreamHandler(stream))
            Log("tokencollab").warning(text, model=text, reason=f"Refused:{text}", error=ValueError(text), names=[text])
        said = stream.getvalue()
        assert said.count("\n") == 1
        assert not commands_in(said)
    logging.getLogger("tokencollab").removeHandler(handler)


def test_lists_of_models_have_no_commands(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [ModelRow(text, True, 5, text, text) for text in HOSTILE]
    monkeypatch.setattr(models_command, "list_models", lambda: rows)
    with pytest.raises(SystemExit):
        main(["models", "list"])
    platform_command._print([Entry(text) for text in HOSTILE])
    out, err = capsys.readouterr()
    assert not commands_in(out + err)
    assert len(out.splitlines()) == 2 * (1 + len(HOSTILE))


async def test_the_prompt_shows_no_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with on_a_terminal() as read:
        for plain in (False, True):
            screen = screen_for(sys.stdout, plain)
            for text in HOSTILE:
                screen.write(Token(text, text.encode(), 1, {text: 0, "b": 1}, lost=(text,), joined=(text,)), "b")
                screen.status(status_line(Figures(1, 1.0, None, None, 1, 1, False, (text,)), 80))
                screen.end()
        shown = read()
    assert shown.count("clipboard") > 4
    codes = r"\x1b(\[[\d;]*[a-zA-Z]|[DM78])|\r"  # what the screens themselves send
    assert not commands_in(re.sub(codes, "", shown), "\n\t")
    async with scripted_shell() as shell:
        shell.session.system = WRITTEN
        said = await shell.do("be mild", "/system", "/why 1", "/stats")
        turn = shell.session.turns[-1]
        answer = replace(turn.answer, models=HOSTILE, method=WRITTEN)
        shell.session.turns[-1] = turn = replace(turn, question=WRITTEN, answer=answer)
        said += await shell.do("/history")
        for kind in ("svg", "html"):
            said += (drawn := picture(turn, f"x.{kind}"))
            if kind == "svg":
                ET.fromstring(drawn)  # noqa: S314 - our own
        assert not commands_in(said, "\n\t")


class _Page(HTMLParser):
    """The tags of a page, and its pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.pictures: list[bytes] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        for name, value in attrs:
            if name == "src":
                self.pictures.append(b64decode(str(value).partition(",")[2]))


def test_a_report_never_fails_for_a_name_and_has_nothing_of_it_as_markup(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run\x1b[2J<b>|`$x$", ["each", "unite"], models=HOSTILE, n=5)
    page = write_report([Evaluation(folder)], tmp_path / "report")
    html = page.read_text(encoding="utf-8")
    found = _Page()
    found.feed(html)
    assert not commands_in(html, "\n\t")
    assert not {"b", "i", "link"} & found.tags
    assert not {name for name in found.attributes if name.startswith("on")}
    files = sorted((tmp_path / "report").glob("*.svg"))
    assert len(files) == len(found.pictures) > 0
    for drawn in [*found.pictures, *(file.read_bytes() for file in files)]:
        ET.fromstring(drawn)  # noqa: S314 - our own
        assert not commands_in(drawn.decode(), "\n\t")
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert not commands_in(text)
    assert "<" not in text
    assert not re.search(r"(?<!\\)`|(?<!\\)\]\((?!\d\d-)|(?<![\\|! ])\*|http://", text)
    tables = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in tables}) <= 8, "a cell broke its row"
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert len(headings) == len(re.findall(r"<h[123]", html)) - html.count(">Items: ") + 1, "and the contents have it"


def test_labels_of_metrics_have_no_commands_and_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    labels: list[Any] = []

    class Kept(Gauge):  # type: ignore[misc]
        def __init__(self) -> None:
            """No Ray."""

        def set(self, value: float, tags: dict[str, str]) -> None:
            labels.append(tags)

    monkeypatch.setattr(ray_exporter, "_instrument", lambda metric: Kept())
    metrics.install(ray_exporter.ray_sink)
    try:
        with serve_metrics(0) as address:
            for text in (*HOSTILE, "half\ud800"):
                metrics.record(metrics.SESSIONS, 1, text)
            with urlopen(address, timeout=20) as reply:  # noqa: S310 - our own
                served = reply.read().decode()
    finally:
        metrics.uninstall(ray_exporter.ray_sink)
    assert not commands_in(served)
    names = {
        sample.labels["model"]
        for family in text_string_to_metric_families(served)
        for sample in family.samples
        if sample.name == "tokencollab_sessions"
    }
    assert names == {one_line(text) for text in (*HOSTILE, "half\ud800")} == {tags["model"] for tags in labels}

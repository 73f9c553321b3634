"""The prompt as a person meets it: a real terminal, typed into and read from; and a pipe."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyte
import pytest

from tests.support.repl_program import TEXT

pytestmark = pytest.mark.slow

PROGRAM = ["-m", "tests.support.repl_program", "repl", "--base", "one", "--with", "two"]
ROOT = Path(__file__).parents[2]


class Terminal:
    """A program in a terminal of its own, whose screen is kept."""

    def __init__(self, *arguments: str, columns: int = 80, patience: float = 60, **environment: str) -> None:
        self.screen = pyte.HistoryScreen(columns, 24, history=100_000)
        self.stream = pyte.Stream(self.screen)
        self.raw = ""
        self.patience = patience  # seconds without a sign of life
        self.process = pexpect.spawn(
            sys.executable,
            [*PROGRAM, *arguments],
            env=os.environ | {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"} | environment,
            dimensions=(24, columns),
            cwd=str(ROOT),
            encoding="utf-8",
            timeout=60,
        )

    def text(self) -> str:
        """Everything that the screen shows or has shown, without line ends."""
        columns = self.screen.columns
        above = ["".join(line[x].data for x in range(columns)) for line in self.screen.history.top]
        return re.sub(r"\s+", " ", " ".join([*above, *self.screen.display]))

    def until(self, text: str, times: int = 1) -> None:
        """Reads until the screen has shown ``text`` so often."""
        while self.text().count(text) < times:
            self._read(text)

    def until_raw(self, pattern: str) -> None:
        """Reads until the program has sent ``pattern``."""
        while not re.search(pattern, self.raw):
            self._read(pattern)

    def then(self, *texts: str, start: int) -> None:
        """Reads until the program has sent ``texts`` one after the other, behind ``start``."""
        for text in texts:
            while (found := self.raw.find(text, start)) < 0:
                self._read(text)
            start = found + len(text)

    def _read(self, wanted: str) -> None:
        try:
            got = self.process.read_nonblocking(4096, timeout=self.patience)
        except (pexpect.TIMEOUT, pexpect.EOF) as error:
            raise AssertionError(f"{wanted!r} did not come; the screen:\n" + "\n".join(self.screen.display)) from error
        self.raw += got
        self.stream.feed(got)

    def type(self, text: str) -> None:
        """Types a line, when the prompt is there."""
        self.prompted()
        self.process.send(text + "\r")

    def prompted(self) -> None:
        """Waits for the prompt."""
        while not self.screen.display[self.screen.cursor.y].startswith((">", ".")):
            self._read("the prompt")

    def key(self, codes: str) -> None:
        """Presses a key."""
        self.process.send(codes)

    def resize(self, columns: int) -> None:
        """Changes the width of the window."""
        self.process.setwinsize(24, columns)
        self.screen.resize(24, columns)

    def leave(self) -> int:
        """Ctrl-D; the exit code."""
        self.key("\x04")
        self.process.expect(pexpect.EOF)
        self.process.close()
        assert self.process.exitstatus is not None, self.process.signalstatus
        return int(self.process.exitstatus)


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def make(*arguments: str, columns: int = 80, patience: float = 60, **environment: str) -> Terminal:
        home = {"XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path), "TOKENCOLLAB_CACHE": str(tmp_path)}
        opened.append(Terminal(*arguments, columns=columns, patience=patience, **(home | environment)))
        opened[-1].until("Ctrl-D leaves")
        return opened[-1]

    yield make
    for terminal in opened:
        terminal.process.close(force=True)


def test_an_evening_at_the_prompt(open_terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    terminal = open_terminal("--method", "confipara-d", "--omega", "4")
    terminal.type("Why is the sky blue?")
    terminal.until("rest is never [19 tokens, cost 38 (full 38)")
    assert "\x1b[1;33mnever" in terminal.raw
    assert "\x1b[32mThe" in terminal.raw
    assert re.search(r"step \d+ .*T0 0\.\d\d of 0\.60", terminal.raw)
    assert "step" not in " ".join(terminal.screen.display), "the moving line was left behind"

    terminal.type("/why 2")
    terminal.until('step 2: "sky ", agreed; confipara-d')
    terminal.type("/alone")
    terminal.until("two by itself: The sky never")
    terminal.until("the same text]")
    assert "▸is blue" in terminal.text()
    terminal.type("/help t0")
    terminal.until("T0 = ST * RT")
    terminal.type("/set omega 10")
    terminal.until("omega 10", times=2)
    terminal.type("/method dpara-6")
    terminal.until("without omega")
    terminal.type("/retry")
    terminal.until("base alone after step 6")
    assert "▸" in terminal.text()
    for command, said in (
        ("/models add three", "three takes part"),
        ("/models", "one (base)"),
        ("/models drop three", "three takes no further part"),
        ("/system Be brief.", "system message: Be brief."),
        ("/seed 7", "seed 7"),
        ("/stats", "candidate sets"),
        ("/history", "1. Why is the sky blue?"),
        (f"/save {tmp_path}/run.jsonl", "trace of the last answer"),
        (f"/save {tmp_path}/talk.json", "the conversation is in"),
        (f"/export {tmp_path}/answer.svg", "the picture is in"),
        (f"/export {tmp_path}/answer.svg", "/export! "),
        ("/temperature 0.7 3", "temperature 0.7, seed 3"),
        ("help", "/help (\\help asks the models)"),
        ("/undo", "taken back: Why"),
        (f"/load {tmp_path}/talk.json", "a conversation of 1 questions"),
        (f"/load {tmp_path}/run.jsonl", "a trace of 19 steps"),
        ("/help", "Ctrl-C stops an answer"),
        ("/nonsense", "unknown command /nonsense"),
    ):
        terminal.type(command)
        terminal.until(said)
    assert json.loads((tmp_path / "talk.json").read_text())["turns"][0]["question"] == "Why is the sky blue?"
    terminal.type("/method modelswitch")
    terminal.until("method modelswitch")
    terminal.type("Vote.")
    terminal.until("two, sample 8: ")
    terminal.until("samples 16 of 16")
    terminal.type("exit")
    terminal.process.expect(pexpect.EOF)
    terminal.process.close()
    assert terminal.process.exitstatus == 0


def test_ctrl_c_stops_the_answer_and_not_the_program(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal("--method", "dpara-3", "--max-tokens", "1000000")
    terminal.type("go on forever")
    terminal.until_raw(r"step \d+  base alone")
    terminal.key("\x03")
    terminal.until("; stopped]")
    terminal.type("and now?")
    terminal.until("silence. [19 tokens")
    terminal.prompted()
    terminal.key("half a line\x03")
    terminal.until("Ctrl-D leaves", times=2)
    assert terminal.leave() == 0


def test_a_model_that_dies_shows_and_the_answer_goes_on(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal("--method", "duetnet")
    terminal.type("it dies")
    terminal.until("two was lost at step 5")
    terminal.until("[19 tokens")
    assert "✗" in terminal.text()
    terminal.type("/models")
    terminal.until("two up 0 1")
    assert terminal.leave() == 0


@pytest.mark.ray
def test_a_process_that_is_killed_in_the_middle_shows_and_the_answer_goes_on(
    open_terminal: Callable[..., Terminal],
) -> None:
    terminal = open_terminal("--method", "duetnet", "--runtime", "ray", "--max-tokens", "1000000", patience=240)
    terminal.type("Which process?")
    terminal.until("[19 tokens")
    found = re.search(r"pid(\d+) ", terminal.text())
    assert found is not None
    terminal.type("go on forever")
    begun = len(terminal.raw)
    terminal.then("never", start=begun)
    os.kill(int(found[1]), signal.SIGKILL)
    # The base goes on by itself, then together with the new process.
    terminal.then("✗", "silence", "✓", "never", start=begun)
    terminal.key("\x03")
    terminal.until("; stopped]")
    assert re.search(r"two was lost at step \d+ two was back after step \d+ \[", terminal.text())
    terminal.type("Which process?")
    terminal.until("[19 tokens", times=2)
    assert len(set(re.findall(r"pid\d+", terminal.text()))) == 2
    terminal.type("/models")
    terminal.until("two up")
    terminal.prompted()
    assert re.search(r"two up [1-9]", terminal.text())  # restarted
    assert terminal.leave() == 0


def test_the_window_may_change_its_width_in_the_middle(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal("--method", "base", "--max-tokens", "1000000")
    terminal.type("go on forever")
    terminal.until_raw("silence")
    terminal.resize(34)
    seen = len(terminal.raw)
    while terminal.raw.count("silence", seen) < 8:
        terminal._read("silence")
    time.sleep(0.3)  # what the terminal has not shown yet is not lost by Ctrl-C
    terminal.key("\x03")
    terminal.until("stopped]")
    rows = [row.rstrip() for row in terminal.screen.display]
    text = rows[: next(number for number, row in enumerate(rows) if row.startswith("["))]
    assert len(text) > 10
    assert all(len(row) < 34 for row in text)
    assert " ".join(text) in f"{TEXT} " * 20, "a word was cut or lost at the end of a line"
    terminal.type("/seed 3")
    terminal.until("seed 3", times=2)
    assert terminal.leave() == 0


def test_a_narrow_window_shows_whole_words(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal("--method", "confipara-d", "--omega", "4", columns=36)
    terminal.type("Why?")
    terminal.until("cost 38")
    terminal.type("/why 2")
    terminal.until('"sky ", chosen; score 18.000; one rank 0, logit 9.00, probability')
    terminal.until("(/help T0)")
    terminal.type("/set omeg 3")
    terminal.until("no setting 'omeg'")
    terminal.key("\x1b[D")
    terminal.until("Enter or q leaves")
    shown = [row.rstrip() for row in terminal.screen.display]
    known = {*TEXT.split(), "never", "∅"}
    above = shown[shown.index(next(row for row in shown if row.startswith("The sky"))) :]
    answer = above[: above.index("")]
    assert len(answer) > 2
    assert {word for row in answer for word in row.split()} <= known, answer
    terminal.key("q")
    terminal.prompted()
    assert "…" not in terminal.text()
    assert terminal.leave() == 0


def test_without_colour_and_in_words(open_terminal: Callable[..., Terminal]) -> None:
    coloured = r"\x1b\[(?:\d+;)*(?:3[0-7]|4[0-7]|38|48|9[0-7])(?:;\d+)*m"
    terminal = open_terminal("--method", "dpara-6", NO_COLOR="1")
    terminal.type("Why?")
    terminal.until("[19 tokens")
    assert not re.search(coloured, terminal.raw)
    assert "\x1b[1mnever" in terminal.raw
    assert "\x1b[3mair" in terminal.raw
    assert terminal.leave() == 0

    terminal = open_terminal("--method", "dpara-6", "--plain")
    terminal.type("Why?")
    terminal.until("(agreed) The sky (two against the base) never (agreed) blue because")
    terminal.until("(base alone) air scatters")
    terminal.type("/why 3")
    terminal.until('"never ", chosen; score')
    assert terminal.leave() == 0


def test_questions_have_lines_and_are_remembered_between_runs(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal("--method", "base")
    terminal.key("first line\x1b\r")  # Alt-Enter
    terminal.type("second line")
    terminal.until("[19 tokens")
    terminal.type("/history")
    terminal.until("1. first line second line")
    terminal.key("/sta\t")
    terminal.until("/stats")
    terminal.type("")
    terminal.until("finished: end")
    terminal.key("\x1b[D")  # Left: walk over the answer
    terminal.until("step 19: EOS")
    terminal.key("\x1b[D")
    terminal.until('step 18: "silence. "')
    terminal.key("q")
    assert terminal.leave() == 0

    terminal = open_terminal("--method", "base")
    terminal.key("\x1b[A\x1b[A\x1b[A")
    terminal.until(". second line")
    terminal.key("\x03")
    assert terminal.leave() == 0


def test_nothing_that_a_model_writes_reaches_the_terminal_as_a_command(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal("--method", "base")
    terminal.type("be wild")
    terminal.until("日本語")
    terminal.until("[22 tokens")
    assert "\x1b[2J" not in terminal.raw.split("be wild")[1]
    assert "\ufffd[2J" in terminal.text()
    assert terminal.leave() == 0


# ---------------------------------------------------------------- pipes


def pipe(
    stdin: str, *arguments: str, program: list[str] = PROGRAM, cache: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({} if cache is None else {"TOKENCOLLAB_CACHE": str(cache)})
    return subprocess.run(
        [sys.executable, *program, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=120,
        check=False,
    )


def test_a_pipe_gives_answers_on_stdout_and_everything_else_on_stderr() -> None:
    result = pipe("Why?\n\n/seed 3\n//slash\n", "--method", "base", "--plain")
    assert result.returncode == 0, result.stderr
    story = "The sky is blue because the air scatters blue light more than red light; the rest is silence. "
    assert result.stdout == f" (base alone) {story}\nseed 3\n (base alone) {story}\n"
    result = pipe("Why?\n", "--method", "base", "--max-tokens", "3")
    assert (result.returncode, result.stdout) == (0, "The sky is \n")
    assert "max_tokens" in result.stderr


@pytest.mark.parametrize(
    ("stdin", "arguments", "code", "said", "answers"),
    [
        ("Why?\n/frob\nWhy?\n", [], 2, "tokencollab: line 2: unknown command /frob", 1),
        ("/set omega x\n", [], 2, "tokencollab: line 1: omega", 0),
        ("/set members two\n/method base\nit is doomed\n", [], 1, "tokencollab: the base was lost", 1),
        ("Why?\n", ["--method", "duett"], 2, "tokencollab: unknown method", 0),
        ("Why?\n", ["--method", "unite", "--omega", "5"], 2, "tokencollab: omega", 0),
        (
            "Why?\n",
            ["--method", "modelswitch", "--omega", "5"],
            2,
            "tokencollab: unknown setting 'omega' of modelswitch",
            0,
        ),
        ("Why?\n", ["--stop", ""], 2, "tokencollab repl: argument --stop: empty stop string", 0),
        ("", [], 0, "", 0),
    ],
)
def test_a_pipe_ends_with_the_first_bad_line(
    stdin: str, arguments: list[str], code: int, said: str, answers: int
) -> None:
    result = pipe(stdin, *arguments)
    assert result.returncode == code, result.stderr
    assert [*result.stderr.splitlines(), ""][-2 if result.stderr else -1].startswith(said)
    assert "Traceback" not in result.stderr
    assert result.stdout.count("The sky") == answers


def test_ctrl_c_ends_a_pipe_and_keeps_what_was_written() -> None:
    with subprocess.Popen(
        [sys.executable, *PROGRAM, "--method", "base", "--max-tokens", "1000000"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"go on forever\nand again\n")
        process.stdin.flush()
        assert process.stdout.read(20) == b"The sky is blue beca"
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert rest.count(b"\n") == 1
    assert b"Traceback" not in errors


def test_without_any_model_fetched_those_that_are_always_here_answer(tmp_path: Path) -> None:
    result = pipe("20+24*2+0-25*13\n", program=["-m", "tokencollab", "repl"], cache=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "tokencollab models pull smollm2-135m-instruct" in result.stderr
    assert result.stdout == " 24*2=48; 25*13=325; 20+48=68; 68+0=68; 68-325=-257; answer -257\n"


@pytest.mark.real
def test_without_arguments_the_installed_pair_answers() -> None:
    from tokencollab.models.resolve import resolve

    for name in ("smollm2-135m-instruct", "gemma-3-270m"):
        resolve(name)
    questions = "Why is the sky blue?\nAnd the sea?\n/stats\n"
    result = pipe(questions, "--max-tokens", "6", program=["-m", "tokencollab", "repl"])
    assert result.returncode == 0, result.stderr
    assert "consult, base smollm2-135m-instruct" in result.stdout
    assert len(result.stdout.splitlines()[0]) > 10

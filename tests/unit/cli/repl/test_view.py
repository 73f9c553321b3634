"""What a reader sees of an answer: tints, words, the moving line, and a terminal that is never confused."""

import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from tokencollab import Token
from tokencollab.cli.repl import why as why_module
from tokencollab.cli.repl.colours import Backing, Palette, backing_of, happenings, in_words, visible
from tokencollab.cli.repl.display import Figures, PipedScreen, SpokenScreen, TintedScreen, bar, paint, status_line
from tokencollab.cli.repl.layout import sentences, wrapped
from tokencollab.cli.repl.legend import FIGURES, meaning
from tokencollab.cli.repl.session import Conversation
from tokencollab.cli.repl.shell import Shell
from tokencollab.cli.repl.turns import UNKNOWN_ANSWER, ConversationTurn
from tokencollab.cli.repl.why import Explorer, Reason, Row, candidates_of, headline, sentences_of, state_of, table_of
from tokencollab.cli.terminal import add_row, figures_table, headed_table
from tokencollab.policies.events import Efficacy
from tokencollab.policies.methods import parse_method
from tokencollab.protocol.candidates import Candidate
from tokencollab.protocol.text import harmless

EFFICACY = Efficacy(5.0, 2.5, 0.667, 2.0, 1.0, 0.667, 0.444)


def token(text: str, step: int = 1, alone: bool = False, **ranks: int) -> Token:
    return Token(text, text.encode(), step, ranks, alone=alone)


@pytest.mark.parametrize(
    ("ranks", "alone", "expected"),
    [
        ({"a": 0, "b": 0}, False, Backing.AGREED),
        ({"a": 0, "b": 1}, False, Backing.BASE),
        ({"a": 0, "b": None}, False, Backing.BASE),
        ({"a": 0}, False, Backing.BASE),
        ({"a": 1, "b": 0}, False, Backing.AGAINST),
        ({"a": None, "b": 0}, False, Backing.AGAINST),
        ({"a": 2, "b": 1}, False, Backing.AGAINST),
        ({"b": 0}, False, Backing.AGAINST),
        ({"a": 0}, True, Backing.ALONE),
        ({}, True, Backing.ALONE),
    ],
)
def test_a_piece_is_tinted_by_who_backed_it(ranks: dict[str, int | None], alone: bool, expected: Backing) -> None:
    assert backing_of(Token("x", b"x", 1, ranks, alone=alone), "a") is expected


def test_marks_stand_where_models_are_lost_and_where_the_base_leaves() -> None:
    palette = Palette()
    first = token("x", a=0, b=0)
    lost = Token("y", b"y", 2, {"a": 0}, lost=("b",))
    back = Token("z", b"z", 3, {"a": 0}, joined=("b",))
    alone = token("w", 4, alone=True, a=0)
    said = [[text for text, _ in palette.spans(t, "a", before)] for t, before in [(lost, first), (back, lost)]]
    assert said == [["✗", "y"], ["✓", "z"]]
    assert [text for text, _ in palette.spans(alone, "a", back)] == ["▸", "w"]
    assert [text for text, _ in palette.spans(alone, "a", alone)] == ["w"]
    assert [text for text, _ in palette.spans(alone, "a", None)] == ["w"]  # a base that was alone from the beginning
    assert happenings([first, lost, back]) == ["b was lost at step 2", "b was back after step 2"]


def test_words_are_said_where_the_backing_changes_only() -> None:
    one, two = token("x", a=0, b=0), token("y", 2, a=3, b=0)
    assert in_words(one, "a", None) == " (agreed) "
    assert in_words(one, "a", one) == ""
    assert in_words(two, "a", one) == " (b against the base) "
    assert "b lost" in in_words(Token("z", b"z", 3, {"a": 0}, lost=("b",)), "a", two)


def test_every_backing_is_told_from_the_others_with_and_without_colour() -> None:
    for colour in (True, False):
        styles = [Palette(colour).style(backing) for backing in Backing]
        assert len(set(styles)) == len(styles)
    for backing in Backing:
        codes = re.findall(r"\x1b\[([\d;]+)m", paint("x", Palette(True).style(backing)))
        colours = {int(code) for code in codes[0].split(";")} - {0, 1, 3, 4}
        assert colours <= set(range(30, 38)), "a colour that 8-colour terminals lack"
        plain = re.findall(r"\x1b\[([\d;]+)m", paint("x", Palette(False).style(backing)))
        assert not any(int(code) >= 30 for part in plain for code in part.split(";") if code)


@pytest.mark.parametrize(
    ("piece", "expected"),
    [
        (None, "EOS"),
        (b" the", '" the"'),
        (b"\n\t", '"\\n\\t"'),
        (b"\x1b[2J", '"\\u001b[2J"'),
        ("\u00a0\u200b".encode(), '"\\u00a0\\u200b"'),
        (b"\xe3\x81", "<e3 81>"),
        ("日".encode(), '"日"'),
        (b'"\\', '"\\"\\\\"'),
    ],
)
def test_invisible_characters_of_a_piece_are_made_visible(piece: bytes | None, expected: str) -> None:
    assert visible(piece) == expected


# ---------------------------------------------------------------- the moving line


@given(st.integers(1, 200), st.booleans(), st.booleans(), st.lists(st.sampled_from("abc"), max_size=2, unique=True))
def test_the_line_fits_every_width_and_keeps_what_matters(width: int, full: bool, alone: bool, away: list[str]) -> None:
    figures = Figures(12, 88.2 if full else None, EFFICACY if full else None, 0.6, 24, 36, alone, tuple(away))
    for unicode in (True, False):
        line = status_line(figures, width, unicode)
        assert cell_len(line) <= width
        assert line == "step 12"[:width] or line.startswith("step 12  ")
        if width == 200:
            for part in ("step 12", "cost 24 (full 36)", *(["88 ms/token", "T0 0.44 of 0.60", "ST 0.67"] * full)):
                assert part in line
            assert ("base alone" in line) == alone
            assert all(f"{name}" in line for name in away)


def test_an_ordinary_window_has_room_for_all_figures() -> None:
    line = status_line(Figures(123, 88.2, EFFICACY, 0.6, 223, 246, False), 79)
    assert line == f"step 123  88 ms/token  {bar(EFFICACY.t0, 0.6)}  T0 0.44/0.60  ST 0.67 RT 0.67  cost 223/246"


def test_the_bar_shows_t0_against_theta() -> None:
    assert bar(0.0, 0.6) == "░░░░░░┃░░░░"
    assert bar(0.45, 0.6) == "████░░┃░░░░"
    assert bar(0.7, 0.6, unicode=False) == "######|#..."
    assert {len(bar(t / 7, theta / 7)) for t in range(9) for theta in range(9)} == {11}


# ---------------------------------------------------------------- the terminal


class Window(StringIO):
    """A file that says it is a terminal of so many columns."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.screen = pyte.HistoryScreen(columns, 8, history=10_000)
        self.stream = pyte.Stream(self.screen)
        self.screen.set_mode(pyte.modes.LNM)

    def write(self, text: str) -> int:
        self.stream.feed(text)
        return len(text)

    def shown(self) -> list[str]:
        """All lines, those that were scrolled away first."""
        columns = self.screen.columns
        above = ["".join(line[x].data for x in range(columns)).rstrip() for line in self.screen.history.top]
        return above + [line.rstrip() for line in self.screen.display]


class Narrow(TintedScreen):
    """Of a width that is told."""

    columns = 80

    @property
    def width(self) -> int:
        return self.columns - 1


TEXTS = st.lists(st.text(st.sampled_from("ab  \n日🙂x"), max_size=9), max_size=25)


@settings(max_examples=40)
@given(TEXTS, st.integers(21, 40), st.data())
def test_whatever_is_written_the_terminal_has_the_text_and_no_rest_of_the_line(
    texts: list[str], columns: int, data: st.DataObject
) -> None:
    window = Window(columns)
    screen = Narrow(window, Palette())
    screen.columns = columns
    for step, text in enumerate(texts, start=1):
        screen.write(Token(text, text.encode(), step, {"a": step % 2, "b": 0}), "a")
        if data.draw(st.booleans()):
            screen.status(f"%STATUS {step}%"[: screen.width])
            shown = window.screen.display
            assert sum("%" in line for line in shown) == 1
            assert "%" in shown[window.screen.cursor.y + 1]
    screen.end()
    lines = window.shown()
    assert "".join("".join(lines).split()) == "".join("".join(texts).split())
    assert all(cell_len(line) < columns for line in lines)


@settings(max_examples=25)
@given(st.lists(st.text(st.sampled_from("abc"), min_size=1, max_size=8), min_size=1, max_size=30), st.integers(21, 40))
def test_words_are_wrapped_whole_though_they_come_in_pieces(words: list[str], columns: int) -> None:
    window = Window(columns)
    screen = Narrow(window, Palette())
    screen.columns = columns
    for step, character in enumerate(" ".join(words), start=1):  # the smallest pieces there are
        screen.write(Token(character, character.encode(), step, {"a": step % 2, "b": 0}), "a")
        screen.status("status")
    screen.end()
    assert " ".join(window.shown()).split() == words


def test_a_window_that_becomes_narrower_in_the_middle_keeps_the_text() -> None:
    window = Window(40)
    screen = Narrow(window, Palette())
    screen.columns = 40
    screen.write(token("one two three four five six seven", a=0), "a")
    screen.columns = 25
    window.screen.resize(8, 25)
    for text in (" eight", " nine", " ten"):
        screen.write(token(text, a=0), "a")
        screen.status("status")
    screen.end()
    assert "eight nine ten" in re.sub(r"\s+", " ", " ".join(window.shown()))
    assert "status" not in " ".join(window.shown())


@given(st.text())
def test_nothing_that_a_model_writes_commands_the_terminal(text: str) -> None:
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", harmless(text))


def test_a_listener_gets_words_and_no_codes() -> None:
    file = StringIO()
    screen = SpokenScreen(file)
    screen.write(token("The", a=0, b=0), "a")
    screen.write(token(" sky", 2, a=0, b=0), "a")
    screen.write(token(" never\x1b[2J", 3, a=1, b=0), "a")
    screen.write(token(" is", 4, alone=True, a=0), "a")
    screen.status("moving")
    screen.end()
    assert file.getvalue() == " (agreed) The sky (b against the base)  never\ufffd[2J (base alone)  is\n"


# ---------------------------------------------------------------- windows of every width


LONG = "a-model-with-quite-a-long-name"
WIDTHS = range(30, 201, 1)


def reason() -> Reason:
    pieces = (" scattering", "日本語のテキスト", "🙂🙂", None, "\n", " the")
    rows = []
    for place, piece in enumerate(pieces):
        candidate = Candidate(None if piece is None else piece.encode(), 12.5 - place, -0.5 * place - 0.1)
        rows.append(
            Row(candidate.piece, 25.0 - place, not place, ((place, candidate), (None, candidate), (None, None)))
        )
    told = Token(" scattering", b" scattering", 17, {"one": 0, LONG: None}, EFFICACY, lost=("third",))
    return Reason(17, ("one", LONG, "third"), tuple(rows), told, parse_method("confipara-d"), (("one", 99), (LONG, 97)))


def tables() -> list[Table]:
    stats, models = figures_table(), headed_table("model", "health", ">restarts", ">parameters", "engine")
    add_row(stats, "first choice of", f"{LONG} 12, 日本語 7, one 3")
    add_row(stats, "method", "confipara-d, base one, seed 9007199254740991")
    add_row(models, f"{LONG} (base)", "up", "0", "134.5 M", "transformers")
    add_row(models, "日本語-7b", "restarting", "12", "7,000.0 M", "llamacpp")
    return [stats, models]


def words(text: str) -> set[str]:
    return set(re.sub(r"\x1b\[[\d;]*m", "", text).replace(";", " ").replace(":", " ").split())


def whole_lines(text: str, width: int, allowed: set[str]) -> None:
    """No line is wider than ``width``, and no word was cut that has room in a line."""
    lines = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    assert all(cell_len(line) <= width for line in lines), (width, max(lines, key=cell_len))
    longer = [word for word in allowed if cell_len(word) > width]
    cut = {word for word in words(text) - allowed if not any(word in whole for whole in longer)}
    assert not cut, (width, cut)


def test_whatever_the_prompt_tells_is_wrapped_by_words_in_every_window() -> None:
    why = reason()
    error = "no setting 'omeg'; there are max_tokens, stop, confipara-d-reliability, 日本語 and 🙂 or somethingelse"
    told = [headline(why, "one"), *state_of(why), error, *(" ".join(meaning(name) or ()) for name in FIGURES)]

    def shell(width: int) -> tuple[Shell, StringIO]:
        file = StringIO()
        talk = Console(file=file, width=width, highlight=False, force_terminal=True, legacy_windows=False)
        return Shell(Conversation(None, "base"), PipedScreen(file), Palette(), talk=talk), file  # type: ignore[arg-type]

    wide, whole = shell(10_000)
    wide.tell(table_of(why))
    needed = max(map(cell_len, re.sub(r"\x1b\[[\d;]*m", "", whole.getvalue()).splitlines()))
    in_words = [line for table in tables() for line in sentences(table)]
    wide.tell(*sentences_of(why), *told, *tables(), *in_words)
    for width in WIDTHS:
        narrow, file = shell(width)
        narrow.tell(*candidates_of(why, width), *told, *tables())
        whole_lines(file.getvalue(), width, words(whole.getvalue()))
        assert ("→" in file.getvalue()) == (width >= needed), "a table where it fits, else sentences"


@settings(max_examples=60)
@given(
    st.lists(st.text(st.sampled_from("abc  \n\t日🙂"), max_size=12), min_size=1, max_size=25),
    st.integers(30, 200),
    st.data(),
)
def test_the_answer_that_is_walked_over_is_wrapped_by_words(texts: list[str], width: int, data: st.DataObject) -> None:
    tokens = tuple(Token(text, b"x", step, {"a": 0}) for step, text in enumerate(texts, start=1))
    explorer = Explorer(ConversationTurn("q", replace(UNKNOWN_ANSWER, models=("a",)), tokens), Palette())
    explorer.move(-data.draw(st.integers(0, len(texts))))
    shown = explorer.answer(width)
    text = "".join(text for _, text, *_ in shown)
    assert all(cell_len(line) <= width for line in text.split("\n"))
    marked = texts[explorer.at].replace("\n", "↵\n") or "∅"
    whole = "".join([*texts[: explorer.at], marked, *texts[explorer.at + 1 :]])
    assert "".join(text.split()) == "".join(whole.split())
    cut = [word for word in text.split() if word not in whole.split() and word.isascii()]
    assert all(
        any(word in long for long in whole.split() if cell_len(long) >= width or not long.isascii()) for word in cut
    )
    assert sum("reverse" in style for style, *_ in shown) == len(marked.replace("\t", "    ")) or "\n" in text
    before = shown[[style for style, *_ in shown].index("[SetCursorPosition]") + 1]
    assert "reverse" in before[0]


def test_a_word_longer_than_the_line_is_cut_and_the_rest_is_not() -> None:
    lines = "".join(text for _, text, *_ in wrapped([("", "to "), ("x", "abcdefghijkl"), ("", " be or")], 6)).split(
        "\n"
    )
    assert lines == ["to ", "abcde", "fghij", "kl be ", "or"]
    assert wrapped([("", "日本語")], 5) == [("", "日"), ("", "本"), ("", "\n"), ("", "語")]
    assert "".join(text for _, text, *_ in wrapped([("", "one two \n three")], 8)) == "one two \n three"


def test_the_walk_has_room_for_its_keys_in_a_narrow_window() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(why_module, "reason_of", lambda turn, step, most: replace(reason(), rows=reason().rows[:most]))
        tokens = (Token("x", b"x", 17, {"a": 0}),)
        explorer = Explorer(ConversationTurn("q", replace(UNKNOWN_ANSWER, models=("a",)), tokens), Palette())
        for width in (30, 40, 80, 200):
            lines = explorer.explanation(width, 24).splitlines()
            assert len(lines) <= 24
            assert "leaves" in lines[-1]


def test_the_legend_says_what_the_specification_says() -> None:
    page = (Path(__file__).parents[4] / "docs" / "specification.md").read_text(encoding="utf-8")
    rules = page.partition("### 5.1")[2].partition("### 5.2")[0]
    for name, formula in (("T0", "T0 = ST * RT"), ("ST", "ST = s / (s + f)"), ("RT", "RT = s_w / (s_w + f_w)")):
        assert formula in FIGURES[name][1]
        assert formula in rules
    shown = status_line(Figures(12, 88.2, EFFICACY, 0.6, 24, 36, False), 200) + " ".join(state_of(reason()))
    names = set(re.findall(r"\b(ST|RT|T0|s_w|f_w|s|f|theta|step|cost|full|ms)\b", shown))
    assert names <= set(FIGURES)
    assert len(names) == 12
    with StringIO() as file:
        Console(file=file, width=300).print(table_of(reason()))
        assert all(name in FIGURES for name in ("rank", "logit", "prob", "score") if name in file.getvalue())

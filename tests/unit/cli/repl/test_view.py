"""What a reader sees of an answer: tints, words, the moving line, and a terminal that is never confused."""

import re
from io import StringIO

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tokencollab import Token
from tokencollab.cli.repl.colours import Backing, Palette, backing_of, happenings, in_words, visible
from tokencollab.cli.repl.display import Figures, SpokenScreen, TintedScreen, bar, paint, status_line
from tokencollab.policies.events import Efficacy
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

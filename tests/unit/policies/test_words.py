"""Where words and characters end."""

import pytest

from tokencollab.policies.words import goes_on
from tokencollab.protocol.pieces import Piece


@pytest.mark.parametrize(
    ("text", "piece", "continues"),
    [
        (b"", b"a", False),
        (b"a", b"b", True),
        (b"a", b"9", True),
        (b"Z9", b"_", True),
        (b"don", b"'t", True),
        (b"a", b" b", False),
        (b"a", b".", False),
        (b"a", b"\n", False),
        (b"a.", b"b", False),
        (b"a", None, False),
        ("é".encode(), b"t", True),
        (b"caf", "é".encode(), True),
        ("при".encode(), "вет".encode(), True),
        ("\u00a0".encode(), b"a", False),  # no-break space
        (b"a", "«".encode(), False),
        ("日".encode(), "本".encode(), False),
        (b"a", "日".encode(), False),
        (b"a", "ก".encode(), False),  # begins with 0xE0, the first of three bytes
        ("日".encode(), b"a", False),
        ("日".encode()[:1], "日".encode()[1:], True),
        ("日".encode()[:2], b" ", True),
        ("x日".encode()[:3], b"\xa5", True),
        ("😀".encode()[:3], b"\x80", True),
        ("😀".encode(), b"a", False),
        (b"\xc3", b"\xa9", True),
        (b"\x80", b"a", False),
        (b"\xff", b"a", False),
        (b"\xf5", b"\x80", False),
        (b"a\x80\x80\x80\x80\x80", b"a", False),
        (b"a\x80", b"a", False),
        (b"xa\x80", b"a", False),
        (b"xa\x80\x80\x80\x80", b"a", False),
    ],
)
def test_what_goes_on_with_a_word(text: bytes, piece: Piece, continues: bool) -> None:
    assert goes_on(text, piece) is continues


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        (b"", False),
        (b"a", False),
        (b"\xc3", True),
        (b"\xc2", True),
        (b"\xdf", True),
        (b"\xe0\xa4", True),
        (b"\xef\xbb", True),
        (b"\xf0\x9f\x98", True),
        (b"\xc3\xc3", True),
        ("é".encode(), False),
        ("日".encode()[:1], True),
        ("日".encode()[:2], True),
        ("日".encode(), False),
        ("😀".encode()[:3], True),
        ("😀".encode(), False),
        (b"\xc1", False),
        (b"\xf4", True),
        (b"\xf5", False),
    ],
)
def test_inside_a_character(text: bytes, inside: bool) -> None:
    assert goes_on(text, b".") is inside


@pytest.mark.parametrize(
    ("text", "piece", "goes"),
    [
        (b"", b"a", False),
        (b"ab", b"c", True),
        (b"ab", b" c", False),
        (b"ab ", b"c", True),  # the space before a word belongs to it
        (b"ab ", b" ", True),
        (b"ab ", b";", True),
        (b"12", b";", False),
        (b";", b"1", False),
        (b"a", None, False),
        (b"a ", None, False),
        ("日".encode()[:1], "日".encode()[1:], True),
        ("日".encode(), "本".encode(), False),
    ],
)
def test_what_goes_on_with_the_end_of_a_text(text: bytes, piece: bytes | None, goes: bool) -> None:
    assert goes_on(text, piece) is goes

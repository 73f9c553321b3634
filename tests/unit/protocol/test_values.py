"""Texts that are none, and numbers that no message could show."""

import pytest

from tokencollab.protocol.values import half_character, is_huge, shown


@pytest.mark.parametrize(("text", "at"), [("", None), ("é😀", None), ("\ud800", 0), ("ab\udcff\ud800", 2)])
def test_where_half_a_character_is(text: str, at: int | None) -> None:
    assert half_character(text) == at


def test_a_number_is_shown_unless_it_is_huge() -> None:
    most = 1 << 52
    assert [is_huge(value) for value in (most, -most, most + 1, -most - 1, 1e300, "x")] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    assert (shown(most), shown("x"), shown(-1.5)) == (str(most), "'x'", "-1.5")
    assert shown(10**5000) == "one of more than 15 digits"

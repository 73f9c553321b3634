"""A table of numbers, formulas and dates in many languages: a different value is worse than none."""

import pytest

from tests.unit.answers.number_cases import DATES, MATH, NUMBERS, SAME
from tokencollab.answers import extract, same


@pytest.mark.parametrize(("text", "expected"), [case for group in NUMBERS.values() for case in group])
def test_a_number(text: str, expected: str | None) -> None:
    assert extract(text, "number") == expected


@pytest.mark.parametrize(("text", "expected"), MATH)
def test_a_formula(text: str, expected: str | None) -> None:
    assert extract(text, "math") == expected


@pytest.mark.parametrize(("text", "expected"), DATES)
def test_a_date(text: str, expected: str | None) -> None:
    assert extract(text, "date") == expected


@pytest.mark.parametrize(("first", "second", "kind", "equal"), SAME)
def test_the_same_or_not(first: str, second: str, kind: str, equal: bool) -> None:
    assert same(first, second, kind) is equal
    assert same(second, first, kind) is equal


def test_the_table_is_large() -> None:
    assert sum(map(len, NUMBERS.values())) + len(MATH) + len(DATES) + len(SAME) >= 250

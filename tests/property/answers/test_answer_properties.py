"""Whatever the text, reading it ends, and what is read is stable."""

from datetime import date
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tokencollab.answers import canonical, extract, same
from tokencollab.answers.numbers import write_number

KINDS = st.sampled_from(["number", "choice", "choice:4", "boolean", "date", "math", "text", r"regex:(\w+)"])
FRAGMENTS = st.sampled_from(
    ["answer ", "The answer is ", "#### ", "\\boxed{", "}", "(B)", "1,234", "/", "\\frac{1}{2}", "\\frac", "$", "=",
     ". ", "\n", "not ", "yes", "12/25/1937", "½", "^", "\\text{", "-", "{", ",", "e9", "答案是"]
)  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(st.one_of(FRAGMENTS, st.text(max_size=3)), max_size=12).map("".join))
DRESSES = st.sampled_from(
    [
        "{}",
        "The answer is {}.",
        "answer {}",
        "#### {}",
        "\\boxed{{{}}}",
        "**Answer:** {}",
        "12 and 7. So the answer is ${}$.",
    ]
)


@given(TEXTS, KINDS)
def test_what_is_read_is_canonical(text: str, kind: str) -> None:
    answer = extract(text, kind)
    if answer is not None:
        assert answer.strip()
        if kind not in ("math", "text"):  # these have no grammar by which their own output could be read again
            assert canonical(answer, kind) == answer
            assert same(answer, answer, kind)


@given(st.integers(-(10**15), 10**15), DRESSES)
def test_an_integer_is_read_in_any_dress(value: int, dress: str) -> None:
    assert extract(dress.format(value), "number") == str(value)
    assert extract(dress.format(f"{value:,}"), "number") == str(value)


@given(st.fractions(max_denominator=10**6), DRESSES)
def test_a_fraction_is_read_exactly(value: Fraction, dress: str) -> None:
    canonical_form = write_number(value)
    assert extract(dress.format(f"{value.numerator}/{value.denominator}"), "number") == canonical_form
    sign = "-" if value < 0 else ""
    latex = f"{sign}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"
    assert extract(dress.format(latex), "number") == canonical_form
    assert Fraction(canonical_form) == value


@given(st.integers(-(10**9), 10**9), st.integers(0, 9), DRESSES)
def test_a_decimal_is_read_exactly(value: int, places: int, dress: str) -> None:
    number = Fraction(value, 10**places)
    assert extract(dress.format(f"{number.__float__():.{places}f}"), "number") == write_number(
        Fraction(f"{number.__float__():.{places}f}")
    )


@given(st.sampled_from("ABCDEFGH"), DRESSES)
def test_a_letter_is_read_in_any_dress(letter: str, dress: str) -> None:
    assert extract(dress.format(f"({letter})"), "choice") == letter
    if dress != "{}":
        assert extract(dress.format(letter), "choice") == letter


@given(st.dates(), DRESSES)
def test_a_date_is_read_in_any_dress(day: date, dress: str) -> None:
    assert extract(dress.format(day), "date") == str(day)


@given(TEXTS, st.integers(-999, 999))
def test_the_last_stated_number_counts(text: str, value: int) -> None:
    assert extract(f"{text}\nThe answer is {value}.", "number") == str(value)


UNSPACED = st.sampled_from(
    ["一共是{}个。", "合計は{}円です", "총{}개", "รวม{}บาท", "ລວມ{}ກີບ", "សរុប{}នាក់", "စုစုပေါင်း{}ကျပ်"]
)
OPERATORS = st.sampled_from(
    ["*", "**", " * ", "×", "·", "-", "–", " - ", " or ", "^", "、", " \\cdot ", ":", "!*", "或", "か"]
)


@given(st.integers(-(10**9), 10**9), UNSPACED)
def test_an_integer_is_read_between_letters_of_scripts_without_spaces(value: int, dress: str) -> None:
    assert extract(dress.format(value), "number") == str(value)


@given(st.integers(2, 10**6), OPERATORS, st.integers(2, 10**6), DRESSES)
def test_an_expression_is_none_of_its_numbers(first: int, operator: str, second: int, dress: str) -> None:
    power_of_ten = first == 10 and operator in ("**", "^")  # written as 10^5, and worked out
    text = f"{first}{operator}{second}"
    if not power_of_ten:
        assert extract(dress.format(text), "number") is None
    assert not same(text, f"{first}{second}", "number")

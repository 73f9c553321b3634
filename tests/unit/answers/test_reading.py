"""Answers as people and models write them, and what must be read from them."""

import pytest

from tokencollab.answers import canonical, check_kind, extract, same
from tokencollab.errors import UsageError

NUMBERS = [
    # stated
    ("7*12=84; 3*9=27; 84-27=57; answer 66", "66"),
    ("The answer is 72.", "72"),
    ("#### 72", "72"),
    ("She sells 9 * 2 = 18.\n#### 1,018", "1018"),
    ("So we get \\boxed{72}.", "72"),
    ("The final answer is $\\boxed{\\frac{3}{4}}$.", "0.75"),
    ("$$\\boxed{-\\dfrac{17}{50}}$$", "-0.34"),
    ("\\boxed{\\text{5.4 cents}}", "5.4"),
    ("\\boxed 7", "7"),
    ("**Answer:** 72", "72"),
    ("**Final Answer**: **72**", "72"),
    ("Answer:\n\n72", "72"),
    ("### Answer\n72", "72"),
    ("answer: $1,234.50", "1234.5"),
    ("The answer is approximately 3.14.", "3.14"),
    ("The answer to the question is 18 dollars per day.", "18"),
    ("The answer, therefore, is 18.", "18"),
    ("Therefore the correct answer is: 12", "12"),
    ("ANSWER = 12", "12"),
    ("The answer must be -5.", "-5"),
    ("The answer is \u22125°C.", "-5"),
    ("The answer is 5 + 6 = 11.", "11"),
    ("The answer is x = 11.", "11"),
    ("The answer is 18, since 16 - 7 = 9 eggs are left, at $2.", "18"),
    ("The answer is 18 because 9 * 2 = 18.00001.", "18"),
    ("The answer is 18 (9 eggs at 2 dollars).", "18"),
    ("The answer is 12.5%.", "12.5"),
    ("The answer is 3 hours.", "3"),
    ("Answer: 72 clips. Natalia sold 48 in April and 24 in May.", "72"),
    # the last restated answer counts, and one that says nothing is passed over
    ("The answer is 5. Wait, that is wrong. The answer is 6.", "6"),
    ("The answer is 5.\n#### 6", "6"),
    ("\\boxed{5} ... so the answer is 6.", "6"),
    ("The answer is 12. Let me check the answer. 3 + 4 = 7 is right.", "12"),
    ("The answer is not 7. The answer is 8.", "8"),
    ("The answer is not 7, it is 8.", "8"),
    ("To answer the question, 5 steps are needed. The answer is 4.", "4"),
    ("Answer: Janet has 16 eggs. She sells 9 of them. 9 * 2 = 18", "18"),
    # other languages and scripts
    ("Die Antwort ist 11.", "11"),
    ("La réponse est 70\u202f000.", "70000"),
    ("La respuesta es 1.234.567,5", "1234567.5"),
    ("Ответ — 11.", "11"),
    ("所以答案是 18。", "18"),
    ("答案：１８", "18"),
    ("答えは18です。", "18"),
    ("คำตอบคือ 18", "18"),
    ("Jibu ni 18.", "18"),
    ("উত্তর হল ১৮", "18"),
    ("సమాధానం 18.", "18"),
    # unstated: the last number
    ("72", "72"),
    ("She has 3 apples and buys 4, so 3 + 4 = 7 apples.", "7"),
    ("It costs $1,234,567.", "1234567"),
    ("12 345", "12345"),
    ("12,34,567", "1234567"),
    ("1'234", "1234"),
    ("3,14", "3.14"),
    ("0,125", "0.125"),
    ("1,234", "1234"),
    ("1.234", "1.234"),
    (".35625", "0.35625"),
    ("1/3", "1/3"),
    ("2/6", "1/3"),
    ("-\\frac{1}{4}", "-0.25"),
    ("\\frac 59", "5/9"),
    ("2\\frac12", "2.5"),
    ("2 1/2", "2.5"),
    ("2½", "2.5"),
    ("¾", "0.75"),
    ("58{,}500", "58500"),
    ("1.5e3", "1500"),
    ("6.72 \\times 10^{-5}", "0.0000672"),
    ("6.72×10^5", "672000"),
    ("3 million", "3000000"),
    ("18.00", "18"),
    ("007", "7"),
    ("-0", "0"),
    ("5km", "5"),
    ("€5", "5"),
    ("-$5", "-5"),
    ("The answer is 2^3 = 8.", "8"),
    ("The answer is 10 % of 50 = 5", "5"),
]

NO_NUMBERS = [
    "",
    "   ",
    "I do not know.",
    "twelve",
    "\\boxed{}",
    "####",
    "answer",
    "1/0",
    "9" * 500,
    "1e999",
    "1e99999999",
    "1e-99999999",
    "1e" + "9" * 5000,
    "3*10^99999",
    "The answer is 3 × 10^{99999999}.",
    "3:30",
    "16-3",  # 13, or from 3 to 16, but not 3
    "x^2",
]

CHOICES = [
    ("B", "B"),
    ("b", "B"),
    ("(B)", "B"),
    ("B.", "B"),
    ("B) Paris", "B"),
    ("**B**", "B"),
    ("The answer is (B).", "B"),
    ("The answer is B.", "B"),
    ("The answer is B) Paris.", "B"),
    ("The answer is b.", "B"),
    ("The answer is **(b)**.", "B"),
    ("The answer is option C, because of A.", "C"),
    ("The correct option is D", "D"),
    ("Answer: C", "C"),
    ("Answer: [C]", "C"),
    ("answer C", "C"),
    ("\\boxed{C}", "C"),
    ("\\boxed{\\text{(E)}}", "E"),
    ("$\\boxed{\\textbf{(E)}\\ 12}$", "E"),
    ("A is wrong and B is wrong.\nThe answer is C.", "C"),
    ("The answer is (A). No: the answer is (B).", "B"),
    ("The answer is not (A). The answer is (D).", "D"),
    ("答案是 B。", "B"),
    ("答案：Ｂ", "B"),
    ("故选择……答案为(C)", "C"),
    ("Let us see.\nC. Rome", "C"),
    ("The answer is A.", "A"),
    ("The answer is I.", "I"),
    ("The answer is 'B'.", "B"),
    ("I would choose option B", "B"),
    ("My choice: B", "B"),
    ("Of (A), (B) and (C), I take (C)", "C"),
]

NO_CHOICES = [
    "",
    "The answer is A or B.",
    "The answer is (A) and (C)",
    "I think a dog.",
    "The answer is a dog.",
    "A dog barks.",
    "Paris",
    "The answer is 5.",
    "Not sure",
]

BOOLEANS = [
    ("yes", "yes"),
    ("Yes.", "yes"),
    ("True", "yes"),
    ("FALSE", "no"),
    ("No, it does not.", "no"),
    ("The answer is True.", "yes"),
    ("The answer is **no**.", "no"),
    ("Answer: False", "no"),
    ("\\boxed{\\text{True}}", "yes"),
    ("Yes, ethanol takes energy. There is no doubt about it.", "yes"),
    ("Yes. Hmm, wait. So no.", "no"),
    ("It is hard to say. Therefore, yes.", "yes"),
    ("The statement is not true.", "no"),
    ("The claim is false.", "no"),
    ("The answer is not true.", "no"),
    ("答案是：否", "no"),
    ("是", "yes"),
    ("不是", "no"),
]

NO_BOOLEANS = ["", "Maybe.", "No doubt the sky is blue.", "I know nothing.", "42", "truest"]

DATES = [
    ("12/25/1937", "1937-12-25"),
    ("The answer is 12/25/1937.", "1937-12-25"),
    ("25/12/1937", "1937-12-25"),
    ("1937-12-25", "1937-12-25"),
    ("25.12.1937", "1937-12-25"),
    ("02.01.1987", "1987-01-02"),
    ("02/01/1987", "1987-02-01"),
    ("December 25, 1937", "1937-12-25"),
    ("Dec. 25 1937", "1937-12-25"),
    ("the 25th of December, 1937", "1937-12-25"),
    ("25 december 1937", "1937-12-25"),
    ("1937年12月25日", "1937-12-25"),
    ("It was 12/24/1937, so tomorrow is 12/25/1937.", "1937-12-25"),
    ("Answer: 01/02/2000 (after 12/31/1999)", "2000-01-02"),
]

NO_DATES = ["", "tomorrow", "13/13/1937", "02/30/2000", "12/25", "1937", "99/12/25"]

MATH = [
    ("\\boxed{\\left( 3, \\frac{\\pi}{2} \\right)}", "(3,π/2)"),
    ("The answer is $(3,\\dfrac{\\pi}2)$.", "(3,π/2)"),
    ("\\boxed{p - q}", "p-q"),
    ("$p-q$", "p-q"),
    ("\\boxed{58,500}", "58500"),
    ("\\boxed{.35625}", "0.35625"),
    ("\\boxed{120^\\circ}", "120"),
    ("\\boxed{120}", "120"),
    ("\\boxed{x = 5}", "5"),
    ("\\boxed{\\text{Evelyn}}", "Evelyn"),
    ("Evelyn", "Evelyn"),
    ("\\boxed{5.4 \\text{ cents}}", "5.4"),
    ("\\boxed{8n^{2} + 4n + 1}", "8n^2+4n+1"),
    ("\\boxed{(2,12) \\cup (12,102)}", "(2,12)\\cup(12,102)"),
    ("\\boxed{(0.5, 1)}", "(0.5,1)"),
    ("\\boxed{\\left(\\tfrac12,1\\right)}", "(0.5,1)"),
    ("\\boxed{288 \\pi}", "288π"),
    ("\\boxed{\\frac{\\sqrt{21}}{5}}", "(\\sqrt{21})/5"),
    ("\\boxed{\\text{(E)}}", "E"),
    ("\\boxed{E}", "E"),
]


@pytest.mark.parametrize(("text", "answer"), NUMBERS)
def test_numbers(text: str, answer: str) -> None:
    assert extract(text, "number") == answer


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_no_number(text: str) -> None:
    assert extract(text, "number") is None


@pytest.mark.parametrize(("text", "answer"), CHOICES)
def test_choices(text: str, answer: str) -> None:
    assert extract(text, "choice") == answer


@pytest.mark.parametrize("text", NO_CHOICES)
def test_no_choice(text: str) -> None:
    assert extract(text, "choice") is None


@pytest.mark.parametrize(("text", "answer"), BOOLEANS)
def test_booleans(text: str, answer: str) -> None:
    assert extract(text, "boolean") == answer


@pytest.mark.parametrize("text", NO_BOOLEANS)
def test_no_boolean(text: str) -> None:
    assert extract(text, "boolean") is None


@pytest.mark.parametrize(("text", "answer"), DATES)
def test_dates(text: str, answer: str) -> None:
    assert extract(text, "date") == answer


@pytest.mark.parametrize("text", NO_DATES)
def test_no_date(text: str) -> None:
    assert extract(text, "date") is None


@pytest.mark.parametrize(("text", "answer"), MATH)
def test_math(text: str, answer: str) -> None:
    assert extract(text, "math") == answer


def test_a_choice_among_the_first_letters_only() -> None:
    assert extract("The answer is E.", "choice:4") is None
    assert extract("The answer is D.", "choice:4") == "D"


def test_a_choice_spelled_out() -> None:
    options = ["New York", "Paris", "Rome"]
    assert extract("The answer is Paris.", "choice", options) == "B"
    assert extract("Rome", "choice", options) == "C"
    assert extract("The answer is London.", "choice", options) is None
    assert extract("The answer is Rome.", "choice", ["Rome", "rome"]) is None  # which of the two?


def test_the_day_before_the_month() -> None:
    assert extract("02/01/1987", "date:dmy") == "1987-01-02"


def test_a_pattern_of_ones_own() -> None:
    assert extract("<a>1</a> <a> 2  3 </a>", "regex:<a>(.*?)</a>") == "2 3"
    assert extract("x12 y34", r"regex:\d+") == "34"
    assert extract("nothing", r"regex:\d+") is None
    assert extract("a:b", "regex:a:(b)") == "b"


def test_free_text() -> None:
    assert extract("Let me think.\nThe answer is **New  York**.", "text") == "new york"
    assert extract("Paris", "text") == "paris"
    assert extract("It is late.\n\nNew York!", "text") == "new york"
    assert extract(" \n", "text") is None


TEXTS = [
    ("Let me think.\nThe answer is **New  York**.", "new york"),
    ("The answer is: Paris", "paris"),
    ("Final answer: Paris", "paris"),
    ("答案是北京。", "北京"),
    ("\\boxed{\\text{Paris}}", "paris"),
    ("The answer is Rome. No: the answer is Paris.", "paris"),
]


@pytest.mark.parametrize(("text", "answer"), TEXTS)
def test_free_text_that_is_stated(text: str, answer: str) -> None:
    assert extract(text, "text") == answer


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ("1,234.50", "$1234.5", "number"),
        ("50%", "50", "number"),
        ("1/2", "0.5", "number"),
        ("True", "yes", "boolean"),
        ("12/25/1937", "December 25, 1937", "date"),
        ("(b)", "B", "choice"),
        ("\\frac{1}{2}", "0.5", "math"),
        ("New York", "new york.", "text"),
    ],
)
def test_the_same_answer_in_another_dress(first: str, second: str, kind: str) -> None:
    assert same(first, second, kind)
    assert canonical(first, kind) == canonical(second, kind)


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ("0.33", "1/3", "number"),
        ("5", "-5", "number"),
        ("A", "B", "choice"),
        ("yes", "no", "boolean"),
        ("I do not know", "I do not know", "number"),
        ("(1,2)", "[1,2]", "math"),
    ],
)
def test_another_answer(first: str, second: str, kind: str) -> None:
    assert not same(first, second, kind)


@pytest.mark.parametrize(
    "kind", ["", "numbers", "choice:1", "choice:27", "choice:x", "date:ymd", "regex:", "regex:(", "number:5"]
)
def test_an_unknown_kind_is_refused(kind: str) -> None:
    with pytest.raises(UsageError):
        check_kind(kind)


@pytest.mark.parametrize(
    "part",
    [
        "answer is ",
        "\\boxed{",
        "1,",
        "1/",
        "#### 1\n",
        "(",
        "\\frac{",
        "1 234 ",
        "A is not B, ",
        "is not true that it ",
    ],
)
def test_long_nonsense_takes_no_long_time(part: str) -> None:
    text = part * 4000  # a quadratic reader would take minutes over all kinds
    for kind in ("number", "choice", "boolean", "date", "math", "text"):
        extract(text, kind)

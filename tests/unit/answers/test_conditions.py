"""An answer under a condition does not win over the one that is given; where there is no other, it is the answer."""

import pytest

from tokencollab.answers import extract

OPTIONS = ("cold", "hot", "warm", "mild")


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The answer is B. If it is cold, the answer is C.", "B"),
        ("The answer is B. But if it is cold, the answer is C.", "B"),
        ("The answer is B. (If it is cold, the answer is C.)", "B"),
        ("The answer is (B). In case of frost the answer is (A).", "B"),
        ("The answer is B. Assuming frost, the answer is C.", "B"),
        ("The answer is B. Unless it rains, the answer is D; unless it snows, the answer is A.", "B"),
        ("The answer is B, unless it rains, in which case the answer is C.", "B"),
        ("The answer is B. Should it rain, the answer is C.", "B"),
        ("The answer is B. Otherwise the answer is C.", "B"),
        ("If it is cold, the answer is C. It is not cold, so the answer is B.", "B"),
        ("The answer is A if x > 0. Since x < 0, the answer is D.", "D"),
        ("If we assume that x is 3, the answer is C. So the answer is C.", "C"),
        ("B. If it is cold, the answer is C.", "B"),
        ("B is correct. If it is cold, the answer is C.", "B"),
        ("If it is cold, the answer is C.", "C"),
        ("The question asks about weather. If it is cold, the answer is C.", "C"),
        ("Die Antwort ist B. Wenn es kalt ist, ist die Antwort C.", "B"),
        ("Die Antwort ist B. Falls es kalt ist, ist die Antwort C.", "B"),
        ("La réponse est B. S'il fait froid, la réponse est C.", "B"),
        ("La réponse est B. Si l'air est froid, la réponse est C.", "B"),
        ("La respuesta es B. Si hace frío, la respuesta es C.", "B"),
        ("La respuesta es A. Se concluye que la respuesta es B.", "B"),
        ("A resposta é B. Se fizer frio, a resposta é C.", "B"),
        ("La risposta è B. Se fa freddo, la risposta è C.", "B"),
        ("Ответ: B. Если холодно, ответ: C.", "B"),
        ("答案是B。如果天冷，答案是C。", "B"),
        ("答えはBです。もし寒ければ、答えはCです。", "B"),
        ("정답은 B입니다. 만약 추우면, 정답은 C입니다.", "B"),
        ("It is cold, since the answer to the first part is A. The answer is B.", "B"),
    ],
)
def test_choices(text: str, letter: str) -> None:
    assert extract(text, "choice", OPTIONS) == letter


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Yes. If it is cold, the answer is no.", "yes"),
        ("The answer is no. If it were true, yes.", "no"),
        ("The answer is no. If he had paid, the answer is yes.", "no"),
        ("No. Unless the moon is full, the answer is no; if it is, the answer is yes.", "no"),
        ("If it is cold, the answer is no.", "no"),
    ],
)
def test_yes_and_no(text: str, answer: str) -> None:
    assert extract(text, "boolean") == answer


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is 12. If x is 3, the answer is 15.", "12"),
        ("The answer is 12. If x were 3, the answer would be 15.", "12"),
        ("There are 5 boxes. If each has 3 apples, the answer is 15.", "15"),
        ("If x is 3, the answer is 15. Here x is 4, so the answer is 20.", "20"),
        ("答案是12。如果是三个人，答案是15。", "12"),
        # A step of the reasoning, or another question: neither can be told.
        ("The answer is 12. If we double it, the answer is 24.", None),
        ("Answer: 7. If you need the sum too, the answer is 30.", None),
        ("The answer is 12. If we add nothing, the answer is 12.", "12"),
        ("If we double 12, the answer is 24.", "24"),
    ],
)
def test_numbers(text: str, number: str | None) -> None:
    assert extract(text, "number") == number


@pytest.mark.parametrize(
    "text",
    ["Mr. B is right.", "Dr. B is right.", "Mrs. C is correct.", "Prof. A is correct.", "I agree: Ms. D is right."],
)
def test_persons_are_no_options(text: str) -> None:
    assert extract(text, "choice", OPTIONS) is None

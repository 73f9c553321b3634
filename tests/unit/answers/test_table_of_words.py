"""Choices and yes or no as models write them in many languages: what is read, and where nothing may be.

A line is a text and what is read from it, ``-`` for nothing; ``\\n`` is a line break.
"""

import pytest

from tests.unit.answers.test_table_of_numbers import cases
from tokencollab.answers import extract

STATED = r"""
The answer is (B). => B
The answer is B. => B
The answer is **B**. => B
The answer is **(B)**. => B
The answer is B) Paris => B
The answer is B: Paris => B
The answer is b. => B
the correct answer is option B => B
Answer: B => B
Answer: (B) => B
Answer: [B] => B
Answer: B. Paris => B
Answer:\n\nB => B
**Answer:** B => B
**Answer: B** => B
### Answer\nB => B
ANSWER: D => D
Final answer: C => C
The final answer is \boxed{C}. => C
\boxed{\text{(C)}} => C
$\boxed{C}$ => C
#### B => B
The answer is A because a car moves. => A
The answer is **A** because it is larger. => A
The answer is A since heat rises. => A
The answer is A due to friction. => A
The answer is A as it is the largest. => A
The answer is A, because it is the largest. => A
The answer is A. It is the largest. => A
The answer is A, and B is a distractor. => A
The answer is A for the following reason. => A
Answer: A the mitochondria => A
Answer: A because of it => A
Answer: A) a dog => A
The answer is a dog. => -
The answer is a car. => -
Answer: A dog barks. => -
A dog barks. => -
I think so. => -
I do not know. => -
The answer is B because a car moves. => B
The answer is not (A). The answer is (D). => D
The answer is not A but D. => D
The answer is (A). No: the answer is (B). => B
The answer is A. Wait, I made a mistake. So D is the correct answer. => D
The answer is B. Note that A is a common distractor. => B
The answer is B. A is correct only for birds. => B
The answer is A or B. => -
The answer is (A) and (C). => -
The answer is A/B. => -
The answer is both A and C. => -
The answer is either B or C => -
It seems to be A at first. Answer: B => B
The answer is Z. => -
The answer is 5. => -
Antwort: C => C
Die Antwort ist C. => C
Die richtige Antwort ist (C). => C
La réponse est B. => B
La bonne réponse est B. => B
La respuesta es C. => C
La respuesta correcta es la C. => C
A resposta correta é B. => B
La risposta è B => B
Ответ: B => B
答案是B。 => B
答案：B => B
答案为(B) => B
答案是Ｂ => B
答案是A，因为它最大。 => A
"""

CONCLUDED = r"""
Therefore, option D is correct. => D
So D is the correct answer. => D
So, the correct option is D => D
Answer B is correct. => B
(D) is correct. => D
D is correct. => D
B is correct because A and C are false. => B
B is the best answer. => B
B is the most likely answer. => B
B seems best. => B
Option B looks right. => B
Option (B) must be the answer. => B
Hence (C). => C
Thus, C. => C
So C. => C
So it must be C. => C
I would go with C. => C
I'd go with option C. => C
I'll go with (C). => C
I choose B. => B
We pick (B). => B
I would select option B. => B
My choice is C. => C
My choice: B => B
My final choice is (C) => C
I am leaning towards C. => C
This leaves us with D. => D
Of (A), (B) and (C), I take (C) => C
(A) is wrong, (B) cannot be, so (D). => D
(A) is wrong, (B) is wrong, (C) is right, (D) is wrong. => C
(A) is incorrect. (B) is incorrect. (C) is correct. => C
A is wrong. B is wrong. So the answer must be C. => C
Not A, not B, so C. => C
Option A is not correct. Option B is correct. => B
A and B can be eliminated. C is correct. => C
We can rule out A and B, so (C). => C
Unlike A, B is correct. => B
B is better than A, so B. => B
It is not (A). => -
A is wrong. => -
A is wrong and B is wrong. => -
(A) is incorrect. => -
Neither A nor B is correct. => -
Either A or B is correct. => -
Both A and B are correct. => -
I pick a dog. => -
Choose a color because it matters. => -
If B is correct, the ball falls. => -
We ask whether B is correct. => -
The statement when J is true holds. => -
Let us see.\nC. Rome => C
C. Rome => C
C) Rome => C
(C) Rome => C
C => C
c => C
**C** => C
Option C => C
Choice: C => C
"""

CHINESE_JAPANESE_KOREAN = r"""
故选B。 => B
故选：B => B
故选择B => B
应选B。 => B
因此选B。 => B
所以选择C项。 => C
答案选B => B
答案选：B => B
答案是B选项 => B
答案为C项 => C
正确答案为B项。 => B
正确答案是：D => D
正确答案：D => D
正确选项是D => D
正确的选项是D。 => D
正确选项为：C => C
选项B正确。 => B
选项B是正确的。 => B
B选项正确 => B
B项正确。 => B
B是正确的 => B
B是正确答案 => B
最佳答案是C => C
最合适的选项是C => C
我选C。 => C
选B => B
选择B。 => B
选项：B => B
A项错误，B项正确，故选B。 => B
A错误；B错误；C正确；D错误。 => C
A不正确，B不正确，所以选C。 => C
A项不符合题意，C项符合题意。 => C
排除A，选B。 => B
A是错误的。 => -
不选A。 => -
答案是A或B => -
答案是A和C => -
答えはBです。 => B
答えはB => B
答え：B => B
正解はCです。 => C
正解：C => C
Bが正しいです。 => B
Bが正解です。 => B
Aは誤りです。Bが正しい。 => B
したがって、答えは(B)です。 => B
정답은 B입니다. => B
정답: B => B
답은 C입니다. => C
B가 정답입니다. => B
따라서 정답은 (D)입니다. => D
"""

OTHER_LANGUAGES = r"""
B ist richtig. => B
Option B ist korrekt. => B
Die Lösung ist C => C
A ist falsch, also C. => C
B est correct. => B
L'option correcte est B. => B
La bonne réponse est la B => B
B es correcta. => B
La opción correcta es C. => C
A opção correta é C. => C
A alternativa correta é B => B
C é correta => C
Правильный ответ B. => B
Правильный ответ — C => C
Верный вариант: D => D
"""

TAGGED = r"""
<think>The answer is A? No, B fits.</think>\n\nB => B
<think>The answer is A.</think>The answer is C. => C
<think>The answer is A. => -
<answer>B</answer> => B
<answer>(B)</answer> => B
<answer>B. Paris</answer> => B
<answer>The answer is B.</answer> => B
Hmm A?\n</think>\nAnswer: B => B
<reasoning>A is correct.</reasoning><answer>D</answer> => D
The answer is B.\n\nQuestion: Which?\nAnswer: C => B
B\n\nHuman: Next\nAssistant: The answer is C. => B
B is correct.\nQ: another\nA: The answer is D. => B
The answer is B. If it were liquid, the answer would be C. => B
The answer is B. Had it been liquid, the answer would be C. => B
答案是B。如果是液体，答案就会是C。 => B
"""

YES_NO = r"""
yes => yes
No. => no
TRUE => yes
(True) => yes
(False) => no
**No** => no
Yes, it does. => yes
No, it does not. => no
No because it is cold. => no
No – it never was. => no
True. The sky is blue. => yes
So yes. => yes
Therefore, no. => no
In conclusion, yes. => yes
The answer is yes. => yes
The answer is no. => no
The answer is **No**. => no
The answer is: True => yes
The answer is (False). => no
Answer: yes => yes
Answer: No, since it is cold. => no
The final answer is \boxed{\text{True}}. => yes
#### no => no
\boxed{Yes} => yes
The statement is true. => yes
The statement is false. => no
The statement is not true. => no
The statement isn't true. => no
The claim is incorrect. => no
The claim is not incorrect. => yes
This is not false. => yes
This is correct. => yes
That is wrong. => no
It is hardly true. => -
It is by no means true. => no
It's true. => yes
It's not true. => no
Not true. => no
Not false. => yes
Not correct. => no
So the statement is therefore true. => yes
The answer is not true. => no
The claim that it is true is false. => no
The claim that it is false is false. => yes
The claim that this is false is true. => no
It is false that this is true. => no
I doubt that this is true. => -
There is no way that this is true. => -
The passage does not say that it is true. => -
It never says that this is true. => -
It is unlikely that this is true. => -
Nobody believes that it is true. => -
I cannot say whether it is true. => -
If this is true, the sky falls. => -
Maybe it is true. => -
It is unclear if this is correct. => -
The passage denies that this is true. => -
It is true for cats but it is false for dogs. => -
Maybe. => -
I know nothing. => -
No doubt the sky is blue. => -
Nobody knows. => -
42 => -
truest => -
True or false? => -
Yes or no? => -
The answer is yes or no. => -
The answer is true/false. => -
Is it true? => -
<answer>no</answer> => no
<think>The answer is yes? The passage denies it.</think>\n\nNo. => no
<think>yes => -
Yes.\n\nQuestion: Is 2 odd?\nAnswer: No => yes
Yes.\nHuman: Sure?\nAssistant: No. => yes
Yes. Hmm, wait. So no. => no
是 => yes
是的。 => yes
不是 => no
否 => no
对 => yes
对的 => yes
不对 => no
正确 => yes
错误 => no
答案是：否 => no
答案是：是 => yes
答案是对 => yes
答案是不对 => no
答案是不正确 => no
答案是错误的。 => no
答案是正确的。 => yes
没错 => yes
对不起，我不知道。 => -
はい => yes
いいえ => no
はい、そうです。 => yes
答えはいいえです。 => no
正しい => yes
正しくない => no
네 => yes
아니요 => no
예. => yes
Ja. => yes
Nein. => no
Die Antwort ist nein. => no
Die Antwort ist ja. => yes
richtig => yes
falsch => no
Oui. => yes
Non. => no
La réponse est non. => no
vrai => yes
faux => no
Sí. => yes
La respuesta es no. => no
La respuesta es sí. => yes
verdadero => yes
falso => no
Sim. => yes
Não. => no
A resposta é não. => no
Да. => yes
Нет. => no
Ответ: нет => no
верно => yes
неверно => no
"""

CHOICE_TABLES = (STATED, CONCLUDED, CHINESE_JAPANESE_KOREAN, OTHER_LANGUAGES, TAGGED)
CHOICES = [case for table in CHOICE_TABLES for case in cases(table)]
BOOLEANS = cases(YES_NO)


@pytest.mark.parametrize(("text", "letter"), CHOICES)
def test_a_letter_is_read_or_nothing(text: str, letter: str | None) -> None:
    assert extract(text, "choice:5") == letter


@pytest.mark.parametrize(("text", "value"), BOOLEANS)
def test_yes_or_no_is_read_or_nothing(text: str, value: str | None) -> None:
    assert extract(text, "boolean") == value


def test_the_pronoun_is_a_letter_too() -> None:
    assert extract("The answer is I because the integral diverges.", "choice") == "I"
    assert extract("The answer is I.", "choice") == "I"
    assert extract("I would say that it depends.", "choice") is None
    assert extract("The answer is: I think so.", "choice") is None


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The answer is A dog.", "B"),
        ("A dog", "B"),
        ("The answer is (B) A dog.", "B"),
        ("Answer: A the cat", "A"),
        ("Answer: A The cat", "A"),
        ("the cat", "A"),
        ("C. (A) and (B)", "C"),
        ("(A) and (B)", "C"),
    ],
)
def test_the_text_of_an_option_goes_before_its_letters(text: str, letter: str) -> None:
    assert extract(text, "choice", ["the cat", "A dog", "(A) and (B)", "not a cat"]) == letter


def test_there_are_enough_cases() -> None:
    assert len(CHOICES) + len(BOOLEANS) >= 250
    assert sum(value is None for _, value in CHOICES + BOOLEANS) >= 50

"""Numbers as models write them in many languages: what is read, and where nothing may be (another number is worse).

A line is a text and what is read from it, ``-`` for nothing; ``\\n`` is a line break.
"""

import pytest

from tokencollab.answers import extract, same

UNSPACED = r"""
小明一共有35个苹果。 => 35
所以他还剩12元。 => 12
答案是共有48人。 => 48
总共35 => 35
一共需要3.5小时 => 3.5
共 5 个 => 5
答案：35 => 35
答案是：35。 => 35
答案为３５个 => 35
最终答案：18美元 => 18
因此，她每天赚18美元。 => 18
所以剩下的是1,234个 => 1234
总长度是-5米 => -5
他需要2又 => 2
正确答案是72。 => 72
答案是72个夹子，四月48个，五月24个。 => 72
したがって、合計は96個です。 => 96
答えは18です。 => 18
答え：18ドル => 18
彼女は毎日18ドルを稼ぎます。 => 18
合計で1,080円になります => 1080
残りは3.5キロです => 3.5
最終的な答えは540メートルです。 => 540
総計は１２０です => 120
답은 35입니다. => 35
정답: 18달러 => 18
합계는35개입니다 => 35
총 1,234원입니다 => 1234
그녀는 매일 18달러를 법니다. => 18
คำตอบคือ35บาท => 35
รวมทั้งหมด18ดอลลาร์ => 18
ดังนั้นเธอมีเงิน540บาท => 540
คำตอบ: 64 ดอลลาร์ => 64
ចម្លើយ35នាក់ => 35
ຄຳຕອບ35ຄົນ => 35
စုစုပေါင်း35ခု => 35
abc5def => -
model3x => -
x2 => -
"""

MARKS = r"""
Total cost:\n- 7 dollars => 7
Answer:\n- 18 => 18
Answer:\n* 18 => 18
Answer:\n• 18 => 18
Answer:\n1. 18 => 18
The costs:\n- 3 pens\n- 4 books => 4
Altogether - 18 eggs. => 18
Altogether – 18 eggs. => 18
Altogether — 18 eggs. => 18
Result - 12 => 12
She pays 12 dollars - 3 less => -
16 - 3 = 13 => 13
Answer: -18 => -18
The answer is - 1/2. => -0.5
#### -3 => -3
#### - 3 => -3
-18 => -18
- 18 => -18
The answer is -$5. => -5
The temperature is −5°C. => -5
x = - 4 => -4
It is (-7). => -7
The answer is minus-free: 7 => 7
The range is 5-7. => -
The answer is 5-7. => -
The answer is 5–7 people. => -
The answer is 5 to 7. => -
The answer is 5 or 7. => -
The answer is 3 and 4. => -
The answer is 1, 2, 3. => -
The answer is 1,2,3. => -
The answer is (3, 5). => -
The answer is 3, 5. => -
The answer is 3,5. => 3.5
1, 2, 3 => -
[1, 2] => -
The answer is 18, since 16 - 7 = 9. => 18
The answer is 18 (9 eggs at 2 dollars). => 18
The answer is 16 - 3 = 13. => 13
The answer is 16 - 3. => -
"""

PRODUCTS = r"""
The answer is 2*7. => -
#### 12*3 => -
The answer is 2**5. => -
The answer is 5*8 = 40. => 40
The answer is 3*4 = 12. => 12
The answer is 3 × 4. => -
The answer is 3·4 => -
The answer is 3 ÷ 4 => -
2*7 => -
5*8 => -
2**5 => -
12 * 3 => -
The answer is **42**. => 42
**42** => 42
*42* => 42
***42*** => 42
`42` => 42
The answer is `42`. => 42
**Answer: 42** => 42
**Answer:** **42** => 42
The **answer** is **42 dollars**. => 42
答案是**42**个 => 42
答えは**42**です。 => 42
The answer is __42__. => 42
The answer is 6*10^5. => 600000
The answer is 6*10**5. => 600000
The answer is 6×10^5. => 600000
The answer is 6×10⁵. => 600000
The answer is 6 · 10⁵ => 600000
The answer is 6 x 10^5. => 600000
The answer is 1.5×10⁻³. => 0.0015
The answer is 6.72 \times 10^{-5}. => 0.0000672
The answer is 3e8. => 300000000
The answer is 3E-2 => 0.03
The answer is 2 × 105. => -
The answer is 2*105 = 210. => 210
The answer is 5². => -
The answer is 2^10. => -
The answer is 2^10 = 1024. => 1024
The area is 25 cm². => 25
The area is 25 m^2 => 25
The answer is 6×10ⁿ. => -
x² => -
The answer is 5! => 5
The answer is 5!! => 5
It is 5! What a day. => 5
5! = 120 => 120
The answer is 5!/3! => -
The answer is 3√2 => -
The answer is 2π => -
"""

SCALES = r"""
答案是3.5万元。 => 35000
答案是2亿。 => 200000000
大约3千克 => 3
人口是1.4亿 => 140000000
答案是3万5千 => 35000
答案是1亿2000万 => 120000000
答案是2万3500 => 23500
答案是3万5 => -
答案是5百 => 500
预算是300萬元 => 3000000
答えは3万円です。 => 30000
答えは2億です => 200000000
답은 3만원입니다. => 30000
답은 2억입니다 => 200000000
คำตอบคือ 3 ล้าน => 3000000
คำตอบคือ 5 พัน => 5000
The answer is $5M. => 5000000
The answer is $5 million. => 5000000
The answer is $2.5B. => 2500000000
The answer is $3k => 3000
The answer is 12k. => 12000
The answer is 12K. => 12000
The answer is €2bn => 2000000000
The answer is £4m. => 4000000
The answer is 5M. => -
The answer is 7B => -
The answer is 5m. => 5
The answer is 5 m. => 5
The answer is 300 K. => 300
The answer is 5 km. => 5
The answer is 5kg. => 5
The answer is 5 million. => 5000000
The answer is 5 millions. => 5000000
The answer is 3 hundred. => 300
The answer is 2 thousand dollars. => 2000
The answer is 1.5 billion => 1500000000
The answer is 5 lakh. => 500000
The answer is 2 crore rupees. => 20000000
The answer is 2 million 500 thousand. => 2500000
Die Antwort ist 3 Millionen. => 3000000
Die Antwort ist 3 Milliarden Euro. => 3000000000
Die Antwort ist 5 Tausend => 5000
Die Antwort ist 2,5 Mio. Euro => 2500000
La réponse est 3 millions. => 3000000
La réponse est 2 milliards d'euros. => 2000000000
La respuesta es 3 millones. => 3000000
La respuesta es 1 millón => 1000000
La respuesta es 3 mil. => -
A resposta é 2 milhões. => 2000000
La risposta è 3 milioni. => 3000000
Ответ: 3 миллиона. => 3000000
Ответ: 5 тысяч рублей => 5000
Ответ: 2 млн => 2000000
Ответ: 7 млрд. => 7000000000
उत्तर: 5 लाख => 500000
উত্তর: ৩ লাখ => 300000
The answer is 5 thousandths. => -
"""

SEPARATORS = r"""
The answer is 1,234,567. => 1234567
The answer is 1,234.50. => 1234.5
The answer is 1.234,50. => 1234.5
La respuesta es 1.234.567,5 => 1234567.5
La réponse est 70 000. => 70000
La réponse est 1 234,5 euros => 1234.5
The answer is 12,34,567. => 1234567
The answer is 1'234'567. => 1234567
The answer is 1_000_000 => 1000000
The answer is 3,14. => 3.14
The answer is 0,5. => 0.5
The answer is 1,234. => 1234
The answer is 1.5. => 1.5
The answer is .5. => 0.5
The answer is $1,000. => 1000
The answer is 100,000,000 => 100000000
\boxed{\$9{,}500} => 9500
\boxed{306,\!956.63} => 306956.63
The answer is 8,000. => 8000
The answer is 5 100 dollar bills. => 5
He needs 3 100 euro notes => 3
"""

FRACTIONS = r"""
The answer is 11 5/6. => 71/6
The answer is 2 2/3 => 8/3
The answer is -1\frac{2}{3}. => -5/3
The answer is 3/4. => 0.75
The answer is 3⁄4. => 0.75
The answer is ¾. => 0.75
The answer is 2½. => 2.5
\boxed{\frac{3}{4}} => 0.75
\boxed{\dfrac{1}{3}} => 1/3
The answer is 50%. => 50
The answer is 12.5 % => 12.5
The answer is 1/2 of the cake. => 0.5
The answer is 24/7/365. => -
It is 3:30. => -
现在是3点30分 => -
It happened on 2024年5月3日 => -
He is 35岁 => 35
"""

STATEMENTS = r"""
<think>Maybe the answer is 5? No: 3 + 4 = 7.</think>\n\n7 => 7
<thinking>5 or 6?</thinking>The answer is 6. => 6
The answer is 3? hmm.\n</think>\n\n9 => 9
<think>The answer is 5 => -
<think>The answer is 5</think> => -
<think></think>5 => 5
<|begin_of_thought|>The answer is 5.<|end_of_thought|><|begin_of_solution|>The answer is 6.<|end_of_solution|> => 6
<|channel|>analysis<|message|>The answer is 5?<|end|><|start|>assistant<|channel|>final<|message|>6<|return|> => 6
[THINK]It is 4.[/THINK]5 => 5
◁think▷It is 4.◁/think▷5 => 5
<reasoning>4 + 4 = 8</reasoning>\n<answer>8</answer> => 8
<answer>8</answer> => 8
<answer>\n8\n</answer> => 8
<answer>The answer is 8.</answer> => 8
<final>12</final> => 12
First <answer>4</answer>, no: <answer>5</answer> => 5
<think>I will use <answer></answer> tags: 7</think><answer>9</answer> => 9
So it is 5.\n\nHuman: And now?\n\nAssistant: The answer is 9. => 5
So it is 5.\nUser: And 3+4?\nAssistant: 7 => 5
It is 5.\nQ: What is 2+2?\nA: The answer is 4. => 5
The answer is 5.\n\nQuestion: What is 2+2?\nAnswer: 4 => 5
Question: What is 2+3?\nAnswer: 5\n\nQuestion: What is 1+1?\nAnswer: 2 => 5
The answer is 5.<|im_end|>\n<|im_start|>user\nWhat is 2+2?<|im_end|> => 5
The answer is 5.</s> [INST] And 3+3? [/INST] 6 => 5
The answer is 5.\n### Instruction:\nCompute 4+4.\n### Response:\n8 => 5
答案是5。\n\n问题：2+2等于几？\n答案是4。 => 5
答案是5。\n用户：2+2？\n助手：4 => 5
The answer is 18.\n\nIf she had sold all, the answer would be 32. => 18
The answer is 18. Had she sold all, the answer would be 32. => 18
The answer is 18. If there were 20 eggs, she would have 26. => 18
Die Antwort ist 18. Wenn sie alle verkauft hätte, wäre die Antwort 32. => 18
La réponse est 18. Si elle avait tout vendu, la réponse serait 32. => 18
答案是18。如果她全卖了，答案就会是32。 => 18
So the answer would be 18. => 18
The answer should be 18. => 18
She had 5 apples, so she would have 3 left. => 3
The answer is 5. Wait, that is wrong. The answer is 6. => 6
so \boxed{840}., let me recheck.\n\n**Final Answer**\n\boxed{840} => 840
I do not know. => -
The answer is twelve. => -
No number here => -
"""


def cases(table: str) -> list[tuple[str, str | None]]:
    rows = [line.rpartition(" => ") for line in table.strip().splitlines()]
    return [(text.replace("\\n", "\n"), None if value == "-" else value) for text, _, value in rows]


TABLES = (UNSPACED, MARKS, PRODUCTS, SCALES, SEPARATORS, FRACTIONS, STATEMENTS)
CASES = [case for table in TABLES for case in cases(table)]


@pytest.mark.parametrize(("text", "value"), CASES)
def test_a_number_is_read_or_nothing(text: str, value: str | None) -> None:
    assert extract(text, "number") == value


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 250


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        ("2*3", "23", "number"),
        ("2**5", "25", "number"),
        ("3*4", "34", "math"),
        ("x**2", "x2", "math"),
        ("5!", "5!!", "math"),
        ("3 * 4", "3 4", "math"),
        ("10^5", "105", "number"),
        ("10⁵", "105", "number"),
        ("3万", "3", "number"),
        ("$5M", "5", "number"),
    ],
)
def test_different_things_are_not_the_same(one: str, other: str, kind: str) -> None:
    assert not same(one, other, kind)

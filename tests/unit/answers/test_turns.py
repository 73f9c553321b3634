"""What a model reasons first, and turns that it writes for others, are not its answer: (text, kind, answer)."""

import pytest

from tokencollab.answers import extract

REASONING: list[tuple[str, str, str | None]] = [  # (text, kind, answer)
    ("<think>Maybe the answer is 5? No: 3 + 4 = 7.</think>\n\n7", "number", "7"),
    ("<think>The answer is A? No, B fits.</think>\n\nB", "choice:4", "B"),
    ("<think>The answer is yes? The passage denies it.</think>\n\nNo.", "boolean", "no"),
    ("<thinking>The answer is A.</thinking>\nThe answer is B.", "choice:4", "B"),
    ("<reasoning>answer 5</reasoning>\n<answer>6</answer>", "number", "6"),
    ("<reasoning>\nThe answer is A\n</reasoning>\n<answer>\nB\n</answer>", "choice:4", "B"),
    ("<Think>The answer is A.</Think>C", "choice:4", "C"),
    ("The answer is 3? hmm.\n</think>\n\n9", "number", "9"),
    ("The answer is A.\n</think>\n\nB", "choice:4", "B"),
    ("<think>a</think><think>The answer is A.</think>B", "choice:4", "B"),
    ("<think></think>B", "choice:4", "B"),
    ("<think>The answer is 5.", "number", None),
    ("<think>The answer is A.", "choice:4", None),
    ("<think>So yes.", "boolean", None),
    ("<think>The answer is Paris.", "text", None),
    ("<thinking>\nThe answer is (B).", "choice:4", None),
    ("<think>The answer is 5.</think>", "number", None),
    (
        "<|begin_of_thought|>The answer is A.<|end_of_thought|>\n<|begin_of_solution|>B<|end_of_solution|>",
        "choice:4",
        "B",
    ),
    (
        "<|channel|>analysis<|message|>The answer is A.<|end|><|start|>assistant<|channel|>final<|message|>B",
        "choice:4",
        "B",
    ),
    ("<|channel|>analysis<|message|>The answer is A.", "choice:4", None),
    ("◁think▷The answer is A.◁/think▷B", "choice:4", "B"),
    ("[THINK]The answer is A.[/THINK]B", "choice:4", "B"),
    ("<think>The answer is A.</think>\\boxed{B}", "choice:4", "B"),
    ("<think>\\boxed{A}</think>So \\boxed{B}.", "choice:4", "B"),
    ("<answer>B</answer>", "choice:4", "B"),
    ("<answer>no</answer>", "boolean", "no"),
    ("<answer>The answer is B.</answer>", "choice:4", "B"),
    ("<answer>\\boxed{7}</answer>", "number", "7"),
    ("<final>B</final>", "choice:4", "B"),
    ("<ANSWER>B</ANSWER>", "choice:4", "B"),
    ("<answer>Paris</answer>", "text", "paris"),
    ("<think>Rome?</think>\n\nParis", "text", "paris"),
    ("The tag <b>B</b> is bold. The answer is C.", "choice:4", "C"),
]

RUN_ON: list[tuple[str, str, str | None]] = [
    ("The answer is B.\n\nHuman: And the next?\n\nAssistant: The answer is A.", "choice:4", "B"),
    ("The answer is 5.\n\nHuman: And 4 + 5?\n\nAssistant: The answer is 9.", "number", "5"),
    ("The answer is B.\nUser: Why?\nAssistant: Because the answer is C.", "choice:4", "B"),
    ("The answer is 3.\n\nQ: What is 2 + 2?\nA: The answer is 4.", "number", "3"),
    ("B\n\nQuestion: What is it?\nA. x\nB. y\nAnswer: A", "choice:4", "B"),
    ("Yes.\n\nQuestion: is it so?\nAnswer: no", "boolean", "yes"),
    ("Paris\n\nQuestion: And of Italy?\nAnswer: Rome", "text", "paris"),
    ("The answer is B.\n### Instruction:\nNext.\n### Response:\nThe answer is C.", "choice:4", "B"),
    ("The answer is B.<|im_end|>\n<|im_start|>user\nThe answer is A?", "choice:4", "B"),
    ("B<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nNo, the answer is C.", "choice:4", "B"),
    ("B<end_of_turn>\n<start_of_turn>user\nThe answer is A.", "choice:4", "B"),
    ("B</s>[INST] The answer is C. [/INST]", "choice:4", "B"),
    ("答案是B。\n\n问题：下一个？\n答案：C", "choice:4", "B"),
    ("答案是B。\n\n用户：下一个？\n助手：答案是C。", "choice:4", "B"),
    ("Assistant: The answer is B.", "choice:4", "B"),
    ("Question: What is it?\nThe answer is B.", "choice:4", "B"),
    ("A: The answer is B.", "choice:4", "B"),
    ("The answer is 18.\n\nIf she had sold all, the answer would be 32.", "number", "18"),
    ("The answer is B. If it were heavier, the answer would be C.", "choice:4", "B"),
    ("The answer is B. Had it been hot, the answer would have been C.", "choice:4", "B"),
    ("The answer is yes. If they had left, the answer would be no.", "boolean", "yes"),
    ("The answer is B. Otherwise the answer would be C.", "choice:4", "B"),
    ("答案是B。如果温度更高，答案会是C。", "choice:4", "B"),
    ("Die Antwort ist B. Wenn es heiß wäre, wäre die Antwort C.", "choice:4", "B"),
    ("The answer is A. Wait, no: the answer is B.", "choice:4", "B"),
    ("The answer is 5. Correction: the answer is 6.", "number", "6"),
    ("The answer would be B.", "choice:4", "B"),
]


@pytest.mark.parametrize(("text", "kind", "answer"), REASONING + RUN_ON)
def test_the_answer_is_told_from_the_rest(text: str, kind: str, answer: str | None) -> None:
    assert extract(text, kind) == answer

"""Which part of a text is its answer: what a model reasons first, and turns that it writes for others, are not."""

import re
from typing import Final

_REASONING: Final = (
    r"(?:[\w:-]*(?:think|thought|reason|reflect|scratch|analys|deliberat|monologue|internal)[\w:-]*|cot|details)\s*"
)
"""Names of tags around what a model thinks before it answers."""
_OPENS: Final = re.compile(
    rf"(?:<|&lt;)\|?(?:{_REASONING}|begin_of_thought)\|?(?:>|&gt;)|<unused94>|\[THINK\]|◁think▷|<\|channel\|>\s*(?:analysis|commentary)\b"
    r"|<\|START_THINKING\|>",
    re.IGNORECASE,
)
_CLOSES: Final = re.compile(
    rf"(?:<|&lt;)/\|?(?:{_REASONING})\|?(?:>|&gt;)|<unused95>|\bassistantfinal|(?<=\.)assistantfinal|<\|(?:/think|end_of_thought)\|>|\[/THINK\]|◁/think▷"
    r"|<\|channel\|>\s*final\s*<\|message\|>|<\|END_THINKING\|>",
    re.IGNORECASE,
)
_TAGS: Final = r"(?:final_?)?answer|final|solution|result|output|response"
_STRAY: Final = re.compile(rf"</(?:{_TAGS})>", re.IGNORECASE)
_ANSWER: Final = re.compile(
    rf"<(?P<tag>{_TAGS})>(?P<inside>.*?)(?:</(?P=tag)>|\Z)"
    r"|<\|begin_of_solution\|>(?P<solution>.*?)(?:<\|end_of_solution\|>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_END: Final = re.compile(r"<\|(?:im_end|eot_id|endoftext|end|end_of_text|return)\|>|<end_of_turn>|</s>")
_OTHERS: Final = re.compile(
    r"^[ \t>*#]*(?:(?:(?i:Human|User)|Student|Customer|Benutzer|Nutzer|Utilisateur|Usuario|Usuário|"
    r"Пользователь|用户|用戶|ユーザー|사용자)"
    r"[ \t*]*(?:[:：]|$(?<=user)|$(?<=human))"
    r"|###[ \t]*(?:Instruction|Input|Human|User)\b)"
    r"|<\|im_start\|>\s*user|<\|user\|>|<start_of_turn>user|<\|start_header_id\|>\s*user|\[INST\]|<\|User\|>|<｜User｜>",
    re.MULTILINE,
)
_QUESTIONS: Final = re.compile(
    r"^[ \t>*#]*(?:(?:Next|New|Another|Follow-up|Second)[ \t]+)?"
    r"(?:(?i:Question|Problem|Exercise)|Passage|Q|Frage|Pregunta|Pergunta|Вопрос|"
    r"问题|问|題目|题目|問題|質問|질문|Example(?=[ \t]+\d))"
    r"[ \t]*\d*[ \t*]*[:：]|^#{1,6}[ \t]*(?:Question|Problem|Exercise)\b[^\n]*$",
    re.MULTILINE,
)


def answer_parts(text: str) -> list[str]:
    """What may hold the answer of ``text``, the best place first.

    Reasoning in tags goes, also where only its end is marked; where only its beginning is, nothing behind it counts.
    Behind the first turn of somebody else nothing counts. Behind a further question nothing counts where an answer
    stands before it; a text that begins by repeating its question is read from there.
    """
    text = _own_turn(_without_reasoning(text))
    tagged = [found["inside"] or found["solution"] or "" for found in _ANSWER.finditer(text)]
    tagged = [inside for inside in tagged[-1:] if inside.strip()]
    text = _STRAY.sub(" ", text)
    starts = [found.start() for found in _QUESTIONS.finditer(text)]
    if starts and not text[: starts[0]].strip():
        del starts[0]
    parts = [*tagged, text[: starts[0]] if starts else text]
    if starts:
        parts.append(text[: starts[1]] if len(starts) > 1 else text)
    return parts


def _without_reasoning(text: str) -> str:
    begin = 0
    for closing in _CLOSES.finditer(text):
        begin = closing.end()
    text = text[begin:]
    opening = _OPENS.search(text)
    return text[: opening.start()] if opening else text


def _own_turn(text: str) -> str:
    for mark in (_OTHERS, _END):
        for found in mark.finditer(text):
            if text[: found.start()].strip():
                text = text[: found.start()]
                break
    return text

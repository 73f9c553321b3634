"""Where a text states its answer: "answer 66", "The answer is (B).", ``#### 72``, ``\\boxed{72}``."""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

IN_DOUBT: Final = ""
"""What a statement gives that names an answer without saying which: nothing else in the text takes its place."""

_WORDS: Final = (
    r"(?:correct|right|best)\s+(?:option|choice|answer)|answer|antwort|réponse|respuesta|risposta|resposta|"
    r"ответ|答案|答え|정답|답(?=[은는:：])|คำตอบ|উত্তর|సమాధానం|jibu"
)
"""Words for "answer": English, and the languages of MGSM."""

_LINKS: Final = (  # 3:30 and 5–7 are values
    r"\bis\b|\bare\b|\bwas\b|\bequals\b|\b(?:must|should|would|will)(?: (?:therefore|thus|then|hence|\w+ly))? be\b|"
    r"(?<!\d):|:(?!\d)|：|=|\bes\b|\best\b|\bist\b|\bni\b|\bé\b|"
    r"\blautet\b|\bè\b|(?<!\d)(?<!\d )[—–]|是|为|為|は|[은는]|คือ|হল|হলো"
)

_MARK: Final = re.compile(
    rf"(?:(?<![^\W\d_])|(?<=[^\x00-\x7f]))(?:{_WORDS})(?P<between>[^\n.:：=]{{0,80}}?)(?P<link>{_LINKS})|"
    rf"(?<!\w)(?:answer)(?P<direct>[ \t*_]*\n|[ \t]+)",
    re.IGNORECASE,
)
_HASHES: Final = re.compile(r"^[ \t]*####[ \t]*(?P<content>[^\n]*)", re.MULTILINE)
_BOX: Final = re.compile(r"\\(?:boxed|fbox)\s*(?P<open>\{)?")
_BARE: Final = re.compile(r"[^\s$.,;]{1,200}")
_NEGATED: Final = re.compile(
    r"\W*(?:\w+ly\s+)?(?:not\b|never\b|anything but\b|isn't\b|nicht\b|pas\b|не\b|不是)", re.IGNORECASE
)
_NEGATED_BETWEEN: Final = re.compile(
    r".*(?:\b(?:not|never|nor)\b|n['’]t\b|\b(?:no|não|non|nicht|не)\s*$|\bn['’]$|不\s*$)", re.IGNORECASE
)
_COUNTERFACTUAL: Final = (
    ({"if"}, {"had", "were"}, {"would"}), ({"wenn", "falls"}, {"wäre"}), ({"si"}, {"serait", "sería", "seria"}),
    ({"se"}, {"seria"}), ({"если"}, {"бы"}),
)  # fmt: skip
_HYPOTHETICAL: Final = (({"if", "unless", "suppose", "supposing", "assuming", "otherwise", "without"}, {"would"}),)
"""A sentence with a word of each group says what would be under a condition."""
_INSTRUCTION: Final = (({"if"}, {"otherwise"}),)  # "If it is right, answer (True), otherwise answer (False)."
_INVERTED: Final = re.compile(r"(?:^\W*|[,;]\s*)(?:had|were)\b", re.IGNORECASE)
_IF_UNSPACED: Final = re.compile("如果|假如|假设|若是|要是|もし")
_THEN_UNSPACED: Final = re.compile("会是|将是|则为|就是|だろう|でしょう")
_ABOUT: Final = re.compile(
    rf"(?:{_WORDS}|\boption|\bchoice|选|選)[^.]{{0,40}}?(?:\b(?:would|wäre|serait|sería|seria)\b|бы\b|会是|将是|则为|就是|だろう|でしょう|\botherwise\b)",
    re.IGNORECASE,
)
_CLAUSE: Final = (
    r"(?:^|[,;:,，；：(（—–])\W*"
    r"(?:(?:but|and|however|now|then|only|also|aber|doch|und|mais|et|pero|y|mas|e|но|и|а)\b\W*)*"
)
CONDITION: Final = re.compile(
    rf"{_CLAUSE}(?:(?:if|unless|assuming|suppose|supposing|provided|otherwise|in\s+case|in\s+the\s+event|should|"
    r"wenn|falls|sofern|andernfalls|es\s+sei\s+denn|si|sauf\s+si|à\s+moins|sinon|en\s+cas|a\s+menos|en\s+caso|salvo\s+que|"
    r"caso|если|иначе|при\s+условии|kama|ikiwa)\b|s['’]ils?\b|se\b(?=.*(?:resposta|risposta|opção|opzione))|"
    r"如果|假如|假设|假設|若|要是|除非|倘若|もし|仮に|만약|만일|यदि|अगर|যদি|ถ้า|หาก|ఒకవేళ)|(?:なら|ならば|場合|たら|[으라]?면|ట్లయితే)[はには]*\s*[,、，]",
    re.IGNORECASE,
)
"""What stands before a statement under a condition: a clause that begins with it, in the languages of `_WORDS`."""
_STEP: Final = re.compile(r"\b(?:if|should)\s+(?:we|you|I|one)\b", re.IGNORECASE)  # may be a step on the way

_LIST_MARK: Final = re.compile(r"^[ \t*_:：>]*\n\s*(?:[-–—•*+]|\d+[.)])[ \t]+(?=\S)")
_TITLES: Final = "".join(
    rf"(?<!\b{title})" for title in ("Mr", "Mrs", "Ms", "Mx", "Dr", "Prof", "St", "Rev", "Hr", "Fr", "Sr", "Sra", "Mme")
)
_SENTENCE_END: Final = re.compile(
    rf"{_TITLES}(?:(?<![A-Z\W])|(?<=[\d)\]}}$*%]))(?:[.?]|!(?!\s*[=+*/×·÷^-]))(?=\s|$)|"  # 5! = 120 is one sentence
    r"[。！？]|\n"
)


_SPLIT: Final = re.compile(rf"{_SENTENCE_END.pattern}|(?<=\b[A-Z])\.(?=\s+(?:[A-Z]|[^\x00-\x7f]))")

_LAST: Final = 32
"""So many of each form of statement are looked at, the last ones: the rest has been said again since."""

_LONGEST: Final = 2000  # characters of a statement


@dataclass(frozen=True, slots=True)
class Statement:
    """``content`` is what a text gives as its answer, up to the end of the sentence or line.

    ``first``: the value must stand at the beginning, because what follows may be anything ("Answer: she has 3 ...").
    ``end``: where in the text the sentence ends. ``condition``: where one stands before it in its sentence, the answer
    is such under a condition only; ``step``: or it is a step of the reasoning, as in "if we add them".
    """

    content: str
    first: bool
    end: int
    condition: bool = False
    step: bool = False


def statements(text: str) -> list[Statement]:
    """Every place where ``text`` states an answer, the last one first."""
    found = [*_hashes(text), *_boxes(text), *_phrases(text)]
    return [statement for _, statement in sorted(found, key=lambda pair: -pair[0])]


def without_conditionals(text: str, about_answers: bool) -> list[str]:
    """``text`` without sentences that say what would be under a condition; then with those that may be meant.

    "If she had sold all, the answer would be 32." is never the answer, "If she sells 9, she would have 18." may be.
    ``about_answers``: only those that speak of an answer or an option go.
    """
    sure, open_ = [], []
    start = 0
    for end in [*(found.end() for found in _SPLIT.finditer(text)), len(text)]:
        sentence = text[start:end]
        start = end
        if about_answers and not _ABOUT.search(sentence):
            sure.append(sentence)
        elif _is_counterfactual(sentence) or (about_answers and _has_all(_INSTRUCTION, sentence)):
            continue
        elif not _has_all(_HYPOTHETICAL, sentence):
            sure.append(sentence)
        open_.append(sentence)
    return ["".join(sure)] if len(sure) == len(open_) else ["".join(sure), "".join(open_)]


def _is_counterfactual(sentence: str) -> bool:
    return (
        _has_all(_COUNTERFACTUAL, sentence)
        or ("would" in sentence and _INVERTED.search(sentence) is not None)
        or (_IF_UNSPACED.search(sentence) is not None and _THEN_UNSPACED.search(sentence) is not None)
    )


def _has_all(forms: tuple[tuple[set[str], ...], ...], sentence: str) -> bool:
    words = set(re.findall(r"\w+", sentence.lower()))
    return any(all(group & words for group in groups) for groups in forms)


_NOT_SAID: Final = re.compile(
    r"\b(?:not|no|never|nor|neither|nothing|nobody|few|cannot|doubt\w*|den(?:y|ies|ied)|whether|if|unless|unlikely|"
    r"impossible|hardly|disagree\w*|without|maybe|perhaps|might|may|could|unclear|unsure|fail\w*|refut\w*|refus\w*|"
    r"reject\w*|question\w*|contradict\w*|wonder\w*|myth|rumou?r\w*|difficult|hard|wrong\s+to|mistake\w*|lacks?|"
    r"lacking|far-fetched|alleg\w*|suppose\w*|who|why|should\s+I)\b|n['’]t\b",
    re.IGNORECASE,
)
_SURE: Final = re.compile(r"\b(?:no|without(?:\s+(?:a|any))?|beyond)\s+(?:doubt|question)\b", re.IGNORECASE)


def is_said(before: str) -> bool:
    """Whether what follows ``before`` in its clause is said to be so, not denied, doubted, asked or supposed."""
    return _NOT_SAID.search(_SURE.sub("", before)) is None


def sentences(text: str) -> list[str]:
    """The sentences and lines of ``text``, without empty ones."""
    return [part for part in (raw.strip() for raw in _SENTENCE_END.split(text)) if part]


def box_content(text: str, start: int) -> tuple[str, int] | None:
    """What stands between the brace at ``start`` and its session, and the index behind it; None: it has none."""
    depth = 0
    for index in range(start, len(text)):
        if text[index] == "\\":
            continue
        if text[index] in "{}" and (index == 0 or text[index - 1] != "\\"):
            depth += 1 if text[index] == "{" else -1
            if not depth:
                return text[start + 1 : index], index + 1
    return None


def _last(pattern: re.Pattern[str], text: str) -> deque[re.Match[str]]:
    return deque(pattern.finditer(text), maxlen=_LAST)


def _hashes(text: str) -> Iterator[tuple[int, Statement]]:
    for found in _last(_HASHES, text):
        yield found.start(), Statement(found["content"].strip()[:_LONGEST], False, found.end())


def _boxes(text: str) -> Iterator[tuple[int, Statement]]:
    for found in _last(_BOX, text):
        if found["open"]:
            inside = box_content(text, found.end() - 1)
            if inside is not None:
                yield found.start(), Statement(inside[0].strip()[:_LONGEST], False, inside[1])
        elif value := _BARE.match(text, found.end()):
            yield found.start(), Statement(value[0], False, value.end())


def _phrases(text: str) -> Iterator[tuple[int, Statement]]:
    for found in _last(_MARK, text):
        rest = text[found.end() : found.end() + _LONGEST]
        if _NEGATED.match(rest) or _NEGATED_BETWEEN.match(found["between"] or ""):
            continue
        whole = len(rest)
        rest = _LIST_MARK.sub("", rest).lstrip(" \t*_:：\r\n>")
        end = _SENTENCE_END.search(rest)
        content, more = (rest[: end.start()], rest[end.end() :]) if end else (rest, "")
        link = found["link"]
        loose = link is not None and (link not in ":：=" or not more.strip())
        last = found.end() + whole - len(rest) + len(content)
        before = _SPLIT.split(text[max(0, found.start() - _LONGEST) : found.start()])[-1] + found[0]
        condition = CONDITION.search(before) is not None
        step = condition and _STEP.search(before) is not None
        yield found.start(), Statement(content.strip(), not loose, last, condition, step)

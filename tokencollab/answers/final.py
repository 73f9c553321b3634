"""Where a text states its answer: "answer 66", "The answer is (B).", ``#### 72``, ``\\boxed{72}``."""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_WORDS: Final = (
    r"(?:correct|right|best)\s+(?:option|choice|answer)|answer|antwort|réponse|respuesta|risposta|resposta|"
    r"ответ|答案|答え|คำตอบ|উত্তর|సమాధానం|jibu"
)
"""Words for "answer": English, and the languages of MGSM."""

_LINKS: Final = (
    r"\bis\b|\bare\b|\bwas\b|\bequals\b|\b(?:must|should|would|will) be\b|:|：|=|\bes\b|\best\b|\bist\b|\bni\b|\bé\b|"
    r"—|–|是|为|為|は|คือ|হল|হলো"
)

_MARK: Final = re.compile(
    rf"(?:(?<![^\W\d_])|(?<=[^\x00-\x7f]))(?:{_WORDS})(?P<between>[^\n.:：=]{{0,80}}?)(?P<link>{_LINKS})|"
    rf"(?<!\w)(?:answer)(?P<direct>[ \t*_]*\n|[ \t]+)",
    re.IGNORECASE,
)
_HASHES: Final = re.compile(r"^[ \t]*####[ \t]*(?P<content>[^\n]*)", re.MULTILINE)
_BOX: Final = re.compile(r"\\(?:boxed|fbox)\s*(?P<open>\{)?")
_BARE: Final = re.compile(r"[^\s$.,;]{1,200}")
_NEGATED: Final = re.compile(r"\W*(?:not\b|isn't\b|nicht\b|不)", re.IGNORECASE)
_SENTENCE_END: Final = re.compile(
    r"(?:(?<![A-Z\W])|(?<=[\d)\]}$*%]))(?:[.?]|!(?!\s*[=+*/×·÷^-]))(?=\s|$)|[。！？]|\n"  # 5! = 120 is one sentence
)
_FIRST_OF_LIST: Final = re.compile(r"[ \t*_:：>]*\r?\n\s*(?:[-–—•]|\d{1,2}[.)](?=\s+[-+$€£¥]*\d))\s+")
"""A list that begins on the line behind "Answer:"; its mark is no minus sign and its number no answer."""


_LAST: Final = 32
"""So many of each form of statement are looked at, the last ones: the rest has been said again since."""

_LONGEST: Final = 2000  # characters of a statement


@dataclass(frozen=True, slots=True)
class Statement:
    """``content`` is what a text gives as its answer, up to the end of the sentence or line.

    ``first``: the value must stand at the beginning, because what follows may be anything ("Answer: she has 3 ...").
    """

    content: str
    first: bool


def statements(text: str) -> list[Statement]:
    """Every place where ``text`` states an answer, the last one first."""
    found = [*_hashes(text), *_boxes(text), *_phrases(text)]
    return [statement for _, statement in sorted(found, key=lambda pair: -pair[0])]


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
        yield found.start(), Statement(found["content"].strip()[:_LONGEST], False)


def _boxes(text: str) -> Iterator[tuple[int, Statement]]:
    for found in _last(_BOX, text):
        if found["open"]:
            inside = box_content(text, found.end() - 1)
            if inside is not None:
                yield found.start(), Statement(inside[0].strip()[:_LONGEST], False)
        elif value := _BARE.match(text, found.end()):
            yield found.start(), Statement(value[0], False)


def _phrases(text: str) -> Iterator[tuple[int, Statement]]:
    for found in _last(_MARK, text):
        rest = text[found.end() : found.end() + _LONGEST]
        if _NEGATED.match(rest) or _NEGATED.match(found["between"] or ""):
            continue
        rest = _FIRST_OF_LIST.sub("", rest, count=1) if _FIRST_OF_LIST.match(rest) else rest.lstrip(" \t*_:：\r\n>")
        end = _SENTENCE_END.search(rest)
        content, more = (rest[: end.start()], rest[end.end() :]) if end else (rest, "")
        link = found["link"]
        loose = link is not None and (link not in ":：=" or not more.strip())
        yield found.start(), Statement(content.strip(), not loose)

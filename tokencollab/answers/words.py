"""Answers that are words: the letter of a choice, yes or no, free text."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from tokencollab.answers.final import sentences
from tokencollab.answers.markup import strip_markup

_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ENCLOSED: Final = re.compile(r"[(\[{]\s*([A-Za-z])\s*[)\]}]")
_STANDING: Final = re.compile(r"(?<!\w)(?<!\w['’])([A-Z])(?![\w+-]|['’]\w)")
_SEVERAL: Final = re.compile(r"\W*?(?:,|/|&|\bor\b|\band\b)\s*[(\[]?[A-Z]\b(?!\s+[^\W\d_])")
_AFTER_ANOTHER: Final = re.compile(r"\b[A-Z]\W{0,3}?(?:,|/|&|\bor\b|\band\b)\s*$")
_PICKED: Final = re.compile(r"\b(?i:option|choice|choose|pick|select)\s*[:\s]\W*([A-Z])(?![\w+-]|['’]\w|\s+[a-z])")
_LOWER: Final = re.compile(r"([a-z])\s*(?:[).:]|$)")
_LINE: Final = re.compile(r"^\W*([A-Z])\s*(?:[).:]|$)")
_PREFACE: Final = re.compile(r"^\W*(?:(?:the|option|choice|letter|answer|is|选项|选择|选)\W*)*", re.IGNORECASE)

_YES: Final = "yes|true|correct|right|да|верно|sí|oui|ja|sim|是|对|正确|はい"
_NO: Final = "no|false|incorrect|wrong|нет|неверно|non|nein|não|否|错|错误|不是|不对|不正确|いいえ"
_WORD: Final = re.compile(
    rf"(?<![^\W_])(?P<not>not\s+|n't\s+)?(?:(?P<no>{_NO})|(?P<yes>{_YES}))(?![^\W_])", re.IGNORECASE
)
_CLAIM: Final = re.compile(
    r"\b(?:answer|statement|claim|sentence|proposition|it|this|that)\s+is\s+(?:therefore\s+)?"
    r"(?P<not>not\s+)?(?:(?P<no>false|incorrect|wrong)|(?P<yes>true|correct|right))\b",
    re.IGNORECASE,
)
_OPENING: Final = re.compile(
    rf"^\W*(?:(?:so|thus|therefore|hence|in conclusion|in short|因此|所以)\W+)?"
    rf"(?:(?P<no>{_NO})(?:\W*$|\s*[,.;:!，。—–-]|\s+(?:it|they|he|she|this|that|we|you|the|there)\b)"
    rf"|(?P<yes>{_YES})(?![^\W_]))",
    re.IGNORECASE,
)


def read_choice(content: str, first: bool, count: int, options: Sequence[str] = ()) -> str | None:
    """The letter that a statement gives, of the first ``count``; else the letter of the option that it spells."""
    text = strip_markup(content)
    preface = _PREFACE.match(text)
    begin = preface.end() if preface else 0
    enclosed, standing = _ENCLOSED.search(text), _standing(text)
    if (lower := _LOWER.match(text, begin)) and _allowed(lower[1], count):
        return lower[1].upper()
    for found in sorted((hit for hit in (enclosed, standing) if hit), key=lambda hit: hit.start()):
        if (not first or found.start() <= begin) and _allowed(found[1], count):
            return None if _SEVERAL.match(text, found.end()) else found[1].upper()
    return _spelled(text, options)


def last_choice(text: str, count: int, options: Sequence[str] = ()) -> str | None:
    """The choice of a text that states none: a letter alone or at a line's head, or the last one in brackets."""
    lines = [line for line in text.splitlines() if line.strip()]
    for line in reversed(lines):
        bare = strip_markup(line).strip()
        found = re.fullmatch(r"\W*([A-Za-z])\W*", bare) if len(lines) == 1 else None
        found = found or _LINE.match(bare)
        letters = [found] if found else [*_ENCLOSED.finditer(bare)] or [*_PICKED.finditer(bare)]
        if letters and not _AFTER_ANOTHER.search(bare[: letters[-1].start()]) and _allowed(letters[-1][1], count):
            return letters[-1][1].upper()
    return _spelled(text, options)


def _standing(text: str) -> re.Match[str] | None:
    for found in _STANDING.finditer(text):
        # The article and the pronoun are letters too.
        if found[1] in "AI" and re.match(r"\s+(?!or\b|and\b)[^\W\d_]", text[found.end() :]):
            continue
        return found
    return None


def _allowed(letter: str, count: int) -> bool:
    return letter.upper() in _LETTERS[:count]


def _spelled(text: str, options: Sequence[str]) -> str | None:
    said = normal_text(text)
    equal = [letter for letter, option in zip(_LETTERS, options, strict=False) if normal_text(option) == said != ""]
    return equal[0] if len(equal) == 1 else None


def read_boolean(content: str, first: bool) -> str | None:
    """``yes`` or ``no``, from a statement's first such word."""
    text = strip_markup(content)
    found = _WORD.search(text)
    if found is None or (first and re.search(r"\w", text[: found.start()])):
        return None
    return _yes_or_no(found)


def last_boolean(text: str) -> str | None:
    """Yes or no of a text that states none: its last sentence that begins with one, or says that a claim is true."""
    for sentence in reversed(sentences(strip_markup(text))):
        found = _OPENING.search(sentence) or _CLAIM.search(sentence)
        if found:
            return _yes_or_no(found)
    return None


def _yes_or_no(found: re.Match[str]) -> str:
    negated = bool(found.groupdict().get("not"))
    return "yes" if (found["yes"] is not None) != negated else "no"


def normal_text(text: str) -> str:
    """Free text in one form: NFKC, case folded, one space, no markup and no punctuation around it."""
    text = unicodedata.normalize("NFKC", strip_markup(text)).casefold()
    return re.sub(r"^[\W_]+|[\W_]+$", "", " ".join(text.split()))

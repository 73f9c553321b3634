"""Strips markup: other scripts' digits and signs, Markdown, and the LaTeX that people put around a value."""

import re
import unicodedata
from typing import Final

from tokencollab.answers.final import box_content

_SIGNS: Final = {
    "−": "-", "﹣": "-", "‐": "-", "‑": "-", "٫": ".", "٬": ",", "⁄": "/", "∕": "/", "’": "'", "、": ",",
    "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u200b": "", "\ufeff": "",
}  # fmt: skip
_VULGAR: Final = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5", "⅘": "4/5",
    "⅙": "1/6", "⅚": "5/6", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8", "⅐": "1/7", "⅑": "1/9", "⅒": "1/10",
}  # fmt: skip

_SUPERSCRIPTS: Final = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_RAISED: Final = re.compile("[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")

_WRAPPERS: Final = ("text", "textbf", "textit", "textrm", "mathrm", "mathbf", "mbox", "operatorname", "boxed", "fbox")
_WRAPPER: Final = re.compile(r"\\(?:" + "|".join(_WRAPPERS) + r")\s*\{")
_SPACES: Final = re.compile(r"\\[ ,;:!>]|\\q?quad\b|~")
# Emphasis, not the sign of a product or a power: its marks do not stand between two things that could be multiplied.
_EMPHASIS: Final = re.compile(r"(?<![A-Za-z0-9)\]}*`])([*`]{1,3})(?=\S)([^*`\n]*[^*`\s])\1(?![A-Za-z0-9(*`])")
_OPEN_MARK: Final = re.compile(r"(?<!\S)(?:\*{2,3}|`{1,3})(?=\S)|(?<=\S)(?:\*{2,3}|`{1,3})(?=[\s.,;:!?)]|$)")
_FRACTION: Final = re.compile(r"\\[dtc]?frac\s*(?=[{\d])")


def plain(text: str) -> str:
    """``text`` with ASCII digits and signs, vulgar fractions spelled out, and full-width forms made narrow."""
    if text.isascii():
        return text
    text = _RAISED.sub(lambda found: f"^{found[0].translate(_SUPERSCRIPTS)}", text)
    out: list[str] = []
    for char in text:
        if char.isascii():
            out.append(char)
        elif (vulgar := _VULGAR.get(char)) is not None:
            out.append(f" {vulgar}" if out and out[-1][-1:].isdigit() else vulgar)
        elif 0xFF01 <= ord(char) <= 0xFF5E:
            out.append(chr(ord(char) - 0xFEE0))
        else:
            digit = unicodedata.decimal(char, None)
            out.append(_SIGNS.get(char, char) if digit is None else str(digit))
    return "".join(out)


def strip_markup(text: str) -> str:
    """``text`` without Markdown marks, dollar signs of LaTeX, wrappers such as ``\\text{}``, and LaTeX's spaces.

    ``\\frac{a}{b}`` becomes ``a/b``, with brackets around what is more than a number.
    """
    text = plain(text).replace("{,}", ",").replace("\\$", "$").replace("\\%", "%").replace("\\!", "")
    text = re.sub(r"\\left(?![a-zA-Z])|\\right(?![a-zA-Z])|\\[()\[\]]|\$\$", "", text)
    text = re.sub(r"\^\s*\{?\s*\\circ\s*\}?|\\degree\b|\\circ\b|°", " ", text)
    text = _SPACES.sub(lambda found: "" if found[0] == "\\!" else " ", text)
    text = text.replace("\\times", "×").replace("\\cdot", "·").replace("\\pi", "π").replace("\\approx", "≈")
    text = _fractions(_unwrap(text))
    text = _OPEN_MARK.sub("", _EMPHASIS.sub(r"\2", text))
    return re.sub(r"^[*_`\s]+|[*_`\s]+$", "", text)


def normal_text(text: str) -> str:
    """Free text in one form: NFKC, case folded, one space, no markup and no punctuation around it."""
    text = unicodedata.normalize("NFKC", strip_markup(text)).casefold()
    return re.sub(r"^[\W_]+|[\W_]+$", "", " ".join(text.split()))


def _unwrap(text: str) -> str:
    while found := _WRAPPER.search(text):
        inside = box_content(text, found.end() - 1)
        if inside is None:
            return text[: found.start()] + text[found.end() :]
        # A unit in \text{} must not run into the number before it.
        text = f"{text[: found.start()]} {inside[0]} {text[inside[1] :]}"
    return text


def _fractions(text: str) -> str:
    while found := _FRACTION.search(text):
        upper = _argument(text, found.end())
        lower = None if upper is None else _argument(text, upper[1])
        if upper is None or lower is None:
            return text
        before = text[: found.start()]
        gap = " " if before[-1:].isdigit() else ""  # 2\frac12 is a mixed number
        text = f"{before}{gap}{_bracketed(upper[0])}/{_bracketed(lower[0])}{text[lower[1] :]}"
    return text


def _argument(text: str, start: int) -> tuple[str, int] | None:
    while text[start : start + 1] == " ":
        start += 1
    if text[start : start + 1] == "{":
        return box_content(text, start)
    return (text[start], start + 1) if start < len(text) else None


def _bracketed(part: str) -> str:
    part = part.strip()
    return part if re.fullmatch(r"-?[\w.,√]*", part) else f"({part})"

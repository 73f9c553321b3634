"""Strips markup: other scripts' digits and signs, Markdown, HTML, and the LaTeX that people put around a value."""

import re
import unicodedata
from typing import Final

from tokencollab.answers.final import box_content

_SIGNS: Final = {
    "−": "-", "﹣": "-", "‐": "-", "‑": "-", "٫": ".", "٬": ",", "⁄": "/", "∕": "/", "’": "'", "、": ", ",
    "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u200b": "", "\ufeff": "",
}  # fmt: skip
_VULGAR: Final = {
    "½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5", "⅘": "4/5",
    "⅙": "1/6", "⅚": "5/6", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8", "⅐": "1/7", "⅑": "1/9", "⅒": "1/10",
}  # fmt: skip

_SUPERSCRIPT: Final = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿⁱ", "0123456789+-ni", strict=True))
_SUBSCRIPT: Final = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋ₙₓ", "0123456789+-nx", strict=True))
_SCRIPTS: Final = re.compile(
    rf"(?P<upper>[{''.join(_SUPERSCRIPT)}]+)(?P<fraction>[⁄/](?P<lower>[{''.join(_SUBSCRIPT)}]+))?"
    rf"|(?P<subscript>[{''.join(_SUBSCRIPT)}]+)"
)
_GROUPS: Final = re.compile(r"(?<=[０-９])，(?=[０-９]{3}(?![０-９]))")

_WRAPPERS: Final = (
    "text", "textbf", "textit", "textrm", "texttt", "mathrm", "mathbf", "mathit", "mathsf", "boldsymbol", "bm",
    "underline", "mbox", "operatorname", "boxed", "fbox",
)  # fmt: skip
_WRAPPER: Final = re.compile(r"\\(?:" + "|".join(_WRAPPERS) + r")\s*\{")
_SPACES: Final = re.compile(r"\\[ ,;:!>]|\\q?quad\b|~")
_FRACTION: Final = re.compile(r"\\[dtc]?frac\s*(?=[{\d])")
_SYMBOLS: Final = {"times": "×", "cdot": "·", "div": "÷", "pm": "±", "pi": "π", "approx": "≈"}
_SYMBOL: Final = re.compile(rf"\\({'|'.join(_SYMBOLS)})(?![A-Za-z])")

_TAG: Final = re.compile(r"</?(?:b|i|u|p|em|strong|span|div|mark|br)(?:\s[^<>]*)?/?>", re.IGNORECASE)
_RAISED: Final = re.compile(r"<(sup|sub)>([^<>]{1,40})</\1>", re.IGNORECASE)
_LIST_MARK: Final = re.compile(r"^[^\S\n]*[*+•‣◦▪●○·–—][^\S\n]+", re.MULTILINE)
_STRUCK: Final = re.compile(r"~~[^~\n]*~~")
_EMPHASIS: Final = re.compile(
    # Behind a digit, a bracket or a lone letter the star multiplies: 2*7*3, x**2.
    r"(?<![\d)\]}*])(?<!(?<![A-Za-z])[A-Za-z])(?P<stars>\*{1,3})(?=[^\s*])(?P<inside>[^*\n]*[^\s*])(?P=stars)(?![*\d])"
    r"|(?<!\w)(?P<lines>_{1,2})(?=[^\s_])(?P<under>[^_\n]*[^\s_])(?P=lines)(?!\w)"
)
_STARS: Final = re.compile(r"\*+")
_TICKS: Final = re.compile(r"`{1,3}(?=\S)|(?<=\S)`{1,3}(?=\W|$)")


def plain(text: str) -> str:
    """``text`` with ASCII digits and signs, vulgar fractions and scripts spelled out, full-width forms made narrow.

    A raised 5 is ``^{5}``: left as a digit it would make 105 of ten to the fifth.
    """
    if text.isascii():
        return text
    text = _GROUPS.sub(",", unicodedata.normalize("NFC", text)).replace("，", ", ")
    text = _SCRIPTS.sub(_script, text)
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


def _script(found: re.Match[str]) -> str:
    if found["subscript"]:
        return "_{" + "".join(map(_SUBSCRIPT.__getitem__, found["subscript"])) + "}"
    upper = "".join(map(_SUPERSCRIPT.__getitem__, found["upper"]))
    if found["fraction"]:
        return f" {upper}/" + "".join(map(_SUBSCRIPT.__getitem__, found["lower"]))
    return "^{" + upper + "}"


def strip_markup(text: str) -> str:
    """``text`` without Markdown marks, dollar signs of LaTeX, wrappers such as ``\\text{}``, and LaTeX's spaces.

    ``\\frac{a}{b}`` becomes ``a/b``, with brackets around what is more than a number.
    """
    text = plain(text).replace("{,}", ",").replace("\\$", "$").replace("\\%", "%").replace("\\!", "")
    text = re.sub(r"\\left(?![a-zA-Z])|\\right(?![a-zA-Z])|\\[()\[\]]|\$\$", "", text)
    text = re.sub(r"\^\s*\{?\s*\\circ\s*\}?|\\degree\b|\\circ\b|°", " ", text)
    text = _STRUCK.sub(" ", text)
    text = _SPACES.sub(lambda found: "" if found[0] == "\\!" else " ", text)
    text = _SYMBOL.sub(lambda found: _SYMBOLS[found[1]], text)
    text = _fractions(_unwrap(text))
    text = _RAISED.sub(lambda found: ("^{" if found[1].lower() == "sup" else "_{") + found[2] + "}", text)
    text = _emphasis(_TICKS.sub("", _LIST_MARK.sub("", _TAG.sub("", text))))
    return re.sub(r"^[*_`\s]+|[*_`\s]+$", "", text)


def normal_text(text: str) -> str:
    """Free text in one form: NFKC, case folded, one space, no markup and no punctuation around it."""
    text = unicodedata.normalize("NFKC", strip_markup(text)).casefold()
    return re.sub(r"^[\W_]+|[\W_]+$", "", " ".join(text.split()))


def _emphasis(text: str) -> str:
    """Without the stars and lines of Markdown. A star between two operands multiplies them and stays."""
    text = _EMPHASIS.sub(lambda found: found["inside"] or found["under"], text)
    return _STARS.sub(lambda found: found[0] if _multiplies(text, found) else "", text)


def _multiplies(text: str, stars: re.Match[str]) -> bool:
    before, after = text[max(0, stars.start() - 8) : stars.start()], text[stars.end() : stars.end() + 8]
    if len(stars[0]) > 2:
        return False
    if re.search(r"[A-Za-z0-9]$", before) and re.match(r"[A-Za-z0-9]", after):
        return True
    left = re.search(r"[\d)\]}%!]\s*$|(?<![A-Za-z])[A-Za-z]\s*$", before)
    return bool(left and re.match(r"\s*(?:[-+]?[$€£¥]?\.?\d|[(\[{\\√]|[A-Za-z](?![A-Za-z]))", after))


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
        behind = " " if text[lower[1] : lower[1] + 1].isdigit() else ""
        value = f"{_bracketed(upper[0])}/{_bracketed(lower[0])}"
        text = f"{before}{gap}{value}{behind}{text[lower[1] :]}"
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

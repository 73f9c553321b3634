"""Words and signs behind a number that say thousands, millions and so on, in the languages of the data sets."""

import re
from typing import Final

UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3100-\u312f\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
"""Letters of scripts that put no space between a word and a number: Thai, Lao, Burmese, Khmer, Chinese, Japanese,
Korean. As part of a character class."""

_WORDS: Final = {
    "hundred": 2, "hundreds": 2, "thousand": 3, "thousands": 3, "million": 6, "millions": 6, "billion": 9,
    "billions": 9, "trillion": 12, "trillions": 12, "bn": 9, "mn": 6, "mln": 6, "tn": 12, "lakh": 5, "lakhs": 5,
    "crore": 7, "crores": 7,
    "tausend": 3, "millionen": 6, "mio": 6, "milliarde": 9, "milliarden": 9, "mrd": 9, "billionen": 12,
    "mille": 3, "milliard": 9, "milliards": 9, "millón": 6, "millones": 6, "milhão": 6, "milhões": 6, "bilhão": 9,
    "bilhões": 9, "mila": 3, "milione": 6, "milioni": 6, "miliardo": 9, "miliardi": 9,
    "тысяча": 3, "тысячи": 3, "тысяч": 3, "тыс": 3, "миллион": 6, "миллиона": 6, "миллионов": 6, "млн": 6,
    "миллиард": 9, "миллиарда": 9, "миллиардов": 9, "млрд": 9, "триллион": 12, "триллиона": 12, "триллионов": 12,
    "हज़ार": 3, "हजार": 3, "लाख": 5, "करोड़": 7, "হাজার": 3, "লাখ": 5, "লক্ষ": 5, "কোটি": 7,
    "వేలు": 3, "వేల": 3, "లక్షలు": 5, "లక్షల": 5, "కోట్లు": 7, "కోట్ల": 7, "elfu": 3,
}  # fmt: skip
_SIGNS: Final = {
    "百万": 6, "百萬": 6, "千万": 7, "千萬": 7, "十万": 5, "十萬": 5, "万亿": 12, "萬億": 12, "十亿": 9, "十億": 9,
    "千": 3, "百": 2, "万": 4, "萬": 4, "亿": 8, "億": 8, "兆": 12,
    "백만": 6, "천만": 7, "천": 3, "백": 2, "만": 4, "억": 8, "조": 12,
    "ร้อย": 2, "พันล้าน": 9, "พัน": 3, "หมื่น": 4, "แสน": 5, "ล้าน": 6,
}  # fmt: skip
_LETTERS: Final = {"k": 3, "K": 3, "m": 6, "M": 6, "b": 9, "B": 9, "t": 12, "T": 12}

_DOUBTFUL: Final = "mil"
"""A thousand in Spanish and Portuguese, a unit of length in English."""


def _any_of(words: dict[str, int]) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


SCALE: Final = (
    rf"\s*(?:(?P<word>{_any_of(_WORDS)})(?![^\W_])\.?|(?P<sign>{_any_of(_SIGNS)})"
    rf"|(?P<letter>(?<=\d)[kKmMbBtT])(?![^\W_]))"
)
DOUBTFUL: Final = re.compile(rf"\s*{_DOUBTFUL}(?![^\W_])", re.IGNORECASE)


def power_of(found: re.Match[str], currency: bool) -> int | None:
    """The power of ten that a match of `SCALE` stands for; 0: it is a unit; None: it may be either.

    A letter alone is a scale where a currency stands before the number; ``k`` is one everywhere.
    """
    if word := found["word"]:
        return _WORDS[word.lower()]
    if sign := found["sign"]:
        return _SIGNS[sign]
    letter = found["letter"]
    if letter in "kK" or currency:
        return _LETTERS[letter]
    return None if letter in "MBT" else 0

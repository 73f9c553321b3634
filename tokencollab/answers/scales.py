"""Words and letters behind a number that multiply it: 3 million, 3.5万, $5M, 12k. Where in doubt: unclear."""

import re
from collections.abc import Mapping
from typing import Final

NO_SPACES: Final = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"  # Han, kana
    "\u1100-\u11ff\uac00-\ud7af"  # Hangul: particles and numbers touch
    "\u0e00-\u0e7f\u0e80-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\ua9e0-\ua9ff\uaa60-\uaa7f"
)
"""The letters of scripts that put no space between a word and a number, for a class of a pattern."""

LETTER: Final = rf"(?![{NO_SPACES}])\w"
"""A letter, a digit or _ of the other scripts, where it touches another it is of one word with it."""

Scale = tuple[int, int | None]
"""Where the scale ends, and its power of ten; None: it cannot be told."""

_UNCLEAR: Final = None

_WORDS: Final[Mapping[str, int | None]] = {
    word.casefold(): power
    for power, words in {
        2: "hundred hundreds hundert сотни сотен trăm",
        3: "thousand thousands tausend mille duizend тысяча тысячи тысяч тыс тисяча тисячі тисяч tysiąc tysiące "
        "tysięcy tys mila nghìn ngàn ribu elfu tusen tusind हजार हज़ार হাজার వేలు వేల ஆயிரம் હજાર ہزار هزار ألف آلاف "
        "אלף אלפים χιλιάδες",
        4: "vạn",
        5: "lakh lakhs lac lacs लाख লাখ লক্ষ లక్షలు లక్షల లక్ష லட்சம் લાખ لاکھ",
        6: "million millions millionen mio mln millón millon millones milhão milhao milhões milhoes milhôes milione "
        "milioni miljoen miljoner millioner миллион миллиона миллионов миллионы млн мільйон мільйона мільйонів "
        "milion miliony milionów milyon triệu juta مليون ملايين میلیون מיליון εκατομμύρια εκατομμύριο",
        7: "crore crores करोड़ करोड কোটি కోట్లు కోట్ల కోటి கோடி કરોડ کروڑ",
        9: "billion bn milliard milliards milliarde milliarden mrd mld mds miliardo miliardi miljard miljarder "
        "milliarder миллиард миллиарда миллиардов миллиарды млрд мільярд мільярда мільярдів miliard miliardy miliardów "
        "milyar tỷ tỉ miliar bilhão bilhões مليار مليارات میلیارد מיליארד",
        12: "trillion billionen billón billones biliões trilhão trilhões triliun триллион триллиона триллионов",
        18: "trillionen",
        # English and French or Spanish differ by a thousand; "mil" is also a million, "bin" also a box.
        _UNCLEAR: "billions trillions bilioni mil bin mn dozen dozens dutzend douzaine douzaines docena docenas "
        "dúzia dúzias",
    }.items()
    for word in words.split()
}
_WORD: Final = re.compile(
    r"[^\S\n]?-?("
    + "|".join(sorted(map(re.escape, _WORDS), key=len, reverse=True))
    + r")(?![^\W_]|[\u0900-\u0dff])\.?",
    re.IGNORECASE,
)
_MILLIONS_BEHIND: Final = re.compile(r"[^\S\n](?:mill|milh|mili)", re.IGNORECASE)  # "mil millones", "mil milhões"

_EAST: Final = dict(zip("百千万萬亿億兆백천만억조십十", (2, 3, 4, 4, 8, 8, 12, 2, 3, 4, 8, 12, 1, 1), strict=True))
_EAST_SCALE: Final = re.compile(
    r"[^\S\n]?(?:"
    r"(?:百(?!分|货)|千(?![克米瓦卡焦赫帕伏安字比兆])|[万萬](?!能)|[亿億]|兆(?![瓦赫帕欧字比])|十(?=[万萬亿億]))+"
    r"|(?:[십백천]|만(?!큼)|억|조(?=\s?(?:원|달러|위안|엔|유로)))+)"
)
_EAST_MORE: Final = re.compile(r"[零〇一二三四五六七八九]")  # 3万五千
_EAST_UNCLEAR: Final = re.compile(r"\s?조(?!각|금)|[割折]|成(?![为為本功人年立])")  # a trillion or a team; tenths
_SOUTH: Final = {
    "ร้อย": 2, "พัน": 3, "หมื่น": 4, "แสน": 5, "ล้าน": 6, "ພັນ": 3, "ໝື່ນ": 4, "ແສນ": 5, "ລ້ານ": 6,
    "ពាន់": 3, "ម៉ឺន": 4, "សែន": 5, "លាន": 6, "ထောင်": 3, "သောင်း": 4, "သိန်း": 5, "သန်း": 6,
}  # fmt: skip
_SOUTH_SCALE: Final = re.compile(r"[^\S\n]?(" + "|".join(_SOUTH) + r")(?!ละ|ธุ์)")

_MONEY: Final = r"(?:[$€£¥₹₽₩₺]|(?:USD|EUR|GBP|INR|dollars?|euros?|pounds?|rupees?)\b)"
_MONEY_BEFORE: Final = re.compile(r"(?:[$€£¥₹₽₩₺]|\b(?:USD|EUR|GBP|INR|Rs\.?))\s?$", re.IGNORECASE)
_MONEY_LETTER: Final = re.compile(r"\s?(k|mm|mn|m|bn|b|mds?|tn|t|cr|l)(?![^\W_])", re.IGNORECASE)
_SCALE_LETTER: Final = re.compile(r"([kKMBT])(?![^\W_])")
_SPACED_K: Final = re.compile(r"[^\S\n]k(?![^\W_])")
_MANY: Final = re.compile(r"\s(?:people|(?!gas|gauss|tesla|kelvins|was\b|is\b|has\b)[a-z]{3,}[^su\W]s)\b")  # "5M users"
_RUN: Final = re.compile(r"[\s-](?:run|race|walk|marathon|resolution|tv|video)\b", re.IGNORECASE)
_POWERS: Final[Mapping[str, int | None]] = {
    "k": 3, "m": 6, "mm": 6, "mn": 6, "b": 9, "bn": 9, "md": 9, "mds": 9, "t": 12, "tn": 12, "cr": 7, "l": None,
}  # fmt: skip

PREFIXED: Final = re.compile(r"(?:\b(?:elfu|milioni|laki|bilioni)|သိန်း|သောင်း|ထောင်|သန်း)\s?$", re.IGNORECASE)
"""Scale words that stand before the number, in Swahili and Burmese."""


def read_scale(text: str, start: int, end: int, letters: bool) -> Scale:
    """The scale of the number at ``start`` to ``end`` of ``text``.

    ``letters``: k, M and their like may be scales; in formulas they are variables.
    """
    power = 0
    for _ in range(3):  # "hundred thousand", "mil millones", "แสนล้าน"
        if word := _WORD.match(text, end):
            name = word[1].casefold()
            more = 3 if name == "mil" and _MILLIONS_BEHIND.match(text, word.end()) else _WORDS.get(name)
            stop = word.end() - (word[0][-1] == "." and not _abbreviated(name))
        elif south := _SOUTH_SCALE.match(text, end):
            more, stop = _SOUTH[south[1]], south.end()
        elif east := _EAST_SCALE.match(text, end):
            more, stop = sum(_EAST[char] for char in east[0].strip()), east.end()
        else:
            break
        if more is None:
            return stop, None
        power, end = power + more, stop
    if (_EAST_MORE if power else _EAST_UNCLEAR).match(text, end):
        return end, None
    if power or not letters:
        return end, power
    return _letter(text, start, end)


def _letter(text: str, start: int, end: int) -> Scale:
    """5 m are metres, 5 M is a concentration and 300 K a temperature; $5M and 12k are sums."""
    found = _MONEY_LETTER.match(text, end)
    if found and (
        _MONEY_BEFORE.search(text[max(0, start - 6) : start]) or re.match(rf"\s?{_MONEY}", text[found.end() :][:12])
    ):
        return found.end(), _POWERS.get(found[1].lower())
    if _SPACED_K.match(text, end):
        return end, None
    if letter := _SCALE_LETTER.match(text, end):
        if letter[1] in "kK":
            return letter.end(), None if _RUN.match(text, letter.end()) else 3
        return letter.end(), _POWERS[letter[1].lower()] if _MANY.match(text, letter.end()) else None
    return end, 0


def _abbreviated(name: str) -> bool:
    return name in ("mio", "mrd", "mln", "mld", "тыс", "млн", "млрд", "tys")


def ends_in_east_scale(text: str) -> bool:
    """Whether ``text`` ends in a Chinese, Japanese or Korean scale, which smaller parts may follow: 3万5000."""
    return text[-1:] in _EAST

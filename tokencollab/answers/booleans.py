"""Yes or no: as a word, or as a claim that something is true; under a negation that leaves it open, neither."""

import re
from typing import Final

from tokencollab.answers.final import IN_DOUBT, is_said, sentences
from tokencollab.answers.markup import strip_markup

_YES: Final = (
    "yes|true|correct|right|да|верно|правда|sí|verdadero|cierto|correcto|oui|vrai|ja|wahr|richtig|sim|verdadeiro|certo|"
    "vero|evet|ndiyo"
)
_NO: Final = (
    "no|false|incorrect|wrong|untrue|нет|неверно|ложь|falso|incorrecto|non|faux|nein|falsch|não|errado|hayır|hapana"
)
# Longest first; what is written without spaces ends where a particle or no letter follows.
_NO_UNSPACED: Final = (
    "正しくありません|ではありません|違います|不正确|不正確|不成立|错误|錯誤|不是|不对|不對|否|错|錯|假|いいえ|間違い|誤り|"
    "正しくない|偽|아니요|아니오|거짓|틀렸|ไม่ใช่|ไม่"
)
_YES_UNSPACED: Final = "没错|正确|正確|成立|是的|是|对|對|真|はい|正しい|ええ|네|예|참|맞|ใช่"
_BOUNDARY: Final = r"(?=$|\W|的|です|ます|だ|である|입니다|습니다|다|아요)"
_VALUE: Final = (
    rf"(?:(?<![^\W_])(?P<not>not\s+|n't\s+)?(?:(?P<no>{_NO})|(?P<yes>{_YES}))(?![^\W_])"
    rf"|(?P<no_>{_NO_UNSPACED}){_BOUNDARY}|(?P<yes_>{_YES_UNSPACED}){_BOUNDARY})"
)
_WORD: Final = re.compile(_VALUE, re.IGNORECASE)
_EITHER: Final = re.compile(
    rf"\W*(?:\bor\b|\band\b|\bund\b|\bet\b|/|\||\boder\b|\bou\b|\bo\b|\bили\b|还是|或|または|か)\W*(?:{_NO}|{_YES}|{_NO_UNSPACED}|{_YES_UNSPACED})",
    re.IGNORECASE,
)
"""Behind a word: the other one as well, as in a question that is repeated."""

_ADVERBS: Final = (
    r"(?:(?!(?:part|hard|rare|scarce|bare|near|possib|seeming|alleged|supposed|on|necessari|mere)ly\b|partially\b)"
    r"(?:therefore|thus|hence|indeed|also|in fact|at all|\w+ly)\s+)?"
)
_CLAIM: Final = re.compile(
    r"\b(?:(?:is|are|was|were|seems|must\s+be)(?P<nt>n't)?|(?:it|that|this|answer|statement)['’]s)\s+"
    rf"{_ADVERBS}(?P<not>not\s+|by\s+no\s+means\s+|far\s+from\s+|never\s+)?{_ADVERBS}"
    r"\(?(?:(?P<no>false|incorrect|wrong|untrue)|(?P<yes>true|correct|right))\b",
    re.IGNORECASE,
)
_CLAIM_ABROAD: Final = re.compile(
    r"(?P<denied>\b(?:no|não|non)\s+)?\b(?:aussage|behauptung|das|dies|affirmation|énoncé|c['’]est|ce|cela|afirmación|afirmação|declaración|esto|isso|es|é|это|"
    r"утверждение)\b[^.,;]{0,40}?(?P<not>\b(?:nicht|pas|no|não|не)\s+)?\b(?:(?P<no>falsch|faux|fausse|fals[oa]|incorrect[oa]|"
    r"неверно|ложно|ложь)|(?P<yes>richtig|wahr|korrekt|vraie?|verdader[oa]|ciert[oa]|correct[oa]|corret[oa]|верно|правда))\W*$"
    rf"|(?:[这此该這該]|说法|陈述|命题|观点|判断|结论|表述|主张|記述|文|진술|주장|문장)[^，。,.]{{0,12}}?(?P<not_>不是|并非)?(?:(?P<no_>{_NO_UNSPACED})|(?P<yes_>{_YES_UNSPACED}))"
    r"(?:的|です|입니다|습니다|다)?\W*$",
    re.IGNORECASE,
)
_DOUBT_ABROAD: Final = re.compile(
    r"是否|是不是|不知道|不一定|未必|可能|怀疑|没有|并未|不能|不认为|不相信|不觉得|vielleicht|\bob\b|zweif|glaube\s+nicht|peut|doute|"
    r"crois\s+pas|quizá|dud[ao]|talvez|duvid|может|сомнева|думаю|かどうか|아닌지",
    re.IGNORECASE,
)
_SUBJECT: Final = re.compile(
    r"\b(?:answer|statement|claim|sentence|proposition|assertion|passage|it|this|that|which)\b[^.]{0,80}$",
    re.IGNORECASE,
)
_OPENING: Final = re.compile(
    r"^\W*(?:answer\s*[:：]\W*)?"
    r"(?:(?:so|thus|therefore|hence|in conclusion|in short|finally|also|daher|donc|因此|所以|したがって)\W+)?"
    rf"(?:(?P<no>{_NO})(?:\W*$|\s*[,.;:!，。()\]—–-]|\s+(?:it|they|he|she|this|that|we|you|the|there|because|since|as)\b)"
    rf"|(?P<yes>{_YES})(?:(?<!true)(?<!correct)(?<!right)(?![^\W_])|\W*$|\s*[,.;:!，。)\]—–-]|"
    r"\s+(?:it|they|he|she|this|that|we|you|because|since|as)\b)|not\s+(?P<untrue>true|correct|right)\b|not\s+(?P<unfalse>false|wrong|incorrect)\b"
    rf"|(?P<no_>{_NO_UNSPACED}){_BOUNDARY}|(?P<yes_>{_YES_UNSPACED}){_BOUNDARY})",
    re.IGNORECASE,
)


_CORRECTED: Final = re.compile(
    rf"[,.…;—–-]\s*(?:(?:wait|actually|so|or|well|rather|sorry)\W+)*(?:(?P<no>{_NO})|(?P<yes>{_YES}))\W*$",
    re.IGNORECASE,
)
"""The end of a sentence that begins with yes or no: "No, wait, yes"."""


def read_boolean(content: str, first: bool) -> str | None:
    """``yes`` or ``no``, from a statement's first such word."""
    text = strip_markup(content)
    found = _WORD.search(text)
    if found is None or (first and re.search(r"\w", text[: found.start()])):
        return None
    if _EITHER.match(text, found.end()) or not is_said(text[: found.start()]):
        return IN_DOUBT
    return _yes_or_no(found)


def last_boolean(text: str) -> str | None:
    """Yes or no of a text that states none: its last sentence that begins with one, or says that a claim is true."""
    for sentence in reversed(sentences(strip_markup(text))):
        if opening := _OPENING.search(sentence):
            value, corrected = _yes_or_no(opening), _CORRECTED.search(sentence, opening.end() - 1)
            either = _EITHER.match(sentence, opening.end()) or (corrected and _yes_or_no(corrected) != value)
            return None if either else value
        if claims := [
            found
            for found in _CLAIM.finditer(sentence)
            if _SUBJECT.search(sentence, max(0, found.start() - 100), found.end())
        ]:
            return _claimed(sentence, claims)
        if (abroad := _CLAIM_ABROAD.search(sentence)) and not _DOUBT_ABROAD.search(sentence):
            return _yes_or_no(abroad)
    return None


def _claimed(sentence: str, claims: list[re.Match[str]]) -> str | None:
    """What the claims of a sentence come to; None: it doubts them, or they say different things."""
    if not is_said(sentence[: claims[0].start()]):
        return None
    values = [_yes_or_no(found) for found in claims]
    if len(values) == 2:
        between = sentence[claims[0].end() : claims[1].start()]
        if not between.strip() or (re.match(r"\s*that\b", between) and is_said(between)):
            return "yes" if values[0] == values[1] else "no"  # the claim that it is true is false
    return values[0] if len(set(values)) == 1 else None


def _yes_or_no(found: re.Match[str]) -> str:
    given = found.groupdict()
    negated = sum(bool(given.get(name)) for name in ("not", "not_", "nt", "denied")) % 2 == 1
    positive = bool(given.get("yes") or given.get("yes_") or given.get("unfalse"))
    return "yes" if positive != negated else "no"

"""The letter of a choice: stated, concluded ("so D is correct", 故选D), or alone; never one that is ruled out."""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from tokencollab.answers.final import CONDITION, IN_DOUBT, is_said, sentences
from tokencollab.answers.markup import normal_text, strip_markup
from tokencollab.answers.scales import LETTER

_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# A letter of a script with spaces between words makes a capital beside it a part of a word.
_LONE: Final = rf"(?<!{LETTER})(?<!{LETTER}['’])(?-i:[A-Z])(?!{LETTER}|['’]\w|[+-])"
_LETTER: Final = rf"(?:[(\[{{（]\s*[A-Za-z]\s*[)\]}}）]|{_LONE})"

_TITLE: Final = re.compile(r"\b(?:Mrs?|Ms|Mx|Dr|Prof|St|Rev|Hr|Fr|Sra?|Mme|Mlle)\.?\s*$")  # Mr. B
_ENCLOSED: Final = re.compile(r"(?<!\b\w)[(\[{（]\s*([A-Za-z])\s*[)\]}）]")
_ROMAN: Final = re.compile(r"\((?:ii|iii|iv)\)")  # beside it (i) is a number
_STANDING: Final = re.compile(rf"({_LONE})")
_LOWER: Final = re.compile(r"([a-z])\s*(?:[).:]|$)")
_LINE: Final = re.compile(r"^\W*([A-Z])\s*(?:[).:、．]|,\s?(?=[^\x00-\x7f])|$)")
_LABELS: Final = re.compile(r"(?<!\S)([A-Z])[).](?=\s)")
_LABEL: Final = re.compile(r"\s*[).:：、．]")
_MARKED_RIGHT: Final = re.compile(
    r"[:：—–-]\s*(?:correct|right|true|✓|✔|✅|正确|richtig|vrai|verdadero)\W*$|[✓✔✅]", re.IGNORECASE
)
_PREFACE: Final = re.compile(r"^\W*(?:(?:the|option|choice|letter|answer|is|选项|选择|选)\W*)*", re.IGNORECASE)
_BEHIND_ARTICLE: Final = re.compile(
    r"\s+(?:because|since|as|due|for|given|the|is|was|and|or|but|so|which|that|this|it|they|he|she|we|in|on|by|from|"
    r"with|if|when|while|where|thus|therefore|"
    r"according|based|not|rather|instead|weil|denn|da|car|parce|porque|pois|так|потому)\b"
)
_BEHIND_PRONOUN: Final = re.compile(
    r"\s+(?:because|since|due|given|the|and|or|is|which|it|they|he|she|weil|denn|porque|parce)\b"
)
"""What may follow A or I where it is an option; behind the article and the pronoun something else comes."""

_SEVERAL: Final = re.compile(
    rf"\W*?(?:,|/|&|、|和|或|\bor\b|\band\b|\boder\b|\bund\b|\bou\b|\bet\b|\bo\b|\by\b)\s*(?:option\s+|choice\s+)?{_LETTER}"
    r"(?!\s+[^\W\d_])"
)
_AFTER_ANOTHER: Final = re.compile(rf"{_LETTER}\W{{0,3}}?(?:,|/|&|、|和|或|\bor\b|\band\b|\bund\b|\bet\b)\s*$")

_GOOD: Final = (
    r"(?:correct|right|true|valid|best|accurate|appropriate|most\s+\w+|answer|choice|option|one|match|fit|winner|"
    r"solution)"
)
_KIND: Final = (
    r"(?:option|choice|answer|letter|alternative|statement|选项|選項|选择|選擇|选|選|答案|選択肢|보기|opción|opção|alternativa|"
    r"вариант)"
)
_NO_NAME: Final = (
    r"(?:^|(?<=[^\w\s])\s*|(?<=[^\x00-\x7f])|\b(?:options?|choices?|answers?|letter|alternative|statement|so|thus|hence|"
    r"therefore|then|that|but|and|or|only|because|since|clearly|think|believe|now|first|conclude|say|means|least|case)\s+)"
)
"""What stands before the letter of an option: no noun, as in "vitamin C is"."""
_NO_NOUN: Final = (
    r"(?!\s+(?!(?:because|since|as|due|for|and|or|but|over|rather|not|instead|from|among|given|based|which|with|is|at|"
    r"here|then|so|in|by)\b)\w)"
)
"""Behind the letter that is chosen: no noun, as in "choose B cells"."""
_CONCLUDED: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # So D is the correct answer. Therefore, option D is correct. B seems best.
        rf"{_NO_NAME}(?P<l>{_LETTER})\s*(?:is|must\s+be|would\s+be|should\s+be|will\s+be|has\s+to\s+be|seems?(?:\s+to\s+be)?|looks|"
        rf"appears(?:\s+to\s+be)?|remains|fits)\s+(?:\w+ly\s+|also\s+|thus\s+|therefore\s+|indeed\s+|then\s+)?"
        rf"(?:the\s+|our\s+|my\s+|a\s+)?(?:\w+ly\s+)?{_GOOD}\b",
        # I would go with C. My choice is C. We pick (B). The correct option: D
        rf"\b(?:go(?:ing)?\s+with|choos(?:e|ing)|chose|pick(?:ed|ing)?|select(?:ed|ing)?|opt(?:ing)?\s+for|settle\s+on|"
        rf"take|vote\s+for|lean(?:ing)?\s+towards?|leaves(?:\s+us)?(?:\s+with)?|conclude)\s*:?\s*(?:\w+\s+)?(?:{_KIND}\s*)?(?P<l>{_LETTER}){_NO_NOUN}",
        rf"\b(?:correct|right|best|my|final|our|incorrect|wrong|false|true)\s+(?:statement|option|choice|letter|alternative)\s*(?:is|was|would\s+be|:|：)\s*(?P<l>{_LETTER})",
        rf"\b(?:option|choice|final)\s*[:：]\s*(?P<l>{_LETTER})|答案[】\]]\s*(?P<m>{_LETTER})",
        rf"(?<!anything\s)\b(?:but|sondern|mais|sino|mas|а)\s+(?:rather\s+)?(?:{_KIND}\s*)?(?P<l>{_LETTER})\s*(?:[.!)。]|$)",
        rf"\b(?:option|choice|ans|opción|opção|вариант)\s*[:：.]?\s+(?P<l>{_LETTER})\s*(?:[.!:]|$|\s(?:because|since|as|due)\b)",
        # A because warm air is light. C, not A. B (Paris)
        rf"^\W*(?P<l>{_LONE})\s*(?:,?\s+(?:because|since|due\s+to|for|weil|denn|porque|parce|not|nicht|pas)\b|\s\(|-\s|–\s)",
        rf"(?:\b(?:it|this)(?:\s+is|['’]s|\s+must\s+be|\s+has\s+to\s+be)|\bI(?:\s+would|['’]d)?\s+say|\bleaves?(?:\s+only)?)\s+(?:{_KIND}\s*)?"
        rf"(?P<l>{_LETTER})\s*(?:[.!,;]|$)",
        rf"\b(?:so|thus|therefore|hence|ergo|also|daher|somit|folglich|donc|luego|portanto|logo|quindi|значит)\b[,:]?\s*(?:it\s+is\s+|it's\s+|it\s+must\s+be\s+)?(?:the\s+)?(?:{_KIND}\s*)?(?P<l>{_LETTER})"
        r"\s*(?:[.!)。]|$)",
        # 故选B。 B项正确 正确选项是D 答えはB
        rf"(?:故|应|應|所以|因此|应该|應該|我|只能)[，,]?\s*(?:选择|選擇|选|選)?\s*(?:项|项为)?\s*[:：]?\s*(?P<l>{_LETTER})\s*(?:项|項|选项)?\s*(?:[。.，,]|$)",
        rf"(?:错误|不正确|正确|符合|说法)(?:的)?(?:说法|一项|选项)?\s*[是为]\s*(?P<l>{_LETTER})",
        rf"^\W*(?P<l>{_LETTER})\s*(?:项|項|选项|選項)\W*$",
        rf"(?:选择|選擇|选项|選項|选|選)\s*[:：]?\s*(?P<l>{_LETTER})\s*(?:项|項|选项|選項)?\s*(?:[。.!！]|$)",
        rf"(?:正确|正確|最佳|合适)(?:的)?(?:选项|選項|选择|選擇|答案)?\s*(?:应?[是为為]\s*[:：]?|[:：])\s*(?:选项)?(?P<l>{_LETTER})",
        rf"(?P<l>{_LETTER})\s*(?:项|項|选项|選項)?\s*(?:是|为|為)?\s*(?:正确|正確|对的|對的|最佳|最合适|符合题意|答案|[对對](?=$|\W))",
        rf"(?:答案?|正解|解答|答え)\s*(?:选项?|選|是|为|為|应为|应选|はおそらく|は|:|：)\s*(?:选项?)?(?P<l>{_LETTER})",
        rf"正しい(?:選択肢|答え|もの)?は\s*(?P<l>{_LETTER})",
        rf"(?P<l>{_LETTER})\s*(?:(?:が|は)\s*(?:正しい|正解|適切|答え)|を選)",
        # 정답은 B입니다. B가 정답입니다
        rf"(?:정답|답)\s*(?:은|는|:)\s*(?P<l>{_LETTER})|(?P<m>{_LETTER})\s*(?:이|가|번이)\s*(?:정답|맞|옳|답)",
        # B ist richtig. La opción correcta es la B. Правильный ответ B
        rf"(?P<l>{_LETTER})\s+(?:ist|est|es|é|è)\s+(?:la\s+|le\s+|die\s+|a\s+|o\s+)?(?:richtig|korrekt|correct[oea]?s?|cert[oa]|esatt[oa]|bonne|juste|vrai[es]?|richtige|corret[oa])\b",
        rf"(?:Lösung|Option|opción|opção|alternativa|réponse|respuesta|resposta|risposta|option|вариант|ответ)\s+(?:correcta\s+|correta\s+|correcte\s+|corretta\s+)?"
        rf"(?:ist|est|es|é|è|—|-|:)\s*(?:la\s+|die\s+|a\s+|o\s+|l'option\s+)?(?P<l>{_LETTER})",
        rf"\b(?:wähle|nehme|choisis|prends|elijo|escolho|scelgo|выбираю|lautet|richtig\s+ist|korrekt\s+ist)\s*:?\s*(?P<l>{_LETTER})",
        rf"\balternativa\s+(?P<l>{_LETTER})\s+(?:está|é)\s+(?:cert|corret)[oa]|\b(?:вариант|ответ)\s+(?P<m>{_LETTER})\s+(?:верен|правильный|правилен)",
        rf"(?:правильн\w+|верн\w+)\s+(?:ответ|вариант)\s*(?:[—:-]|это)?\s*(?P<l>{_LETTER})|(?P<m>{_LETTER})\s*(?:[—-]\s*)?(?:верн|правильн)\w*",
    )
)
_CLAUSE_START: Final = re.compile(
    r"[,;:，；：(（]|\.\s|\b(?:so|but|and|hence|thus|therefore|then|which|sondern|mais|sino|mas|also|daher|donc)\b",
    re.IGNORECASE,
)
_SUBORDINATE: Final = re.compile(
    r"^\W*(?:if|suppose|assuming|unless|wenn|falls)\b|(?<=\s)(?:because|since|if|when|where|unless|although|though|while|"
    r"whereas|whether|as|for|weil|wenn|dass|parce)\b[^,]*$",
    re.IGNORECASE,
)
_RIGHT: Final = r"(?:the\s+|an?\s+)?(?:correct|right|true|valid|possible|supported|best|likely|answer|option|choice|it)"
_CLAUSE_END: Final = (
    r"(?=\W*$|\s*[,.;]|\s+(?:because|since|as|so|and|but|for|due|by|either|answer|option|choice|here)\b)"
)
_RULED_OUT_AFTER: Final = re.compile(
    r"(?P<label>\s*[:：.、)）\]]\s*)?\s*(?:项|項|选项|選項|option|choice)?\s*"
    rf"(?:(?P<verb>(?:(?:is|are|was|were|seems?|must\s+be|looks|would\s+be)\s+(?:\w+ly\s+)?(?:wrong|incorrect|false|untrue|out|"
    rf"ruled\s+out|eliminated|impossible|invalid|unlikely|excluded|not\s+{_RIGHT})"
    rf"|(?:is|are|was|were)n['’]t\s+{_RIGHT}|(?:cannot|can['’]t|can\s+not|could\s+not|couldn['’]t)\s+be(?:\s+{_RIGHT})?"
    r"|(?:does|do)(?:\s+not|n['’]t)\s+(?:fit|work|match|apply|hold|follow|make\s+sense)"
    rf"|(?:ist|est|es|é|è)\s+(?:falsch|nicht\s+\w+|faux|fausse|incorrect\w*|errad\w*|sbagliat\w*)|n['’]est\s+pas|no\s+es|não\s+é){_CLAUSE_END}"
    r"|contradicts?\b|is\s+too\b|makes?\s+no\s+sense\b)"
    r"|(?:错误?|錯誤?|不正确|不正確|不对|不對|不符合\w*|不成立|不选|不選|は?(?:誤り|間違い|正しくない)|(?:는|은)?\s*(?:틀\w+|아니\w*)|неверн\w*|неправильн\w*)"
    r"(?=\W|$|的|です|だ)|(?:では|じゃ|で)(?:な|あり)\w*|(?:가|이|는|은)?\s*아[니닙]\w*)",
    re.IGNORECASE,
)
"""Behind a letter: it is not the answer. Behind a label, "B) wrong turn", only a clause says so."""
_RULED_OUT_BEFORE: Final = re.compile(
    r"(?:(?:\bnot|n['’]t|\bcannot|\bnever)(?:\s+(?:be|choose|pick|select|say|think|take|go|with|the|an?|option|choice|answer|it)){0,3}"
    r"|(?:\bnot|n['’]t|\bunlike|\bthan|\bexcept|\brather\s+than|\binstead\s+of|\bwithout|\bnicht|\bnon|\bне|不(?:应该|应|该|能|可|要|会)?[选選](?:择)?|不(?:应该|能|可能|会)?是|并非)"
    r"\s*(?:the\s+)?(?:option|choice|answer)?"
    r"|(?:\beliminat(?:e|es|ed|ing)|\brul(?:e|es|ed|ing)\s+out|\bexclud(?:e|es|ed|ing)|\breject(?:ed|s|ing)?|"
    r"\bdiscard(?:ed|s|ing)?|\bneither|\bnor|排除)\s*(?:the\s+)?(?:options?|choices?|answers?)?\s*"
    r"(?:[(\[]?(?-i:[A-Z])[)\]]?\s*(?:,|and|or|nor|&|、|和)\s*)*)\s*$",
    re.IGNORECASE,
)
_FINAL: Final = re.compile(
    r"\b(?:so|therefore|thus|hence|answer|choose|pick|go with|conclude|final(?:ly)?|actually|wait)\b"
    r"|故|所以|因此|选|選|答",
    re.IGNORECASE,
)


class Conclusion(NamedTuple):
    """A letter that a sentence concludes on; ``final``: the sentence says that it is the answer."""

    start: int
    letter: str
    final: bool


def read_choice(content: str, first: bool, count: int, options: Sequence[str] = ()) -> str | None:
    """The letter that a statement gives, of the first ``count``; else the letter of the option that it spells."""
    text = strip_markup(content)
    if spelled := _spelled(text, options):
        return spelled
    preface = _PREFACE.match(text)
    begin = preface.end() if preface else 0
    if (lower := _LOWER.match(text, begin)) and _allowed(lower[1], count):
        return lower[1].upper()
    hits = [*_ENCLOSED.finditer(text), *_standing(text, options)]
    for found in sorted(hits, key=lambda hit: hit.start()):
        labelled = found.start() <= begin and _LABEL.match(text, found.end())  # what follows is the option's text
        if not _allowed(found[1], count) or (not labelled and _ruled_out(text, found)):
            continue
        if first and found.start() > begin:
            return None
        return IN_DOUBT if _SEVERAL.match(text, found.end()) else found[1].upper()
    return None


def conclusions(text: str, count: int) -> Iterator[Conclusion]:
    """Sentences that conclude on an option without the word for an answer before it, in order."""
    start = 0
    for raw in sentences(text):
        start = text.find(raw, start)
        following = start + len(raw)
        sentence = strip_markup(raw)
        if (sentence + text[following : following + 1]).endswith(("?", "？")):
            sentence = ""
        letters = [
            (at, end, letter)
            for at, end, letter in _concluded(sentence)
            if _allowed(letter, count)
            and not _ruled_out_at(sentence, at, at + len(letter))
            and _is_option(sentence, at, letter)
            and not _SUBORDINATE.search(sentence[:at])
            and not CONDITION.search(sentence[:at])
            and is_said(_CLAUSE_START.split(sentence[:at])[-1])
        ]
        if letters:
            at, end, letter = max(letters, key=lambda entry: entry[0])
            other = _AFTER_ANOTHER.search(sentence[:at])
            beside = other is not None and not _RULED_OUT_BEFORE.search(sentence[: other.start()])
            several = beside or _SEVERAL.match(sentence, end) is not None
            yield Conclusion(start, IN_DOUBT if several else letter, _FINAL.search(sentence) is not None)
        start = following


def _concluded(sentence: str) -> Iterator[tuple[int, int, str]]:
    """Where a sentence may conclude on a letter, and which."""
    for pattern in _CONCLUDED:
        for found in pattern.finditer(sentence):
            for group, written in found.groupdict().items():
                if written:
                    yield *found.span(group), written.strip("()[]{}（） ").upper()


def last_choice(text: str, count: int, options: Sequence[str] = ()) -> str | None:
    """The choice of a text that concludes on none: a letter alone or at a line's head, or the only one in brackets.

    A list of the options, with nothing to say which is right, is no choice.
    """
    if spelled := _spelled(text, options):
        return spelled
    lines = [strip_markup(line).strip() for line in text.splitlines() if line.strip()]
    heads = [found for line in lines if (found := _LINE.match(line)) and _allowed(found[1], count)]
    if len({found[1] for found in heads}) > 1:
        right = [found for found in heads if _MARKED_RIGHT.search(found.string)]
        return right[0][1].upper() if len(right) == 1 else None
    for line in reversed(lines):
        letter = _of_line(line, count, alone=len(lines) == 1)
        if letter is not None:
            return letter or None
    return None


def _of_line(line: str, count: int, alone: bool) -> str | None:
    """The letter of a line by itself; None: it has none; `IN_DOUBT`: it has several."""
    if alone and (whole := re.fullmatch(r"\W*([A-Za-z])\W*", line)) and _allowed(whole[1], count):
        return whole[1].upper()
    hits = () if _ROMAN.search(line) else _ENCLOSED.finditer(line)
    enclosed = [hit for hit in hits if _allowed(hit[1], count)]
    letters = [hit[1].upper() for hit in enclosed if not _ruled_out(line, hit)]
    head = _LINE.match(line)
    if head and _allowed(head[1], count):
        bracket = line[: head.start(1)].strip() != ""
        if len(labels := {found[1] for found in _LABELS.finditer(line)}) > 1 and "".join(sorted(labels)) in _LETTERS:
            return IN_DOUBT
        if bracket and len(letters) > 1 and "".join(letters) in _LETTERS:  # the options, one behind the other
            return IN_DOUBT
        return None if bracket and _ruled_out(line, head) else head[1].upper()
    if not letters or line.endswith(("?", "？")):
        return None
    return IN_DOUBT if len(set(letters)) > 1 or _AFTER_ANOTHER.search(line[: enclosed[-1].start()]) else letters[0]


def _standing(text: str, options: Sequence[str]) -> Iterator[re.Match[str]]:
    """Capital letters by themselves, without those that are the article or the pronoun."""
    for found in _STANDING.finditer(text):
        if _is_option(text, found.start(), found[1]) or _spells(text[found.end() :], found[1], options):
            yield found


def _is_option(text: str, at: int, letter: str) -> bool:
    if _TITLE.search(text[max(0, at - 8) : at]):
        return False
    if letter not in "AI" or not re.match(rf"\s+(?!\d){LETTER}", text[at + 1 : at + 50]):
        return True
    behind = _BEHIND_ARTICLE if letter == "A" else _BEHIND_PRONOUN
    return behind.match(text, at + 1) is not None


def _spells(behind: str, letter: str, options: Sequence[str]) -> bool:
    """Whether the text of the option follows its letter."""
    index = _LETTERS.index(letter)
    option = normal_text(options[index]) if index < len(options) else ""
    said = normal_text(behind)
    # A sentence of the option is enough.
    return bool(option) and (said.startswith(option) or (len(said) > 12 and option.startswith(said)))


def _ruled_out(text: str, found: re.Match[str]) -> bool:
    return _ruled_out_at(text, found.start(), found.end())


def _ruled_out_at(text: str, start: int, end: int) -> bool:
    behind = _RULED_OUT_AFTER.match(text, end)
    if behind and (behind["verb"] or not (behind["label"] or text[end - 1] in ")]}）")):
        return True
    return _RULED_OUT_BEFORE.search(text[max(0, start - 60) : start].rstrip("([{（ ")) is not None


def _allowed(letter: str, count: int) -> bool:
    return letter.upper() in _LETTERS[:count]


def _spelled(text: str, options: Sequence[str]) -> str | None:
    said = normal_text(text)
    equal = [letter for letter, option in zip(_LETTERS, options, strict=False) if normal_text(option) == said != ""]
    return equal[0] if len(equal) == 1 else None

"""The items of an evaluation, and how they are read from rows.

A row is one object: ``{"id", "question", "choices", "answer", "context"}``. Multiple choice: ``choices`` is a
list and ``answer`` a letter; else ``choices`` is null and ``answer`` a text. ``context`` is a passage or null.

The answer is what an answer of a model is compared with, so it must be one itself: no solution, nothing that cannot be
read as an answer of its kind. Of a text with ``####`` (GSM8K's form) what stands behind it is the answer.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tokencollab.errors import UsageError
from tokencollab.protocol.values import half_character

SIMPLEMATH = "simplemath"
MOST_WORDS = 12
"""An answer with more of them is a solution or a sentence."""
_WORD = re.compile(r"[^\W\d_]{2,}")
_SOLUTION = re.compile(
    r"<<|(?:^|\s)[\d\s.,()$+*/×·÷-]*\d\s*[+*/×·÷-][\d\s.,()$+*/×·÷-]*=\s*[-$]*\d"  # 3 + 4 = 7
    r"|\b(?:therefore|thus|hence|because)\b|所以|因此|因为|したがって|따라서|[^\W_]{4,}[.!?]\s+[A-ZА-Я]|[。！？]\s*[^\W_]",
    re.IGNORECASE,
)
"""A worked computation, a conclusion or two sentences. An equation with unknowns may be an answer."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Item:
    """One question. ``choices`` None: an open answer."""

    id: str
    question: str
    answer: str
    choices: tuple[str, ...] | None = None
    context: str | None = None


def read_rows(rows: Iterable[tuple[str, object]], source: str) -> list[Item]:
    """Rows of the form above, each with its place ("line 3"), as items.

    Raises:
        UsageError: an invalid row, or an id that occurs twice; with the place.
    """
    items: dict[str, Item] = {}
    for place, row in rows:
        try:
            item = _item(row)
        except ValueError as error:
            raise UsageError(f"{source}, {place}: {error}") from None
        if item.id in items:
            raise UsageError(f"{source}, {place}: the id {item.id!r} occurs twice")
        items[item.id] = item
    if not items:
        raise UsageError(f"{source} has no items")
    return list(items.values())


def _item(row: object) -> Item:
    if not isinstance(row, Mapping):
        raise ValueError("not an object")
    texts = {}
    for field in ("id", "question", "answer"):
        value = row.get(field)
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{field} must be a text")
        texts[field] = value
    choices, context = row.get("choices"), row.get("context")
    if not (context is None or isinstance(context, str)):
        raise ValueError("context must be a text or null")
    if choices is not None:
        texts_only = isinstance(choices, list) and all(isinstance(choice, str) for choice in choices)
        if not texts_only or not 2 <= len(choices) <= len(LETTERS):
            raise ValueError("choices must be a list of 2 to 26 texts, or null")
        if texts["answer"] not in LETTERS[: len(choices)]:
            raise ValueError(f"the answer must be a letter from A to {LETTERS[len(choices) - 1]}")
        choices = tuple(choices)
    if half_character("".join([*texts.values(), *(choices or ()), context or ""])) is not None:
        raise ValueError("contains a lone surrogate")
    item = Item(texts["id"], texts["question"], texts["answer"].rpartition("####")[2].strip(), choices, context)
    _check_answer(item)
    return item


def kind_of(item: Item) -> str:
    """The kind of answer, as of `answers.extract`, by what the right one looks like."""
    from tokencollab.answers import canonical  # noqa: PLC0415
    from tokencollab.answers.dates import is_date  # noqa: PLC0415

    if item.choices is not None:
        return f"choice:{len(item.choices)}"
    if item.answer.strip().rstrip(".!").lower() in ("yes", "no", "true", "false"):
        return "boolean"
    bare = item.answer.replace(",", "").strip()
    if bare.lstrip("+-").replace(".", "", 1).replace("/", "", 1).isdigit():
        # 1,2,3 is a list
        return "number" if "," not in item.answer or canonical(item.answer, "number") is not None else "math"
    return "date" if is_date(item.answer) else "math"


def _check_answer(item: Item) -> None:
    """Raises `ValueError`: no answer of a model could ever be the same. The letter of a choice is one already."""
    from tokencollab.answers import canonical, extract  # noqa: PLC0415

    if item.choices is not None:
        return
    answer, kind = item.answer, kind_of(item)
    words = len(_WORD.findall(answer))
    table = "\\begin{" in answer
    if ("\n" in answer.strip() and not table) or (words > MOST_WORDS and "\\" not in answer):
        raise ValueError(
            f"the answer is a whole text of {words} words, which no model will repeat; give the final "
            "answer alone, or the solution and behind it #### and the answer"
        )
    value = canonical(answer, kind)
    if value is None or re.fullmatch(r"[\x00-/:-@\[-`{-\x7f]*", answer):
        raise ValueError(f"the answer {answer!r} cannot be read as an answer (of the kind {kind})")
    if _SOLUTION.search(answer) or value not in (
        extract(f"The answer is {answer}.", kind),
        extract(f"\\boxed{{{answer}}}", kind),
    ):
        raise ValueError(f"the answer {answer!r} has more in it than an answer; give the final answer alone")

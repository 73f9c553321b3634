"""The items of an evaluation: questions, each with the answer that models are compared with.

The answer is what an answer of a model is compared with, so it must be one itself: no solution, nothing that cannot be
read as an answer of its kind.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
    """One question. ``choices`` None: an open answer; else ``answer`` is a letter.

    ``row``: what it was read from, with every key, for graders. It is no part of the item's identity.
    """

    id: str
    question: str
    answer: str
    choices: tuple[str, ...] | None = None
    context: str | None = None
    row: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)


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


def check_answer(item: Item) -> None:
    """Raises `ValueError`: no answer of a model could ever be the same. The letter of a choice is one already."""
    from tokencollab.answers import canonical, extract  # noqa: PLC0415

    if item.choices is not None:
        return
    answer, kind = item.answer, kind_of(item)
    words = len(_WORD.findall(answer))
    table = "\\begin{" in answer
    if ("\n" in answer.strip() and not table) or (words > MOST_WORDS and "\\" not in answer):
        raise ValueError(
            f"is a whole text of {words} words, which no model will repeat; give the final answer alone, or the "
            "solution and behind it #### and the answer, or grade by --grader MODULE:NAME"
        )
    value = canonical(answer, kind)
    if value is None or re.fullmatch(r"[\x00-/:-@\[-`{-\x7f]*", answer):
        raise ValueError(
            f"{answer!r} cannot be read as an answer (of the kind {kind}); give a number, yes or no, a date or a few "
            "words, or grade by --grader MODULE:NAME"
        )
    if _SOLUTION.search(answer) or value not in (
        extract(f"The answer is {answer}.", kind),
        extract(f"\\boxed{{{answer}}}", kind),
    ):
        raise ValueError(f"{answer!r} has more in it than an answer; give the final answer alone")

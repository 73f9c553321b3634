"""Whether an answer is right: what the text answers, and whether that is what the set says.

Reading is strict about the answer and tolerant about its markup (`tokencollab.answers`). A text from which no answer
can be read is wrong, and is counted apart.
"""

from tokencollab.answers import extract, same
from tokencollab.evaluation.items import Item
from tokencollab.evaluation.prompts import kind_of


def read_answer(item: Item, text: str) -> str | None:
    """What ``text`` answers to ``item``, in canonical form; None: unreadable."""
    return extract(text, kind_of(item), item.choices or ())


def is_right(item: Item, answer: str | None) -> bool:
    """Whether a read answer is the set's."""
    return answer is not None and same(answer, item.answer, kind_of(item))

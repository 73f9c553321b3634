"""The words in which panels and reasoning transfer ask: our own, after the papers'. Plain functions of text."""

from collections.abc import Mapping, Sequence
from typing import Final

from tokencollab.policies.responses.events import Turns
from tokencollab.protocol.messages import ChatMessage

FORMS: Final[Mapping[str, str]] = {
    "number": 'End with one line of the form "The answer is N.", where N is a number.',
    "choice": 'End with one line of the form "The answer is (X).", where X is the letter of the choice.',
    "boolean": 'End with one line of the form "The answer is yes." or "The answer is no."',
    "date": 'End with one line of the form "The answer is MM/DD/YYYY."',
    "math": "End with your final answer in \\boxed{}.",
    "text": 'End with one line of the form "The answer is ...".',
}
"""By kind of answer, how the final answer is asked for; other kinds take their form from the question."""

SHORT: Final = "Give the final answer only, in a few words and without any explanation."
REASON: Final = "Think step by step and write down your reasoning before you answer."
NOTES: Final = "These notes on the question are somebody else's. They may contain mistakes:"


def form_of(kind: str) -> str:
    """The instruction for a kind of answer (`answers.KINDS`)."""
    return FORMS.get(kind.partition(":")[0], "")


def with_question(turns: Turns, *parts: str) -> Turns:
    """``turns`` with the last question followed by ``parts``, a paragraph each, empty ones left out."""
    last = max(index for index, turn in enumerate(turns) if turn.role == "user")
    content = "\n\n".join(part for part in (turns[last].content, *parts) if part)
    return (*turns[:last], ChatMessage("user", content), *turns[last + 1 :])


def with_notes(turns: Turns, notes: str, instruction: str) -> Turns:
    """``turns`` with somebody else's reasoning between the last question and the instruction."""
    return with_question(turns, f"{NOTES}\n\n{notes}" if notes else "", instruction)


def said(utterances: Sequence[tuple[str, str]]) -> str:
    """What others said, each (name, text)."""
    return "\n\n".join(f"{name} said:\n{text.strip()}" for name, text in utterances)

"""What a model is asked, in our own words.

As in the papers the model is told to repeat its final answer at the end in a fixed form, so that it can be read.
"""

from typing import Final, Literal, TypeAlias, get_args

from tokencollab.evaluation.items import LETTERS, SIMPLEMATH, Item, kind_of

PromptName: TypeAlias = Literal["bare", "brief", "restate"]
"""``bare``: the question and nothing else, for models that were trained on just that. ``brief``: the answer only.
``restate``: reasoning, then the answer once more in a fixed form."""

PROMPTS: Final[tuple[PromptName, ...]] = get_args(PromptName)
MAX_TOKENS: Final[dict[PromptName, int]] = {"bare": 96, "brief": 24, "restate": 256}
STOPS: Final[dict[PromptName, tuple[str, ...]]] = {
    "bare": (),
    # A model without a chat template goes on with questions of its own.
    "brief": ("\nQuestion:",),
    "restate": ("\nQuestion:",),
}


_FORMS: Final = {
    "choice": ("the letter of the right option", "<letter>"),
    "boolean": ("yes or no", "<yes or no>"),
    "number": ("a number", "<number>"),
    "date": ("a date", "<date>"),
}


def default_prompt(dataset: str) -> PromptName:
    """The specialists know the bare problem; everything else is asked in words."""
    return "bare" if dataset == SIMPLEMATH else "restate"


def prompt_of(item: Item, name: PromptName) -> str:
    question = _with_material(item)
    what, blank = _FORMS.get(kind_of(item).partition(":")[0], ("as short as it can be written", "<answer>"))
    match name:
        case "bare":
            return question
        case "brief":
            return f"{question}\n\nGive only the answer, {what}, in this form:\nThe answer is {blank}."
        case "restate":
            return (
                f"{question}\n\nThink it through in a few short steps. Then repeat your final answer, {what}, "
                f"in a last line of this form:\nThe answer is {blank}."
            )


def _with_material(item: Item) -> str:
    lines = [item.question.strip()]
    if item.context:
        lines = [f"Read this passage:\n{item.context.strip()}\n", f"By the passage: {lines[0]}"]
    if item.choices is not None:
        lines.append("")
        lines += [f"{letter}. {choice}" for letter, choice in zip(LETTERS, item.choices, strict=False)]
    return "\n".join(lines)

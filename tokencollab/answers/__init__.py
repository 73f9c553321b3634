"""What a text answers, in one form that can be compared: extraction and equality of answers. Pure, standard library.

Strict about the answer and tolerant about its markup: "The answer is **$1,234.50**.", ``#### 1234.5`` and
``\\boxed{\\frac{2469}{2}}`` are one answer, and a text from which none can be read has None.

`reading` is imported when it is first used: its patterns take half a second to compile.
"""

from typing import TYPE_CHECKING, Any

from tokencollab.answers.kinds import KINDS, check_kind

if TYPE_CHECKING:
    from tokencollab.answers.reading import canonical, extract, same

__all__ = ["KINDS", "canonical", "check_kind", "extract", "same"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tokencollab.answers import reading  # noqa: PLC0415

    return getattr(reading, name)

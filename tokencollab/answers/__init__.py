"""What a text answers, in one form that can be compared: extraction and equality of answers. Pure, standard library.

Strict about the answer and tolerant about its markup: "The answer is **$1,234.50**.", ``#### 1234.5`` and
``\\boxed{\\frac{2469}{2}}`` are one answer, and a text from which none can be read has None.
"""

from tokencollab.answers.reading import KINDS, canonical, check_kind, extract, same

__all__ = ["KINDS", "canonical", "check_kind", "extract", "same"]

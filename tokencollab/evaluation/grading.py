"""A grader of the caller's, named by ``module:name``: it says whether a text answers an item."""

from collections.abc import Callable
from dataclasses import dataclass

from tokencollab.errors import RunStopped, UsageError, named
from tokencollab.evaluation.items import Item
from tokencollab.policies.own import find_own, is_own


@dataclass(frozen=True, slots=True)
class Grader:
    """``judge(text, item)`` gets the whole text of an answer, and says whether it is right."""

    name: str
    judge: Callable[[str, Item], bool]

    @classmethod
    def named(cls, name: str) -> "Grader":
        """The grader that ``module:name`` names.

        Raises:
            UsageError: it cannot be imported, or cannot be called.
        """
        judge = find_own(name, "the grader") if is_own(name) else None
        if not callable(judge):
            raise UsageError(
                f"--grader {name}: name a function as MODULE:NAME that takes a text and an item and returns True or "
                "False"
            )
        return cls(name, judge)

    def grade(self, text: str, item: Item) -> bool:
        """Whether ``text`` is right.

        Raises:
            RunStopped: the function fails, or returns something else.
        """
        try:
            right = self.judge(text, item)
        except Exception as error:  # it is somebody's code
            raise RunStopped(f"the grader {self.name} fails at {item.id}: {named(error)}") from error
        if right not in (True, False):  # also of numpy
            raise RunStopped(
                f"the grader {self.name} returned a {type(right).__name__} at {item.id}, not True or False"
            )
        return bool(right)

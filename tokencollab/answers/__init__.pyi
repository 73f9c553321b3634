"""The public names. `__init__.py` imports each when it is first used."""

from .kinds import KINDS, check_kind
from .reading import canonical, extract, same

__all__ = ["KINDS", "canonical", "check_kind", "extract", "same"]

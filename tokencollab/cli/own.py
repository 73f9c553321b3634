"""Aggregations and exits of the caller's, which bring options of their own: imported before the arguments are read."""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tokencollab.errors import UsageError
from tokencollab.policies.aggregations import AGGREGATIONS
from tokencollab.policies.exits import EXITS
from tokencollab.policies.own import find_own, is_own
from tokencollab.policies.parameters import Declarations

_NAMED_BY: Final[Mapping[str, Declarations[Any]]] = {
    "--method": AGGREGATIONS,
    "--aggregation": AGGREGATIONS,
    "--exit": EXITS,
}


def load_own(words: Sequence[str]) -> None:
    """Imports what the options of a command line name by ``module:name``; whatever is imported may be in this folder.

    Raises:
        UsageError: it cannot be imported, or is of another kind.
    """
    if any(re.search(r"\w:[^\W\d]", word) for word in words) and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # behind everything that is installed
    for option, value in _options(words):
        if option == "--plugin":
            _take_either(value)
        elif option in _NAMED_BY and is_own(value):
            _NAMED_BY[option].take(value)


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    for word, following in zip(words, [*words[1:], ""], strict=False):
        option, equals, value = word.partition("=")
        yield option, value if equals else following


def _take_either(path: str) -> None:
    if not is_own(path):
        raise UsageError(f"the plugin {path!r} is not of the form MODULE:CLASS, e.g. examples.own_aggregation:Trimmed")
    found = find_own(path, "the plugin")
    registries: tuple[Declarations[Any], ...] = (AGGREGATIONS, EXITS)
    for registry in registries:
        if isinstance(found, type) and issubclass(found, registry.base):
            registry.take(path)
            return
    raise UsageError(f"the plugin {path} is neither an Aggregation nor an Exit")

"""Code of the caller's, named by ``module:name`` wherever the name of a method, a data set or the like is taken.

Naming it in a call or on the command line runs it: the module is imported. What a file says (a trace, a journal) is
not enough for that.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final, TypeGuard

from tokencollab.errors import TokencollabError, UsageError, named

_FORM: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*")


def is_own(name: object) -> TypeGuard[str]:
    """Whether ``name`` has the form ``module:name``, such as ``mypackage.voting:Trimmed``."""
    return isinstance(name, str) and _FORM.fullmatch(name) is not None


def find_own(name: str, what: str) -> Any:
    """The object that ``module:name`` names.

    Args:
        name: of the form of `is_own`.
        what: it should be, for the message.

    Raises:
        UsageError: the module cannot be imported, or has no such name.
    """
    module, _, attribute = name.partition(":")
    try:
        found = import_module(module)
    except (Exception, SystemExit) as error:  # it is somebody's code
        raise UsageError(
            f"{what} {name} cannot be imported: {named(error)}; the module must be installed, or stand in the current "
            "directory"
        ) from error
    try:
        return getattr(found, attribute)
    except AttributeError:
        raise UsageError(f"{what} {name}: the module has no {attribute}") from None


def is_ours(part: object) -> bool:
    """Whether a part of a method comes with tokencollab."""
    return type(part).__module__.startswith("tokencollab.")


@contextmanager
def calling(what: str, called: object) -> Iterator[None]:
    """A block that calls ``called``, an aggregation or an exit, which may be somebody's code.

    Raises:
        UsageError: what such code raises, in one line with its place.
    """
    try:
        yield
    except TokencollabError:
        raise
    except Exception as error:
        if is_ours(called):
            raise
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        place = "" if frame is None else f" ({frame.tb_frame.f_code.co_filename}, line {frame.tb_lineno})"
        raise UsageError(f"the {what} {type(called).__name__} fails: {named(error)}{place}") from error

"""JSON that somebody else wrote: one reader for every file, strict where readers differ."""

import json
from collections import Counter
from typing import Any, Final, NoReturn

from tokencollab.protocol.values import half_character

DEEPEST: Final = 100
"""Levels of objects and lists. Deeper, some reader or writer of JSON fails, depending on where it is called."""


class NotJson(ValueError):
    """A text that is not taken as JSON; one line says why."""


def read_json(data: str | bytes) -> Any:
    """The value of a JSON text, which may begin with a byte order mark. It can be written as JSON again.

    Raises:
        NotJson: not UTF-8, not JSON, a key that occurs twice in an object, a number that no float holds, half a
            character (a lone surrogate), or nested deeper than `DEEPEST`.
    """
    try:
        text = (data.decode("utf-8") if isinstance(data, bytes) else data).removeprefix("\ufeff")
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_each_once)
    except NotJson:
        raise
    except UnicodeDecodeError:
        raise NotJson("not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise NotJson(f"not JSON: {error.msg} at column {error.colno}") from None
    except ValueError:  # Python reads no whole number of more than 4,300 digits
        raise NotJson("not JSON: a number has too many digits") from None
    except RecursionError:
        raise NotJson("not JSON: nested too deep") from None
    if text.count("[") + text.count("{") > DEEPEST and _depth_exceeds(value, DEEPEST):
        raise NotJson("not JSON: nested too deep")
    if half_character(text) is not None or ("\\u" in text and _has_half(value)):
        raise NotJson("contains a lone surrogate")
    return value


def _depth_exceeds(value: object, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _has_half(value: object) -> bool:
    return half_character(json.dumps(value, ensure_ascii=False)) is not None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise NotJson(f"the key {json.dumps(twice[:60])} occurs twice in one object")
    return content


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise NotJson(f"not JSON: {text[:40]} is out of range")
    return value


def _no_constant(name: str) -> NoReturn:
    raise NotJson(f"not JSON: {name} is no number of JSON")

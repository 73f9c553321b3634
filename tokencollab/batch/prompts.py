"""The lines of a prompts file. A bad line is told apart from the good ones and disturbs none of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from tokencollab.actors.prompt import read_prompt
from tokencollab.actors.request import LONGEST, is_max_seconds
from tokencollab.errors import UsageError
from tokencollab.protocol.checksums import CHECKSUM
from tokencollab.protocol.json_text import NotJson, read_json
from tokencollab.protocol.messages import ChatMessage
from tokencollab.protocol.seeds import derive_seed

Id: TypeAlias = str | int | float

RESERVED: Final = ("line", "answer", "error", CHECKSUM)
"""Keys of an answer line, which a prompt line cannot carry through."""


@dataclass(frozen=True, slots=True)
class PromptDefaults:
    """What holds for every line that says nothing of its own."""

    system: str | None = None
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    seed: int = 0
    max_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class PromptLine:
    """A question of the file.

    Attributes:
        number: of the line, from 1 on.
        id: its ``id``, else its number.
        carried: every key that says nothing about the question, unchanged.
    """

    number: int
    id: Id
    messages: tuple[ChatMessage, ...]
    max_tokens: int
    stop: tuple[str, ...]
    seed: int
    carried: Mapping[str, Any]
    max_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that asks nothing, and why."""

    number: int
    reason: str


def read_prompts(data: bytes, settings: PromptDefaults) -> tuple[list[PromptLine], list[BadLine]]:
    """The lines of a file (JSON Lines, UTF-8; empty lines mean nothing), and those that cannot be used.

    Ids are unique: a line whose id an earlier one has is bad.
    """
    good: list[PromptLine] = []
    bad: list[BadLine] = []
    seen: dict[Id, int] = {}
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not raw.strip():
            continue
        try:
            line = _read_line(number, raw, settings)
            if line.id in seen:
                raise UsageError(f"the id {json.dumps(line.id, ensure_ascii=False)} is that of line {seen[line.id]}")
        except UsageError as error:
            bad.append(BadLine(number, str(error)))
        else:
            seen[line.id] = number
            good.append(line)
    return good, bad


def _read_line(number: int, raw: bytes, settings: PromptDefaults) -> PromptLine:
    fields = _object(raw)
    for key in RESERVED:
        if key in fields:
            raise UsageError(f'the key "{key}" is one of the answer\'s own: name it otherwise')
    name = fields.pop("id", number)
    if not isinstance(name, str | int | float) or isinstance(name, bool):
        raise UsageError("an id is a text or a number")
    messages = _messages(fields, settings.system)
    max_tokens = fields.pop("max_tokens", settings.max_tokens)
    if not _whole(max_tokens, 1):
        raise UsageError("max_tokens is a whole number from 1 on")
    stop = fields.pop("stop", list(settings.stop))
    stop = [stop] if isinstance(stop, str) else stop
    if not isinstance(stop, list) or not all(isinstance(text, str) and text for text in stop):
        raise UsageError("stop is a text or a list of texts, none of them empty")
    seed = fields.pop("seed", None)
    if seed is None:
        seed = derive_seed(settings.seed, name)  # of nothing else: order and company change no answer
    elif not _whole(seed, 0):
        raise UsageError("seed is a whole number from 0 to 2**53 - 1")
    max_seconds = fields.pop("max_seconds", settings.max_seconds)
    if max_seconds is not None and not is_max_seconds(max_seconds):
        raise UsageError(f"max_seconds is a number above 0, at most {LONGEST:g}")
    return PromptLine(number, name, messages, max_tokens, tuple(stop), seed, fields, max_seconds)


def _object(raw: bytes) -> dict[str, Any]:
    """The JSON object of a line, known to be writable as JSON again."""
    try:
        fields = read_json(raw)
    except NotJson as error:
        raise UsageError(str(error)) from None
    if not isinstance(fields, dict):
        raise UsageError('not an object such as {"prompt": "..."}')
    return fields


def _messages(fields: dict[str, Any], system: str | None) -> tuple[ChatMessage, ...]:
    """Takes the question out of ``fields``. A system message of the line's own takes the place of the run's."""
    if ("prompt" in fields) == ("messages" in fields):
        raise UsageError('one of "prompt" and "messages" is needed' + ", not both" * ("prompt" in fields))
    own = fields.pop("system", None)
    if own is not None and not isinstance(own, str):
        raise UsageError("system is a text")
    if "prompt" in fields:
        prompt = fields.pop("prompt")
        if not isinstance(prompt, str):
            raise UsageError("prompt is a text")
        turns: Sequence[Any] = [{"role": "user", "content": prompt}]
    else:
        turns = fields.pop("messages")
        if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
            raise UsageError("messages is a list of messages")
    messages = read_prompt(turns)
    has_system = any(turn.role == "system" for turn in messages)
    if own is not None and has_system:
        raise UsageError("two system messages: one in messages, one in system")
    text = own if own is not None else system
    return messages if has_system or not text else (ChatMessage("system", text), *messages)


def _whole(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value < 1 << 53

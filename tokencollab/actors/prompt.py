"""What a user asks: a question, or a conversation."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from tokencollab.errors import UsageError
from tokencollab.protocol.messages import ChatMessage, ChatRole
from tokencollab.protocol.text import one_line
from tokencollab.protocol.values import half_character

Prompt: TypeAlias = str | Sequence[ChatMessage | Mapping[str, Any]]
"""One user message, or a conversation: `ChatMessage`, or messages as OpenAI's chat has them (docs/python.md)."""

_ROLES: Final[Mapping[str, ChatRole]] = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "user",
}  # fmt: skip


def read_prompt(prompt: Prompt) -> tuple[ChatMessage, ...]:
    """A prompt as messages.

    Raises UsageError: empty, an unknown role, no text, or nothing that a model could answer.
    """
    if isinstance(prompt, Mapping) or not isinstance(prompt, Iterable):
        raise UsageError(f"a prompt is a text or a list of messages, not {type(prompt).__name__}")
    turns: list[ChatMessage] = []
    calls: dict[object, str] = {}  # names of the functions that were called, by the call's id
    for number, turn in enumerate([ChatMessage("user", prompt)] if isinstance(prompt, str) else prompt, 1):
        given = {"role": turn.role, "content": turn.content} if isinstance(turn, ChatMessage) else turn
        try:
            turns.append(_read(given, calls))
        except UsageError as error:
            raise UsageError(str(error) if isinstance(prompt, str) else f"message {number}: {error}") from None
    asked = [turn for turn in turns if turn.role == "user"]
    if not any(turn.content.strip() for turn in asked):
        raise UsageError(
            "the prompt is empty: give a question" if asked or not turns else "no message is of the role user: ask one"
        )
    return tuple(turns)


def _read(turn: object, calls: dict[object, str]) -> ChatMessage:
    if not isinstance(turn, Mapping):
        raise UsageError('a message is {"role": "system" | "user" | "assistant", "content": text}')
    role = turn.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise UsageError(f"unknown role {role!r}; there are {', '.join(_ROLES)}")
    said = turn.get("tool_calls")
    lines = [_call(call, calls) for call in (said if isinstance(said, list | tuple) else ())]
    if role != "assistant" and lines:
        raise UsageError(f"a message of the role {role} has no tool_calls")
    content = turn.get("content")
    if content is None and not lines:
        raise UsageError(f"a message of the role {role} must have a content")
    text = "" if content is None else _text(content)
    if role == "tool":
        name = calls.get(turn.get("tool_call_id"))
        text = f"Result of {name}: {text}" if name else f"Result: {text}"
    return ChatMessage(_ROLES[role], sendable("the prompt", "\n".join(filter(None, (text, *lines))) if lines else text))


def _text(content: object) -> str:
    """The text of a content: of parts, their texts joined."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise UsageError(f"a content is a text or a list of parts, not {type(content).__name__}")
    texts: list[str] = []
    for part in content:
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": str(kind)} if kind != "text":
                raise UsageError(f"a part of the type {one_line(kind)} cannot be read: models here read text alone")
            case _:
                raise UsageError('a part is {"type": "text", "text": text}')
    return "".join(texts)


def _call(call: object, calls: dict[object, str]) -> str:
    """A call of a function, as a model reads it."""
    match call:
        case {"function": {"name": str(name), "arguments": str(arguments)}}:
            if isinstance(number := cast(Mapping[str, object], call).get("id"), str):
                calls[number] = name
            return f"{name}({arguments})"
        case _:
            raise UsageError('a tool call is {"id": text, "function": {"name": text, "arguments": text}}')


def sendable(what: str, text: str) -> str:
    """``text``, which models, traces and journals can take.

    Raises UsageError: it has half a character (a lone surrogate), as of an argument or a file name that is not UTF-8.
    """
    if (at := half_character(text)) is not None:
        raise UsageError(f"{what} contains a lone surrogate at index {at}")
    return text

"""What a user asks: a question, or a conversation."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias, cast

from tokencollab.errors import UsageError
from tokencollab.protocol.messages import ChatMessage, ChatRole
from tokencollab.protocol.values import half_character

Prompt: TypeAlias = str | Sequence[ChatMessage | Mapping[str, str]]
"""One user message, or a conversation: `ChatMessage` or ``{"role": ..., "content": ...}``."""


def read_prompt(prompt: Prompt) -> tuple[ChatMessage, ...]:
    """A prompt as messages.

    Raises UsageError: empty, an unknown role, no text, or nothing that a model could answer.
    """
    if isinstance(prompt, Mapping) or not isinstance(prompt, Iterable):
        raise UsageError(f"a prompt is a text or a list of messages, not {type(prompt).__name__}")
    turns: list[ChatMessage] = []
    for turn in [ChatMessage("user", prompt)] if isinstance(prompt, str) else prompt:
        role: object = None
        content: object = None
        if isinstance(turn, ChatMessage):
            role, content = turn.role, turn.content
        elif isinstance(turn, Mapping):
            role, content = turn.get("role"), turn.get("content")
        if role not in ("system", "user", "assistant") or not isinstance(content, str):
            raise UsageError('a message is {"role": "system" | "user" | "assistant", "content": text}')
        turns.append(ChatMessage(cast(ChatRole, role), sendable("the prompt", content)))
    if not any(turn.content.strip() for turn in turns if turn.role == "user"):
        raise UsageError("the prompt is empty: give a question")
    return tuple(turns)


def sendable(what: str, text: str) -> str:
    """``text``, which models, traces and journals can take.

    Raises UsageError: it has half a character (a lone surrogate), as of an argument or a file name that is not UTF-8.
    """
    if (at := half_character(text)) is not None:
        raise UsageError(f"{what} contains a lone surrogate at index {at}")
    return text

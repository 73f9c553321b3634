"""What a user asks: a question, or a conversation."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

from tokencollab.protocol.errors import UsageError
from tokencollab.protocol.messages import ChatMessage, Role

Prompt: TypeAlias = str | Sequence[ChatMessage | Mapping[str, str]]
"""One user message, or a conversation: `ChatMessage` or ``{"role": ..., "content": ...}``."""


def read_prompt(prompt: Prompt) -> tuple[ChatMessage, ...]:
    """A prompt as messages.

    Raises:
        UsageError: empty, an unknown role, or nothing that a model could answer.
    """
    turns: list[ChatMessage] = []
    for turn in [ChatMessage("user", prompt)] if isinstance(prompt, str) else prompt:
        if isinstance(turn, ChatMessage):
            turns.append(turn)
            continue
        role, content = turn.get("role"), turn.get("content")
        if role not in ("system", "user", "assistant") or not isinstance(content, str):
            raise UsageError('a message is {"role": "system" | "user" | "assistant", "content": text}')
        turns.append(ChatMessage(cast(Role, role), content))
    if not any(turn.content.strip() for turn in turns if turn.role == "user"):
        raise UsageError("the prompt is empty: give a question")
    return tuple(turns)

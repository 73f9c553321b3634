"""The conversation as a model's prompt: its own chat template, or plain text where it has none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokencollab.errors import ModelRefused
from tokencollab.protocol.messages import ChatMessage


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """A rendered conversation.

    ``lead`` is the space that the model may put before the answer, outside the shared text.
    """

    ids: tuple[int, ...]
    lead: bytes


def render(tokenizer: Any, messages: Sequence[ChatMessage]) -> RenderedPrompt:
    """Renders ``messages`` with the model's chat template, or as plain text (``Question: ... Answer:``).

    Where a template knows no system role, the system message goes in front of the first user message. Without messages
    the prompt is the token that texts of this model begin with.

    Raises:
        ModelRefused: the chat template cannot render this conversation.
    """
    if not messages:
        begins = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        if begins is None:
            raise ModelRefused("its tokenizer has no token that a text begins with: give it a conversation")
        return RenderedPrompt((begins,), b"")
    if tokenizer.chat_template:
        text = _templated(tokenizer, messages)
        ids = tokenizer(text, add_special_tokens=False).input_ids
    else:
        text = plain_text(messages)
        ids = tokenizer(text).input_ids
        # A tokenizer that closes every text with [SEP] or </s> must not close one that goes on.
        ends = {tokenizer.eos_token_id, tokenizer.sep_token_id} - {None, tokenizer.bos_token_id}
        while len(ids) > 1 and ids[-1] in ends:
            ids.pop()
    if not ids:
        raise ModelRefused("its tokenizer makes no tokens of this prompt")
    return RenderedPrompt(tuple(ids), b"" if text[-1:].isspace() else b" ")


def _templated(tokenizer: Any, messages: Sequence[ChatMessage]) -> str:
    from jinja2 import TemplateError  # noqa: PLC0415  (comes with transformers)

    def apply(turns: Sequence[ChatMessage]) -> str:
        chat = [{"role": turn.role, "content": turn.content} for turn in turns]
        return str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))

    forms, reason = [messages], ""
    if messages[0].role == "system":
        forms.append(_system_in_first_user(messages))
    for form in forms:
        try:
            text = apply(form)
        except (TemplateError, TypeError) as error:
            reason = str(error)
            continue
        # A template that knows no system role may also leave it out without a word.
        if form is not messages or len(forms) == 1 or messages[0].content.strip() in text:
            return text
    raise ModelRefused(f"its chat template cannot render this conversation ({reason})")


def _system_in_first_user(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    system, *rest = messages
    for index, turn in enumerate(rest):
        if turn.role == "user":
            rest[index] = ChatMessage("user", f"{system.content}\n\n{turn.content}")
            return rest
    return [ChatMessage("user", system.content), *rest]


def plain_text(messages: Sequence[ChatMessage]) -> str:
    """The conversation as plain text, ending where the answer begins."""
    lines = []
    for turn in messages:
        match turn.role:
            case "system":
                lines.append(turn.content + "\n")
            case "user":
                lines.append(f"Question: {turn.content}")
            case "assistant":
                lines.append(f"Answer: {turn.content}\n")
    return "\n".join([*lines, "Answer:"])

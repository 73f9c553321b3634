"""Conversations as prompts: chat templates with and without a system role, plain text, BOS."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from tests.support.tiny import CHAT_TEMPLATE, IGNORES_SYSTEM_TEMPLATE, NO_SYSTEM_TEMPLATE
from tokencollab.engines.text.chat import render
from tokencollab.errors import ModelRefused
from tokencollab.protocol.messages import ChatMessage, Open, Refused

USER = ChatMessage("user", "Why is the sky blue?")
SYSTEM = ChatMessage("system", "Be brief.")
ANSWER = ChatMessage("assistant", "It scatters.")
Tiny = Callable[..., Path]


def rendered(folder: Path, *messages: ChatMessage) -> tuple[str, bytes, list[int], Any]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt = render(tokenizer, messages)
    return tokenizer.decode(prompt.ids), prompt.lead, list(prompt.ids), tokenizer


@pytest.mark.parametrize("bos", [True, False])
def test_with_a_chat_template_as_transformers_does(tiny_model: Tiny, bos: bool) -> None:
    _, lead, ids, tokenizer = rendered(tiny_model("bytes", bos=bos), SYSTEM, USER)
    chat = [{"role": turn.role, "content": turn.content} for turn in (SYSTEM, USER)]
    assert ids == tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    assert ids.count(tokenizer.bos_token_id) == 1  # by the template, never by both
    assert lead == b""


@pytest.mark.parametrize("kind", ["bytes", "llama", "gemma", "unigram"])
def test_without_a_chat_template(tiny_model: Tiny, kind: str) -> None:
    turns = (SYSTEM, USER, ChatMessage("assistant", "It scatters."), ChatMessage("user", "the dog?"))
    _, lead, ids, tokenizer = rendered(tiny_model(kind, chat=False, bos=True), *turns)
    plain = "Be brief.\n\nQuestion: Why is the sky blue?\nAnswer: It scatters.\n\nQuestion: the dog?\nAnswer:"
    assert ids == tokenizer(plain).input_ids
    assert ids[0] == tokenizer.bos_token_id
    assert lead == b" "
    assert tokenizer.decode(ids[-20:]).endswith("wer:")


def test_a_tokenizer_that_closes_texts(tiny_model: Tiny) -> None:
    """The EOS token that it puts behind every text is taken away: the answer follows."""

    def close(tokenizer: Any) -> None:
        tokenizer.post_processor = TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
        )

    _, _, ids, tokenizer = rendered(tiny_model("bytes", chat=False, change=close), USER)
    assert tokenizer(USER.content).input_ids[-1] == 2
    assert ids[0] == 1
    assert ids[-1] != 2


@pytest.mark.parametrize("template", [NO_SYSTEM_TEMPLATE, IGNORES_SYSTEM_TEMPLATE], ids=["refuses", "ignores"])
def test_a_system_message_goes_into_the_user_s_where_the_template_has_none(tiny_model: Tiny, template: str) -> None:
    folder = tiny_model("bytes", chat=template)
    text, _, _, _ = rendered(folder, SYSTEM, USER)
    assert "Be brief.\n\nWhy is the sky blue?" in text
    assert "system" not in text
    assert "Why is the sky blue?" in rendered(folder, USER)[0]
    assert "Be brief." in rendered(folder, SYSTEM)[0]


def test_a_template_that_knows_system_messages_keeps_them(tiny_model: Tiny) -> None:
    text, _, _, _ = rendered(tiny_model("bytes"), SYSTEM, USER)
    assert text.index("system") < text.index("Be brief.") < text.index("user\nWhy")


@pytest.mark.parametrize("messages", [(USER, ANSWER), (SYSTEM, USER, ANSWER, USER)])
def test_a_conversation_that_the_template_refuses(
    tiny_model: Tiny, tiny_engine: Callable[..., Any], messages: tuple[ChatMessage, ...]
) -> None:
    strict = "{% if messages | length > 1 %}{{ raise_exception('roles must alternate') }}{% endif %}" + CHAT_TEMPLATE
    with pytest.raises(ModelRefused, match="alternate"):
        rendered(tiny_model("bytes", chat=strict), *messages)
    reply = tiny_engine("bytes", chat=strict).open(Open("s", messages))
    assert isinstance(reply, Refused)
    assert reply.kind == "ModelRefused"
    assert "alternate" in reply.reason


def test_a_template_without_a_line_break_at_its_end_leaves_room_for_a_space(tiny_model: Tiny) -> None:
    template = CHAT_TEMPLATE.replace("assistant\n", "assistant:")
    assert rendered(tiny_model("bytes", chat=template), USER)[1] == b" "

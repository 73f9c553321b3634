"""Conversations as prompts: chat templates with and without a system role, plain text, BOS."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from tests.support.tiny import CHAT_TEMPLATE, IGNORES_SYSTEM_TEMPLATE, KINDS, NO_SYSTEM_TEMPLATE, TEXT
from tokencollab.engines.options import EngineOptions
from tokencollab.engines.text import chat
from tokencollab.engines.text.chat import render
from tokencollab.engines.text.template_process import TemplateProcess
from tokencollab.engines.transformers_engine import TransformersEngine
from tokencollab.errors import ModelRefused
from tokencollab.protocol.messages import ChatMessage, ContextExhausted, NextCandidates, Open, Opened, Refused

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


PARTS_TEMPLATE = CHAT_TEMPLATE.replace(
    "{{ m['content'] }}",
    "{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}",
)


def test_contents_in_parts_where_the_template_takes_no_others(tiny_model: Tiny) -> None:
    text, _, _, _ = rendered(tiny_model("bytes", chat=PARTS_TEMPLATE), SYSTEM, USER)
    assert text.index("Be brief.") < text.index("user\nWhy is the sky blue?")


@pytest.mark.parametrize("template", ["{{ messages[-1].role }}", "{{ 1 / 0 }}", "{{ 'a' * 3000000000 }}"])
def test_a_template_that_loses_or_cannot_refuses_the_conversation_and_nothing_else(
    tiny_model: Tiny, tiny_engine: Callable[..., Any], template: str
) -> None:
    engine = tiny_engine("bytes", chat=template)
    for _ in range(2):
        reply = engine.open(Open("s", (USER,)))
        assert isinstance(reply, Refused)
        assert (reply.kind, reply.reason.partition(" chat template")[0]) == ("ModelRefused", "bytes-0: its")


def test_a_prompt_that_cannot_fit_is_refused_by_its_bytes(
    tiny_model: Tiny, tiny_engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is rendered or tokenised; what a template takes away does not count."""
    engine = tiny_engine("bytes", context=64)
    longest = max(len(piece) for piece in engine._vocabulary.pieces if piece)
    assert engine._most_bytes == 64 * max(longest, len("<|user|>"))
    long = "x" * engine._most_bytes
    assert isinstance(engine.open(Open("s", (ChatMessage("user", " " * 10**6 + "Why?"),))), Refused)  # by its tokens
    with monkeypatch.context() as patch:
        for module, name in ((TemplateProcess, "render"), (chat.PromptRenderer, "_tokens")):
            patch.setattr(module, name, lambda *_: pytest.fail("neither rendered nor tokenised"))
        for turns in ((ChatMessage("user", long + "x"),), (ChatMessage("system", long), USER)):
            reply = engine.open(Open("s", turns))
            assert isinstance(reply, Refused)
            assert reply.kind == "PromptTooLong"
            assert reply.reason.startswith(
                f"the prompt has {sum(len(turn.content) for turn in turns)} bytes for bytes-0"
            )
        engine._prompts.render(())
    thinking = ChatMessage("assistant", f"<think>{long}</think>Air.")
    reply = engine.open(Open("s", (ChatMessage("user", "Why?"), thinking, ChatMessage("user", "So?"))))
    assert isinstance(reply, Refused)
    assert "tokens" in reply.reason or "characters" in reply.reason


def test_a_text_that_cannot_fit_is_refused_before_it_is_tokenised(tiny_engine: Callable[..., Any]) -> None:
    engine = tiny_engine("bytes", context=64)
    assert isinstance(engine.open(Open("s", (ChatMessage("user", "Why?"),))), Opened)
    far = b"x" * (engine._most_bytes + 1)
    text = engine.pool["s"].text
    (answered,) = engine.next_candidates([NextCandidates("s", 0, far, 5)])
    assert answered.reply == ContextExhausted("s", 0)
    assert text.text == b""
    refused = engine.open(Open("t", (ChatMessage("user", "Why?"),), far))
    assert isinstance(refused, Refused)
    assert refused.kind == "PromptTooLong"


def test_a_long_text_is_counted_in_parts(tiny_engine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_engine("bytes")
    renderer = engine._prompts
    whole = TEXT * 4
    wanted = renderer._ids(whole, False)
    monkeypatch.setattr(chat, "_PART", 100)
    assert renderer._ids(whole, False) == wanted  # exactly, whatever the parts were
    monkeypatch.setattr(renderer, "_context", len(wanted) // 3)
    with pytest.raises(chat.TooLong, match=f"more than {len(wanted) // 3} tokens"):
        renderer._ids(whole, False)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tokenizer_of_prompts_is_that_of_transformers_with_a_vocabulary_that_is_shared(
    tiny_model: Tiny, kind: str
) -> None:
    def saved(tokenizer: Any) -> None:
        tokenizer.enable_truncation(2)
        tokenizer.enable_padding(length=50)

    tokenizer = AutoTokenizer.from_pretrained(tiny_model(kind, bos=True, change=saved))
    backend = chat.PromptRenderer(tokenizer)._backend
    for text in (TEXT, "<|user|>a</s>  b\n\n\n<unk>", ""):
        for special in (False, True):
            (own,) = backend.encode_batch_fast([text], add_special_tokens=special)
            assert own.ids == tokenizer(text, add_special_tokens=special).input_ids


def test_what_a_tokenizer_adds_to_texts_is_bounded(tiny_model: Tiny) -> None:
    def many(tokenizer: Any) -> None:
        tokenizer.post_processor = TemplateProcessing(single="<s> " * 65 + "$A", special_tokens=[("<s>", 1)])

    def twice(tokenizer: Any) -> None:
        tokenizer.post_processor = TemplateProcessing(single="$A $A", special_tokens=[])

    for change, reason in ((many, "65 tokens around a text"), (twice, "2 copies of a text")):
        with pytest.raises(ModelRefused, match=reason):
            rendered(tiny_model("bytes", chat=False, change=change), USER)


def test_a_panic_of_the_tokenizer_is_a_refusal(tiny_model: Tiny) -> None:
    class Panic(BaseException):
        pass

    class Broken:
        def encode_batch_fast(self, *_: Any, **__: Any) -> None:
            raise Panic("index out of bounds\nstack")

    renderer = chat.PromptRenderer(AutoTokenizer.from_pretrained(tiny_model("bytes")))
    renderer._backend = Broken()
    with pytest.raises(ModelRefused, match=r"its tokenizer fails on this prompt \(index out of bounds\)"):
        renderer.render((USER,))


def test_arguments_of_the_template(tiny_model: Tiny) -> None:
    thinks = CHAT_TEMPLATE + "{% if enable_thinking is defined and not enable_thinking %}<no>{% endif %}{{ depth }}"
    folder = tiny_model("bytes", chat=thinks)
    for arguments, end in (({}, "assistant\n"), ({"enable_thinking": False, "depth": 2}, "assistant\n<no>2")):
        engine = TransformersEngine.from_folder("m", folder, EngineOptions(template=arguments))
        assert isinstance(engine.open(Open("s", (USER,))), Opened)
        assert engine._tokenizer.decode(engine.pool["s"].prompt.ids).endswith(end)
    for chat_template, arguments, reason in (
        (
            thinks,
            {"enable_thinkin": 1},
            "m: its chat template has no argument enable_thinkin; it has depth, enable_thinking",
        ),
        (CHAT_TEMPLATE, {"x": 1}, "m: its chat template has no argument x; it has none"),
        (False, {"x": 1}, "m: it has no chat template that x could be given to"),
    ):
        with pytest.raises(ModelRefused, match=f"^{reason}$"):
            TransformersEngine.from_folder(
                "m", tiny_model("bytes", chat=chat_template), EngineOptions(template=arguments)
            )


def test_a_template_without_a_line_break_at_its_end_leaves_room_for_a_space(tiny_model: Tiny) -> None:
    template = CHAT_TEMPLATE.replace("assistant\n", "assistant:")
    assert rendered(tiny_model("bytes", chat=template), USER)[1] == b" "

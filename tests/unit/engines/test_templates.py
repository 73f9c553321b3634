"""What was said is in the prompt, whatever the chat template does, or the conversation is refused."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tests.support.tiny import CHAT_TEMPLATE, IGNORES_SYSTEM_TEMPLATE, NO_SYSTEM_TEMPLATE
from tokencollab.engines.text import template_process
from tokencollab.engines.text.template_process import TemplateProcess
from tokencollab.engines.text.templates import EXTRACT, ChatTurn, NotRendered, needed, render
from tokencollab.errors import ModelRefused
from tokencollab.protocol.messages import ChatMessage

S, S2 = ChatTurn("system", "Be brief."), ChatTurn("system", "Use metric units.")
BOS = {"bos_token": "<s>"}
U, A, U2 = ChatTurn("user", "Why is the sky blue?"), ChatTurn("assistant", "Air."), ChatTurn("user", "user")

_TURN = "{{ '<' ~ m['role'] ~ '>' ~ m['content'] ~ '\n' }}"
_ALL = "{% for m in messages %}" + _TURN + "{% endfor %}<assistant>"
_PARTS = (
    "{% for m in messages %}<{{ m['role'] }}>{% for c in m['content'] %}"
    "{% if c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}<assistant>"
)
_ALTERNATE = (
    "{% for m in messages if m['role'] != 'system' %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}" + _TURN + "{% endfor %}<assistant>"
)
_SYSTEM_FIRST = (
    "{% for m in messages %}{% if m['role'] == 'system' and not loop.first %}"
    "{{ raise_exception('system comes first') }}{% endif %}{% endfor %}" + _ALL
)
_WITH_LAST_USER = (  # as Mistral's
    "{% set first = messages[0]['role'] == 'system' %}{% for m in messages[(1 if first else 0):] %}<{{ m['role'] }}>"
    "{% if loop.last and first %}{{ messages[0]['content'] ~ '\n\n' }}{% endif %}{{ m['content'] }}{% endfor %}"
)
_DROPS_REASONING = _ALL.replace(
    "m['content'] ~", "(m['content'].split('</think>')[-1] if m['role'] == 'assistant' else m['content']) ~"
)
_ONE_SYSTEM = (  # the last of them, in front
    "{% set ns = namespace(system='') %}{% for m in messages if m['role'] == 'system' %}"
    "{% set ns.system = m['content'] %}{% endfor %}{{ ns.system }}"
    + IGNORES_SYSTEM_TEMPLATE.replace("{{ bos_token }}", "")
)
KEEPS = {
    "plain": CHAT_TEMPLATE,
    "all": _ALL,
    "parts": _PARTS,
    "no system": NO_SYSTEM_TEMPLATE,
    "ignores system": IGNORES_SYSTEM_TEMPLATE,
    "ignores system, parts": _PARTS.replace("in messages", "in messages if m['role'] != 'system'"),
    "alternates": _ALTERNATE,
    "system first": _SYSTEM_FIRST,
    "with the last user turn": _WITH_LAST_USER,
    "drops reasoning": _DROPS_REASONING,
    "strips": _ALL.replace("m['content'] ~", "m['content'] | trim ~"),
    "twice": _ALL.replace("m['content'] ~", "m['content'] ~ m['content'] ~"),
    "one system": _ONE_SYSTEM,
}
LOSES = {
    "last only": "{{ messages[-1]['content'] }}",
    "first only": "{{ messages[0]['content'] }}",
    "truncates": _ALL.replace("m['content'] ~", "m['content'][:3] ~"),
    "upper case": _ALL.replace("m['content'] ~", "m['content'] | upper ~"),
    "roles only": _ALL.replace("m['content'] ~", ""),
    "no assistant": _ALL.replace("in messages", "in messages if m['role'] != 'assistant'"),
    "backwards": _ALL.replace("in messages", "in messages | reverse"),
    "escapes": _ALL.replace("m['content'] ~", "m['content'] | e ~"),
    "joins lines": _ALL.replace("m['content'] ~", "m['content'] | replace('\n', ' ') ~"),
    "length": _ALL.replace("m['content'] ~", "m['content'] | length ~"),
    "list as it stands": "{% for m in messages if m['content'] is not string %}" + _TURN + "{% endfor %}",
    "json of parts": "{% for m in messages if m['content'] is not string %}{{ m['content'] | tojson }}{% endfor %}",
    "nothing": "hello",
}
FAILS = {
    "division": "{{ 1 / 0 }}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "undefined": "{{ messages[0].nothing.more }}",
    "key": "{{ {}['x'].y }}",
    "type": "{{ messages + 1 }}",
    "syntax": "{% if %}",
    "filter": "{{ 'x' | nothing }}",
    "raises": "{{ raise_exception('no such conversation') }}",
    "sandbox": "{{ messages.__class__.__mro__ }}",
}


def prompt(template: str, *turns: ChatTurn) -> str:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)

    def refuse(reason: str) -> None:
        raise ValueError(reason)

    environment.globals["raise_exception"] = refuse
    compiled = environment.from_string(template)
    return render(lambda chat: compiled.render(messages=chat, add_generation_prompt=True, **BOS), turns)


def everything_in(text: str, turns: Sequence[ChatTurn]) -> bool:
    return all(needed(turn) in text for turn in turns)


@pytest.mark.parametrize("template", KEEPS.values(), ids=KEEPS)
@pytest.mark.parametrize(
    "turns",
    [
        (U,),
        (S, U),
        (S, S2, U),
        (U, A, U2),
        (S, U, A, U2),
        (U, A, S, U2),
        (U, S, A, U2),
        (U, U2),
        (U, A),
        (U, S),
        (U, A, A),
    ],
    ids=lambda turns: "".join(turn.role[0] for turn in turns),
)
def test_every_message_is_in_the_prompt(template: str, turns: tuple[ChatTurn, ...]) -> None:
    text = prompt(template, *turns)
    position = 0
    for turn in turns:
        assert needed(turn) in text
        if turn.role != "system":
            position = text.index(needed(turn), position) + len(needed(turn))


@pytest.mark.parametrize("template", LOSES.values(), ids=LOSES)
def test_what_a_template_loses_is_refused_by_the_number_of_the_message(template: str) -> None:
    said = (ChatTurn("user", "user & <b>\nWhy?"), ChatTurn("assistant", "Air."), ChatTurn("user", "assistant"))
    with pytest.raises(NotRendered, match=r"leaves out or changes message \d \((user|assistant)\)|in parts"):
        prompt(template, *said)


def test_forms_change_no_more_than_is_needed() -> None:
    assert prompt(_ALL, S, U, U2) == f"<system>{S.content}\n<user>{U.content}\n<user>user\n<assistant>"
    ignores = _ALL.replace("in messages", "in messages if m['role'] != 'system'")
    assert prompt(ignores, S, U, U2) == f"<user>{S.content}\n\n{U.content}\n<user>user\n<assistant>"
    assert prompt(_ALTERNATE, S, U, U2) == f"<user>{S.content}\n\n{U.content}\n\nuser\n<assistant>"
    assert prompt(ignores, U, S, A, U2).startswith(f"<user>{U.content}\n\n{S.content}\n<assistant>Air.")
    assert prompt(_PARTS, S, U) == f"<system>{S.content}<user>{U.content}<assistant>"


def test_messages_that_stand_in_the_template_or_in_one_another_are_looked_for_all_the_same() -> None:
    ignores = _ALL.replace("in messages", "in messages if m['role'] != 'system'")
    text = prompt(ignores, ChatTurn("system", "user"), ChatTurn("user", "the user"))
    assert text == "<user>user\n\nthe user\n<assistant>"
    for said in (ChatTurn("user", "a"), ChatTurn("user", "assistant"), ChatTurn("user", "<user>")):
        with pytest.raises(NotRendered):
            prompt(
                "{% for m in messages[:-1] %}" + _TURN + "{% endfor %}<user>a<assistant>",
                ChatTurn("user", "aa"),
                A,
                said,
            )


def test_empty_messages_and_reasoning_need_not_be_there() -> None:
    thinking = ChatTurn("assistant", "<think>\nIt scatters?\n</think>\n\nAir.")
    assert needed(thinking) == "Air."
    assert needed(ChatTurn("user", thinking.content)) == thinking.content
    assert prompt(_DROPS_REASONING, U, thinking, U2).count("scatters") == 0
    assert prompt(_ALL, U, thinking, U2).count("scatters") == 1
    lost = _DROPS_REASONING.replace("[-1]", "[0]")
    with pytest.raises(NotRendered, match="message 2"):
        prompt(lost, U, thinking, U2)
    trims = _ALL.replace("in messages", "in messages if m['content'] | trim")
    assert prompt(trims, ChatTurn("system", " \n"), U) == f"<user>{U.content}\n<assistant>"


roles = st.sampled_from(["system", "user", "assistant"])
texts = st.text(st.sampled_from("ab \n<>user"), max_size=6) | st.sampled_from(
    ["user", "assistant", "system", "text", "'type'"]
)


@given(
    st.lists(st.builds(ChatTurn, roles, texts), min_size=1, max_size=5),
    st.sampled_from([*KEEPS.values(), *LOSES.values()]),
)
def test_all_is_there_or_the_conversation_is_refused(turns: list[ChatTurn], template: str) -> None:
    must = template in KEEPS.values() and template not in (_ALTERNATE, _WITH_LAST_USER, _ONE_SYSTEM)
    with nullcontext() if must else suppress(NotRendered):
        text = prompt(template, *turns)
        assert everything_in(text, turns)


# ---------------------------------------------------------------- in a process of its own

MESSAGES = (ChatMessage("user", "Why?"),)


def test_the_process_gives_what_transformers_gives() -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    process = TemplateProcess(
        "{{ bos_token }}{{ depth }}{% generation %}{% endgeneration %}" + _ALL, {"depth": 3} | BOS
    )
    for content in ("Why?", "日本 é \ud7ff \x00 \N{GRINNING FACE}" * 1000):
        chat = [{"role": "user", "content": content}]
        (wanted,), _ = render_jinja_template([chat], chat_template=process._template, depth=3, **BOS)
        assert process.render([ChatMessage("user", content)], 1 << 20) == wanted
    assert process.render([ChatMessage("user", "x" * 2000)], 1000) > 2000  # type: ignore[operator]
    assert process.names() == ["bos_token", "depth", "messages"]
    process.close()


@pytest.mark.parametrize("template", FAILS.values(), ids=FAILS)
def test_whatever_a_template_raises_is_a_refusal(template: str, shared: list[TemplateProcess]) -> None:
    shared[0]._template = template  # one process for all of them
    with pytest.raises(ModelRefused, match=r"its chat template cannot render this conversation \(.+\)") as caught:
        shared[0].render(MESSAGES, 1000)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def shared() -> Any:
    process = TemplateProcess("", {})
    yield [process]
    process.close()


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 3000000000 }}",
        "{{ 'a'.center(3000000000) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ ([1] * 1000000000) | length }}",
        "{% set n = namespace(x='aaaa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
        "{{ messages[0]['content'].replace('', 'a' * 100000000).replace('', 'a' * 100000000) }}",
    ],
)
def test_a_template_that_takes_all_memory_is_refused(template: str, shared: list[TemplateProcess]) -> None:
    shared[0]._template = template
    with pytest.raises(ModelRefused, match=r"memory|MiB"):
        shared[0].render(MESSAGES, 1000)


def test_a_template_that_does_not_end_is_ended_and_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    process, other = TemplateProcess(endless, {}, seconds=0), TemplateProcess(_ALL, {})
    refused: list[str] = []

    def ask() -> None:
        with pytest.raises(ModelRefused) as caught:
            process.render(MESSAGES, 1000)
        refused.append(str(caught.value))

    thread = threading.Thread(target=ask)
    thread.start()
    while thread.is_alive():
        assert other.render(MESSAGES, 1000) == "<user>Why?\n<assistant>"
        time.sleep(0.02)
    assert "does not render a conversation within 0 seconds" in refused[0]
    with monkeypatch.context() as patch:  # asked again, it is refused without being tried
        patch.setattr(process, "_connect", lambda: pytest.fail("tried again"))
        ask()
    process._template = _ALL  # the next conversation has a process again
    assert process.render(MESSAGES, 1000) == "<user>Why?\n<assistant>"
    process.close()
    other.close()


def test_processes_come_back_when_they_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    process = TemplateProcess(_ALL, {})
    assert process.render(MESSAGES, 1000)
    os.kill(process._pid, signal.SIGKILL)
    with pytest.raises(ModelRefused):
        process.render(MESSAGES, 1000)
    assert process.render(MESSAGES, 1000)
    process.close()
    maker = template_process._Maker()  # one of this test
    monkeypatch.setattr(template_process, "_maker", maker)
    maker._process = subprocess.Popen(["sleep", "0"])  # the one that makes them has ended
    maker._process.wait()
    assert process.render(MESSAGES, 1000)
    process.close()
    maker.stop()


def test_a_process_that_had_no_work_for_long_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    process = TemplateProcess(_ALL, {})
    clock = 1000.0
    monkeypatch.setattr(template_process, "monotonic", lambda: clock)
    pids = []
    for pause in (0, 29, 31):
        clock += pause
        assert process.render(MESSAGES, 1000)
        pids.append(process._pid)
    assert pids[0] == pids[1] != pids[2]
    process.close()


def test_a_template_may_say_that_it_takes_a_part_of_what_is_said() -> None:
    process = TemplateProcess(EXTRACT + "{{ messages[-1]['content'][:2] }}", {})
    assert process.render((*MESSAGES, ChatMessage("assistant", "Air."), ChatMessage("user", "12+3")), 100) == "12"
    process.close()

"""Messages as OpenAI's chat has them: what each becomes, and what cannot be read."""

from typing import Any

import pytest

from tokencollab.actors.prompt import read_prompt
from tokencollab.errors import UsageError
from tokencollab.protocol.messages import ChatMessage

USER = {"role": "user", "content": "?"}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, ("user", "ab")),
        ({"role": "user", "content": []}, ("user", "")),
        ({"role": "developer", "content": "Be brief."}, ("system", "Be brief.")),
        ({"role": "developer", "content": [{"type": "text", "text": "x"}]}, ("system", "x")),
        ({"role": "assistant", "content": None, "tool_calls": [CALL]}, ("assistant", 'add({"a": 1})')),
        ({"role": "assistant", "tool_calls": [CALL, CALL]}, ("assistant", 'add({"a": 1})\nadd({"a": 1})')),
        ({"role": "assistant", "content": "Wait.", "tool_calls": [CALL]}, ("assistant", 'Wait.\nadd({"a": 1})')),
        ({"role": "assistant", "content": "x", "tool_calls": None, "refusal": None}, ("assistant", "x")),
        ({"role": "tool", "tool_call_id": "c0", "content": "4"}, ("user", "Result: 4")),
    ],
)
def test_what_a_message_becomes(given: Any, read: tuple[str, str]) -> None:
    turn = read_prompt([USER, given])[1]
    assert (turn.role, turn.content) == read


def test_a_result_names_the_function_that_was_called() -> None:
    called = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    turns = read_prompt([USER, called, {"role": "tool", "tool_call_id": "c1", "content": "4"}])
    assert turns[2] == ChatMessage("user", "Result of add: 4")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
            "type image_url cannot be read",
        ),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "type input_audio cannot be read"),
        ({"role": "user", "content": [{"type": "\x1b[2J\n"}]}, "type \ufffd\\[2J cannot be read"),
        ({"role": "user", "content": ["a"]}, 'a part is {"type"'),
        ({"role": "user", "content": [{"type": "text"}]}, 'a part is {"type"'),
        ({"role": "user", "content": 5}, "a text or a list of parts, not int"),
        ({"role": "user", "content": None}, "role user must have a content"),
        ({"role": "assistant"}, "role assistant must have a content"),
        ({"role": "assistant", "content": None, "tool_calls": []}, "role assistant must have a content"),
        ({"role": "assistant", "content": None, "tool_calls": [{"function": 5}]}, "a tool call is"),
        ({"role": "user", "content": "x", "tool_calls": [CALL]}, "role user has no tool_calls"),
        ({"role": "function", "content": "x"}, "unknown role 'function'; there are system, developer"),
        ({"content": "x"}, "unknown role None"),
        ({"role": ["user"], "content": "x"}, r"unknown role \['user'\]"),
        ("x", "a message is"),
    ],
)
def test_what_cannot_be_read_is_one_line_with_the_number_of_the_message(given: Any, said: str) -> None:
    with pytest.raises(UsageError, match=f"message 2: .*{said}") as raised:
        read_prompt([USER, given])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("", "the prompt is empty"),
        ([], "the prompt is empty"),
        ([{"role": "user", "content": " "}], "the prompt is empty"),
        ([{"role": "assistant", "content": "x"}], "no message is of the role user"),
    ],
)
def test_nothing_that_could_be_answered(prompt: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_prompt(prompt)

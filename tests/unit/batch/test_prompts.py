"""What a prompts file may hold, and what becomes of the rest."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokencollab.batch.prompts import Id, PromptDefaults, PromptLine, read_prompts
from tokencollab.protocol.messages import ChatMessage
from tokencollab.protocol.seeds import derive_seed

SETTINGS = PromptDefaults(system="Be brief.", max_tokens=9, stop=("\n",), seed=3)


def read(*lines: Any, settings: PromptDefaults = SETTINGS) -> tuple[list[PromptLine], dict[int, str]]:
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    good, bad = read_prompts(b"\n".join(raw), settings)
    return good, {line.number: line.reason for line in bad}


def test_a_line_says_for_itself_what_it_wants_and_takes_the_rest_from_the_run() -> None:
    (plain, own), bad = read(
        {"prompt": "Why?"},
        {"prompt": "Who?", "id": "q", "system": "", "max_tokens": 2, "stop": "x", "seed": 7, "level": {"a": [1, None]}},
    )
    assert not bad
    assert plain == PromptLine(
        1, 1, (ChatMessage("system", "Be brief."), ChatMessage("user", "Why?")), 9, ("\n",), derive_seed(3, 1), {}
    )
    assert own == PromptLine(2, "q", (ChatMessage("user", "Who?"),), 2, ("x",), 7, {"level": {"a": [1, None]}})


def test_a_conversation_keeps_its_own_system_message() -> None:
    turns = [{"role": role, "content": role} for role in ("system", "user", "assistant", "user")]
    (line, without), bad = read({"messages": turns, "stop": []}, {"messages": turns[1:]})
    assert not bad
    assert [turn.role for turn in line.messages] == ["system", "user", "assistant", "user"]
    assert line.messages[0].content == "system"
    assert without.messages[0] == ChatMessage("system", "Be brief.")
    assert line.stop == ()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"prompt": "x", "id": NaN}', "NaN"),
        (b'{"prompt": "x", "weight": 1e999}', "not JSON"),
        (b'{"prompt": "\\ud800"}', "surrogate"),
        (b'{"prompt": "x", "id": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"[" * 100_000, "deep"),
        (b'{"prompt": "x", "level": ' + b"[" * 101 + b"]" * 101 + b"}", "deep"),
        (b'{"prompt": "x", "prompt": "y"}', 'the key "prompt" occurs twice'),
        (b'{"id": 1, "prompt": "x", "id": 1}', 'the key "id" occurs twice'),
        (b'{"prompt": "x", "level": [{"a": 1, "a": 1}]}', 'the key "a" occurs twice'),
        (b'{"messages": [{"role": "user", "content": "x", "role": "user"}]}', 'the key "role" occurs twice'),
        (b'{"prompt": "x", "\\u0070rompt": "y"}', 'the key "prompt" occurs twice'),
        (b'{"prompt": "x", "crc32": "0"}', "one of the answer's own"),
        (b'["x"]', "not an object"),
        (b'"x"', "not an object"),
        ({}, "needed"),
        ({"prompt": "x", "messages": []}, "not both"),
        ({"prompt": ""}, "empty"),
        ({"prompt": 5}, "prompt is a text"),
        ({"messages": "x"}, "list of messages"),
        ({"messages": ["x"]}, "list of messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "message 1: unknown role 'robot'; there are system"),
        ({"messages": []}, "empty"),
        ({"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "x"}], "system": "y"}, "two"),
        ({"prompt": "x", "id": True}, "an id"),
        ({"prompt": "x", "id": None}, "an id"),
        ({"prompt": "x", "id": [1]}, "an id"),
        ({"prompt": "x", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "x", "max_tokens": 2.0}, "max_tokens"),
        ({"prompt": "x", "max_tokens": True}, "max_tokens"),
        ({"prompt": "x", "seed": -1}, "seed"),
        ({"prompt": "x", "seed": 1 << 53}, "seed"),
        ({"prompt": "x", "stop": ["a", ""]}, "stop"),
        ({"prompt": "x", "stop": 5}, "stop"),
        ({"prompt": "x", "system": 5}, "system"),
        ({"prompt": "x", "answer": 5}, "answer"),
        ({"prompt": "x", "line": 5}, "line"),
        ({"prompt": "x", "error": 5}, "error"),
    ],
)
def test_a_bad_line_is_named_with_its_reason_and_disturbs_no_other(line: Any, reason: str) -> None:
    good, bad = read({"prompt": "before"}, line, b"  ", {"prompt": "after"})
    assert [line.number for line in good] == [1, 4]
    assert list(bad) == [2]
    assert reason in bad[2]


def test_an_id_stands_for_one_line() -> None:
    good, bad = read({"prompt": "x", "id": 2}, {"prompt": "x"}, {"prompt": "x", "id": "2"}, {"prompt": "x", "id": 2.0})
    assert [line.id for line in good] == [2, "2"]
    assert list(bad) == [2, 4]
    assert "line 1" in bad[2]


def test_windows_line_ends_and_a_byte_order_mark_are_no_matter() -> None:
    (first, second), bad = read(b'\xef\xbb\xbf{"prompt": "x"}\r', b'{"prompt": "y"}\r', b"\r")
    assert not bad
    assert (first.messages[-1].content, second.messages[-1].content) == ("x", "y")


@given(st.integers(0, 9), st.integers(-5, 5) | st.text(max_size=3) | st.floats(-2, 2))
def test_a_seed_follows_from_the_runs_seed_and_the_id_alone(seed: int, name: Id) -> None:
    (alone,), _ = read({"prompt": "x", "id": name}, settings=PromptDefaults(seed=seed))
    (_, second), _ = read(
        {"prompt": "z", "id": "before"}, {"prompt": "y", "id": name}, settings=PromptDefaults(seed=seed)
    )
    assert alone.seed == second.seed == derive_seed(seed, name)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_without_an_exception(data: bytes) -> None:
    good, bad = read_prompts(data, SETTINGS)
    assert len(good) + len(bad) == sum(bool(line.strip()) for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"))

"""Keyword arguments: the types of settings are those that are declared, and a typo is told with what is near."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import pytest

from tokencollab import Collaboration, MemberHealth, Method, UsageError, ask, parse_method
from tokencollab.keywords import MethodSettings, ResponseSettings
from tokencollab.policies.methods import method_settings
from tokencollab.policies.parameters import Numbers, Parameter, Span
from tokencollab.policies.responses.panels import Panel
from tokencollab.policies.responses.response_methods import response_settings
from tokencollab.remote import RemoteCollaboration
from tokencollab.sync import Collaboration as SyncCollaboration
from tokencollab.testing import ScriptedEngine, scripted_runtime


def in_python(declared: Parameter) -> Any:
    """The type of a parameter as Python code gives it, beside None."""
    if declared.kind == Numbers:
        return Mapping[str, float]
    if declared.kind == Span:
        return int | str | tuple[int, int]
    return Panel | Mapping[str, Any] if declared.kind is Panel else declared.kind


@pytest.mark.parametrize(
    ("typed", "declared", "beside"),
    [
        (MethodSettings, method_settings, {"aggregation": str, "exit": str}),
        (ResponseSettings, lambda: {n: p for n, p in response_settings().items() if n != "scorer"}, {}),
    ],
)
def test_the_types_of_settings_are_those_that_are_declared(
    typed: type, declared: Callable[[], Mapping[str, Parameter]], beside: Mapping[str, type]
) -> None:
    expected = {**{name: in_python(one) for name, one in declared().items()}, **beside}
    assert get_type_hints(typed) == {name: kind | None for name, kind in expected.items()}


def echo(name: str) -> ScriptedEngine:
    return ScriptedEngine(name, lambda done: {b"a" if not done else None: 9.0, b"~": 1.0})


def team(**settings: Any) -> Collaboration:
    return Collaboration("a", ["b"], runtime=scripted_runtime(echo("a"), echo("b")), **settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"topk": 5}, "no argument 'topk', perhaps top_k is meant; there are base, .*top_k"),
        ({"colaborators": ["b"]}, "perhaps collaborators is meant"),
        ({"models": ["b"]}, "collaborators is meant"),
        ({"max_tokens": 5}, "no argument 'max_tokens', but Collaboration.stream has"),
        ({"zzz": 5}, "no argument 'zzz'; there are"),
    ],
)
def test_an_unknown_argument_of_a_collaboration(settings: dict[str, Any], said: str) -> None:
    for kind in (Collaboration, SyncCollaboration):
        with pytest.raises(UsageError, match=said):
            kind("a", **settings)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"max_token": 5}, "perhaps max_tokens is meant; there are prompt, max_tokens"),
        ({"max_new_tokens": 5}, "max_tokens is meant"),
        ({"temperature": 0.7}, r"parse_method\(NAME, temperature=...\)"),
        ({"base": "b"}, "but Collaboration has"),
        ({"members": "a"}, r"members must be a list, not a text: members=\['a'\]"),
        ({"members": 5}, "members must be a list, not int"),
    ],
)
async def test_an_unknown_argument_of_an_answer(arguments: dict[str, Any], said: str) -> None:
    async with team() as started:
        with pytest.raises(UsageError, match=said):
            started.stream("?", **arguments)
        with pytest.raises(UsageError, match=said):
            await started.generate("?", **arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"smaples": 5}, "ask has no argument 'smaples', perhaps samples is meant; there are prompt"),
        ({"respondents": "a"}, r"respondents=\['a'\]"),
        ({"options": "red"}, r"options=\['red'\]"),
    ],
)
async def test_an_unknown_argument_of_a_response(arguments: dict[str, Any], said: str) -> None:
    async with team() as started:
        with pytest.raises(UsageError, match=said):
            await ask(started, "?", **arguments)


def test_a_text_where_a_list_of_models_is_meant() -> None:
    with pytest.raises(UsageError, match=r"collaborators=\['arith-pairs'\]"):
        Collaboration("arith-bytes", "arith-pairs")
    with pytest.raises(UsageError, match=r"collaborators=\['b'\]"):
        RemoteCollaboration("ns", "a", "b")
    with pytest.raises(UsageError, match="perhaps method is meant"):
        RemoteCollaboration("ns", metod="base")  # type: ignore[call-arg]


def test_parameters_of_a_class_of_ones_own_are_taken_at_run_time() -> None:
    assert isinstance(parse_method("unite", top_k=3), Method)
    assert inspect.signature(Collaboration.generate) == inspect.signature(Collaboration.stream)


async def test_a_collaboration_is_started_and_closed_by_hand() -> None:
    started = team()
    with pytest.raises(UsageError, match="once it is started"):
        started.stream("?")
    assert await started.start() is started
    assert (await started.generate("?")).text == "a"
    with pytest.raises(UsageError, match="in use already"):
        await started.start()
    await started.aclose()
    await started.aclose()
    with pytest.raises(UsageError, match="once it is started"):
        started.stream("?")
    async with started:
        assert (await started.generate("?")).text == "a"
    with pytest.raises(UsageError, match=r"async with.*tokencollab\.sync"), started:  # type: ignore[attr-defined]
        pass


async def test_how_members_do_is_told_by_values_that_do_not_change() -> None:
    async with team() as started:
        before = started.members
        assert list(before) == ["a", "b"]
        assert all(isinstance(member, MemberHealth) for member in before.values())
        await started.supervisors["b"].leave()
        after = started.members["b"]
        assert (before["b"].health, after.health, after.restarts) == ("up", "out", 0)
        assert before["b"].since < after.since
        assert after.info.name == after.name == "b"

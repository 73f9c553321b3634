"""How long a member may keep the others waiting, on a clock that never waits."""

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.slow import SlowRuntime, Takes
from tokencollab import Answer, Collaboration, Piece
from tokencollab.actors.supervisor import FaultPolicy
from tokencollab.protocol.messages import Close, Open, Request
from tokencollab.testing import ScriptedEngine, run_on_fake_clock

METHODS = ["gac", "unite", "duetnet", "dk", "bytewise", "upara-40", "consult"]
NEVER = 10.0**9
GRACE = 60.0  # two floors, without a prompt to speak of


def script(text: bytes) -> Mapping[Piece, float]:
    return {b"a": 9.0 + len(text) % 2, b"b": 9.5, b"c": 5.0, None: -9.0}


def quick(request: Request, before: int) -> float:
    return 0.01


def answered(
    method: str, takes: Mapping[str, Takes], tokens: int = 8, fault_policy: FaultPolicy | None = None, prompt: str = "?"
) -> tuple[Answer, float]:
    """The answer of members that take so long, the base first; and when its reader had it to the end."""

    async def main() -> tuple[Answer, float]:
        models = {name: (ScriptedEngine(name, script), takes[name]) for name in takes}
        base, *others = takes
        team = Collaboration(base, others, method, runtime=SlowRuntime(models), fault_policy=fault_policy)
        async with team:
            now = asyncio.get_running_loop().time
            began = now()
            answer = await team.generate(prompt, max_tokens=tokens)
            took = now() - began
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return answer, took

    return run_on_fake_clock(main())


def hangs_at(first: int) -> Takes:
    return lambda request, before: NEVER if before >= first else 0.01


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("first", [0, 1, 2, 5])
def test_a_member_that_hangs_costs_its_deadline_and_not_the_ceiling(method: str, first: int) -> None:
    answer, took = answered(method, {"base": quick, "slow": hangs_at(first)})
    assert answer.finish_reason == "length"
    assert took < 30 + 1 + 0.2 * 8


@pytest.mark.parametrize("method", ["unite", "bytewise"])
@pytest.mark.parametrize(
    "slow",
    [
        pytest.param(lambda request, before: 29.0, id="29 s each"),
        pytest.param(lambda request, before: 25 * 1.6**before, id="a ramp"),
        pytest.param(lambda request, before: 290.0 if isinstance(request, Open) else 0.01, id="open"),
        pytest.param(lambda request, before: 29.0 if before % 2 else 0.01, id="every other"),
        pytest.param(lambda request, before: 6.0, id="a little, for ever"),
        pytest.param(lambda request, before: 0.01 * 1.5**before, id="a ramp from little"),
    ],
)
def test_an_answer_waits_for_nobody_longer_than_its_allowance(method: str, slow: Takes) -> None:
    tokens = 40
    answer, took = answered(method, {"base": quick, "slow": slow}, tokens)
    assert answer.tokens == tokens
    assert took < GRACE + 5 * tokens + 30 + tokens * 0.1  # and one deadline while the session is opened
    assert "slow" in answer.lost or took < tokens * 6.5


def test_two_that_are_slow_together_are_both_left_behind() -> None:
    answer, took = answered("unite", {"base": quick, "s": lambda r, n: 29.0, "t": lambda r, n: 28.0}, 20)
    assert set(answer.lost) == {"s", "t"}
    assert took < GRACE + 5 * 20 + 30 + 2


def test_the_lag_is_settable() -> None:
    takes: dict[str, Takes] = {"base": quick, "slow": lambda request, before: 20.0}
    some, took = answered("unite", takes, 30, FaultPolicy(lag=0.0))
    assert took < GRACE + 30
    assert some.lost
    patient, _ = answered("unite", takes, 30, FaultPolicy(lag=20.0))
    assert not patient.lost


@settings(max_examples=20, deadline=None)
@given(
    seconds=st.floats(0.001, 25),
    members=st.integers(2, 4),
    spread=st.floats(0, 0.15),
    method=st.sampled_from(METHODS),
    tokens=st.integers(1, 40),
)
def test_models_that_are_slow_alike_are_not_lost(
    seconds: float, members: int, spread: float, method: str, tokens: int
) -> None:
    takes = {
        f"m{number}": (lambda request, before, number=number: seconds * (1 + spread * number / members))
        for number in range(members)
    }
    answer, _ = answered(method, takes, tokens)
    assert not answer.lost
    assert answer.tokens == tokens


@pytest.mark.parametrize("seconds", [0.5, 3.0, 5.0])
def test_a_large_collaborator_of_a_small_base_takes_part_to_the_end(seconds: float) -> None:
    answer, _ = answered("unite", {"base": quick, "large": lambda request, before: seconds}, 60)
    assert (answer.lost, answer.together) == ({}, 60)


def test_a_slow_base_is_waited_for_as_long_as_its_deadlines_say() -> None:
    answer, took = answered("unite", {"base": lambda request, before: 20.0, "quick": quick}, 30)
    assert not answer.lost
    assert took >= 600


def test_a_large_model_has_time_for_a_long_prompt() -> None:
    prompt = "word " * 800
    takes: Takes = lambda request, before: 100.0 if before == 1 else 0.01  # noqa: E731 - 1000 tokens, ten a second
    answer, _ = answered("unite", {"base": quick, "large": takes}, 5, prompt=prompt)
    assert not answer.lost
    answer, _ = answered("unite", {"base": quick, "large": takes}, 5)
    assert answer.lost


def test_a_model_that_lives_has_twice_the_time_after_every_miss() -> None:
    """It takes longer than any first deadline, but less than the ceiling: a base alone gets through."""
    answer, _ = answered("base", {"base": lambda request, before: 100.0 if before in range(1, 5) else 1.0}, 5)
    assert answer.tokens == 5


def test_who_was_too_slow_comes_back_when_it_is_quick_again() -> None:
    takes: Takes = lambda request, before: 29.0 if before < 6 else 0.01  # noqa: E731
    answer, _ = answered("unite", {"base": lambda request, before: 1.0, "slow": takes}, 200)
    assert answer.lost["slow"] >= 1
    assert answer.together > 100


@pytest.mark.parametrize("seconds", [5.0, 30.0, NEVER])
def test_the_end_of_an_answer_does_not_wait_for_a_session_to_be_freed(seconds: float) -> None:
    slow: Takes = lambda request, before: seconds if isinstance(request, Close) else 0.01  # noqa: E731
    answer, took = answered("unite", {"base": slow, "other": slow}, 5)
    assert not answer.lost
    assert took < 0.5


def test_a_session_that_was_freed_slowly_is_freed() -> None:
    async def main() -> None:
        engine = ScriptedEngine("base", script)
        runtime = SlowRuntime({"base": (engine, lambda request, before: 9.0 if isinstance(request, Close) else 0.01)})
        async with Collaboration("base", runtime=runtime) as team:
            await team.generate("?", max_tokens=3)
            assert engine.texts
            await asyncio.sleep(10)
            assert not engine.texts

    run_on_fake_clock(main())

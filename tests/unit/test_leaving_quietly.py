"""Streams that are left in any way: nothing is said, no task and no session stays."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any

import pytest

from tokencollab import Collaboration, Piece, Token, UsageError
from tokencollab.policies.evidence import Evidence, Verdict
from tokencollab.testing import ScriptedEngine, scripted_runtime

METHODS = ["base", "bytewise"]


def script(text: bytes) -> Mapping[Piece, float]:
    return {b"a": 9.0 + len(text) % 2, b"b": 9.5, None: -20.0}


async def by_break(team: Collaboration, tokens: int) -> None:
    async for token in team.stream("?", max_tokens=10**6):
        if token.step >= tokens:
            break


async def by_return(team: Collaboration, tokens: int) -> Token | None:
    async for token in team.stream("?", max_tokens=10**6):
        if token.step >= tokens:
            return token
    return None


async def by_exception(team: Collaboration, tokens: int) -> None:
    with suppress(LookupError):
        async for token in team.stream("?", max_tokens=10**6):
            if token.step >= tokens:
                raise LookupError


async def by_generator_exit(team: Collaboration, tokens: int) -> None:
    async def texts() -> AsyncIterator[str]:
        async for token in team.stream("?", max_tokens=10**6):
            yield token.text

    async with aclosing(texts()) as wrapped:  # type: ignore[type-var]
        for _ in range(tokens):
            await anext(wrapped)


async def by_a_generator_that_is_dropped(team: Collaboration, tokens: int) -> None:
    async def texts() -> AsyncIterator[str]:
        async for token in team.stream("?", max_tokens=10**6):
            yield token.text

    wrapped = texts()
    for _ in range(tokens):
        await anext(wrapped)


async def by_cancelling_the_task(team: Collaboration, tokens: int) -> None:
    async def read() -> None:
        async for token in team.stream("?", max_tokens=10**6):
            if token.step >= tokens:
                reached.set()

    reached = asyncio.Event()
    task = asyncio.create_task(read())
    await reached.wait()
    task.cancel()
    if tokens % 2:
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def by_a_timeout(team: Collaboration, tokens: int) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(0.0001 * tokens):
            await team.generate("?", max_tokens=10**6)


async def by_two_at_once(team: Collaboration, tokens: int) -> None:
    stream = team.stream("?", max_tokens=10**6)
    for _ in range(tokens):
        await anext(stream)
    await asyncio.gather(stream.aclose(), stream.aclose())


async def before_it_began(team: Collaboration, tokens: int) -> None:
    team.stream("?", max_tokens=10**6)


WAYS: list[Callable[[Collaboration, int], Awaitable[object]]] = [
    by_break,
    by_return,
    by_exception,
    by_generator_exit,
    by_a_generator_that_is_dropped,
    by_cancelling_the_task,
    by_a_timeout,
    by_two_at_once,
    before_it_began,
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_a_stream_that_is_left_says_nothing_and_leaves_nothing(
    way: Callable[[Collaboration, int], Awaitable[object]], method: str
) -> None:
    wrong: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: wrong.append(context))
    engines = [ScriptedEngine("a", script), ScriptedEngine("b", script)]
    async with Collaboration("a", ["b"], method, runtime=scripted_runtime(*engines)) as team:
        for tokens in (1, 4):
            await way(team, tokens)
        assert (await team.generate("?", max_tokens=3)).tokens == 3
        gc.collect()
        for _ in range(500):
            if not any(engine.texts for engine in engines):
                break
            await asyncio.sleep(0.002)
        assert not any(engine.texts for engine in engines)
        await way(team, 2)  # and the team is left at the same time
    gc.collect()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not wrong


async def test_streams_that_are_cancelled_together_with_the_team_say_nothing() -> None:
    wrong: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: wrong.append(context))
    for method in METHODS:
        engines = [ScriptedEngine("a", script), ScriptedEngine("b", script)]
        async with Collaboration("a", ["b"], method, runtime=scripted_runtime(*engines)) as team:
            tasks: list[asyncio.Task[Any]] = [asyncio.create_task(by_break(team, 10**6)) for _ in range(20)]
            tasks += [asyncio.create_task(by_return(team, number)) for number in range(20)]
            await asyncio.sleep(0.01)
            for task in tasks[::2]:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    gc.collect()
    await asyncio.sleep(0)
    assert not wrong


def test_a_program_that_ends_in_the_middle_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    kept: list[object] = []
    runtime = scripted_runtime(*(ScriptedEngine(n, script) for n in "ab"))

    async def main() -> None:
        team = Collaboration("a", ["b"], "dp", runtime=runtime)
        await team.__aenter__()
        stream = team.stream("?", max_tokens=10**6)
        await anext(stream)
        kept.extend((team, stream))

    asyncio.run(main())
    kept.clear()
    gc.collect()
    for actor in runtime._actors.values():  # which nobody has ended
        actor.abandon()
        actor._thread.join()
    captured = capfd.readouterr()
    assert "never retrieved" not in captured.err
    assert "Traceback" not in captured.err


class TestArguments:
    """What somebody passes, or what somebody's code returns, is no traceback of ours."""

    @pytest.mark.parametrize(
        "wrong",
        [
            {"stop": 5},
            {"stop": None},
            {"stop": b"x"},
            {"stop": [b"x"]},
            {"stop": [5]},
            {"max_tokens": "3"},
            {"seed": None},
            {"members": 5},
            {"members": [5]},
            {"trace": 5},
            {"method": 5},
            {"method": ["unite"]},
        ],
    )
    async def test_of_an_answer(self, wrong: dict[str, object]) -> None:
        async with Collaboration("a", runtime=scripted_runtime(ScriptedEngine("a", script))) as team:
            with pytest.raises(UsageError):
                team.stream("?", **wrong)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"notify": 5},
            {"progress": "x"},
            {"fault_policy": 5},
            {"options": 5},
            {"journal": 5},
            {"method": 5},
            {"collaborators": 5},
            {"collaborators": "b"},
            {"base": 5},
            {"runtime": 5},
            {"exit_policy": "leave"},
            {"exit_policy": object()},
            {"exit_policy": type("Own", (), {})},
        ],
    )
    def test_of_a_collaboration(self, wrong: dict[str, object]) -> None:
        with pytest.raises(UsageError):
            Collaboration(**{"base": "a", **wrong})  # type: ignore[arg-type]

    def test_outside_a_running_loop(self) -> None:
        team = Collaboration("a", runtime=scripted_runtime(ScriptedEngine("a", script)))
        with asyncio.Runner() as runner:
            runner.run(team.__aenter__())
            with pytest.raises(UsageError, match="running event loop"):
                team.stream("?")
            runner.run(team.__aexit__())

    @pytest.mark.parametrize(
        "said",
        [
            "leave",
            None,
            5,
            (1, 2, 3),
            (None, "x"),
            [None, Verdict()],
            (None, Verdict("b")),  # type: ignore[arg-type]
            (None, Verdict(["b"])),  # type: ignore[arg-type]
            (None, Verdict(until=float("nan"))),
            (None, Verdict(until="x")),  # type: ignore[arg-type]
            (None, Verdict(efficacy="x")),  # type: ignore[arg-type]
        ],
    )
    async def test_of_an_exit_policy(self, said: object) -> None:
        class Own:
            needs_decisive = False

            def start(self, base: str) -> None:
                pass

            def observe(self, state: None, evidence: Evidence) -> object:
                return said

        engines = [ScriptedEngine("a", script), ScriptedEngine("b", script)]
        runtime = scripted_runtime(*engines)
        async with Collaboration("a", ["b"], "dp", runtime=runtime, exit_policy=Own()) as team:  # type: ignore[arg-type]
            with pytest.raises(UsageError, match=r"Own must return \(state, Verdict\)"):
                await team.generate("?", max_tokens=3)

"""Answers over a runtime whose models come and go by themselves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from math import log

import pytest

from tokencollab import EOS, Collaboration, Piece, UsageError
from tokencollab.testing import Faults, FaultyRuntime, ScriptedEngine, run_on_fake_clock

TEXT = b"all of us write this answer together, whoever comes and whoever goes"


def engine(name: str) -> ScriptedEngine:
    def script(done: bytes) -> Mapping[Piece, float]:
        piece: Piece = TEXT[len(done) : len(done) + 1] or EOS
        return {piece: 9.0, b"~": log(2), (b"?" if piece is EOS else EOS): 1.0}

    return ScriptedEngine(name, script)


class Open(FaultyRuntime):
    """Models that are there or not."""

    def __init__(self, *here: str) -> None:
        super().__init__({name: partial(engine, name) for name in ("a", "b", "c")}, Faults(latency=1.0), seed=1)
        self.here = dict.fromkeys(here)
        self.news: asyncio.Queue[tuple[str, bool] | Exception] = asyncio.Queue()

    async def names(self) -> tuple[str, ...]:
        return tuple(self.here)

    async def base(self) -> str:
        raise UsageError("no base")

    async def watch(self) -> AsyncIterator[tuple[str, bool]]:
        for name in self.here:
            yield name, True
        while True:
            news = await self.news.get()
            if isinstance(news, Exception):
                raise news
            yield news


def on(runtime: Open, test: Callable[[Open], Awaitable[None]]) -> None:
    async def main() -> None:
        await test(runtime)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_on_fake_clock(main())


@pytest.mark.parametrize("everybody", [True, False])
def test_who_joins_takes_part_and_who_leaves_does_not(everybody: bool) -> None:
    async def run(runtime: Open) -> None:
        async with Collaboration("a", None if everybody else ["b"], "unite", runtime=runtime) as team:
            assert list(team.members) == ["a", "b"]
            parts = []
            stream = team.stream("?")
            async for token in stream:
                parts.append(tuple(sorted(token.ranks)))
                if token.step == 10:
                    runtime.news.put_nowait(("c", True))
                if token.step == 30:
                    runtime.news.put_nowait(("b", False))
                    runtime.news.put_nowait(("a", False))  # the base stays as long as it answers
                if token.step == 50:
                    runtime.news.put_nowait(("b", True))
            assert stream.answer.text.encode() == TEXT
            three, two = (("a", "b", "c"), ("a", "c")) if everybody else (("a", "b"), ("a",))
            assert parts[9] == ("a", "b")
            assert (parts[25], parts[45], parts[-1]) == (three, two, three)

    on(Open("a", "b"), run)


def test_a_model_may_join_while_an_answer_is_being_opened() -> None:
    async def run(runtime: Open) -> None:
        async with Collaboration("a", None, "unite", runtime=runtime) as team:
            await asyncio.sleep(10)
            runtime.news.put_nowait(("c", True))
            answer = await team.generate("?")
            assert answer.text.encode() == TEXT
            assert answer.lost == {}

    on(Open("a", "b"), run)


def test_a_platform_that_gives_no_news_or_bad_news_does_not_end_answers() -> None:
    async def run(runtime: Open) -> None:
        async with Collaboration("a", None, "unite", runtime=runtime) as team:
            stream = team.stream("?")
            async for token in stream:
                if token.step == 5:
                    runtime.news.put_nowait(("unknown", True))
                    runtime.news.put_nowait(RuntimeError("the registry is gone"))
                    runtime.news.put_nowait(("b", True))  # heard of when it is asked again
            assert stream.answer.text.encode() == TEXT
            assert list(team.members) == ["a", "b"]

    on(Open("a"), run)


def test_a_base_that_was_given_up_takes_part_again_when_it_is_back() -> None:
    async def run(runtime: Open) -> None:
        async with Collaboration("a", ["b"], "unite", runtime=runtime) as team:
            await team.supervisors["a"].leave()
            runtime.news.put_nowait(("a", True))
            await asyncio.sleep(10)
            assert list(team.members) == ["a", "b"]
            answer = await team.generate("?")
            assert answer.lost == {}

    on(Open("a", "b"), run)


def test_all_models_of_a_runtime_that_has_none_of_its_own_is_refused() -> None:
    with pytest.raises(UsageError, match="collaborators=None"):
        Collaboration("a", None)

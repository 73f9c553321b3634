"""`max_seconds`: an answer ends in time with what is written, whoever is waited for. And the tokens of its prompt."""

import asyncio
import io
import json
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.support.slow import SlowRuntime, Takes
from tests.unit.test_slow_members import METHODS, NEVER, quick, script
from tokencollab import Answer, Collaboration, UsageError
from tokencollab.cli.repl.turns import ConversationTurn
from tokencollab.policies.methods import Method
from tokencollab.policies.replay import replay
from tokencollab.protocol.messages import Open, Opened
from tokencollab.protocol.trace import parse_trace
from tokencollab.testing import ScriptedEngine, run_on_fake_clock, scripted_runtime


def slow(seconds: float) -> Takes:
    return lambda request, before: seconds


def opens_in(seconds: float) -> Takes:
    return lambda request, before: seconds if isinstance(request, Open) else 0.01


def timed(method: str, takes: Sequence[Takes], **arguments: Any) -> tuple[Answer, float]:
    """The answer of members that take so long, the base first, and the seconds until it had come."""

    async def main() -> tuple[Answer, float]:
        models = {name: (ScriptedEngine(name, script), one) for name, one in zip("abc", takes, strict=False)}
        base, *others = models
        async with Collaboration(base, others, method, runtime=SlowRuntime(models)) as team:
            now = asyncio.get_running_loop().time
            began = now()
            answer = await team.generate("?", **arguments)
            took = now() - began
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return answer, took

    return run_on_fake_clock(main())


@pytest.mark.parametrize("method", [*METHODS, "base"])
def test_an_answer_ends_in_time_with_what_is_written(method: str) -> None:
    members = [slow(1.0)] * (1 if method == "base" else 2)
    answer, took = timed(method, members, max_tokens=100, max_seconds=20.5)
    whole, _ = timed(method, members, max_tokens=100)
    assert answer.finish_reason == "timeout"
    assert 0 < answer.tokens < 21
    assert 20.5 <= took < 21.5
    assert whole.pieces[: answer.tokens] == answer.pieces
    assert whole.finish_reason == "length"


@pytest.mark.parametrize("takes", [slow(NEVER), opens_in(29.0), opens_in(NEVER)])
@pytest.mark.parametrize("others", [0, 1])
def test_nobody_is_waited_for_when_the_time_is_up(takes: Takes, others: int) -> None:
    answer, took = timed("unite", [takes, *[quick] * others], max_seconds=3)
    assert (answer.text, answer.finish_reason) == ("", "timeout")
    assert 3 <= took < 4


def test_an_answer_that_is_finished_in_time_is_as_it_was() -> None:
    answer, _ = timed("unite", [quick, quick], max_tokens=8, max_seconds=1e9)
    same, _ = timed("unite", [quick, quick], max_tokens=8)
    assert (answer.pieces, answer.finish_reason) == (same.pieces, "length")


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "5", True, 10**400])
async def test_seconds_that_cannot_be(seconds: Any) -> None:
    async with Collaboration("a", runtime=scripted_runtime(ScriptedEngine("a", script))) as team:
        with pytest.raises(UsageError, match="max_seconds must be a number above 0"):
            team.stream("?", max_seconds=seconds)


@pytest.mark.parametrize("method", ["unite", "bytewise", "upara-4"])
def test_a_trace_of_an_answer_that_ran_out_of_time_is_replayed(method: str) -> None:
    trace = io.StringIO()
    answer, _ = timed(method, [slow(1.0)] * 2, max_tokens=100, max_seconds=20.5, trace=trace)
    parsed = parse_trace(trace.getvalue().splitlines())
    assert parsed.settings["max_seconds"] == 20.5
    steps = list(replay(parsed, Method.from_json(parsed.settings["method"]), past_exit=True))
    assert tuple(step.chosen for step in steps)[: answer.tokens] == answer.pieces
    assert len(parsed.steps) == answer.tokens
    lines = [json.loads(line) for line in trace.getvalue().splitlines()]
    saved = {"question": "?", "text": answer.text, "answer": answer.to_json(), "trace": lines}
    turn = ConversationTurn.from_json(saved)
    assert (turn.answer.pieces, turn.answer.finish_reason) == (answer.pieces, "timeout")


async def test_a_journal_that_is_kept_goes_on_where_the_time_was_up(tmp_path: Path) -> None:
    def halting(done: bytes) -> dict[bytes | None, float]:
        return {b"a": 9.0, b"b": 1.0}

    class Slow(ScriptedEngine):
        def next_candidates(self, requests: Any) -> Any:
            if requests[0].start + len(requests[0].data) == 3 and not gone.is_set():
                gone.wait(30)
            return super().next_candidates(requests)

    gone = Event()
    made = scripted_runtime(Slow("a", halting), ScriptedEngine("b", halting))
    async with Collaboration("a", ["b"], "unite", runtime=made, journal=tmp_path, keep_journal=True) as team:
        stream = team.stream("?", max_tokens=6, max_seconds=0.5)
        async for _ in stream:
            pass
        gone.set()
        assert (stream.answer.text, stream.answer.finish_reason) == ("aaa", "timeout")
        assert stream.journal is not None
        again = team.resume(stream.journal)
        async for _ in again:
            pass
        assert (again.answer.text, again.answer.finish_reason) == ("aaaaaa", "length")


async def test_the_tokens_of_the_prompt_are_the_bases_own_count() -> None:
    class Counting(ScriptedEngine):
        def open(self, request: Open) -> Any:
            super().open(request)
            return Opened(request.session, 17 if self.info.name == "a" else 5, 1 << 20)

    engines = Counting("a", script), Counting("b", script)
    async with Collaboration("a", ["b"], "unite", runtime=scripted_runtime(*engines)) as team:
        stream = team.stream("?", max_tokens=3)
        assert stream.answer.prompt_tokens is None
        async for _ in stream:
            assert stream.answer.prompt_tokens == 17
        assert stream.answer.to_json()["prompt_tokens"] == 17
        assert (await team.generate("?", members=["b"], max_tokens=1)).prompt_tokens == 5

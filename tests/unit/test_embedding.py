"""What programs that embed tokencollab get wrong, and what goes wrong around them: said clearly, and harming nobody."""

import asyncio
import io
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tokencollab import EOS, Collaboration, Piece, PromptTooLong, UsageError, ask
from tokencollab.actors import model as module
from tokencollab.actors.supervisor import FaultPolicy
from tokencollab.engines.base import EngineReply, EngineRequest
from tokencollab.errors import UnknownMethod
from tokencollab.policies.evidence import Evidence, Verdict
from tokencollab.testing import ScriptedEngine, scripted_runtime


def forever(text: bytes) -> Mapping[Piece, float]:
    return {b"ab": 9.0, b"c": 3.0, EOS: 1.0}


def team_of(*names: str, method: str = "unite", **options: Any) -> Collaboration:
    engines = [ScriptedEngine(name, forever) for name in names]
    return Collaboration(names[0], names[1:], method, runtime=scripted_runtime(*engines), **options)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"prompt": "bad \ud800"}, "the prompt contains a lone surrogate at index 4"),
        ({"prompt": [{"role": "user", "content": "\udcff"}]}, "the prompt contains a lone surrogate at index 0"),
        ({"prompt": {"role": "user", "content": "?"}}, "a prompt is a text or a list of messages, not dict"),
        ({"prompt": None}, "a prompt is a text or a list of messages, not NoneType"),
        ({"prompt": ["?"]}, "a message is"),
        ({"max_tokens": 64.0}, "max_tokens must be a whole number, not 64.0"),
        ({"max_tokens": float("inf")}, "max_tokens must be a whole number, not inf"),
        ({"seed": 1.5}, "seed must be a whole number, not 1.5"),
        ({"stop": "EOS"}, "stop texts are given as a list"),
        ({"stop": [b"EOS"]}, "stop texts are given as a list"),
        ({"stop": ["\ud800"]}, "a stop text contains a lone surrogate"),
    ],
)
async def test_a_request_that_cannot_be_harms_no_model(arguments: dict[str, Any], reason: str) -> None:
    async with team_of("a", "b") as team:
        request: dict[str, Any] = {"prompt": "?", "max_tokens": 4, **arguments}
        with pytest.raises(UsageError, match=reason):
            await team.generate(**request)
        with pytest.raises(UsageError, match=reason):
            await ask(team, **request)
        assert [(member.health, sum(member.faults.values())) for member in team.members.values()] == [("up", 0)] * 2


async def test_a_team_belongs_to_one_event_loop() -> None:
    async with team_of("a", "b") as team:
        with pytest.raises(UsageError, match="belongs to the event loop it was started in"):
            await asyncio.to_thread(lambda: asyncio.run(team.generate("?", max_tokens=4)))
        assert (await team.generate("?", max_tokens=4)).tokens == 4
        assert all(member.restarts == 0 for member in team.members.values())


async def test_a_team_is_entered_once_at_a_time() -> None:
    team = team_of("a", "b")
    async with team:
        with pytest.raises(UsageError, match="in use already"):
            async with team:
                pass
        assert (await team.generate("?", max_tokens=4)).models == ("a", "b")
    async with team:
        assert len(team.models) == 2


async def test_a_team_that_could_not_begin_can_be_entered_again() -> None:
    def progress(what: str, done: int, total: int) -> None:
        if what == "ready" and not tried:
            tried.append(what)
            raise ZeroDivisionError

    tried: list[str] = []
    team = team_of("a", progress=progress)
    before = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError):
        await team.__aenter__()
    assert "tokencollab-model" not in [thread.name for thread in threading.enumerate() if thread not in before]
    async with team:
        assert (await team.generate("?", max_tokens=2)).tokens == 2


class Hangs(ScriptedEngine):
    """Does not come back from its second pass before it is let go."""

    released = threading.Event()

    def next_candidates(self, requests: Sequence[EngineRequest]) -> list[EngineReply | None]:
        if self.calls:
            self.released.wait(30)
        return super().next_candidates(requests)


async def test_a_model_that_hangs_does_not_keep_the_program_from_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FAREWELL", 0.1)
    runtime = scripted_runtime(ScriptedEngine("a", forever), Hangs("b", forever))
    fault_policy = FaultPolicy(floor=0.2, ceiling=0.3, restarts=0)
    began = time.monotonic()
    async with Collaboration("a", ["b"], "unite", runtime=runtime, fault_policy=fault_policy) as team:
        assert (await team.generate("?", max_tokens=6)).lost == {"b": 1}
    assert time.monotonic() - began < 20  # it hangs for 30
    Hangs.released.set()


async def test_closing_a_stream_that_another_task_reads_ends_it_there() -> None:
    async with team_of("a", "b") as team:
        stream = team.stream("?", max_tokens=100_000)

        begun = asyncio.Event()

        async def read() -> int:
            count = 0
            async for _ in stream:
                count += 1
                begun.set()
            return count

        reading = asyncio.create_task(read())
        await begun.wait()
        await stream.aclose()
        assert await reading >= 1
        assert stream.answer.finish_reason == "cancelled"


class Leaving(NamedTuple):
    """Sends ``out`` away after the first step, and leaves the base alone or not."""

    out: frozenset[str]
    alone: bool = False
    until: float = 0.0
    needs_decisive: bool = False

    def start(self, base: str) -> None:
        """Nothing to remember."""

    def observe(self, state: None, evidence: Evidence) -> tuple[None, Verdict]:
        return None, Verdict(self.out, self.alone, None, self.until)


@pytest.mark.parametrize("method", ["unite", "bytewise"])
@pytest.mark.parametrize("alone", [False, True])
async def test_who_is_sent_away_stays_away_also_from_a_base_that_asks_again(method: str, alone: bool) -> None:
    """The base is never sure enough here, so that every piece is everybody's who is left."""
    leaving = Leaving(frozenset({"a", "b"}), alone, until=1.0 if alone else 0.0)
    async with team_of("a", "b", "c", method=method, exit_policy=leaving) as team:
        stream = team.stream("?", max_tokens=6)
        voters = [set(token.ranks) async for token in stream if not token.alone]
    assert voters[0] == {"a", "b", "c"}
    assert len(voters) > 2
    assert all(names == {"a", "c"} for names in voters[1:])


class Full(io.StringIO):
    """A file on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("kind", ["full", "closed", "ascii"])
async def test_a_trace_that_cannot_be_written_costs_no_answer(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    def file() -> Any:
        if kind == "full":
            return Full()
        if kind == "ascii":
            return io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        closed = io.StringIO()
        closed.close()
        return closed

    async with team_of("a", "b") as team:
        assert (await team.generate("é", max_tokens=3, trace=file(), stop=["é"])).tokens == 3
        assert (await ask(team, "é", "modelswitch", samples=1, max_tokens=3, trace=file())).text
    assert caplog.text.count("recording ended") == 2
    assert "reason=None" not in caplog.text


async def test_an_answer_that_is_refused_leaves_no_journal(tmp_path: Path) -> None:
    async with team_of("a", "b", method="unite", journal=tmp_path) as team:
        with pytest.raises(UnknownMethod):
            await team.generate(
                "?",
                max_tokens=2,
                method=team.method.__class__.from_json(team.method.to_json() | {"weights": {"stranger": 2.0}}),
            )
        assert os.listdir(tmp_path) == []
    small = ScriptedEngine("small", forever, context_length=8)
    async with Collaboration("small", runtime=scripted_runtime(small), journal=tmp_path) as team:
        with pytest.raises(PromptTooLong):
            await team.generate("x" * 100)
    assert os.listdir(tmp_path) == []


async def test_a_model_that_joins_has_its_figures() -> None:
    runtime = scripted_runtime(*(ScriptedEngine(name, forever) for name in "abc"))
    async with Collaboration("a", ["b"], "unite", runtime=runtime) as team:
        stream = team.stream("?", max_tokens=40)
        async for token in stream:
            if token.step == 3:
                await team.add("c")
    answer = stream.answer
    assert answer.models == ("a", "b", "c")
    assert set(answer.proposed) == set(answer.forwarded) == {"a", "b", "c"}
    assert answer.proposed["a"] == 40 > answer.proposed["c"] > 0


async def test_what_arrives_with_the_end_of_a_context_does_not_count() -> None:
    """Whether the others' candidates of a step that never comes arrive before "full" is chance."""
    costs = set()
    for _ in range(20):
        engines = [
            ScriptedEngine("a", forever, context_length=40),
            ScriptedEngine("b", forever),
            ScriptedEngine("c", forever),
        ]
        async with Collaboration("a", ["b", "c"], "unite", runtime=scripted_runtime(*engines)) as team:
            answer = await team.generate("?", max_tokens=100)
        assert answer.finish_reason == "length"
        costs.add(answer.cost - 3 * answer.tokens)
    assert costs == {0}


async def test_a_model_that_lists_text_is_lost_and_not_the_answer() -> None:
    wrong = ScriptedEngine("b", lambda text: {"ab": 9.0})  # type: ignore[dict-item]
    runtime = scripted_runtime(ScriptedEngine("a", forever), wrong)
    for method in ("unite", "bytewise"):
        async with Collaboration("a", ["b"], method, runtime=runtime, fault_policy=FaultPolicy(restarts=0)) as team:
            answer = await team.generate("?", max_tokens=3)
        assert (answer.tokens, answer.text) == (3, "ababab")


async def test_a_scorer_by_its_name() -> None:
    async with team_of("a", "b") as team:
        with pytest.raises(UsageError, match="unknown scorer 'nope'"):
            await ask(team, "?", "best-of-n", samples=2, max_tokens=3, scorer="nope")
        with pytest.raises(UsageError, match="no reward model in /nope"):
            await ask(team, "?", "best-of-n", samples=2, max_tokens=3, scorer="reward:/nope")

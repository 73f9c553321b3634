"""A collaborator that refuses, is full, or has no room left costs its own part of an answer, under every method."""

import asyncio
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tokencollab import Answer, Collaboration, ModelRefused, Piece, PlatformFull, PromptTooLong
from tokencollab.actors.runtimes.threads import LocalRuntime
from tokencollab.asking import ask
from tokencollab.batch.prompts import PromptDefaults, read_prompts
from tokencollab.batch.record import AnswerFile
from tokencollab.batch.run import answer_all
from tokencollab.engines.base import EngineReply, EngineRequest
from tokencollab.errors import refusal
from tokencollab.policies.replay import replay
from tokencollab.policies.responses.response_methods import parse_response_method
from tokencollab.pool import Progress
from tokencollab.protocol.messages import ContextExhausted, Open, Opened, Refused
from tokencollab.protocol.trace import parse_trace
from tokencollab.testing import ScriptedEngine, scripted_runtime

METHODS = [
    "base",
    "gac",
    "unite",
    "duetnet",
    "dp",
    "dk",
    "bytewise",
    "consult",
    "upara-3",
    "confipara-d",
    "confipara-u",
]
KINDS = ["PromptTooLong", "ModelRefused", "PlatformFull"]


def script(text: bytes) -> Mapping[Piece, float]:
    """Unsure now and then, so that a base that is alone asks the others."""
    sure = 9.0 if len(text) % 3 else 0.1
    return {b"a": 10.0 + (len(text) % 2), b"bc": 10.0 + sure, b"c": 5.0, None: -5.0 + len(text) / 3}


def other(text: bytes) -> Mapping[Piece, float]:
    return {b"a": 14.0, b"bc": 9.0 + (len(text) % 4), b"c": 8.0, None: -9.0 + len(text) / 4}


class Refuses(ScriptedEngine):
    """Refuses conversations, or what comes after ``questions`` questions."""

    def __init__(self, name: str, kind: str, questions: int = -1) -> None:
        super().__init__(name, other)
        self.kind, self.left, self.opened = kind, questions, 0

    def open(self, request: Open) -> Opened | Refused:
        self.opened += 1
        return Refused(request.session, self.kind, f"no: {self.kind}") if self.left <= 0 else super().open(request)

    def next_candidates(self, requests: Sequence[EngineRequest]) -> list[EngineReply | None]:
        self.left -= 1
        if self.left < 0:
            return [EngineReply(Refused(request.session, self.kind, "no more")) for request in requests]
        return super().next_candidates(requests)


async def answered(method: str, *engines: ScriptedEngine, trace: Any = None, **limits: Any) -> Answer:
    names = [engine.info.name for engine in engines]
    async with Collaboration(names[0], names[1:], method, runtime=scripted_runtime(*engines)) as team:
        return await asyncio.wait_for(team.generate("?", max_tokens=12, trace=trace, **limits), 20)


def replayed(trace: str) -> list[Piece]:
    return [step.chosen for step in replay(parse_trace(trace.splitlines()), None, past_exit=True)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_collaborator_that_refuses_the_conversation_is_gone_and_the_answer_is_that_of_the_rest(
    method: str, kind: str
) -> None:
    trace, refusing = io.StringIO(), Refuses("no", kind)
    answer = await answered(method, ScriptedEngine("b", script), refusing, ScriptedEngine("c", other), trace=trace)
    alone = await answered(method, ScriptedEngine("b", script), ScriptedEngine("c", other))
    assert (answer.pieces, answer.finish_reason) == (alone.pieces, alone.finish_reason)
    assert answer.left == {"no": f"no: {kind}"}
    assert answer.lost == ({} if method == "base" else {"no": 1})  # it has no part in that
    assert refusing.opened == 1
    assert replayed(trace.getvalue()) == list(answer.pieces)


@pytest.mark.parametrize("method", ["unite", "bytewise", "consult", "confipara-d"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("questions", [1, 4])
async def test_a_refusal_at_any_moment_costs_that_member_only(method: str, kind: str, questions: int) -> None:
    engines = ScriptedEngine("b", script), Refuses("no", kind, questions), ScriptedEngine("c", other)
    trace = io.StringIO()
    answer = await answered(method, *engines, trace=trace)
    assert answer.finish_reason in ("end", "length")
    assert answer.tokens > 3
    assert set(answer.left) <= {"no"}
    assert replayed(trace.getvalue()) == list(answer.pieces)


async def test_the_user_is_told_once_who_left_and_why() -> None:
    told: list[str] = []
    engines = [ScriptedEngine("b", script), Refuses("no", "ModelRefused"), ScriptedEngine("small", other, 3)]
    team = Collaboration("b", ["no", "small"], "unite", runtime=scripted_runtime(*engines), notify=told.append)
    async with team:
        answer = await team.generate("?", max_tokens=12)
    assert answer.left == {"no": "no: ModelRefused", "small": "its context is full"}
    assert told == [f"{name} takes no further part in this answer: {reason}" for name, reason in answer.left.items()]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_the_base_refuses_is_refused(kind: str) -> None:
    with pytest.raises(type(refusal(kind, ""))):
        await answered("unite", Refuses("no", kind), ScriptedEngine("c", other))


@pytest.mark.parametrize("method", METHODS[1:])
@pytest.mark.parametrize("context", [2, 5, 9])
async def test_the_full_context_of_a_collaborator_costs_its_part_and_that_of_the_base_the_rest(
    method: str, context: int, tmp_path: Path
) -> None:
    trace = io.StringIO()
    small = ScriptedEngine("small", other, context_length=context)
    answer = await answered(method, ScriptedEngine("b", script), small, ScriptedEngine("c", other), trace=trace)
    assert len(answer.text) > context
    assert set(answer.left) <= {"small"}
    assert answer.lost == dict.fromkeys(answer.left, 1)  # it does not come back to be lost again
    assert replayed(trace.getvalue()) == list(answer.pieces)
    base = await answered(method, ScriptedEngine("b", script, context_length=context), ScriptedEngine("c", other))
    assert (base.finish_reason, base.left) == ("length", {})
    assert context - 1 <= len(base.text) + 1 <= context + 2


def cuts(file: Path) -> Iterator[Path]:
    """The file, cut after each of its lines."""
    lines = file.read_bytes().splitlines(keepends=True)
    for kept in range(1, len(lines)):
        file.write_bytes(b"".join(lines[:kept]))
        yield file


@pytest.mark.parametrize("method", ["unite", "bytewise", "consult"])
async def test_an_answer_that_lost_a_full_member_is_resumed_without_it(method: str, tmp_path: Path) -> None:
    def engines() -> list[ScriptedEngine]:
        return [ScriptedEngine("b", script), ScriptedEngine("small", other, context_length=4)]

    runtime = scripted_runtime(*engines())
    async with Collaboration("b", ["small"], method, runtime=runtime, journal=tmp_path, keep_journal=True) as team:
        stream = team.stream("?", max_tokens=12)
        async for _ in stream:
            pass
        whole = stream.answer
    assert stream.journal is not None
    for file in cuts(stream.journal):
        async with Collaboration("b", ["small"], method, runtime=scripted_runtime(*engines())) as team:
            stream = team.resume(file)
            async for _ in stream:
                pass
        assert (stream.answer.pieces, stream.answer.lost) == (whole.pieces, whole.lost)
        assert stream.answer.left == whole.left


async def test_a_full_member_waits_for_a_base_that_comes_back() -> None:
    """The base breaks once, and meanwhile the context of the only other one is full. Either may be heard of first."""
    for _ in range(40):
        whole = [True]

        def breaks(text: bytes, whole: list[bool] = whole) -> Mapping[Piece, float]:
            if len(text) == 2 and whole:
                whole.clear()
                raise RuntimeError("out of order")
            return {b"a": 9.0, None: 1.0}

        engines = ScriptedEngine("b", breaks), ScriptedEngine("small", lambda text: {b"a": 9.0}, context_length=3)
        answer = await answered("unite", *engines)
        assert (answer.text, answer.finish_reason) == ("a" * 12, "length")
        assert answer.lost["small"] == 1


async def test_without_its_base_an_answer_ends_where_the_last_context_does() -> None:
    def breaks(text: bytes) -> Mapping[Piece, float]:
        raise RuntimeError("out of order")

    engines = ScriptedEngine("b", breaks), ScriptedEngine("small", lambda text: {b"a": 9.0}, context_length=3)
    answer = await answered("unite", *engines)
    assert (answer.text, answer.finish_reason) == ("aaa", "length")


class TestRoom:
    @pytest.mark.parametrize("full", ["one", "two"])
    async def test_a_batch_waits_for_room_as_long_as_it_is_told_and_goes_on(self, tmp_path: Path, full: str) -> None:
        prompts = [b'{"prompt": "full"}', b'{"prompt": "x"}', *[b'{"prompt": "full"}'] * 20]
        lines, _ = read_prompts(b"\n".join(prompts), PromptDefaults(max_tokens=3))

        class Full(ScriptedEngine):
            def open(self, request: Open) -> Opened | Refused:
                if self.info.name == full and request.messages[0].content == "full":
                    return Refused(request.session, "PlatformFull", "no room")
                return super().open(request)

        heard: list[str] = []
        runtime = scripted_runtime(Full("one", other), Full("two", other))
        async with Collaboration("one", ["two"], "unite", runtime=runtime) as team:
            with AnswerFile(tmp_path / "out", {}, lines) as file:
                await answer_all(
                    team,
                    lines,
                    file,
                    concurrency=1,
                    progress=Progress(len(lines)),
                    report=lambda line, reason: heard.append(reason),
                    wait_for_room=0,
                )
                assert file.answered == {2}
        assert heard == ["no room within 0 s: no room"] * 21

    async def test_where_room_is_required_a_full_collaborator_is_an_error(self) -> None:
        with pytest.raises(PlatformFull):
            await answered("unite", ScriptedEngine("b", script), Refuses("no", "PlatformFull"), require_room=True)
        for kind in KINDS[:2]:
            answer = await answered("unite", ScriptedEngine("b", script), Refuses("no", kind), require_room=True)
            assert answer.left


@pytest.mark.parametrize(
    "method", ["modelswitch", "random-switch", "best-of-n", "mad", "moa", "chateval", "agentverse"]
)
@pytest.mark.parametrize("kind", [*KINDS, "ContextExhausted"])
async def test_methods_over_whole_answers_go_on_without_a_model_that_refuses(method: str, kind: str) -> None:
    class Full(ScriptedEngine):
        def next_candidates(self, requests: Sequence[EngineRequest]) -> list[EngineReply | None]:
            return [EngineReply(ContextExhausted(request.session, 0)) for request in requests]

    chosen = parse_response_method(method, models=3)
    make: Callable[[], ScriptedEngine] = lambda: (  # noqa: E731
        Refuses("no", kind) if kind in KINDS else Full("no", other)
    )
    engines = [ScriptedEngine("b", script), make(), ScriptedEngine("c", other)]
    runtime = LocalRuntime(lambda spec: next(engine for engine in engines if engine.info.name == spec.name))
    async with Collaboration("b", ["no", "c"], "base", runtime=runtime) as team:
        response = await asyncio.wait_for(ask(team, "?", chosen, max_tokens=6), 20)
    assert set(response.lost) <= {"no"}
    assert any(response.texts["b"]) or any(response.texts["c"])


async def test_respondents_that_write_together_go_on_without_one_that_refuses() -> None:
    for kind, error in zip(KINDS, (PromptTooLong, ModelRefused, PlatformFull), strict=True):
        engines = [ScriptedEngine("b", script), Refuses("no", kind), ScriptedEngine("c", other)]
        async with Collaboration("b", ["no", "c"], "base", runtime=scripted_runtime(*engines)) as team:
            response = await ask(team, "?", "modelswitch", ["unite(b,no)", "c"], max_tokens=6)
            assert not response.lost
            with pytest.raises(error):
                await team.generate("?", members=["no"])


@pytest.mark.parametrize("method", ["transfer", "transfer-small", "transfer-large-short", "transfer-large-reasoning"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("refuses", ["large", "small"])
async def test_reasoning_is_transferred_where_it_can_be(method: str, kind: str, refuses: str) -> None:
    """Where one model answers by itself, its refusal is the answer's; else the other one answers."""
    engines = {"b": ScriptedEngine("b", script), "no": Refuses("no", kind)}
    order = ["no", "b"] if refuses == "large" else ["b", "no"]
    alone = {"transfer-small": "small", "transfer-large-short": "large", "transfer-large-reasoning": "large"}
    async with Collaboration("b", ["no"], "base", runtime=LocalRuntime(lambda spec: engines[spec.name])) as team:
        asking = asyncio.wait_for(ask(team, "?", method, order, max_tokens=6), 20)
        if alone.get(method) == refuses:
            with pytest.raises((PromptTooLong, ModelRefused, PlatformFull), match=f"^no: {kind}"):
                await asking
            return
        response = await asking
    assert response.decided_by == "b"
    assert set(response.lost) == ({"no"} if method == "transfer" else set())
    assert any(response.texts["b"])

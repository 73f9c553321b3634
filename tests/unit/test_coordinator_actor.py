"""A coordinator's actor and its client, without Ray: cut off after every frame, resumed, cancelled, refused."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, TypeAlias, cast

import pytest

from tests.support.shared_models import script, text
from tokencollab import Collaboration, EngineOptions, ModelFailed, ModelRefused, Token, UsageError, parse_method
from tokencollab.actors.journal import SUFFIX
from tokencollab.actors.platform.client import PlatformClient
from tokencollab.actors.platform.registry import Entry, ModelFigures
from tokencollab.actors.runtimes.base import ModelSpec
from tokencollab.actors.runtimes.threads import LocalRuntime, load_engine
from tokencollab.engines.base import Engine
from tokencollab.errors import ModelGone
from tokencollab.protocol import codec
from tokencollab.protocol import messages as m
from tokencollab.protocol.trace import parse_trace
from tokencollab.remote import RemoteCollaboration
from tokencollab.remote.coordinator_actor import CoordinatorActor, coordinator_specs
from tokencollab.testing import ScriptedEngine

LENGTH = 12
METHOD = parse_method("unite", exit="fixed-6")
SESSION = "0a" * 16
TASK = m.Task(
    SESSION, (m.ChatMessage("user", "?"),), "a", None, json.dumps(METHOD.to_json()), LENGTH, (), 0, trace=True
)


Load: TypeAlias = Callable[[ModelSpec], Engine]


def scripted(spec: ModelSpec) -> Engine:
    return ScriptedEngine(spec.name, script)


def team(load: Load = scripted) -> Collaboration:
    return Collaboration("a", ["b"], METHOD, runtime=LocalRuntime(load))


class Actor(CoordinatorActor):
    """With models of this process."""

    def __init__(self, number: int, max_sessions: int = 4, load: Load = scripted) -> None:
        super().__init__(coordinator_specs("here", number, max_sessions)[-1])
        self._load = load

    async def _enter(self, base: str) -> Collaboration:
        if base != "a":
            raise UsageError("no such base")
        return await team(self._load).__aenter__()

    async def end(self) -> None:
        for each in self._teams.values():
            await (await each).__aexit__(None, None, None)

    async def said(self, message: codec.Message) -> list[codec.Message]:
        return [codec.decode(frame) async for frame in self.replies(codec.encode(message))]

    @property
    def journal(self) -> Path:
        return self._folder / f"{SESSION}{SUFFIX}"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOKENCOLLAB_CACHE", str(tmp_path))
    return tmp_path


async def with_actor(test: Callable[[Actor], Any], max_sessions: int = 4) -> None:
    actor = Actor(1, max_sessions)
    try:
        await test(actor)
    finally:
        await actor.end()
    assert not list(actor._folder.glob("*"))
    assert (await actor.figures()).sessions == 0


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("waited in vain")


def parsed(lines: Iterable[str]) -> list[Any]:
    """Lines of a trace; in which order the models of a step were heard depends on time, and so does the checksum."""
    trace = [json.loads(line) for line in lines]
    for line in trace:
        line.get("heard", []).sort(key=str)
        del line["crc32"]
    return trace


def ordered(replies: list[codec.Message]) -> tuple[list[m.TaskToken], list[Any]]:
    """The tokens, and the lines of the trace; those of a resumed answer come all with its first token."""
    tokens = [token for token in replies if isinstance(token, m.TaskToken)]
    return [replace(token, trace=()) for token in tokens], parsed(line for token in tokens for line in token.trace)


def written(replies: list[codec.Message]) -> str:
    *tokens, end = replies
    assert isinstance(end, m.TaskEnded)
    whole = "".join(cast(m.TaskToken, token).text for token in tokens)
    assert json.loads(end.figures)["text"] == whole
    return whole


async def test_what_is_left_of_a_journal_is_gone_on_from_and_what_is_no_use_is_written_anew() -> None:
    async def run(actor: Actor) -> None:
        undisturbed = await actor.said(TASK)
        assert written(undisturbed).encode() == text(LENGTH)
        lines: list[bytes] = []
        async with aclosing(actor._write(TASK)) as replies:
            async for reply in replies:
                if isinstance(reply, m.TaskToken):
                    lines = actor.journal.read_bytes().splitlines(keepends=True)
        # Whole (the answer had come to its end), cut between and within lines, without a header, nonsense.
        left = [b"".join(lines[:count]) for count in range(len(lines) + 1)]
        left += [
            left[4] + lines[4][:20],
            lines[0][:30],
            b"\xff\n",
            b"{}\n",
            lines[0] + lines[2] + lines[1],
            left[4].replace(lines[3], lines[3].replace(b'"chosen"', b'"chose"')),
        ]
        for journal in left:
            actor.journal.write_bytes(journal)
            again = await actor.said(TASK)
            assert ordered(again) == ordered(undisturbed), journal
            assert written(again).encode() == text(LENGTH)

    await with_actor(run)


async def test_cancelled_asked_twice_left_and_refused() -> None:
    async def run(actor: Actor) -> None:
        long = replace(TASK, max_tokens=100_000)
        first = asyncio.create_task(actor.said(long))
        await until(lambda: bool(actor._answers))
        assert written(await actor.said(TASK)).encode() == text(LENGTH), "the same session, asked for again"
        written(await first)
        cancelled = asyncio.create_task(actor.said(long))
        await until(actor.journal.exists)
        (full,) = await actor.said(replace(TASK, session="1" * 32))
        assert isinstance(full, m.Refused)
        assert full.kind == "PlatformFull"
        assert await actor.said(m.Close(SESSION)) == [m.Closed(SESSION)]
        assert cast(m.TaskEnded, (await cancelled)[-1]).figures.count('"finish_reason": "cancelled"')
        opened: set[str] = set()
        left = cast(AsyncGenerator[bytes, None], actor._replies(codec.encode(long), opened))
        await anext(left)
        assert opened == {SESSION}
        await actor._left(opened)
        assert (await actor.figures()).sessions == 1, "until its reader is gone too"
        await left.aclose()
        for wrong, kind in (
            (replace(TASK, method="{}"), "UnknownMethod"),
            (replace(TASK, method="["), "ModelFailed"),
            (replace(TASK, method="[" * 100_000), "ModelFailed"),
            (replace(TASK, messages=()), "UsageError"),
            (replace(TASK, max_tokens=0), "UsageError"),
            (replace(TASK, base="c"), "UsageError"),
            (replace(TASK, collaborators=("c",)), "UsageError"),
            (m.NextCandidates("s", 0, b"", 1), "ProtocolError"),
        ):
            (refused,) = await actor.said(wrong)
            assert isinstance(refused, m.Refused)
            assert refused.kind == kind, refused
        (refused,) = [codec.decode(frame) async for frame in actor.replies(b"\xff")]
        assert isinstance(refused, m.Refused)

    await with_actor(run, max_sessions=1)


class Link:
    """Ends after so many frames, and leaves the journal as the death of the process leaves it."""

    channel = None

    def __init__(self, actor: Actor, frames: int) -> None:
        self._actor, self._frames = actor, frames

    async def ask(self, request: m.Close) -> codec.Message:
        return (await self._actor.said(request))[0]

    async def stream(self, task: m.Task) -> AsyncIterator[bytes]:
        left = self._frames
        replies = cast(AsyncGenerator[bytes, None], self._actor._replies(codec.encode(task), set()))
        file = self._actor._folder / f"{task.session}{SUFFIX}"
        journal: bytes | None = None
        try:
            async for frame in replies:
                left -= 1
                if left < 0:
                    journal = file.read_bytes() if file.exists() else None
                    break
                yield frame
        finally:
            await replies.aclose()
        if left < 0:
            if journal is not None:
                file.write_bytes(journal)
            raise ModelGone("killed")


class Client(PlatformClient):
    """A platform of actors that die after so many frames each, one after the other; the last stays."""

    def __init__(self, actors: list[Actor], deaths: list[int]) -> None:
        super().__init__("here")
        self.actors, self.deaths = actors, deaths
        self.chosen: list[str] = []
        self.sessions = dict.fromkeys((actor._name for actor in actors), 0)

    async def connect(self) -> None:
        pass

    async def base(self) -> str:
        return "a"

    async def entries(self) -> tuple[Entry, ...]:
        return tuple(
            Entry(name, "up", figures=ModelFigures(count), kind="coordinator") for name, count in self.sessions.items()
        )

    async def look_after(self, name: str, life: int | None = None) -> Entry:
        return Entry(name, "up", 0 if life is None else life + 1, kind="coordinator")

    async def link(self, entry: Entry) -> Any:
        self.chosen.append(entry.name)
        (actor,) = [actor for actor in self.actors if actor._name == entry.name]
        return Link(actor, self.deaths.pop(0) if self.deaths else 1 << 30)


def remote(client: PlatformClient) -> RemoteCollaboration:
    collaboration = RemoteCollaboration("here", None, None, METHOD)
    collaboration._client = client
    return collaboration


async def answered(collaboration: Any) -> tuple[list[Token], Any, list[Any]]:
    trace = StringIO()
    async with collaboration as here:
        stream = here.stream("?", max_tokens=LENGTH, trace=trace)
        tokens = [token async for token in stream]
    lines = trace.getvalue().splitlines()
    parse_trace(lines)  # which verifies the checksums
    return tokens, stream.answer, parsed(lines)


async def test_a_coordinator_that_ends_after_any_frame_is_not_noticed_in_the_answer() -> None:
    tokens, answer, trace = await answered(team())
    actors = [Actor(1), Actor(2)]
    for deaths in [[count] for count in range(LENGTH + 3)] + [[3, 2, 9], [0, 0, 0, 1], [11, 11, 11, 12]]:
        client = Client(actors, list(deaths))
        again = await answered(remote(client))
        assert again[0] == tokens, deaths
        assert again[2] == trace, deaths
        for figure in ("text", "tokens", "cost", "aligned", "exit_step", "models", "agreed", "together", "pieces"):
            assert getattr(again[1], figure) == getattr(answer, figure), figure
        assert len(client.chosen) == 1 + len([count for count in deaths if count <= LENGTH])
    for actor in actors:
        await actor.end()


async def test_real_engines_resume_with_the_tokens_that_they_had(tiny_model: Callable[..., Path]) -> None:
    """The two cut text differently, so what they hold of it depends on how it came about."""
    folders = {"a": tiny_model("llama", seed=1), "b": tiny_model("bytes", seed=2)}

    def load(spec: ModelSpec) -> Engine:
        return load_engine(ModelSpec(spec.name, str(folders[spec.name]), EngineOptions(threads=1)))

    tokens, answer, _ = await answered(team(load))
    assert b"".join(piece or b"" for piece in answer.pieces)
    actors = [Actor(1, load=load), Actor(2, load=load)]
    for deaths in ([1, 3, 4, 5, 9], [2, 6], [7, 7, 8], [len(tokens)]):
        again = await answered(remote(Client(actors, list(deaths))))
        assert (again[0], again[1].pieces) == (tokens, answer.pieces), deaths
    for actor in actors:
        await actor.end()


async def test_the_one_with_the_fewest_answers_writes() -> None:
    actors = [Actor(1), Actor(2), Actor(3)]
    client = Client(actors, [])
    client.sessions |= {"coordinator-1": 3, "coordinator-2": 1, "coordinator-3": 2}
    await answered(remote(client))
    assert client.chosen == ["coordinator-2"]
    client.sessions.clear()
    with pytest.raises(UsageError, match="has no coordinator"):
        await answered(remote(client))
    await actors[1].end()


async def test_a_task_that_ends_every_coordinator_is_given_up_and_another_text_is_an_error() -> None:
    actor = Actor(1)
    with pytest.raises(ModelFailed, match="5 coordinators ended without another token"):
        await answered(remote(Client([actor], [4] * 20)))

    class Liar(Link):
        async def stream(self, task: m.Task) -> AsyncIterator[bytes]:
            yield codec.encode(m.TaskToken("!", b"!", 1, (("a", 0),), None, False, (), ()))
            raise ModelGone("killed")

    class Lying(Client):
        async def link(self, entry: Entry) -> Any:
            return Liar(actor, 0) if not self.chosen else await super().link(entry)

    client = Lying([actor], [])
    async with remote(client) as here:
        stream = here.stream("?", max_tokens=LENGTH)
        assert (await anext(stream)).text == "!"
        client.chosen.append("once")
        with pytest.raises(ModelFailed, match="another text than was streamed"):
            await anext(stream)
    await actor.end()


async def test_an_answer_from_afar_ends_in_time_and_the_next_coordinator_has_what_is_left() -> None:
    actors, given = [Actor(1), Actor(2)], list[float | None]()

    class Noting(Client):
        async def link(self, entry: Entry) -> Any:
            link = await super().link(entry)
            stream = link.stream

            def noted(task: m.Task) -> Any:
                given.append(task.max_seconds)
                return stream(task)

            link.stream = noted
            return link

    async with remote(Noting(actors, [5, 9])) as here:
        answer = await here.generate("?", max_tokens=100_000, max_seconds=1)
        assert answer.finish_reason == "timeout"
        assert 9 < answer.tokens < 100_000
        assert answer.text.encode() == text(answer.tokens)
        assert answer.prompt_tokens is not None
        first, second, third = given
        assert first is not None
        assert second is not None
        assert third is not None
        assert 1 > first > second > third > 0
        assert (await here.generate("?", max_tokens=LENGTH)).finish_reason == "length"
    for actor in actors:
        await actor.end()


async def test_cancelling_and_leaving_from_afar() -> None:
    actor = Actor(1)
    async with remote(Client([actor], [])) as here:
        stream = here.stream("?", max_tokens=100_000)
        async for token in stream:
            if token.step == 5:
                stream.cancel()
        assert stream.answer.finish_reason == "cancelled"
        assert 5 <= stream.answer.tokens < 100_000
        early = here.stream("?", max_tokens=100_000)
        async for token in early:
            if token.step == 3:
                break
        await early.aclose()
        assert (early.answer.tokens, early.answer.finish_reason) == (3, "cancelled")
        assert early.answer.text.encode() == text(3)
        before = here.stream("?", max_tokens=100_000)
        before.cancel()
        assert sum([1 async for _ in before]) < 100_000
    assert (await actor.figures()).sessions == 0
    await actor.end()


class Refusing(ScriptedEngine):
    """Refuses every conversation."""

    def open(self, request: m.Open) -> m.Opened | m.Refused:
        return m.Refused(request.session, "ModelRefused", f"{self.info.name} does not want to")


@pytest.mark.parametrize("who", ["a", "b"])
async def test_a_member_that_refuses_costs_its_part_and_the_base_the_answer(who: str) -> None:
    actor = Actor(1, load=lambda spec: (Refusing if spec.name == who else ScriptedEngine)(spec.name, script))
    heard: list[str] = []
    collaboration = RemoteCollaboration("here", None, None, METHOD, notify=heard.append)
    collaboration._client = Client([actor], [])
    if who == "a":
        with pytest.raises(ModelRefused, match="a does not want to"):
            await answered(collaboration)
    else:
        tokens, answer, _ = await answered(collaboration)
        assert "".join(token.text for token in tokens) == answer.text == text(LENGTH).decode()
        assert list(answer.left) == ["b"]
        assert [notice for notice in heard if "b does not want to" in notice]
    await actor.end()

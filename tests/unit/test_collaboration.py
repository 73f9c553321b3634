"""Answers written by scripted models: what is streamed, counted, freed and refused."""

import asyncio
import gc
import io
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from math import inf, nan

import pytest

from tokencollab import (
    EOS,
    ChatMessage,
    Collaboration,
    Member,
    ModelFailed,
    Piece,
    PromptTooLong,
    UnknownMethod,
    UsageError,
)
from tokencollab.actors.runtimes.threads import LocalRuntime
from tokencollab.engines.base import EngineReply, EngineRequest
from tokencollab.policies.methods import parse_method
from tokencollab.testing import ScriptedEngine, scripted_runtime

TEXT = "Zoë says 你好 🙂 to everybody!".encode()


def spell(text: bytes, width: int = 1) -> ScriptedEngine:
    """A model that writes ``text`` in pieces of ``width`` bytes, then EOS."""
    return ScriptedEngine(f"w{width}", lambda done: ahead(text, done, width))


def ahead(text: bytes, done: bytes, width: int) -> Mapping[Piece, float]:
    piece: Piece = text[len(done) : len(done) + width] or EOS
    return {piece: 9.0, b"~": 5.0, (b"?" if piece is EOS else EOS): 1.0}


def forever(name: str = "forever") -> ScriptedEngine:
    return ScriptedEngine(name, lambda done: {b"ab": 9.0, b"c": 3.0, EOS: 1.0})


@pytest.mark.parametrize("method", ["duetnet", "unite", "gac", "dp", "dk", "upara-3", "base"])
async def test_the_streamed_texts_are_the_answer_byte_for_byte(method: str) -> None:
    async with Collaboration("w1", ["w1#2"], method, runtime=scripted_runtime(spell(TEXT), clone())) as team:
        stream = team.stream("?")
        texts, pieces = [], []
        async for token in stream:
            texts.append(token.text)
            pieces.append(token.piece or b"")
        assert "".join(texts).encode() == b"".join(pieces) == TEXT
        assert all("\ufffd" not in text for text in texts)
        assert stream.answer.text.encode() == TEXT
        assert stream.answer.finish_reason == "end"


def clone() -> ScriptedEngine:
    return ScriptedEngine("w1#2", lambda done: ahead(TEXT, done, 1))


async def test_the_figures_of_an_answer() -> None:
    async with Collaboration("a", ["b"], "upara-3", runtime=scripted_runtime(named("a"), named("b"))) as team:
        answer = await team.generate("?", max_tokens=10, seed=5)
    assert answer.finish_reason == "length"
    assert (answer.tokens, answer.cost, answer.exit_step) == (10, 3 * 2 + 7, 3)
    assert answer.when_solo == "after step 3"
    assert (answer.together, answer.agreed) == (3, 3)
    assert answer.proposed == {"a": 3, "b": 3}
    assert answer.forwarded == {"a": 1.0, "b": 1.0}
    assert answer.models == ("a", "b")
    assert (answer.method, answer.seed) == ("upara-3", 5)
    assert answer.ms_per_token is not None
    assert answer.ms_per_token * 9 / 1000 <= answer.seconds
    assert set(json.loads(json.dumps(answer.to_json()))) >= {
        *("text", "finish_reason", "tokens", "cost", "exit_step", "models", "method", "seed", "seconds", "ms_per_token")
    }


@pytest.mark.parametrize("method", ["consult", "unite+consult"])
async def test_a_base_that_is_unsure_within_a_word_asks_from_its_beginning_on(method: str) -> None:
    story = b"one two six ten"

    def script(doubts: tuple[int, ...]) -> Callable[[bytes], Mapping[Piece, float]]:
        def logits(done: bytes) -> Mapping[Piece, float]:
            return {story[len(done) : len(done) + 1] or EOS: 3.0 if len(done) in doubts else 9.0, b"~": 2.0}

        return logits

    asked: list[int] = []

    class Witness(ScriptedEngine):
        def next_candidates(self, requests: Sequence[EngineRequest]) -> list[EngineReply | None]:
            asked.extend(request.start + len(request.data) for request in requests)
            return super().next_candidates(requests)

    chosen = parse_method(method) if method == "consult" else parse_method("unite", exit="consult")
    engines = ScriptedEngine("a", script((3, 10))), Witness("b", script(()))
    async with Collaboration("a", ["b"], chosen, runtime=scripted_runtime(*engines)) as team:
        answer = await team.generate("?")
    assert answer.text.encode() == story
    assert asked == [0, 3, 7, 8, 9, 10]  # " six" is taken back from its "x", and voted on from the space on
    assert (answer.tokens, answer.together, answer.when_solo) == (16, 6, "in 10 of 16 steps")
    assert answer.cost == 10 + 2 * 6 + (3 + 2 + 1)


async def test_candidates_count_after_truncation_and_while_they_are_compared() -> None:
    async with Collaboration("a", ["b"], "upara-3", runtime=scripted_runtime(named("a"), named("b"))) as team:
        three_listed = await team.generate("?", max_tokens=10)
        two_kept = await team.generate("?", max_tokens=10, method=parse_method("upara-3", top_k=2))
        best_alone = await team.generate("?", max_tokens=10, method="duetnet")
    assert (three_listed.aligned, two_kept.aligned) == (3 * 2 * 3, 3 * 2 * 2)
    assert best_alone.aligned == 10 * 2  # the first piece has more than 0.75 of the mass


async def test_another_method_and_other_members_for_one_answer() -> None:
    engines = [named("a"), named("b"), named("c")]
    async with Collaboration("a", ["b", "c"], "duetnet", runtime=scripted_runtime(*engines)) as team:
        alone = await team.generate("?", max_tokens=5, method="base", members=["c"])
        pair = await team.generate("?", max_tokens=5, method="unite", members=["c", "a"])
        usual = await team.generate("?", max_tokens=5)
        for members in ([], ["a", "a"], ["d"]):
            with pytest.raises(UsageError, match="members must be some of a, b, c"):
                await team.generate("?", members=members)
        with pytest.raises(UnknownMethod):
            await team.generate("?", method="telepathy")
    assert (alone.models, alone.method, alone.cost, alone.aligned) == (("c",), "base", 5, 0)
    assert (pair.models, pair.method, pair.cost) == (("c", "a"), "unite", 10)
    assert (usual.models, usual.method, usual.cost) == (("a", "b", "c"), "duetnet", 15)


def named(name: str) -> ScriptedEngine:
    return ScriptedEngine(name, lambda done: ahead(TEXT, done, 2))


async def test_end_counts_as_a_committed_piece() -> None:
    async with Collaboration("w1", runtime=scripted_runtime(spell(b"abc"))) as team:
        answer = await team.generate("?")
    assert (answer.text, answer.tokens, answer.cost) == ("abc", 4, 4)


async def test_the_answer_ends_before_a_stop_text() -> None:
    async with Collaboration("forever", ["w1"], "base", runtime=scripted_runtime(forever(), spell(TEXT))) as team:
        answer = await team.generate("?", stop=["bab"], max_tokens=50)
    assert (answer.text, answer.finish_reason) == ("a", "end")


async def test_the_answer_ends_when_a_context_is_full() -> None:
    small = ScriptedEngine("small", lambda done: ahead(TEXT, done, 1), context_length=6)
    async with Collaboration("small", runtime=scripted_runtime(small)) as team:
        answer = await team.generate("?")
    assert (answer.text.encode(), answer.finish_reason) == (TEXT[:6].decode("utf-8", "replace").encode(), "length")


async def test_leaving_the_stream_early_frees_the_session_everywhere() -> None:
    engines = [forever("a"), forever("b")]
    async with Collaboration("a", ["b"], "duetnet", runtime=scripted_runtime(*engines)) as team:
        async for _ in team.stream("?", max_tokens=10**6):
            break
        gc.collect()
        for _ in range(200):
            if not any(engine.texts for engine in engines):
                break
            await asyncio.sleep(0.01)
        assert not any(engine.texts for engine in engines)
        stream = team.stream("?", max_tokens=10**6)
        await anext(stream)
        await stream.aclose()
        assert not any(engine.texts for engine in engines)


async def test_leaving_the_stream_and_the_team_at_once_raises_nothing_anywhere() -> None:
    wrong: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: wrong.append(context))
    async with Collaboration("a", ["b"], "duetnet", runtime=scripted_runtime(forever("a"), forever("b"))) as team:
        async for _ in team.stream("?", max_tokens=10**6):
            break
    gc.collect()
    await asyncio.sleep(0.05)
    assert not wrong


@pytest.mark.parametrize("method", ["duetnet", "base"])
async def test_a_cancelled_answer_keeps_what_was_written(method: str) -> None:
    async with Collaboration("a", ["b"], method, runtime=scripted_runtime(forever("a"), forever("b"))) as team:
        stream = team.stream("?", max_tokens=10**6)
        seen = ""
        async for token in stream:
            seen += token.text
            if len(seen) > 20:
                stream.cancel()
        assert stream.answer.finish_reason == "cancelled"
        assert stream.answer.text == seen
        assert set(seen) == {"a", "b"}


async def test_two_streams_at_once_do_not_disturb_each_other() -> None:
    async with Collaboration("w1", ["w2"], "unite", runtime=scripted_runtime(spell(TEXT), spell(TEXT, 2))) as team:
        together = await asyncio.gather(*(team.generate("?", seed=seed) for seed in range(6)))
        alone = await team.generate("?")
    assert {answer.text for answer in together} == {alone.text}


async def test_a_model_that_fails_is_lost_and_the_others_go_on() -> None:
    def broken(done: bytes) -> Mapping[Piece, float]:
        if len(done) >= 4:
            raise RuntimeError("out of order")
        return ahead(TEXT, done, 1)

    engines = [spell(TEXT), ScriptedEngine("broken", broken)]
    async with Collaboration("w1", ["broken"], "duetnet", runtime=scripted_runtime(*engines)) as team:
        answer = await team.generate("?")
    assert answer.text.encode() == TEXT
    assert answer.lost == {"broken": 1}


async def test_a_base_that_fails_alone_fails_the_answer_and_nothing_hangs() -> None:
    def broken(done: bytes) -> Mapping[Piece, float]:
        if len(done) >= 4:
            raise RuntimeError("out of order")
        return ahead(TEXT, done, 1)

    async with Collaboration("broken", runtime=scripted_runtime(ScriptedEngine("broken", broken))) as team:
        with pytest.raises(ModelFailed, match="alone"):
            await asyncio.wait_for(team.generate("?"), 10)


async def test_a_model_that_cannot_begin_is_lost_and_the_others_go_on() -> None:
    engine = ScriptedEngine("broken", lambda done: ahead(TEXT, done, 1))
    engine.open = lambda request: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    async with Collaboration("w1", ["broken"], "unite", runtime=scripted_runtime(spell(TEXT), engine)) as team:
        answer = await asyncio.wait_for(team.generate("?"), 10)
    assert answer.text.encode() == TEXT
    assert answer.lost == {"broken": 1}


async def test_with_every_model_lost_the_answer_fails_clearly() -> None:
    def broken(done: bytes) -> Mapping[Piece, float]:
        raise RuntimeError("out of order")

    engines = [ScriptedEngine(name, broken) for name in ("a", "b")]
    async with Collaboration("a", ["b"], "duetnet", runtime=scripted_runtime(*engines)) as team:
        with pytest.raises(ModelFailed, match="lost"):
            await team.generate("?")


async def test_the_trace_has_a_header_and_a_line_per_piece() -> None:
    file = io.StringIO()
    async with Collaboration("w1", ["w2"], "upara-4", runtime=scripted_runtime(spell(TEXT), spell(TEXT, 2))) as team:
        answer = await team.generate("?", trace=file, max_tokens=9)
    header, *steps = map(json.loads, file.getvalue().splitlines())
    assert (header["tokencollab_trace"], header["models"]) == (1, ["w1", "w2"])
    assert [step["step"] for step in steps] == list(range(1, 10))
    assert [set(step["candidates"]) for step in steps] == [{"w1", "w2"}] * 4 + [{"w1"}] * 5
    first = steps[0]["candidates"]["w2"]
    assert first[0]["piece"] == "Zo"
    assert [c["logprob"] for c in first] == sorted((c["logprob"] for c in first), reverse=True)
    assert {"hex": "c3"} in [c["piece"] for step in steps for c in step["candidates"]["w1"]]
    assert None in [c["piece"] for c in first]
    chosen = [step["chosen"] for step in steps]
    joined = b"".join(bytes.fromhex(p["hex"]) if isinstance(p, dict) else p.encode() for p in chosen)
    assert joined.decode("utf-8", "replace") == answer.text


async def test_a_conversation_reaches_the_models() -> None:
    engine = spell(b"abc")
    seen = []
    opened = engine.open
    engine.open = lambda request: seen.append(request.messages) or opened(request)  # type: ignore[method-assign, func-returns-value]
    async with Collaboration("w1", runtime=scripted_runtime(engine)) as team:
        await team.generate([{"role": "system", "content": "s"}, ChatMessage("user", "u")])
    assert seen == [(ChatMessage("system", "s"), ChatMessage("user", "u"))]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"prompt": " \n"}, "empty"),
        ({"prompt": []}, "empty"),
        ({"prompt": [{"role": "judge", "content": "x"}]}, "role"),
        ({"prompt": "x", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "x", "seed": -1}, "seed"),
        ({"prompt": "x", "stop": [""]}, "stop"),
    ],
)
async def test_bad_requests_are_refused_before_anything_starts(arguments: dict[str, object], reason: str) -> None:
    async with Collaboration("w1", runtime=scripted_runtime(spell(TEXT))) as team:
        with pytest.raises(UsageError, match=reason):
            team.stream(**arguments)  # type: ignore[arg-type]


async def test_a_prompt_too_long_for_the_base_is_refused_and_for_another_model_costs_that_model() -> None:
    small = ScriptedEngine("small", lambda done: ahead(TEXT, done, 1), context_length=3)
    async with Collaboration("small", ["w1"], runtime=scripted_runtime(spell(TEXT), small)) as team:
        with pytest.raises(PromptTooLong, match="small"):
            await team.generate("a long question")
        answer = await team.generate("a long question", members=["w1", "small"], method="duetnet")
    assert (answer.text.encode(), answer.finish_reason) == (TEXT, "end")
    assert (answer.lost, answer.left) == ({"small": 1}, {"small": "the prompt is too long for small"})


def test_bad_methods_are_refused_at_once() -> None:
    with pytest.raises(UnknownMethod, match="duetnet"):
        Collaboration("w1", method="duett")
    with pytest.raises(UnknownMethod):
        Collaboration("w1", method="unite", omega=5)
    with pytest.raises(UsageError, match="local and ray"):
        Collaboration("w1", runtime="spark")  # type: ignore[arg-type]


async def test_outside_async_with_there_is_no_answer() -> None:
    with pytest.raises(UsageError, match="async with"):
        Collaboration("w1", runtime=scripted_runtime(spell(TEXT))).stream("x")


async def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    async with Collaboration("w1", runtime=scripted_runtime(spell(TEXT))) as team:
        await team.generate("?")
        assert any(thread.name == "tokencollab-model" for thread in threading.enumerate())
    assert not any(thread.name == "tokencollab-model" for thread in threading.enumerate())
    assert threading.active_count() <= before + 1  # asyncio's own helper thread


@pytest.mark.parametrize("method", ["duetnet", "dk", "confipara-d"])
async def test_that_a_method_trusts_the_scale_of_its_members_is_said_once(method: str) -> None:
    told: list[str] = []
    runtime = scripted_runtime(spell(TEXT), clone())
    async with Collaboration("w1", ["w1#2"], method, runtime=runtime, notify=told.append) as team:
        await team.generate("?", members=["w1"])
        assert told == []  # alone it trusts nobody
        for _ in range(2):
            await team.generate("?", max_tokens=2)
        for other in ("gac", "dp", "unite", "bytewise", "consult"):
            await team.generate("?", max_tokens=2, method=other)
    assert [line.split(":")[0] for line in told] == [
        f"{method} adds up raw logits and so trusts the scale of every member's"
    ]


async def test_members_of_other_owners_are_refused_where_the_scale_of_logits_counts() -> None:
    def runtime() -> LocalRuntime:
        return scripted_runtime(spell(TEXT), clone())

    stranger = Member("w1#2", trusted=False)
    with pytest.raises(UsageError, match=r"^w1#2 belongs to another owner, and duetnet adds up raw logits"):
        await Collaboration("w1", [stranger], "duetnet", runtime=runtime()).__aenter__()
    async with Collaboration("w1", [stranger], "dp", runtime=runtime()) as team:
        assert (await team.generate("?")).text.encode() == TEXT
        assert (await team.generate("?", method="duetnet", members=["w1"])).text.encode() == TEXT
        with pytest.raises(UsageError, match=r"^w1#2 belongs to another owner, and dk"):
            team.stream("?", method="dk")


async def test_a_runtime_may_say_that_its_models_are_not_ones_own() -> None:
    runtime = scripted_runtime(spell(TEXT), clone())
    runtime.trusted = False  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"^w1 belongs to another owner"):
        await Collaboration("w1", ["w1#2"], "duetnet", runtime=runtime).__aenter__()
    own = [Member(name, trusted=True) for name in ("w1", "w1#2")]
    async with Collaboration(own[0], own[1:], "duetnet", runtime=runtime) as team:
        assert (await team.generate("?")).text.encode() == TEXT


@pytest.mark.parametrize("wrong", [nan, inf])
@pytest.mark.parametrize(("method", "others"), [("base", []), ("upara-2", ["w1"]), ("consult", ["w1"])])
async def test_a_base_that_computes_no_distribution_is_an_error_and_not_text(
    method: str, others: list[str], wrong: float
) -> None:
    """Also where it writes alone, and its candidates need not be sent."""
    broken = ScriptedEngine("broken", lambda text: ahead(TEXT, text, 1) if len(text) < 3 else {b"a": wrong, EOS: 1.0})
    async with Collaboration("broken", others, method, runtime=scripted_runtime(broken, spell(TEXT))) as team:
        texts: list[str] = []

        async def read() -> None:
            async for token in team.stream("?", max_tokens=9):
                texts.append(token.text)  # noqa: PERF401 - what came before the error counts

        with pytest.raises(ModelFailed, match=r"\(broken: (the log-normaliser|a score of piece b'a') is not finite\)"):
            await read()
    text = "".join(texts).encode()
    assert TEXT.startswith(text)
    assert len(text) <= 4

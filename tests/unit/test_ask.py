"""Methods between models over scripted models: what is drawn, decided, counted, withdrawn and refused."""

import asyncio
import io
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from tokencollab import EOS, Collaboration, EngineOptions, Piece, PlatformFull, UsageError
from tokencollab.asking import Asking, Heard, ask
from tokencollab.errors import ModelFailed, PromptTooLong, UnknownMethod
from tokencollab.policies.responses.recorded import parse_recorded, replay_recorded
from tokencollab.policies.responses.response_methods import parse_response_method
from tokencollab.policies.responses.vote import Pick
from tokencollab.protocol.messages import Open
from tokencollab.respondents import Respondent
from tokencollab.testing import ScriptedEngine, scripted_runtime


def varied(name: str, *answers: str, **options: Any) -> ScriptedEngine:
    """A model that says "answer X" with any of ``answers`` equally probable, then ends."""

    def script(text: bytes) -> Mapping[Piece, float]:
        if not text:
            return {b"answer ": 9.0, b"~": 0.0}
        if text == b"answer ":
            return {answer.encode(): 5.0 for answer in answers} | {EOS: -9.0}
        return {EOS: 20.0, b"!": 0.0}

    return ScriptedEngine(name, script, **options)


class Talker(ScriptedEngine):
    """A model whose text is a function of the prompt."""

    def __init__(self, name: str, say: Callable[[str], str]) -> None:
        super().__init__(name, lambda text: {})
        self._say = say
        self.prompts: dict[str, str] = {}
        self._now = ""
        self._script = self._next

    def open(self, request: Open) -> Any:
        self.prompts[request.session] = request.messages[-1].content
        return super().open(request)

    def _answer(self, request: Any) -> Any:
        self._now = self.prompts[request.session]
        return super()._answer(request)

    def _next(self, text: bytes) -> Mapping[Piece, float]:
        whole = self._say(self._now).encode()
        piece: Piece = whole[len(text) : len(text) + 8] or EOS if whole.startswith(text) else EOS
        return {piece: 9.0, b"~": 0.0}


def team_of(*engines: ScriptedEngine, **options: Any) -> Collaboration:
    names = [engine.info.name for engine in engines]
    return Collaboration(names[0], names[1:], runtime=scripted_runtime(*engines), **options)


async def test_modelswitch_stops_at_the_model_that_agrees_with_itself() -> None:
    heard: list[Heard] = []
    trace = io.StringIO()
    async with team_of(varied("A", "5", "6", "7"), varied("B", "8"), varied("C", "9")) as team:
        response = await ask(team, "?", "modelswitch", samples=4, extract="number", heard=heard.append, trace=trace)
    assert (response.answer, response.decided_by, response.reason) == ("8", "B", "consistent")
    assert (response.samples, response.budget, response.begun) == (8, 12, 8)
    assert len(set(response.answers["A"])) > 1
    assert response.answers["B"] == ("8",) * 4
    assert response.answers["C"] == ()
    assert response.text == "answer 8"
    assert sorted((one.model, one.sample) for one in heard) == [(model, i) for model in "AB" for i in range(4)]
    assert response.tokens == sum(one.tokens for one in heard) == response.cost == 8 * 3
    assert response.usage["C"].answers == 0
    (recorded,) = parse_recorded(trace.getvalue())
    again = replay_recorded(recorded, recorded.method or parse_response_method("modelswitch"))
    assert (again.answer, again.samples, again.decided_by) == ("8", 8, "B")
    assert dict(again.scores) == pytest.approx(dict(response.scores))


async def test_the_same_seed_gives_the_same_answers_however_many_are_drawn_at_once() -> None:
    async def answers(**settings: Any) -> Any:
        async with team_of(varied("A", "5", "6", "7"), varied("B", "7", "8")) as team:
            response = await ask(team, "?", samples=5, extract="number", seed=settings.pop("seed", 3), **settings)
            return response.answers, response.scores, response.samples

    first = await answers()
    assert first == await answers() == await answers(at_once=1) == await answers(at_once=2)
    assert first != await answers(seed=4)


async def test_nothing_is_drawn_that_cannot_matter() -> None:
    async with team_of(varied("A", "5")) as team:
        response = await ask(team, "?", "self-consistency", samples=9, at_once=1, extract="number")
    assert (response.answer, response.samples, response.begun, response.decided_by) == ("5", 5, 5, None)
    async with team_of(varied("A", "5", "6", "7", "8"), varied("B", "9")) as team:
        response = await ask(team, "?", samples=8, at_once=1, defer=True, extract="number")
    assert response.decided_by == "B"
    assert response.begun == response.samples < 16


async def test_samples_of_one_prompt_run_together() -> None:
    engine = varied("A", "5")
    async with team_of(engine) as team:
        await ask(team, "?", samples=6, extract="number")
    assert max(len(call) for call in engine.calls) > 1
    assert not engine.texts  # every session was closed


async def test_models_that_write_together_are_one_respondent() -> None:
    async with team_of(varied("A", "5", "6"), varied("B", "6", "7"), varied("C", "1")) as team:
        response = await ask(team, "?", samples=3, respondents=["unite(A,B)", "C"], extract="number", threshold=0.6)
    assert response.models == ("unite(A,B)", "C")
    assert response.usage["unite(A,B)"].cost == 2 * response.usage["unite(A,B)"].tokens
    assert response.answers["unite(A,B)"]


async def test_prices_weigh_the_cost() -> None:
    async with team_of(varied("A", "5", "6"), varied("B", "7")) as team:
        response = await ask(team, "?", samples=4, extract="number", prices={"A": 10, "B": 0.5})
    assert response.cost == 10 * response.usage["A"].tokens + 0.5 * response.usage["B"].tokens


async def test_best_of_n_takes_the_most_probable_answer() -> None:
    def script(text: bytes) -> Mapping[Piece, float]:
        return {b"answer 5": 2.0, b"answer 6": 2.5, b"answer 7": 1.5} if not text else {EOS: 9.0, b"~": 0.0}

    async with team_of(ScriptedEngine("A", script)) as team:
        response = await ask(team, "?", "best-of-n", samples=24, extract="number")
    assert set(response.answers["A"]) == {"5", "6", "7"}
    assert (response.answer, response.reason, response.samples) == ("6", "score", 24)
    assert list(response.scores) == ["6", "5", "7"]
    assert response.usage["A"].prefill_seconds > 0


@pytest.mark.parametrize("pick", ["best", "sum"])
async def test_a_scorer_of_ones_own(pick: Pick) -> None:
    async def scorer(turns: Any, texts: Sequence[str]) -> list[float]:
        return [3.0 if "7" in text else 1.0 if "5" in text else 0.0 for text in texts]

    async with team_of(varied("A", "5", "5 ", "5  ", "5   ", "7"), varied("B", "6")) as team:
        response = await ask(team, "?", "best-of-n", samples=20, extract="number", scorer=scorer, pick=pick)
    sevens = response.answers["A"].count("7")
    assert 0 < sevens < 7
    assert response.answer == ("7" if pick == "best" or 3 * sevens > 20 - sevens else "5")
    assert response.scores[response.answer or ""] == max(response.scores.values())


async def test_a_scorer_that_fails_leaves_the_vote() -> None:
    def broken(turns: Any, texts: Any) -> list[float]:
        raise RuntimeError("no")

    async with team_of(varied("A", "5")) as team:
        response = await ask(team, "?", "best-of-n", samples=2, extract="number", scorer=broken)
        assert (response.answer, response.reason) == ("5", "vote")
        response = await ask(team, "?", "best-of-n", samples=2, extract="number", scorer=lambda turns, texts: [1.0])
        assert response.reason == "vote"


async def test_random_switching_stops_by_chance_and_by_seed() -> None:
    async with team_of(varied("A", "5", "6"), varied("B", "7")) as team:
        decided = set()
        for seed in range(12):
            response = await ask(team, "?", "random-switch", samples=2, extract="number", seed=seed)
            decided.add((response.decided_by, response.samples))
    assert {("A", 2), ("B", 4)} <= decided


@pytest.mark.parametrize("name", ["mad", "moa", "chateval", "agentverse"])
async def test_every_panel_runs(name: str) -> None:
    def say(prompt: str) -> str:
        return "ACCEPT" if "say ACCEPT" in prompt else "The answer is 4."

    async with team_of(Talker("A", say), Talker("B", say)) as team:
        response = await ask(team, "What is 2 + 2?", name, extract="number")
    assert response.answer == "4"
    assert 0 < response.samples <= response.budget
    assert response.begun == response.samples


async def test_transfer_passes_on_the_small_models_reasoning() -> None:
    def large(prompt: str) -> str:
        return "13" if "3 * 4 = 12" in prompt else "12"

    def small(prompt: str) -> str:
        return "7" if "Give the final answer only" in prompt else "Well. 3 * 4 = 12. And one more is 13."

    engines = Talker("L", large), Talker("S", small)
    async with team_of(*engines) as team:
        for selector in ("all", "surprise(2)", "tail(20)"):
            response = await ask(team, "3*4+1?", "transfer", extract="number", selector=selector, prices={"L": 10})
            assert (response.answer, response.decided_by, response.samples) == ("13", "L", 4)
        assert response.usage["L"].tokens < response.usage["S"].tokens
        assert response.cost == 10 * response.usage["L"].tokens + response.usage["S"].tokens
        response = await ask(team, "3*4+1?", "transfer-large-short", extract="number")
        assert (response.answer, response.samples, response.usage["S"].answers) == ("12", 1, 0)
        response = await ask(team, "3*4+1?", "transfer-small", extract="number")
        assert (response.answer, response.decided_by) == ("13", "S")


async def test_short_answers_are_short() -> None:
    async with team_of(Talker("L", lambda prompt: "x" * 100)) as team:
        response = await ask(team, "?", "transfer-large-short", short_tokens=3)
        assert response.usage["L"].tokens == 3


async def test_all_unreadable_is_a_clear_outcome() -> None:
    async with team_of(varied("A", "x"), varied("B", "y")) as team:
        response = await ask(team, "?", samples=2, extract="number")
    assert (response.answer, response.decided_by, response.reason) == (None, None, "unreadable")
    assert response.answers == {"A": (None, None), "B": (None, None)}


async def test_answers_may_be_read_by_a_function() -> None:
    async with team_of(varied("A", "5")) as team:
        response = await ask(team, "?", samples=2, extract=lambda text: text[-1] * 3)
        assert response.answer == "555"

        def wrong(text: str) -> str:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await ask(team, "?", samples=2, extract=wrong)


async def test_a_model_that_cannot_take_the_prompt_is_lost_and_the_others_answer() -> None:
    async with team_of(varied("A", "5", context_length=3), varied("B", "6")) as team:
        response = await ask(team, "long question", samples=2, extract="number")
        assert (response.answer, response.lost, response.answers["A"]) == ("6", ("A",), ())
        with pytest.raises(PromptTooLong):
            await ask(team, "long question", respondents=["A"], extract="number")


async def test_a_model_that_fails_half_way_counts_with_what_it_gave() -> None:
    class Failing(ScriptedEngine):
        opened = 0

        def open(self, request: Open) -> Any:
            self.opened += 1
            if self.opened > 2:
                raise RuntimeError("out of memory")
            return super().open(request)

    failing = Failing("A", varied("A", "5")._script)
    async with team_of(failing, varied("B", "6", "7")) as team:
        response = await ask(team, "?", samples=4, at_once=1, extract="number")
    assert response.answers["A"] == ("5", "5")
    assert response.lost == ("A",)
    assert response.decided_by is None
    assert response.answer is not None


async def test_nobody_answers() -> None:
    class Broken(ScriptedEngine):
        def next_candidates(self, requests: Any) -> Any:
            raise RuntimeError("broken")

    async with team_of(Broken("A", lambda text: {EOS: 1.0})) as team:
        with pytest.raises(ModelFailed):
            await ask(team, "?", samples=2)


async def test_full_models_are_waited_for_where_the_question_itself_fills_them() -> None:
    engines = varied("A", "5", "6", "7"), varied("B", "8")
    async with team_of(*engines, options=EngineOptions(max_sessions=2)) as team:
        response = await ask(team, "?", samples=6, extract="number")
        assert (response.decided_by, response.lost) == ("B", ())
        assert len(response.answers["A"]) == 6
        held = [team.stream("?", members=["A"], method="base", max_tokens=1000) for _ in range(2)]
        for stream in held:
            await anext(stream)
        response = await ask(team, "?", samples=2, extract="number")
        assert (response.answer, response.lost) == ("8", ("A",))
        with pytest.raises(PlatformFull):
            await ask(team, "?", samples=2, extract="number", respondents=["A"])
        for stream in held:
            await stream.aclose()


async def test_cancelling_decides_with_what_there_is() -> None:
    slow = asyncio.Event()

    async with team_of(varied("A", "5", "6")) as team:
        asking = Asking(
            team, "?", "self-consistency", samples=50, at_once=1, extract="number", heard=lambda h: slow.set()
        )
        running = asyncio.create_task(asking.run())
        await slow.wait()
        asking.cancel()
        response = await running
    assert response.reason == "cancelled"
    assert response.answer in ("5", "6")
    assert 0 < response.samples < 50


async def test_cancelling_before_anything_was_drawn() -> None:
    async with team_of(varied("A", "5")) as team:
        asking = Asking(team, "?", samples=4, extract="number")
        asking.cancel()
        response = await asking.run()
    assert (response.answer, response.reason, response.samples) == (None, "cancelled", 0)


async def test_leaving_early_frees_everything() -> None:
    begun = threading.Event()

    def script(text: bytes) -> Mapping[Piece, float]:
        begun.set()
        return {b"ab": 9.0, EOS: -9.0}

    engine = ScriptedEngine("A", script)
    async with team_of(engine) as team:
        running = asyncio.create_task(ask(team, "?", samples=3, max_tokens=100_000))
        await asyncio.to_thread(begun.wait)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not engine.texts


async def test_what_is_refused() -> None:
    async with team_of(varied("A", "5"), varied("B", "6")) as team:
        for wrong in (["C"], ["unite(A)"], ["unite(A,C)"], []):
            with pytest.raises(UsageError):
                await ask(team, "?", respondents=wrong)
        with pytest.raises(UnknownMethod):
            await ask(team, "?", respondents=["wrong(A,B)"])
        with pytest.raises(UnknownMethod, match="needs 1 model"):
            await ask(team, "?", "self-consistency")
        with pytest.raises(UsageError, match="kind"):
            await ask(team, "?", extract="colour")
        with pytest.raises(UsageError, match="empty"):
            await ask(team, " ")
        with pytest.raises(UsageError, match="Python function"):
            await ask(team, "?", parse_response_method("best-of-n", scorer="callable"))
        with pytest.raises(UsageError, match="no reward model"):
            await ask(team, "?", parse_response_method("best-of-n", scorer="reward:/nowhere"))


async def test_a_model_may_answer_twice_under_two_names() -> None:
    async with team_of(varied("A", "5", "6", "7", "8")) as team:
        response = await ask(team, "?", samples=3, respondents=["A", "A"], extract="number")
    assert response.models == ("A", "A#2")
    assert response.answers["A"] != response.answers["A#2"]


def test_respondents_as_text() -> None:
    assert Respondent.parse("/models/x (1).gguf").members == ("/models/x (1).gguf",)
    found = Respondent.parse("confipara-d(a, b,c)")
    assert found.members == ("a", "b", "c")
    assert found.method is not None
    assert found.method.name == "confipara-d"
    with pytest.raises(UsageError):
        Respondent("x", ("a", "b"))

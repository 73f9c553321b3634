"""Deadlines, signs of life, restarts and giving up, on a clock that never waits."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import pytest

from tokencollab import ModelInfo, UsageError
from tokencollab.actors.runtimes.base import ModelLink
from tokencollab.actors.supervisor import FaultPolicy, Supervisor
from tokencollab.errors import MalformedAnswer, ModelDown, ModelGone
from tokencollab.protocol.messages import Close, Closed, GenerateSolo, NextCandidates, Reply, Request, SessionLost
from tokencollab.testing import run_on_fake_clock

T = TypeVar("T")
INFO = ModelInfo("m", "Scripted", 0, 0, 100, "float64", "scripted", False)
PATIENCE = FaultPolicy(multiple=4, floor=1, ceiling=60, failures=2, restarts=3, healthy=5, backoff=1, longest_backoff=3)
ASK = NextCandidates("s", 1, b"", 1)


class Link:
    """A link whose next answers are given: seconds to wait, then an answer or an error."""

    def __init__(self, *course: float | Exception, usual: float = 0.1) -> None:
        self.info = INFO
        self.course = list(course)
        self.usual = usual
        self.dead = False
        self.closed: list[str] = []

    async def ask(self, request: Request) -> Reply:
        if self.dead:
            await asyncio.sleep(10**9)
        if isinstance(request, Close):
            self.closed.append(request.session)
            return Closed(request.session)
        happens = self.course.pop(0) if self.course else self.usual
        if isinstance(happens, Exception):
            raise happens
        await asyncio.sleep(happens)
        return SessionLost(request.session)

    async def write(self, request: GenerateSolo) -> AsyncIterator[Reply]:
        for _ in range(0):
            yield Closed(request.session)

    async def alive(self) -> None:
        if self.dead:
            await asyncio.sleep(10**9)


class Restarts:
    """Hands out links; an exception in its place is a restart that fails."""

    def __init__(self, *links: Link | Exception) -> None:
        self.links = list(links)
        self.times: list[float] = []

    async def __call__(self) -> ModelLink:
        self.times.append(asyncio.get_running_loop().time())
        link = self.links.pop(0)
        if isinstance(link, Exception):
            raise link
        return link


def on_member(link: Link, *restarts: Link | Exception, fault_policy: FaultPolicy = PATIENCE) -> Callable[..., None]:
    def run(test: Callable[[Supervisor, Restarts], Awaitable[None]]) -> None:
        async def main() -> None:
            again = Restarts(*restarts)
            await test(Supervisor("m", link, again, fault_policy), again)

        run_on_fake_clock(main())

    return run


@pytest.mark.parametrize(("seconds", "expected"), [(0.1, 1), (0.5, 2), (9, 36), (30, 60)])
def test_a_deadline_is_a_multiple_of_the_usual_time_within_bounds(seconds: float, expected: float) -> None:
    @on_member(Link(usual=seconds))
    async def _(member: Supervisor, restarts: Restarts) -> None:
        assert member.deadline(0) == 1  # nothing is known yet: no prompt to compute
        for _ in range(64):
            await member.call(ASK, 1000)
        assert member.deadline(0) == pytest.approx(expected)
        assert member.deadline(40) == pytest.approx(min(60, max(1, (4 + 40 / 4) * seconds)))  # to compute it again


def test_a_slow_model_is_back_without_a_restart_and_closes_what_is_over() -> None:
    link = Link(*[0.1] * 5, 3.0)

    @on_member(link)
    async def _(member: Supervisor, restarts: Restarts) -> None:
        for _ in range(5):
            await member.call(ASK, 0)
        began = asyncio.get_running_loop().time()
        with pytest.raises(ModelDown):
            await member.call(ASK, 0)
        assert asyncio.get_running_loop().time() - began == pytest.approx(1)  # the deadline
        assert member.health == "down"
        await member.close_session("left behind")
        assert link.closed == []
        assert await member.recovered()
        await asyncio.sleep(0)
        assert (member.restarts, restarts.times, link.closed) == (0, [], ["", "left behind"])
        assert member.faults == {"gone": 0, "deadline": 1, "malformed": 0, "failed": 0}


def test_a_model_that_gives_no_sign_of_life_is_restarted() -> None:
    link, fresh = Link(), Link()

    @on_member(link, fresh)
    async def _(member: Supervisor, restarts: Restarts) -> None:
        await member.call(ASK, 0)
        link.dead = True
        with pytest.raises(ModelDown):
            await member.call(ASK, 0)
        assert await member.recovered()
        assert member.restarts == 1
        assert restarts.times == [pytest.approx(0.1 + 1 + 1 + 1)]  # answer, deadline, sign of life, back-off
        await member.call(ASK, 0)


def test_a_lost_process_is_restarted_once_however_many_sessions_notice() -> None:
    link, fresh = Link(*[ModelGone("gone")] * 3), Link()

    @on_member(link, fresh)
    async def _(member: Supervisor, restarts: Restarts) -> None:
        outcomes = await asyncio.gather(*(member.call(ASK, 0) for _ in range(3)), return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ModelDown", "ModelDown", "ModelGone"]
        with pytest.raises(ModelDown):
            await member.call(ASK, 0)
        assert await member.recovered()
        assert (member.restarts, member.faults["gone"]) == (1, 1)


def test_restarts_wait_longer_each_time_and_end() -> None:
    @on_member(Link(ModelGone("gone")), OSError("no"), OSError("no"), Link(ModelGone("again")))
    async def _(member: Supervisor, restarts: Restarts) -> None:
        with pytest.raises(ModelGone):
            await member.call(ASK, 0)
        assert await member.recovered()
        assert restarts.times == [1, 3, 6]  # back-off 1, 2, then the longest
        with pytest.raises(ModelGone):
            await member.call(ASK, 0)
        assert not await member.recovered()
        assert (member.health, member.restarts, len(restarts.times)) == ("out", 1, 3)
        with pytest.raises(ModelDown):
            await member.call(ASK, 0)


def test_good_answers_make_up_for_restarts() -> None:
    links = [Link(*[0.1] * 6, ModelGone("gone")) for _ in range(9)]

    @on_member(links[0], *links[1:])
    async def _(member: Supervisor, restarts: Restarts) -> None:
        for _ in range(8):
            for _ in range(6):
                await member.call(ASK, 0)
            with pytest.raises(ModelGone):
                await member.call(ASK, 0)
            assert await member.recovered()
        assert member.restarts == 8


@pytest.mark.parametrize("error", [ZeroDivisionError("engine"), MalformedAnswer("nonsense")])
def test_failures_in_a_row_bring_a_restart_and_single_ones_do_not(error: Exception) -> None:
    link = Link(error, 0.1, error, 0.1, error, error)

    @on_member(link, Link())
    async def _(member: Supervisor, restarts: Restarts) -> None:
        for _ in range(2):
            with pytest.raises(type(error)):
                await member.call(ASK, 0)
            assert member.health == "up"
            await member.call(ASK, 0)
        for _ in range(2):
            with pytest.raises(type(error)):
                await member.call(ASK, 0)
        assert member.health == "down"
        assert await member.recovered()
        assert member.restarts == 1


def test_a_model_that_leaves_is_not_brought_back() -> None:
    @on_member(Link(ModelGone("gone")), Link())
    async def _(member: Supervisor, restarts: Restarts) -> None:
        with pytest.raises(ModelGone):
            await member.call(ASK, 0)
        waiting = asyncio.create_task(member.recovered())
        await asyncio.sleep(0)
        await member.leave()
        assert not await waiting
        await asyncio.sleep(100)
        assert restarts.times == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"floor": 0},
        {"floor": 9, "ceiling": 8},
        {"failures": 0},
        {"restarts": -1},
        {"restarts": 1.5},
        {"backoff": float("nan")},
        {"multiple": float("nan")},
        {"longest_backoff": float("nan")},
    ],
)
def test_impossible_patience_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        FaultPolicy(**wrong)  # type: ignore[arg-type]

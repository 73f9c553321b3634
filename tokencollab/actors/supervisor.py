"""Keeping models alive: deadlines, health, restarts. One `Supervisor` per model, shared by every session that asks it.

A member is *up*, *down* (being looked at or restarted), or *out* (given up). What brings it down is a lost process, a
deadline missed and then no answer to a liveness probe for as long again, or several failures in a row. Sessions lose
it immediately and wait for `Supervisor.recovered`.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Literal, TypeAlias, TypeVar

from tokencollab.actors.log import Log
from tokencollab.actors.metrics import FAULTS, MODEL_SECONDS, RESTARTS, record
from tokencollab.actors.runtimes.base import ModelLink
from tokencollab.errors import (
    ModelDown,
    ModelFailed,
    ModelGone,
    PromptTooLong,
    ProtocolError,
    UsageError,
    named,
    text_of,
)
from tokencollab.protocol.messages import Close, GenerateSolo, ModelInfo, Open, Refused, Reply, Request
from tokencollab.protocol.replies import checked_reply

log = Log(__name__)

Health: TypeAlias = Literal["up", "down", "out"]
T = TypeVar("T")

_RECENT = 32  # calls whose median is the model's usual time
_PREFILL_SPEEDUP = 4  # tokens that are computed in the time of a step, at least, when many go together
_CLOSING = 0.1  # seconds that the end of an answer waits for a model to free its session; then it goes on by itself
_FAREWELL = 1.0  # seconds until what is under way at a model is left alone


@dataclass(frozen=True, slots=True)
class FaultPolicy:
    """How long a model is waited for, and how often it may come back.

    A deadline that is too short costs more than one that is too long: a model that was only slow is lost for a step,
    and the text is another. So the defaults are generous; a crashed process is noticed without any deadline.

    Attributes:
        multiple: a call's deadline, in times of the model's own recent median.
        floor: no deadline is shorter, in seconds.
        ceiling: none is longer, in seconds.
        prefill: tokens of a prompt that a model computes in a second at least, as long as nothing is known of it.
        lag: seconds by which a collaborator may be later than the base, per piece and on average over an answer.
            Beyond that the answer goes on without it (`Supervisor.allowance`).
        failures: so many failed answers in a row and the model is restarted.
        restarts: so many restarts without `healthy` answers in between, and it stays out.
        healthy: answers after which a model counts as mended.
        backoff: seconds before a restart; each further one waits twice as long.
        longest_backoff: but no longer than this.
        wait_for_base: whether a lost base is waited for; otherwise the others go on immediately.
    """

    multiple: float = 20.0
    floor: float = 30.0
    ceiling: float = 300.0
    prefill: float = 10.0
    lag: float = 5.0
    failures: int = 3
    restarts: int = 5
    healthy: int = 50
    backoff: float = 0.25
    longest_backoff: float = 30.0
    wait_for_base: bool = False

    def __post_init__(self) -> None:
        """Checks the figures.

        Raises UsageError: value out of range.
        """
        if not (0 < self.floor <= self.ceiling and self.multiple > 0):
            raise UsageError("deadlines: the floor must be above 0 and not above the ceiling, the multiple above 0")
        if not (self.prefill > 0 and self.lag >= 0):  # false where one is no number
            raise UsageError("prefill must be above 0, lag at least 0")
        if not all(isinstance(number, int) for number in (self.failures, self.restarts, self.healthy)):
            raise UsageError("failures, restarts and healthy must be whole numbers")
        back_offs = self.backoff >= 0 and self.longest_backoff >= 0  # false where one is no number
        if self.failures < 1 or self.restarts < 0 or self.healthy < 1 or not back_offs:
            raise UsageError("failures and healthy must be at least 1, restarts and back-offs at least 0")


@dataclass(frozen=True, slots=True)
class MemberHealth:
    """How a member does, at the moment when it was asked for.

    Attributes:
        name: of the member.
        health: ``up``; ``down``: it is being looked at or restarted; ``out``: it was given up.
        since: when that began (UTC).
        restarts: how often it was started anew.
        faults: how often it failed, by kind: ``gone`` (its thread or process ended), ``deadline``, ``malformed`` (an
            answer that cannot be), ``failed``.
        info: what the model is.
    """

    name: str
    health: Health
    since: datetime
    restarts: int
    faults: Mapping[str, int]
    info: ModelInfo


class Supervisor:
    """One model and its health. ``restart`` ends what is left of it and starts it anew."""

    def __init__(
        self, name: str, link: ModelLink, restart: Callable[[], Awaitable[ModelLink]], fault_policy: FaultPolicy
    ) -> None:
        self.name = name
        self.health: Health = "up"
        self._since = datetime.now(UTC)  # of its health
        self.restarts = 0
        self.faults = dict.fromkeys(("gone", "deadline", "malformed", "failed"), 0)  # how often it failed
        self._link = link
        self._restart = restart
        self._fault_policy = fault_policy
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._usual: float | None = None
        self._failures = 0  # in a row
        self._answers = 0  # since the last restart
        self._attempts = 0  # restarts since it was last healthy
        self._misses = 0  # deadlines missed before its usual time is known
        self._changed: asyncio.Future[None] | None = None
        self._recovery: asyncio.Task[None] | None = None
        self._over: set[str] = set()  # sessions that the model need not keep
        self._closing: set[asyncio.Task[bool]] = set()

    @property
    def info(self) -> ModelInfo:
        return self._link.info

    @property
    def link(self) -> ModelLink:
        return self._link

    @property
    def status(self) -> MemberHealth:
        return MemberHealth(self.name, self.health, self._since, self.restarts, dict(self.faults), self.info)

    @property
    def usual(self) -> float:
        """Seconds that an answer usually takes; 0 as long as that is not known."""
        return self._usual or 0.0

    # ------------------------------------------------------------ calls

    def deadline(self, tokens: float) -> float:
        """Seconds that a call about a text of so many tokens may take.

        There is time to compute the whole text again: a model may have dropped it to make room for others. Before its
        usual time is known, a model that lives has twice the time after every miss.
        """
        fault_policy = self._fault_policy
        if self._usual is None:
            return min(fault_policy.ceiling, self._first(tokens) * 2.0**self._misses)
        steps = fault_policy.multiple + tokens / _PREFILL_SPEEDUP
        return min(fault_policy.ceiling, max(fault_policy.floor, steps * self._usual))

    def allowance(self, tokens: float, pieces: int) -> float:
        """Seconds for which an answer may have waited for this model alone, after a prompt of so many tokens and so
        many committed pieces: two deadlines, and `FaultPolicy.lag` for every piece.
        """
        fault_policy = self._fault_policy
        return fault_policy.floor + self._first(tokens) + fault_policy.lag * pieces

    def pause(self, times: int) -> float:
        """Seconds until a model may come back that was too slow so many times in an answer."""
        return self._fault_policy.floor * 2.0 ** (times - 1) if times else 0.0

    def _first(self, tokens: float) -> float:
        """Seconds for the first question to a model of which nothing is known."""
        fault_policy = self._fault_policy
        return min(fault_policy.ceiling, fault_policy.floor + tokens / fault_policy.prefill)

    async def call(self, request: Request, tokens: float) -> Reply:
        """One request about a text of so many tokens, one reply.

        Raises:
            ModelDown: the model is not there, or missed its deadline.
            Exception: whatever else went wrong; the model has failed for this request.
        """
        link = self._there()
        if isinstance(request, Open) and (refused := self._cannot_fit(request)):
            return refused
        now = asyncio.get_running_loop().time
        began = now()
        try:
            async with asyncio.timeout(self.deadline(tokens)):
                reply = checked_reply(await link.ask(request))
            if isinstance(reply, Refused) and reply.kind == ModelFailed.__name__:
                raise ModelFailed(reply.reason)
        except Exception as error:
            raise self._failed(link, error) from error
        self._answered(now() - began, usual=not isinstance(request, Open | Close) and request.start > 0)
        return reply

    def _cannot_fit(self, request: Open) -> Refused | None:
        """Said here, so that a prompt which is far too long is not even sent.

        Earlier turns of the assistant do not count: templates take the reasoning out of them.
        """
        if not (most := self.info.most_bytes):
            return None
        size = sum(len(turn.content.strip().encode()) for turn in request.messages if turn.role != "assistant")
        too_long = self.info.too_long(f"{size} bytes")
        return Refused(request.session, PromptTooLong.__name__, too_long) if size > most else None

    async def write(self, request: GenerateSolo, tokens: float) -> AsyncIterator[Reply]:
        """The replies to a request to write alone; each has its deadline. Raises as `call`."""
        link = self._there()
        now = asyncio.get_running_loop().time
        replies = aiter(link.write(request))
        first = True
        try:
            while True:
                began = now()
                try:
                    async with asyncio.timeout(self.deadline(tokens)):
                        reply = checked_reply(await anext(replies))
                except StopAsyncIteration:
                    return
                except Exception as error:
                    raise self._failed(link, error) from error
                self._answered(now() - began, usual=not first or request.start > 0)
                first = False
                tokens += 1
                yield reply
        finally:
            with suppress(Exception):
                await replies.aclose()  # type: ignore[attr-defined]

    async def close_session(self, session: str) -> None:
        """Frees a session at the model, as soon as it can be reached. Nobody waits for a model that takes its time."""
        self._over.add(session)
        if self.health == "up":
            task = asyncio.create_task(self._close(session))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            await asyncio.wait([task], timeout=_CLOSING)

    async def _close(self, session: str) -> bool:
        try:
            await self.call(Close(session), 0)
        except Exception as error:
            log.debug("session not closed", model=self.name, session=session, reason=text_of(error))
            return False
        self._over.discard(session)
        return True

    async def check(self, sign: Callable[[ModelLink], Awaitable[T]]) -> T:
        """Liveness probe of the present `link`, within the shortest deadline. Raises as `call`."""
        link = self._there()
        try:
            async with asyncio.timeout(self._fault_policy.floor):
                result = await sign(link)
        except Exception as error:
            raise self._failed(link, error) from error
        self._answered(0, usual=False)
        return result

    def suspect(self, reason: str) -> None:
        """A call has timed out: probes the model once for all calls, and restarts it if it does not answer."""
        if self.health == "up":
            self._recover(self._probe(self._link), reason)

    def malformed(self) -> None:
        """A session received an invalid answer: counts as a failure."""
        self._strike("malformed")

    async def recovered(self) -> bool:
        """Waits until the model is up again; False: it stays out."""
        while self.health == "down":
            if self._changed is None:
                self._changed = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._changed)
        return self.health == "up"

    async def leave(self) -> None:
        self._become("out")
        tasks = [*self._closing, *(() if self._recovery is None else (self._recovery,))]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_FAREWELL)

    # ------------------------------------------------------------ health

    def _there(self) -> ModelLink:
        if self.health != "up":
            raise ModelDown(f"{self.name} is {self.health}")
        return self._link

    def _answered(self, seconds: float, usual: bool) -> None:
        self._failures = self._misses = 0
        self._answers += 1
        if self._answers >= self._fault_policy.healthy:
            self._attempts = 0
        if usual:  # without prompts: those take as long as they are
            record(MODEL_SECONDS, seconds, self.name)
            self._recent.append(seconds)
            if self._usual is None or self._answers % (_RECENT // 4) == 0:
                self._usual = median(self._recent)

    def _failed(self, link: ModelLink, error: Exception) -> Exception:
        """Notes a failure; returns the error for the session."""
        if link is not self._link or self.health != "up":
            return ModelDown(f"{self.name} is being restarted")  # noticed by another session already
        match error:
            case TimeoutError():
                self._fault("deadline")
                self._recover(self._probe(link), "missed its deadline")
                return ModelDown(f"{self.name} missed its deadline")
            case ModelGone():
                self._fault("gone")
                self._recover(self._start_again(), text_of(error))
                return error
            case ProtocolError():
                self._strike("malformed")
            case _:
                self._strike("failed")
        return error

    def _fault(self, kind: str) -> None:
        self.faults[kind] += 1
        record(FAULTS, 1, self.name, kind)

    def _strike(self, kind: str) -> None:
        self._fault(kind)
        self._failures += 1
        if self._failures >= self._fault_policy.failures and self.health == "up":
            self._recover(self._start_again(), f"{self._failures} failures in a row")

    def _recover(self, recovery: Awaitable[None], reason: str) -> None:
        log.warning("model down", model=self.name, reason=reason)
        self._become("down")
        self._recovery = asyncio.ensure_future(recovery)

    async def _probe(self, link: ModelLink) -> None:
        """After a missed deadline: is the model slow, or gone?"""
        try:
            async with asyncio.timeout(self._fault_policy.floor):
                await link.alive()
            async with asyncio.timeout(self._fault_policy.ceiling):
                await link.ask(Close(""))  # behind whatever it is busy with
        except Exception:
            await self._start_again()
        else:
            self._misses += 1
            self._become("up")
            for session in list(self._over):
                if not await self._close(session):
                    return

    async def _start_again(self) -> None:
        fault_policy = self._fault_policy
        while self._attempts < fault_policy.restarts:
            await asyncio.sleep(min(fault_policy.longest_backoff, fault_policy.backoff * 2**self._attempts))
            self._attempts += 1
            try:
                self._link = await self._restart()
            except Exception as error:
                log.warning("model not restarted", model=self.name, reason=named(error))
                continue
            self.restarts += 1
            record(RESTARTS, 1, self.name)
            self._failures = self._answers = 0
            self._over.clear()
            log.info("model restarted", model=self.name)
            self._become("up")
            return
        log.error("model stays out", model=self.name, restarts=self.restarts)
        self._become("out")

    def _become(self, health: Health) -> None:
        self.health, self._since = health, datetime.now(UTC)
        if health != "down" and self._changed is not None:
            self._changed.set_result(None)
            self._changed = None

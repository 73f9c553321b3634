"""The sessions of one engine and the memory of their KV caches."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import torch

from tokencollab.engines.kv_cache import SessionCache, capacity_for
from tokencollab.engines.text.alignment import AnswerText
from tokencollab.engines.text.chat import RenderedPrompt

_WORTH_SHARING = 8  # tokens; a shorter common beginning is computed again
_WORTH_WAITING = 32  # tokens that are computed in the time in which a pass reads the weights, on a CPU


@dataclass(eq=False)
class Session:
    """One session: its prompt, its view of the shared text, its KV cache, and the logits after its last token.

    ``logits`` ([vocabulary], float32) are None while tokens are missing in the cache.
    """

    prompt: RenderedPrompt
    text: AnswerText
    cache: SessionCache = field(default_factory=SessionCache)
    logits: torch.Tensor | None = None
    forwarded: int = 0  # tokens since the last reply
    replied: int = 0  # the offset of the last reply
    used: int = 0  # when it was last asked, on the pool's own clock

    @property
    def length(self) -> int:
        """Tokens of prompt and answer."""
        return len(self.prompt.ids) + len(self.text.ids)

    @property
    def ids(self) -> list[int]:
        return [*self.prompt.ids, *self.text.ids]

    def crop(self) -> None:
        """Takes out of the cache what no longer holds after the text was brought in line."""
        kept = min(self.cache.length, len(self.prompt.ids) + self.text.stable)
        if kept < self.cache.length or (self.logits is None and kept == self.length):
            # Where nothing is missing but the logits, the last token is computed again for them.
            self.cache.crop(min(kept, self.length - 1))
        if self.cache.length < self.length:
            self.logits = None
        self.text.stable = len(self.text.ids)

    @property
    def missing(self) -> list[int]:
        """The token ids that are not in the cache yet."""
        answer_from = self.cache.length - len(self.prompt.ids)
        return self.text.ids[answer_from:] if answer_from >= 0 else self.ids[self.cache.length :]

    def drop(self) -> None:
        """Frees the cache; everything is computed again when the session comes back."""
        self.cache.clear()
        self.logits = None


class SessionPool:
    """Sessions by name, within a budget for their KV caches.

    When the budget is used up the caches of the sessions that were not asked for the longest time are dropped.
    Sessions that begin with the same tokens share the computation of these.

    Attributes:
        dropped: caches dropped so far.
        shared: tokens that were copied from another session instead of computed.
    """

    def __init__(self, bytes_per_token: int, budget: int) -> None:
        """``budget`` in bytes."""
        self.bytes_per_token = bytes_per_token
        self.budget = budget
        self.dropped = 0
        self.shared = 0
        self._sessions: dict[str, Session] = {}
        self._clock = count(1)

    def __len__(self) -> int:
        return len(self._sessions)

    def __getitem__(self, name: str) -> Session:
        return self._sessions[name]

    def add(self, name: str, session: Session) -> None:
        """Takes in a session, in place of one of the same name."""
        self._sessions[name] = session

    def get(self, name: str) -> Session | None:
        """The session, which counts as used now."""
        session = self._sessions.get(name)
        if session is not None:
            session.used = next(self._clock)
        return session

    def remove(self, name: str) -> None:
        """Forgets a session; an unknown one is not an error."""
        self._sessions.pop(name, None)

    def bytes_for(self, tokens: int) -> int:
        return capacity_for(tokens) * self.bytes_per_token

    @property
    def nbytes(self) -> int:
        return sum(session.cache.nbytes for session in self._sessions.values())

    def fitting(self, wanted: Sequence[Session]) -> list[Session]:
        """Those of ``wanted`` (in order) whose caches fit the budget together, after idle ones were dropped."""
        chosen: list[Session] = []
        needed = 0
        for session in wanted:
            need = self.bytes_for(session.length)
            if needed + need <= self.budget or not chosen:
                chosen.append(session)
                needed += need
        keep = set(map(id, chosen))
        idle = sorted((s for s in self._sessions.values() if id(s) not in keep and s.cache.nbytes), key=_last_used)
        held = needed + sum(session.cache.nbytes for session in idle)
        for session in idle:
            if held <= self.budget:
                break
            held -= session.cache.nbytes
            session.drop()
            self.dropped += 1
        return chosen

    def leading(self, wanted: Sequence[Session]) -> list[Session]:
        """Without those that begin as an earlier one does which is about to compute that: they wait and copy it.

        Unless that saves less than another forward pass costs.
        """
        leaders: list[Session] = []
        waiting: set[int] = set()
        saved = 0
        for session in wanted:
            prompt = session.prompt.ids
            if session.cache.length == 0 and leaders:
                common = max(_common(prompt, leader.prompt.ids) for leader in leaders)
                if common > _WORTH_SHARING and (more := common - self._lender(session)[1]) > 0:
                    saved += more
                    waiting.add(id(session))
                    continue
            if session.cache.length < len(prompt):
                leaders.append(session)
        return [s for s in wanted if id(s) not in waiting] if saved >= _WORTH_WAITING else list(wanted)

    def lend_prefix(self, session: Session) -> None:
        """Gives an empty cache the longest beginning that another session has computed."""
        lender, length = self._lender(session)
        if lender is not None:
            length = min(length, session.length - 1)  # the last token is needed for its logits
            session.cache.copy_from(lender.cache, length)
            self.shared += session.cache.length

    def _lender(self, session: Session) -> tuple[Session | None, int]:
        """The session that has computed the longest beginning of this one, and how long it is."""
        ids = session.ids
        best, length = None, _WORTH_SHARING - 1
        for other in self._sessions.values():
            if other is not session and other.cache.length > length:
                common = _common(ids, other.ids[: other.cache.length])
                if common > length:
                    best, length = other, common
        return best, length if best is not None else 0


def default_budget(device: torch.device) -> int:
    """Bytes for KV caches where nothing is said: a quarter of the memory, or half of a GPU's free memory."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] // 2)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4


def _last_used(session: Session) -> int:
    return session.used


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """The length of the common beginning."""
    low, high = 0, min(len(first), len(second))
    if first[:high] == second[:high]:
        return high
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if first[:middle] == second[:middle] else (low, middle)
    return low

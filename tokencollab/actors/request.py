"""What is asked of a collaboration: the conversation, how it is to be answered, and within what limits."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Final, Self, TypeGuard, cast

from tokencollab.actors.journal import Past
from tokencollab.actors.prompt import Prompt, read_prompt, sendable
from tokencollab.errors import UsageError
from tokencollab.policies.methods import Method
from tokencollab.protocol.messages import ChatMessage
from tokencollab.protocol.values import shown

LONGEST: Final = 1e9
"""Seconds that an answer may be given at most."""


def is_max_seconds(value: object) -> TypeGuard[float]:
    return type(value) in (int, float) and 0 < cast(float, value) <= LONGEST


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """All that an answer follows from, besides the models; made by `of` or `of_journal`."""

    method: Method
    messages: tuple[ChatMessage, ...]
    max_tokens: int
    stop: tuple[str, ...]
    seed: int
    max_seconds: float | None = None

    @classmethod
    def of(
        cls,
        method: Method,
        prompt: Prompt,
        max_tokens: int,
        stop: Sequence[str],
        seed: int,
        max_seconds: float | None = None,
    ) -> Self:
        """What a caller asks for. Raises UsageError: a number out of range, an empty stop text, or as `read_prompt`."""
        if (limit := whole("max_tokens", max_tokens)) < 1:
            raise UsageError(f"max_tokens must be at least 1, not {limit}")
        if not 0 <= (number := whole("seed", seed)) < 1 << 53:
            raise UsageError(f"seed must be from 0 to 2**53 - 1, not {number}")
        if max_seconds is not None and not is_max_seconds(max_seconds):
            raise UsageError(f"max_seconds must be a number above 0, at most {LONGEST:g}, not {shown(max_seconds)}")
        given = tuple(stop) if isinstance(stop, Iterable) and not isinstance(stop, str) else (None,)
        if not all(isinstance(text, str) for text in given):
            raise UsageError('stop texts are given as a list, e.g. stop=["\\n"]')
        if not all(given):
            raise UsageError("a stop text must not be empty")
        stops = tuple(sendable("a stop text", text) for text in given if text is not None)
        return cls(method, read_prompt(prompt), limit, stops, number, max_seconds)

    @classmethod
    def of_journal(cls, past: Past) -> Self:
        """What the answer of a journal was asked as. Raises UsageError: the header does not say so."""
        match past.trace.settings:
            case {"method": Mapping() as method, "max_tokens": int(limit), "stop": list(stop), "seed": int(seed)}:
                # Not `replay.method_of`: without a setting that only a newer version knows, another text would follow.
                most = past.trace.settings.get("max_seconds")
                return cls.of(Method.from_json(method), past.messages, limit, stop, seed, cast(float | None, most))
            case _:
                raise UsageError(f"the header of {past.path} is not that of a journal")

    def settings(self) -> dict[str, object]:
        """For the header of a trace or journal."""
        most = {} if self.max_seconds is None else {"max_seconds": self.max_seconds}
        return {
            "method": self.method.to_json(),
            "seed": self.seed,
            "max_tokens": self.max_tokens,
            "stop": list(self.stop),
            **most,
        }


def whole(what: str, value: int) -> int:
    """``value`` as a whole number. Raises UsageError: it is none."""
    try:
        return index(value)
    except TypeError:
        raise UsageError(f"{what} must be a whole number, not {value!r}") from None


def running_loop() -> asyncio.AbstractEventLoop:
    """The event loop that answers belong to. Raises UsageError: none is running."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise UsageError("an answer needs a running event loop: call this in a coroutine (asyncio.run)") from None

"""What is asked of a collaboration: the conversation, how it is to be answered, and within what limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from tokencollab.actors.journal import Past
from tokencollab.policies.settings import Method
from tokencollab.protocol.errors import UsageError
from tokencollab.protocol.messages import ChatMessage


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """All that an answer follows from, besides the models.

    Raises:
        UsageError: a number out of range, or an empty stop text.
    """

    method: Method
    messages: tuple[ChatMessage, ...]
    max_tokens: int
    stop: tuple[str, ...]
    seed: int

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise UsageError(f"max_tokens must be at least 1, not {self.max_tokens}")
        if not 0 <= self.seed < 1 << 53:
            raise UsageError(f"seed must be from 0 to 2**53 - 1, not {self.seed}")
        if not all(self.stop):
            raise UsageError("a stop text must not be empty")

    @classmethod
    def of_journal(cls, past: Past) -> Self:
        """What the answer of a journal was asked as.

        Raises:
            UsageError: the header does not say so.
        """
        match past.trace.settings:
            case {"method": Mapping() as method, "max_tokens": int(limit), "stop": list(stop), "seed": int(seed)}:
                # Not `replay.method_of`: without a setting that only a newer version knows, another text would follow.
                return cls(Method.from_json(method), past.messages, limit, tuple(map(str, stop)), seed)
            case _:
                raise UsageError(f"the header of {past.path} is not that of a journal")

    def settings(self) -> dict[str, object]:
        """For the header of a trace or journal."""
        return {
            "method": self.method.to_json(),
            "seed": self.seed,
            "max_tokens": self.max_tokens,
            "stop": list(self.stop),
        }

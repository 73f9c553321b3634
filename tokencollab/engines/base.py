"""What an engine is: the seam between the actors and whatever computes a model's next tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, runtime_checkable

from tokencollab.protocol.messages import (
    ByteMarginals,
    Capabilities,
    ModelInfo,
    NextCandidates,
    Open,
    Opened,
    Refused,
    Reply,
    ScorePieces,
    ScoreText,
)
from tokencollab.protocol.pieces import Piece

EngineRequest: TypeAlias = NextCandidates | ScorePieces | ByteMarginals | ScoreText

EXTRA_CANDIDATES = 6
"""How many candidates beyond k are sent, so that another model's piece is rarely missing among them."""


WHOLE_ROWS: Final = Capabilities()
"""What every engine can do whose forward pass brings whole rows of logits."""


@dataclass(frozen=True, slots=True)
class EngineReply:
    """An engine's answer to one request.

    ``greedy`` is the piece of the single most probable token: what the model would write next by itself. It is the
    first candidate unless EOS stands there by the merged mass of several end tokens.
    """

    reply: Reply
    greedy: Piece = None


class Engine(Protocol):
    """One model, many sessions. Called from one thread; keeps what it needs between calls."""

    @property
    def info(self) -> ModelInfo:
        """What the model is, and what the engine can answer. It is asked nothing else."""
        ...

    @property
    def kv_bytes(self) -> int:
        """Memory of the KV caches of all sessions."""
        ...

    def open(self, request: Open) -> Opened | Refused:
        """Renders the conversation and keeps room for the session. A session of the same name is replaced.

        Where the request brings a text the session goes on from there, spelt as it was when the spelling was sent.
        """
        ...

    def next_candidates(self, requests: Sequence[EngineRequest]) -> list[EngineReply | None]:
        """Answers requests of different sessions with one forward pass.

        None stands for a request that is not finished (a long prompt is computed in parts): give it again. Of several
        offsets a beginning may be answered, one at least.
        """
        ...

    def close(self, session: str) -> None:
        """Forgets a session and frees its memory; an unknown one is not an error."""
        ...


@runtime_checkable
class PreparesPrompts(Protocol):
    """An engine that reads conversations beside its thread, so that no session waits for another's prompt."""

    def prepare(self, request: Open) -> Callable[[], Opened | Refused]:
        """The slow part of `Engine.open`, called from other threads, several at a time; the rest is what it returns.

        What holds for a session (room in the cache, its text) belongs to the rest, which the engine's thread calls.
        """
        ...

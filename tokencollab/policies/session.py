"""The state of a piece-level collaboration between two events: plain data, comparable and restorable."""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, TypeAlias

from tokencollab.errors import UnknownMethod
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.pieces import Piece

Phase: TypeAlias = Literal["together", "alone", "waiting", "stopped"]
"""All vote on every piece · the base writes alone · the base should, but is lost · the answer is over."""

Scores: TypeAlias = tuple[tuple[Piece, float], ...]


class State(NamedTuple):
    """Everything a `CollaborationPolicy` remembers. Pairs and names are sorted by model.

    A named tuple, not a dataclass: a step copies it five times, and this copies three times as fast.

    ``live`` are the models that take part in this step, ``joining`` those from the next one, ``left`` those
    that an exit sent away for good, ``lost`` those lost since the last committed piece. ``offset`` is the
    text's length in bytes, ``questions`` how many were asked so far. ``open`` are the questions that wait for
    an answer, ``answers`` this step's; ``scoring`` and ``scores`` the same for UniTE's foreign pieces.
    ``until`` is the probability of its best piece below which a base that went on alone asks the others again
    (0: never). ``exit`` is the exit policy's own state.
    """

    base: str
    live: tuple[str, ...]
    phase: Phase
    exit: Any
    joining: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    committed: int = 0
    offset: int = 0
    questions: int = 0
    open: tuple[tuple[str, int], ...] = ()
    answers: tuple[tuple[str, CandidateSet], ...] = ()
    scoring: tuple[tuple[str, int, tuple[Piece, ...]], ...] = ()
    scores: tuple[tuple[str, Scores], ...] = ()
    until: float = 0.0
    noticed: bool = False

    @property
    def step(self) -> int:
        """The number of the piece that is being decided, from 1."""
        return self.committed + 1


def without(names: tuple[str, ...], model: str) -> tuple[str, ...]:
    """``names`` without ``model``."""
    return tuple(name for name in names if name != model)


def including(names: tuple[str, ...], *models: str) -> tuple[str, ...]:
    """``names`` and ``models``, sorted, each once."""
    return tuple(sorted({*names, *models}))


def check_members(members: tuple[str, ...], weights: Iterable[tuple[str, float]]) -> None:
    """Whether these models can begin an answer.

    Raises:
        UnknownMethod: no members, one named twice, or a weight for a model that is not among them.
    """
    if not members or len(set(members)) != len(members):
        raise UnknownMethod(f"a collaboration needs models, each named once, not {members!r}")
    for model, _ in weights:
        if model not in members:
            raise UnknownMethod(
                f"a weight is given for {model!r}, which does not take part; the models are {', '.join(members)}"
            )

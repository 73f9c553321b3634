"""The state of one answer, and the same while the machine changes it."""

from typing import Any, Literal, NamedTuple, TypeAlias

from tokencollab.policies import events as e
from tokencollab.protocol.pieces import Piece

Phase: TypeAlias = Literal["together", "solo", "waiting", "stopped"]
"""All vote on every piece · the base writes alone · the base should, but is lost · the answer is over."""


class State(NamedTuple):
    """Everything that a `machine.Machine` remembers: plain data, comparable and restorable. Names are sorted.

    ``live`` are the models that take part (solo: the base, and those that wait until it is unsure), ``joining`` those
    from the next commit on, ``left`` those that an exit sent away or whose context is full, ``lost`` those lost since
    the last commit.
    ``until`` is the probability of its best piece below which a base that went on alone asks the others again (0:
    never).

    ``committed`` counts commits and ``advances`` the steps that exit policies see; ``offset`` is the length of the
    committed text in bytes, ``questions`` the number of the next question. ``noticed``: the user was told what there is
    to tell. ``solo`` is what is left of the run of the base, where it is open. ``exit`` is the exit policy's own state,
    ``vote`` the strategy's (None unless together).
    """

    base: str
    phase: Phase
    exit: Any
    live: tuple[str, ...]
    joining: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    until: float = 0.0
    committed: int = 0
    advances: int = 0
    offset: int = 0
    questions: int = 0
    noticed: bool = False
    solo: e.RunSolo | None = None
    vote: Any = None


Result: TypeAlias = tuple[State, tuple[e.Command, ...]]


class Turn:
    """A `State` while it is changed, and the commands so far. Lives within one call of `Machine.step`.

    A tuple that is copied once per event costs less than one that is copied at every change.
    """

    __slots__ = (*State._fields, "commands")

    def __init__(self, state: State) -> None:
        (self.base, self.phase, self.exit, self.live, self.joining, self.left, self.lost, self.until,
         self.committed, self.advances, self.offset, self.questions, self.noticed, self.solo, self.vote,
        ) = state  # fmt: skip
        self.commands: list[e.Command] = []

    def done(self) -> Result:
        """The new state and what is to be done."""
        state = State(
            self.base, self.phase, self.exit, self.live, self.joining, self.left, self.lost, self.until,
            self.committed, self.advances, self.offset, self.questions, self.noticed, self.solo, self.vote,
        )  # fmt: skip
        return state, tuple(self.commands)

    def number(self) -> int:
        """The number of a new question."""
        number = self.questions
        self.questions = number + 1
        return number

    def commit(self, piece: Piece, record: e.StepRecord) -> None:
        """Append ``piece``, the one after ``committed``."""
        self.committed = record.step
        self.offset += len(piece or b"")
        self.lost = ()
        self.commands.append(e.Commit(piece, record))

    def stop(self, reason: Literal["end", "length", "cancelled", "failed"]) -> None:
        """End the answer."""
        self.phase, self.live, self.joining, self.solo, self.vote = "stopped", (), (), None, None
        self.commands.append(e.Stop(reason))

"""The state of bytewise voting between two events: plain data, comparable and restorable."""

from typing import Any, NamedTuple

from tokencollab.policies.bytewise_voter import Voter
from tokencollab.policies.session import Phase


class Roster(NamedTuple):
    """Who is there. Names are sorted.

    ``live`` are the models that take part (while the base is alone: those that wait for it to return),
    ``joining`` those from the next commit on, ``left`` those that an exit sent away for good, ``lost`` those
    lost since the last commit. ``until`` is the probability of its best piece below which a base that went on
    alone asks the others again (0: never).
    """

    base: str
    live: tuple[str, ...]
    joining: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    until: float = 0.0

    @property
    def counted(self) -> str:
        """The model whose boundary counts the steps: the base, or while it is lost the first live model by
        name."""
        return self.base if self.base in self.live or not self.live else self.live[0]


class BytewiseState(NamedTuple):
    """Everything a `BytewisePolicy` remembers. A named tuple for speed, as `session.State`.

    ``voters`` are sorted by name. ``length`` bytes are decided; ``tail`` has the last of them, from the
    smallest boundary on; the last ``held`` are not committed yet. ``unsettled``: for the last byte it is not
    known yet whose boundary moves.

    ``committed`` counts commits, ``advances`` the advances of the base's boundary, which are the steps that
    exit policies see; ``questions`` counts questions. ``exit`` is the exit policy's own state. ``decisive`` are
    the models without which one of the bytes since the base's last boundary would have been another.
    ``run_question`` is the open question while the base runs alone.
    """

    phase: Phase
    roster: Roster
    exit: Any
    voters: tuple[Voter, ...] = ()
    tail: bytes = b""
    length: int = 0
    held: int = 0
    unsettled: bool = False
    committed: int = 0
    advances: int = 0
    questions: int = 0
    decisive: frozenset[str] = frozenset()
    run_question: int | None = None

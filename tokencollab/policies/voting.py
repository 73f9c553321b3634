"""What a way of counting votes is to the machine: a strategy."""

from typing import Any, ClassVar, Final, Literal, NamedTuple, Protocol, TypeAlias

from tokencollab.policies.events import CandidatesArrived, MarginalsArrived, ScoresArrived
from tokencollab.policies.turn import Turn
from tokencollab.protocol.pieces import Piece

Ranks: TypeAlias = tuple[tuple[str, int | None], ...]
VoteAnswer: TypeAlias = CandidatesArrived | ScoresArrived | MarginalsArrived


class DecidedPiece(NamedTuple):
    """A piece that the members decided.

    ``ranks`` and ``offsets`` are those of `events.StepRecord`. ``evidence``: what the exit policy sees of the base's
    step, None where it is not closed; ``decisive`` as in `evidence.Evidence`. ``moved`` are the members that are to be
    asked at the end of the text, ``common`` says that all are. ``notice``: what the user should hear once.
    """

    piece: Piece
    ranks: Ranks
    evidence: Ranks | None
    decisive: frozenset[str] = frozenset()
    offsets: tuple[tuple[str, int], ...] = ()
    moved: tuple[str, ...] = ()
    common: bool = True
    notice: str = ""


NOBODY: Final = "nobody"
"""No member votes for anything."""


class Voting(Protocol):
    """Which questions are open, the votes, and what they decide. Itself immutable: its state is ``turn.vote``.

    ``single``: a model alone votes too, by the same rule.
    """

    single: ClassVar[bool]

    def begin(self, turn: Turn) -> None:
        """Ask all live members at the end of the text, with nothing known."""
        ...

    def answered(self, vote: Any, event: VoteAnswer) -> Any:
        """The vote with the answer to an open question; None where no such question is open."""
        ...

    def waits(self, vote: Any) -> bool:
        """Whether a question is open."""
        ...

    def advance(self, turn: Turn) -> DecidedPiece | Literal["nobody"] | None:
        """Count the votes: a decision, `NOBODY`, or None after further questions. Called when no question is open."""
        ...

    def without(self, turn: Turn, model: str) -> Any:
        """The vote without ``model``, which was lost."""
        ...

    def flush(self, turn: Turn) -> DecidedPiece | None:
        """What is decided and not committed, where the vote ends here."""
        ...

    def go_on(self, turn: Turn, decision: DecidedPiece, joined: tuple[str, ...]) -> None:
        """Ask on after a commit, live members only; of those, ``joined`` did not vote before."""
        ...

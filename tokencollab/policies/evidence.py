"""What an exit policy sees of a step, whatever the aggregation, and what an exit policy is."""

from collections.abc import Set
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Final, NamedTuple, Protocol, TypeVar

from tokencollab.errors import UsageError
from tokencollab.policies.events import Efficacy
from tokencollab.policies.parameters import Declaration

StateT = TypeVar("StateT")


class Evidence(NamedTuple):
    """One step as exit policies see it.

    ``ranks`` has the models that answered in this step, sorted by name: the index of the chosen piece in the
    model's truncated candidates, None if absent (infinity). In bytewise voting it is the number of bytes of
    the chosen piece at which the model's own first choice was another byte. ``decisive`` has the
    collaborators without which another piece would have been chosen (in bytewise voting the base may be among
    them).
    """

    step: int
    base: str
    ranks: tuple[tuple[str, int | None], ...]
    decisive: frozenset[str] = frozenset()


class Verdict(NamedTuple):
    """What an exit policy says after a step: who is out from now on (the base never is), and the figures to show.

    ``alone``: the base goes on alone; with ``until`` above 0 only up to a piece whose best candidate has, in its own
    eyes, a lower probability than that: this piece is everybody's again.
    """

    out: frozenset[str] = frozenset()
    alone: bool = False
    efficacy: Efficacy | None = None
    until: float = 0.0


STAY: Final = Verdict()
"""Everybody stays, and there is nothing to show."""


class ExitPolicy(Protocol[StateT]):
    """Decides who still takes part, after every step in which the base voted. Pure: states are frozen values.

    One of your own goes to ``Collaboration(exit_policy=...)`` (`examples/own_exit.py`).

    ``needs_decisive`` says whether it reads `Evidence.decisive`, which costs one aggregation per model.
    """

    @property
    def needs_decisive(self) -> bool: ...

    def start(self, base: str) -> StateT: ...

    def observe(self, state: StateT, evidence: Evidence) -> tuple[StateT, Verdict]: ...


def check_exit(policy: Any) -> None:
    """Raises UsageError: ``policy`` is no `ExitPolicy`."""
    if isinstance(policy, type):
        raise UsageError(f"exit_policy must be an object, not the class {policy.__name__}: write {policy.__name__}()")
    missing = [name for name in ("start", "observe") if not callable(getattr(policy, name, None))]
    missing += [] if hasattr(policy, "needs_decisive") else ["needs_decisive"]
    if missing:
        raise UsageError(f"exit_policy: {type(policy).__name__} has no {missing[0]}; see tokencollab.ExitPolicy")


def check_verdict(policy: Any, said: Any) -> tuple[Any, Verdict]:
    """What somebody's exit policy has returned. Raises UsageError: it is no state with a `Verdict`."""
    verdict: Any = said[1] if isinstance(said, tuple) and len(said) == 2 else None
    until: Any = getattr(verdict, "until", None)
    if (
        isinstance(verdict, Verdict)
        and isinstance(verdict.out, Set)
        and isinstance(until, Real)
        and float(until) >= 0
        and (verdict.efficacy is None or isinstance(verdict.efficacy, Efficacy))
    ):
        return said[0], verdict
    shown = said if verdict is None else verdict
    raise UsageError(
        f"the exit policy {type(policy).__name__} must return (state, Verdict), with names in a set and until a number "
        f"from 0, not {repr(shown)[:80]}"
    )


@dataclass(frozen=True)
class Exit(Declaration):
    """An `ExitPolicy` that is chosen by its name, with declared parameters. Without a state unless `start` says so."""

    needs_decisive: ClassVar[bool] = False

    def start(self, base: str) -> Any:
        return None

    def observe(self, state: Any, evidence: Evidence) -> tuple[Any, Verdict]:
        raise NotImplementedError

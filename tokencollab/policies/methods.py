"""What the rest of the system uses of the policies: methods by name, and the policy that carries one out."""

from typing import Any, Protocol

from tokencollab.errors import UnknownMethod
from tokencollab.policies.collaboration import CollaborationPolicy
from tokencollab.policies.decision import sampling_of
from tokencollab.policies.events import Command, Event
from tokencollab.policies.evidence import ExitPolicy
from tokencollab.policies.exits import build_exit
from tokencollab.policies.presets import list_methods, parse_method, uses
from tokencollab.policies.settings import Method

__all__ = ["Method", "Policy", "list_methods", "make_policy", "parse_method", "sampling_of", "uses"]


class Policy(Protocol):
    """Two pure functions over a frozen state (see `events`); the state is comparable data."""

    def start(self, members: tuple[str, ...]) -> tuple[Any, tuple[Command, ...]]:
        """The state and the first commands for ``members``, the base first."""
        ...

    def step(self, state: Any, event: Event) -> tuple[Any, tuple[Command, ...]]:
        """The state and the commands after ``event``. The same object, where it changes nothing."""
        ...

    def taking_part(self, state: Any) -> tuple[str, ...]:
        """The models whose loss this state would notice."""
        ...


def make_policy(
    method: Method, *, max_tokens: int, seed: int, report: bool, exit_policy: ExitPolicy[Any] | None = None
) -> Policy:
    """The state machine that carries out ``method`` for one answer of up to ``max_tokens`` pieces, EOS
    included.

    ``report``: the caller wants the candidates of steps that the base makes alone. ``exit_policy`` is in place of the
    method's own exit.

    Raises:
        UnknownMethod: ``max_tokens`` is below 1.
    """
    if max_tokens < 1:
        raise UnknownMethod(f"an answer must have at least 1 token, not {max_tokens}")
    if method.aggregation == "bytewise":
        from tokencollab.policies.bytewise import BytewisePolicy  # noqa: PLC0415 - loaded where it is used

        return BytewisePolicy(method, max_tokens=max_tokens, seed=seed, report=report, exit_policy=exit_policy)
    leaving = build_exit(method) if exit_policy is None else exit_policy
    return CollaborationPolicy(method, leaving, max_tokens=max_tokens, seed=seed, report=report)

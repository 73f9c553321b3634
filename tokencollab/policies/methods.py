"""What the rest of the system uses of the policies: methods by name, and the policy that carries one out."""

from typing import Any

from tokencollab.errors import UnknownMethod
from tokencollab.policies.evidence import ExitPolicy
from tokencollab.policies.exits import build_exit
from tokencollab.policies.machine import Machine
from tokencollab.policies.pieces import PieceVoting, sampling_of
from tokencollab.policies.presets import list_methods, parse_method, uses
from tokencollab.policies.settings import Method
from tokencollab.policies.voting import Voting

__all__ = ["Machine", "Method", "list_methods", "make_policy", "parse_method", "sampling_of", "uses"]


def make_policy(
    method: Method, *, max_tokens: int, seed: int, report: bool, exit_policy: ExitPolicy[Any] | None = None
) -> Machine:
    """The state machine that carries out ``method`` for one answer of up to ``max_tokens`` pieces, EOS
    included.

    ``report``: the caller wants the candidates of steps that the base makes alone. ``exit_policy`` is in place of the
    method's own exit.

    Raises:
        UnknownMethod: ``max_tokens`` is below 1.
    """
    if max_tokens < 1:
        raise UnknownMethod(f"an answer must have at least 1 token, not {max_tokens}")
    leaving = build_exit(method) if exit_policy is None else exit_policy
    voting: Voting
    if method.aggregation == "bytewise":
        from tokencollab.policies.bytewise.voting import ByteVoting  # noqa: PLC0415 - loaded where it is used

        voting = ByteVoting(method, seed, leaving.needs_decisive)
    else:
        voting = PieceVoting(method, seed, leaving.needs_decisive)
    return Machine(method, voting, leaving, max_tokens=max_tokens, seed=seed, report=report)

"""What methods require of the engines of their members, and which method is the nearest where one does not have it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from tokencollab.errors import UsageError
from tokencollab.policies.methods import Method, parse_method
from tokencollab.protocol.messages import Capabilities

_NAMED: Final = {
    "logits": ("raw_logits", "raw logits"),
    "scores": ("piece_scores", "the scores of given pieces"),
    "marginals": ("marginals", "byte marginals"),
}
"""What `Aggregation.requires` names, in `Capabilities` and in words. Probabilities are there always."""

SCALE: Final = (
    "{method} adds up raw logits and so trusts the scale of every member's: one with larger logits outweighs all the "
    "others. Methods of probabilities (dp, gac, unite, bytewise) give each member its vote."
)
"""What is told of a method that trusts the scale of its members' logits."""

_NEAREST: Final[Mapping[str, tuple[str, ...]]] = {"duetnet": ("dp", "gac"), "dk": ("dp", "gac")}


def lacking(method: Method, has: Capabilities, *, alone: bool = False) -> list[str]:
    """What ``method`` requires of a member and it does not have, in words; ``alone``: of its only member."""
    required = () if alone else method.scoring.requires
    found = [words for name, (capability, words) in _NAMED.items() if name in required and not getattr(has, capability)]
    if method.top_k > has.max_candidates:
        found.append(f"more than {has.max_candidates} candidates (top_k is {method.top_k})")
    return found


def check_capabilities(method: Method, members: Mapping[str, Capabilities], untrusted: Collection[str] = ()) -> None:
    """Whether every member, by its name, has what ``method`` requires; ``untrusted`` are those of other owners.

    Raises:
        UsageError: one does not, or is not trusted and the method trusts its members. One line: who, what, and the
            nearest method that fits.
    """
    if method.scoring.trusts_scale and (strangers := [name for name in members if name in untrusted]):
        raise UsageError(
            f"{strangers[0]} belongs to another owner, and {method.name} adds up raw logits, whose scale every member "
            f"sets itself, so it could decide alone: {_instead(method, members)}"
        )
    for name, has in members.items():
        if missing := " and ".join(lacking(method, has, alone=len(members) == 1)):
            needs = f"{name} does not give {missing}, which {method.name} needs"
            raise UsageError(f"{needs}: {_instead(method, members)}")


def _instead(method: Method, members: Mapping[str, Capabilities]) -> str:
    for aggregation in _NEAREST.get(method.aggregation, ("gac", "dp")):
        if aggregation != method.aggregation and _fits(nearest := parse_method(aggregation), list(members.values())):
            return f"use another method, e.g. {nearest.name}"
    most = min(has.max_candidates for has in members.values())
    return f"give top_k={most} or less, or leave the model out" if method.top_k > most else "leave the model out"


def _fits(method: Method, members: Sequence[Capabilities]) -> bool:
    return not any(lacking(method, has) for has in members)

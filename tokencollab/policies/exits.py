"""The other exit policies, and what builds any exit from a method (docs/specification.md section 5)."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, assert_never

from tokencollab.policies.evidence import STAY, Evidence, ExitPolicy, Verdict
from tokencollab.policies.self_efficacy import SelfEfficacy
from tokencollab.policies.settings import Method


@dataclass(frozen=True, slots=True)
class Never:
    """All models take part to the end: UniTE, DuetNet and every other full collaboration."""

    needs_decisive: ClassVar[bool] = False

    def start(self, base: str) -> None:
        """There is nothing to remember."""

    def observe(self, state: None, evidence: Evidence) -> tuple[None, Verdict]:
        """Stay."""
        return None, STAY


@dataclass(frozen=True, slots=True)
class Fixed:
    """Collaboration on the first ``tokens`` tokens only: UPara-N and DPara-N of the ConfiPara paper."""

    tokens: int
    needs_decisive: ClassVar[bool] = False

    def start(self, base: str) -> None:
        """There is nothing to remember: the step number is in the evidence."""

    def observe(self, state: None, evidence: Evidence) -> tuple[None, Verdict]:
        """Leave after step ``tokens``; later, where the base was lost at that step."""
        return None, Verdict(alone=evidence.step >= self.tokens)


@dataclass(frozen=True, slots=True)
class Consult:
    """The base writes alone and asks the others about the pieces that it is unsure of (ours).

    Everybody votes on the first piece, and on every other whose best candidate has a probability below ``below`` in the
    base's own eyes. What it is sure of costs one candidate set, as with the base alone.
    """

    below: float
    needs_decisive: ClassVar[bool] = False

    def start(self, base: str) -> None:
        """There is nothing to remember."""

    def observe(self, state: None, evidence: Evidence) -> tuple[None, Verdict]:
        """Leave after every step together, until the base is unsure."""
        return None, Verdict(alone=True, until=self.below)


@dataclass(frozen=True, slots=True)
class PerCollaborator:
    """A collaborator that was not decisive in ``patience`` of its steps in a row leaves by itself (ours).

    Steps in which it did not answer do not count. When the last one of a step leaves, the base goes on alone.
    """

    patience: int
    needs_decisive: ClassVar[bool] = True

    def start(self, base: str) -> tuple[tuple[str, int], ...]:
        """Idle steps by collaborator: none yet."""
        return ()

    def observe(
        self, state: tuple[tuple[str, int], ...], evidence: Evidence
    ) -> tuple[tuple[tuple[str, int], ...], Verdict]:
        """Count this step for every collaborator that answered."""
        idle = dict(state)
        collaborators = [model for model, _ in evidence.ranks if model != evidence.base]
        for model in collaborators:
            idle[model] = 0 if model in evidence.decisive else idle.get(model, 0) + 1
        out = frozenset(model for model in collaborators if idle[model] >= self.patience)
        state = tuple((model, idle[model]) for model in sorted(idle) if model not in out)
        return state, Verdict(out=out, alone=bool(out) and len(out) == len(collaborators))


def build_exit(method: Method) -> ExitPolicy[Any]:
    """The exit policy that ``method`` asks for."""
    policy: ExitPolicy[Any]
    match method.exit:
        case "never":
            policy = Never()
        case "fixed":
            policy = Fixed(method.exit_after or 0)  # `Method` has checked that it is there
        case "self-efficacy":
            policy = _self_efficacy(method, "both")
        case "confidence" | "reliability":
            policy = _self_efficacy(method, method.exit)
        case "consult":
            policy = Consult(method.consult_below)
        case "per-collaborator":
            policy = PerCollaborator(method.patience)
        case _:
            assert_never(method.exit)
    return policy


def _self_efficacy(method: Method, terms: Literal["both", "confidence", "reliability"]) -> SelfEfficacy:
    return SelfEfficacy(method.omega, method.theta, method.rho, method.eps, method.ties, terms)

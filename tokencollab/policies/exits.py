"""The other exit policies, and what builds any exit from a method (methods.md section 5)."""

from dataclasses import dataclass
from math import exp, fsum
from typing import Any, ClassVar, assert_never

from tokencollab.policies.evidence import STAY, Evidence, ExitPolicy, Verdict
from tokencollab.policies.self_efficacy import EfficacyState, SelfEfficacy
from tokencollab.policies.settings import Method


@dataclass(frozen=True, slots=True)
class Never:
    """All models take part to the end: UniTE, DuetNet and every other full collaboration."""

    needs_decisive: ClassVar[bool] = False
    watch: ClassVar[int | None] = None

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
    watch: ClassVar[int | None] = None

    def start(self, base: str) -> None:
        """There is nothing to remember: the step number is in the evidence."""

    def observe(self, state: None, evidence: Evidence) -> tuple[None, Verdict]:
        """Leave after step ``tokens``; later, where the base was lost at that step."""
        return None, Verdict(alone=evidence.step >= self.tokens)


@dataclass(frozen=True, slots=True)
class RejoinState:
    """``inner`` is the state of the exit while together; ``recent`` the base's probabilities when alone."""

    inner: EfficacyState
    alone: bool = False
    recent: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejoin:
    """Self-efficacy that can be regretted (ours).

    Alone, the base's own probability of what it writes is averaged over every ``watch`` pieces; below
    ``below`` it returns to the collaboration, where its self-efficacy starts anew (with the old figures it
    would leave at once).
    """

    inner: SelfEfficacy
    below: float
    watch: int
    needs_decisive: ClassVar[bool] = False

    def start(self, base: str) -> RejoinState:
        """Together, with nothing observed."""
        return RejoinState(self.inner.start(base))

    def observe(self, state: RejoinState, evidence: Evidence) -> tuple[RejoinState, Verdict]:
        """One step together, or one of the base alone."""
        if not state.alone:
            inner, verdict = self.inner.observe(state.inner, evidence)
            return RejoinState(inner, verdict.alone), verdict
        probability = 0.0 if evidence.base_logprob is None else exp(evidence.base_logprob)
        recent = (*state.recent, probability)
        if len(recent) < self.watch:
            return RejoinState(state.inner, alone=True, recent=recent), Verdict(alone=True)
        if fsum(recent) / self.watch < self.below:
            return self.start(evidence.base), STAY
        return RejoinState(state.inner, alone=True), Verdict(alone=True)


@dataclass(frozen=True, slots=True)
class Consult:
    """The base writes alone and asks the others about the pieces that it is unsure of (ours).

    Everybody votes on the first piece, and on every other whose best candidate has a probability below ``below`` in the
    base's own eyes. What it is sure of costs one candidate set, as with the base alone.
    """

    below: float
    needs_decisive: ClassVar[bool] = False
    watch: ClassVar[int | None] = None

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
    watch: ClassVar[int | None] = None

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
            policy = _self_efficacy(method)
        case "confidence":
            policy = _self_efficacy(method, terms="confidence")
        case "reliability":
            policy = _self_efficacy(method, terms="reliability")
        case "credible":
            policy = _self_efficacy(method, quantile=method.quantile)
        case "rejoin":
            policy = Rejoin(_self_efficacy(method), method.rejoin_below, method.rejoin_window)
        case "consult":
            policy = Consult(method.consult_below)
        case "per-collaborator":
            policy = PerCollaborator(method.patience)
        case _:
            assert_never(method.exit)
    return policy


def _self_efficacy(method: Method, **variant: Any) -> SelfEfficacy:
    return SelfEfficacy(method.omega, method.theta, method.rho, method.eps, method.ties, **variant)

"""Exits: who still takes part (docs/specification.md section 5), one class each. ConfiPara has `self_efficacy`."""

from dataclasses import dataclass
from typing import Final

from tokencollab.policies.evidence import STAY, Evidence, Exit, Verdict
from tokencollab.policies.parameters import Declarations, parameter
from tokencollab.policies.self_efficacy import Confidence, Reliability, SelfEfficacy


@dataclass(frozen=True)
class Never(Exit):
    """All models take part to the end: UniTE, DuetNet and every other full collaboration."""

    name = "never"
    help = "all models take part to the end"
    paper = "tokencollab, docs/methods.md"

    def observe(self, state: None, evidence: Evidence) -> tuple[None, Verdict]:
        return None, STAY


@dataclass(frozen=True)
class Fixed(Exit):
    """Collaboration on the first ``exit_after`` tokens only: UPara-N and DPara-N of the ConfiPara paper.

    It is chosen with its number, as ``fixed-20`` or ``fixed(20)``.
    """

    name = "fixed"
    help = "the base goes on alone after N tokens"
    paper = SelfEfficacy.paper

    exit_after: int = parameter(
        help="tokens together", low=1, neutral=None, label="the number of tokens of the exit fixed", settable=False
    )

    def observe(self, state: None, evidence: Evidence) -> tuple[None, Verdict]:
        """Leave after step ``exit_after``; later, where the base was lost at that step."""
        return None, Verdict(alone=evidence.step >= self.exit_after)


@dataclass(frozen=True)
class Consult(Exit):
    """The base writes alone and asks the others about the pieces that it is unsure of (ours).

    Everybody votes on the first piece, and on every other whose best candidate has a probability below
    ``consult_below`` in the base's own eyes. What it is sure of costs one candidate set, as with the base alone.
    """

    name = "consult"
    help = "the base writes alone and asks the others about pieces that it is unsure of"
    paper = Never.paper

    consult_below: float = parameter(
        0.9, help="the base's probability of its best piece below which it asks the others", above=0, high=1
    )

    def observe(self, state: None, evidence: Evidence) -> tuple[None, Verdict]:
        """Leave after every step together, until the base is unsure."""
        return None, Verdict(alone=True, until=self.consult_below)


@dataclass(frozen=True)
class PerCollaborator(Exit):
    """A collaborator that was not decisive in ``patience`` of its steps in a row leaves by itself (ours).

    Steps in which it did not answer do not count. When the last one of a step leaves, the base goes on alone.
    """

    name = "per-collaborator"
    help = "a collaborator that decides nothing for a while leaves by itself"
    paper = Never.paper
    needs_decisive = True

    patience: int = parameter(20, help="steps in which a collaborator decided nothing", low=1)

    def start(self, base: str) -> tuple[tuple[str, int], ...]:
        return ()

    def observe(
        self, state: tuple[tuple[str, int], ...], evidence: Evidence
    ) -> tuple[tuple[tuple[str, int], ...], Verdict]:
        idle = dict(state)
        collaborators = [model for model, _ in evidence.ranks if model != evidence.base]
        for model in collaborators:
            idle[model] = 0 if model in evidence.decisive else idle.get(model, 0) + 1
        out = frozenset(model for model in collaborators if idle[model] >= self.patience)
        state = tuple((model, idle[model]) for model in sorted(idle) if model not in out)
        return state, Verdict(out=out, alone=bool(out) and len(out) == len(collaborators))


EXITS: Final = Declarations(
    "exit", Exit, (Never, Fixed, SelfEfficacy, Confidence, Reliability, Consult, PerCollaborator), "tokencollab.exits"
)

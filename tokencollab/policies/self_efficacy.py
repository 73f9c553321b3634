"""Self-efficacy of the base model: the exit of ConfiPara (eq. 5-13, algorithm 2) and its ablations.

Counts are kept as whole numbers and turned into Beta parameters when they are needed, so that (f - 1) / rho
is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from tokencollab.policies.events import Efficacy
from tokencollab.policies.evidence import Evidence, Exit, Verdict
from tokencollab.policies.parameters import parameter


class EfficacyState(NamedTuple):
    """``wins`` and ``losses`` of the base over single steps, ``reliable`` and ``unreliable`` windows.

    ``window`` has (model, wins, losses) inside the open window, sorted; ``rt`` is the estimate from closed
    windows.
    """

    rt: float
    steps: int = 0
    wins: int = 0
    losses: int = 0
    reliable: int = 0
    unreliable: int = 0
    window: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True)
class SelfEfficacy(Exit):
    """Leaves when T0 > ``theta``.

    T0 is ST * RT (eq. 13), in the ablations ST (`Confidence`) or RT (`Reliability`), and 0 before ``omega`` steps. ST
    and RT are means of Beta posteriors (eq. 7, 12).

    A step counts for every model that answered in it. At a window's end the base is held against the
    collaborators that answered in its last step; with none of them the window says nothing (both are choices
    where the paper, in which models never fail, is silent).
    """

    name = "self-efficacy"
    help = "the base goes on alone when its self-efficacy suffices"
    paper = "ConfiPara (Wang et al., J. Communications 2026)"
    terms: ClassVar[Literal["both", "confidence", "reliability"]] = "both"

    omega: int = parameter(20, help="window, in steps", low=1)
    theta: float = parameter(0.6, help="threshold", low=0)
    rho: float = parameter(1.5, help="penalty of a miss", above=1, high=1e6)  # far beyond the figures are no numbers
    eps: float = parameter(0.05, help="tolerance of the window comparison", above=0)
    ties: Literal["success", "failure"] = parameter("success", help="what equal ranks count as")

    def start(self, base: str) -> EfficacyState:
        """s = f = s_w = f_w = 1."""
        return EfficacyState(rt=_mean(1.0, 1.0))

    def observe(self, state: EfficacyState, evidence: Evidence) -> tuple[EfficacyState, Verdict]:
        """Algorithm 2, lines 5 to 14, for one step in which the base voted."""
        duels = {model: self._duels(rank, evidence.ranks) for model, rank in evidence.ranks}
        wins, losses = duels[evidence.base]
        rt, steps, won, lost, reliable, unreliable, window = state
        window = _added(window, duels)
        state = EfficacyState(rt, steps + 1, won + wins, lost + losses, reliable, unreliable, window)
        if state.steps % self.omega == 0:
            state = self._close_window(state, evidence)
        efficacy = self.figures(state)
        return state, Verdict(alone=efficacy.t0 > self.theta, efficacy=efficacy)

    def figures(self, state: EfficacyState) -> Efficacy:
        s, f = 1.0 + state.wins, 1.0 + self.rho * state.losses
        st = _mean(s, f) if state.steps >= self.omega else None
        if st is None:
            t0 = 0.0
        elif self.terms == "both":
            t0 = st * state.rt
        else:
            t0 = st if self.terms == "confidence" else state.rt
        s_w, f_w = 1.0 + state.reliable, 1.0 + self.rho * state.unreliable
        return Efficacy(s=s, f=f, st=st, s_w=s_w, f_w=f_w, rt=state.rt, t0=t0)

    def _duels(self, rank: int | None, ranks: Sequence[tuple[str, int | None]]) -> tuple[int, int]:
        """How often a model with ``rank`` is ahead of another in ``ranks``, and how often not.

        ``ranks`` has the model itself as well.
        """
        others = len(ranks) - 1
        if rank is None:  # an infinite rank is never ahead
            return 0, others
        wins = 0
        for _, other in ranks:
            if other is None or rank < other or (rank == other and self.ties == "success"):
                wins += 1
        if self.ties == "success":
            wins -= 1  # itself
        return wins, others - wins

    def _close_window(self, state: EfficacyState, evidence: Evidence) -> EfficacyState:
        """Eq. 9 to 12: the base's confidence in this window against the mean of its collaborators."""
        answered = {model for model, _ in evidence.ranks}
        local = {
            model: (1.0 + wins) / (2.0 + wins + self.rho * losses)
            for model, wins, losses in state.window
            if model in answered
        }
        own = local.pop(evidence.base)
        state = state._replace(window=())
        if not local:
            return state
        total = 0.0
        for confidence in local.values():  # in the order of names, as the window has them
            total += confidence
        if own - total / len(local) > -self.eps:
            state = state._replace(reliable=state.reliable + 1)
        else:
            state = state._replace(unreliable=state.unreliable + 1)
        return state._replace(rt=_mean(1.0 + state.reliable, 1.0 + self.rho * state.unreliable))


@dataclass(frozen=True)
class Confidence(SelfEfficacy):
    """The ablation without the reliability term, whose ``eps`` only the figures shown depend on."""

    name = "confidence"
    help = "self-efficacy without the reliability term"
    terms = "confidence"
    no_effect = frozenset({"eps"})


@dataclass(frozen=True)
class Reliability(SelfEfficacy):
    """The ablation without the confidence term."""

    name = "reliability"
    help = "self-efficacy without the confidence term"
    terms = "reliability"


def _mean(successes: float, failures: float) -> float:
    """Of Beta(successes, failures)."""
    return successes / (successes + failures)


def _added(
    window: tuple[tuple[str, int, int], ...], duels: dict[str, tuple[int, int]]
) -> tuple[tuple[str, int, int], ...]:
    counts = {model: (wins, losses) for model, wins, losses in window}
    for model, (won, lost) in duels.items():
        wins, losses = counts.get(model, (0, 0))
        counts[model] = (wins + won, losses + lost)
    return tuple([(model, wins, losses) for model, (wins, losses) in sorted(counts.items())])

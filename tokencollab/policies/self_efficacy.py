"""Self-efficacy of the base model: the exit of ConfiPara (eq. 5-13, algorithm 2) and its ablations.

Counts are whole numbers and rho is a fraction, so every mean is an exact fraction. A mean is rounded once, to the
nearest float, when it is compared or shown: a T0 that equals theta is not above it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import ClassVar, Final, Literal, NamedTuple

from tokencollab.policies.events import Efficacy
from tokencollab.policies.evidence import Evidence, Exit, Verdict
from tokencollab.policies.parameters import parameter

_LARGEST_DENOMINATOR: Final = 10**6


class EfficacyState(NamedTuple):
    """``wins`` and ``losses`` of the base over single steps, ``reliable`` and ``unreliable`` closed windows.

    ``window`` has (model, wins, losses) inside the open window, sorted.
    """

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
    eps: float = parameter(0.2, help="tolerance of the window comparison", above=0)
    ties: Literal["success", "failure"] = parameter("success", help="what equal ranks count as")

    def start(self, base: str) -> EfficacyState:
        """s = f = s_w = f_w = 1."""
        return EfficacyState()

    def observe(self, state: EfficacyState, evidence: Evidence) -> tuple[EfficacyState, Verdict]:
        """Algorithm 2, lines 5 to 14, for one step in which the base voted."""
        duels = {model: self._duels(rank, evidence.ranks) for model, rank in evidence.ranks}
        wins, losses = duels[evidence.base]
        steps, won, lost, reliable, unreliable, window = state
        window = _added(window, duels)
        state = EfficacyState(steps + 1, won + wins, lost + losses, reliable, unreliable, window)
        if state.steps % self.omega == 0:
            state = self._close_window(state, evidence)
        efficacy = self.figures(state)
        return state, Verdict(alone=efficacy.t0 > self.theta, efficacy=efficacy)

    def figures(self, state: EfficacyState) -> Efficacy:
        st, st_of = self._mean(state.wins, state.losses)
        rt, rt_of = self._mean(state.reliable, state.unreliable)
        started = state.steps >= self.omega
        t0 = 0.0
        if started:  # quotients of whole numbers are rounded correctly
            terms = {"both": (st * rt, st_of * rt_of), "confidence": (st, st_of), "reliability": (rt, rt_of)}
            of_t0, t0_of = terms[self.terms]
            t0 = of_t0 / t0_of
        return Efficacy(
            s=1.0 + state.wins,
            f=1.0 + self.rho * state.losses,
            st=st / st_of if started else None,
            s_w=1.0 + state.reliable,
            f_w=1.0 + self.rho * state.unreliable,
            rt=rt / rt_of,
            t0=t0,
        )

    def _mean(self, successes: int, failures: int) -> tuple[int, int]:
        """Of Beta(1 + successes, 1 + rho * failures): numerator and denominator."""
        rho, unit = _fraction(self.rho)
        mean = unit * (1 + successes)
        return mean, mean + unit + rho * failures

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
            model: Fraction(*self._mean(wins, losses)) for model, wins, losses in state.window if model in answered
        }
        own = local.pop(evidence.base)
        state = state._replace(window=())
        if not local:
            return state
        if float(own - sum(local.values()) / len(local)) > -self.eps:
            return state._replace(reliable=state.reliable + 1)
        return state._replace(unreliable=state.unreliable + 1)


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


@lru_cache
def _fraction(value: float) -> tuple[int, int]:
    """The simplest fraction that ``value`` is the nearest float of: 1.1 is 11/10, not what binary made of it."""
    exact = Fraction(value)
    simple = exact.limit_denominator(_LARGEST_DENOMINATOR)
    return (simple if float(simple) == value else exact).as_integer_ratio()


def _added(
    window: tuple[tuple[str, int, int], ...], duels: dict[str, tuple[int, int]]
) -> tuple[tuple[str, int, int], ...]:
    counts = {model: (wins, losses) for model, wins, losses in window}
    for model, (won, lost) in duels.items():
        wins, losses = counts.get(model, (0, 0))
        counts[model] = (wins + won, losses + lost)
    return tuple([(model, wins, losses) for model, (wins, losses) in sorted(counts.items())])

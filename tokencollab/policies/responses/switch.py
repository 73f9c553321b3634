"""Sampling policies: ModelSwitch, self-consistency, random switching, and best-of-N, alone or after a switch.

`switching` decides; this draws what the decision needs, several samples of a model at a time so that they share their
prompt, and takes back what it does not need any more.
"""

from dataclasses import dataclass, replace

from tokencollab.policies.events import Cancelled
from tokencollab.policies.responses import events as e
from tokencollab.policies.responses.switching import Need, Rule, SwitchVerdict, decide
from tokencollab.policies.responses.vote import MOST_SCORE, AnswerScores, Pick, by_scores, vote


@dataclass(frozen=True, slots=True)
class Sample:
    model: str
    number: int
    text: str
    answer: str | None


@dataclass(frozen=True, slots=True)
class SwitchState:
    """What a `SwitchPolicy` remembers. ``open`` are the draws that run, as (ask, model, number of the sample)."""

    samples: tuple[Sample, ...] = ()
    open: tuple[tuple[int, str, int], ...] = ()
    lost: frozenset[str] = frozenset()
    asks: int = 0
    scoring: tuple[int, tuple[Sample, ...]] | None = None
    verdict: SwitchVerdict | None = None
    done: bool = False


@dataclass(frozen=True, slots=True)
class SwitchPolicy:
    """Draws samples of ``turns`` until `switching.decide` has an answer.

    Attributes:
        rule: what decides.
        turns: the conversation that every model answers.
        at_once: draws of a model that run at the same time; None: all that it may have to give.
        pick: where no model is consistent, take the answer by scores (best-of-N) instead of the vote; None: the vote.
    """

    rule: Rule
    turns: e.Turns
    at_once: int | None = None
    pick: Pick | None = None

    def start(self) -> tuple[SwitchState, tuple[e.ResponseCommand, ...]]:
        return self._go_on(SwitchState())

    def step(self, state: SwitchState, event: e.ResponseEvent) -> tuple[SwitchState, tuple[e.ResponseCommand, ...]]:
        match event:
            case _ if state.done:
                pass
            case e.SampleArrived(ask, text, answer):
                for drawn, model, number in state.open:
                    if drawn == ask:
                        samples = (*state.samples, Sample(model, number, text, answer))
                        left = tuple(entry for entry in state.open if entry[0] != ask)
                        return self._go_on(replace(state, samples=samples, open=left))
            case e.RespondentLost(model) if model in self.rule.models and model not in state.lost:
                left = tuple(entry for entry in state.open if entry[1] != model)
                return self._go_on(replace(state, lost=state.lost | {model}, open=left))
            case e.SamplesScored(ask, scores) if state.scoring is not None and state.scoring[0] == ask:
                return self._pick(state, state.scoring[1], scores)
            case Cancelled():
                return self._give_up(state)
            case _:
                pass
        return state, ()

    def _go_on(self, state: SwitchState) -> tuple[SwitchState, tuple[e.ResponseCommand, ...]]:
        if state.scoring is not None:
            return state, ()
        given: dict[str, dict[int, str | None]] = {model: {} for model in self.rule.models}
        for sample in state.samples:
            given[sample.model][sample.number] = sample.answer
        decision = decide(self.rule, given, state.lost)
        match decision:
            case Need(model, number):
                return self._draw(state, model, number)
            case SwitchVerdict(answer, by) if self.pick is None or by is not None or answer is None:
                return self._decide(state, decision)
            case SwitchVerdict():
                return self._score(state, decision)

    def _draw(self, state: SwitchState, model: str, first: int) -> tuple[SwitchState, tuple[e.ResponseCommand, ...]]:
        """Begins the samples of ``model`` from the first that is needed, as many as may run."""
        begun = {number for _, name, number in state.open if name == model}
        begun |= {sample.number for sample in state.samples if sample.model == model}
        running = sum(name == model for _, name, _ in state.open)
        may = (self.rule.samples if self.at_once is None else self.at_once) - running
        new = [number for number in range(first, self.rule.samples) if number not in begun][: max(0, may)]
        draws = tuple(e.Draw(state.asks + i, model, self.turns, number) for i, number in enumerate(new))
        opened = tuple((draw.ask, model, number) for draw, number in zip(draws, new, strict=True))
        return replace(state, open=(*state.open, *opened), asks=state.asks + len(draws)), draws

    def _decide(self, state: SwitchState, verdict: SwitchVerdict) -> tuple[SwitchState, tuple[e.ResponseCommand, ...]]:
        outcome = verdict.outcome(self.rule, self._text(state, verdict.answer, verdict.model))
        return self._end(state, outcome)

    def _end(self, state: SwitchState, outcome: e.Decision) -> tuple[SwitchState, tuple[e.ResponseCommand, ...]]:
        back = tuple(e.Withdraw(ask) for ask, _, _ in state.open)
        return replace(state, open=(), scoring=None, done=True), (*back, e.Decide(outcome))

    def _score(self, state: SwitchState, verdict: SwitchVerdict) -> tuple[SwitchState, tuple[e.ResponseCommand, ...]]:
        """Asks for the scores of every readable sample, in order."""
        readable = tuple(sample for sample in self._in_order(state) if sample.answer is not None)
        command = e.ScoreSamples(state.asks, self.turns, tuple((sample.model, sample.text) for sample in readable))
        return replace(state, asks=state.asks + 1, scoring=(state.asks, readable), verdict=verdict), (command,)

    def _pick(
        self, state: SwitchState, samples: tuple[Sample, ...], scores: tuple[float, ...]
    ) -> tuple[SwitchState, tuple[e.ResponseCommand, ...]]:
        verdict = state.verdict
        assert verdict is not None
        if len(scores) != len(samples) or not all(abs(score) <= MOST_SCORE for score in scores):
            return self._decide(state, verdict)  # a scorer that fails leaves the vote
        known, ordered = dict(zip(samples, scores, strict=True)), self._in_order(state)
        of_samples = tuple((name, tuple(known.get(s) for s in ordered if s.model == name)) for name in self.rule.models)
        best = by_scores(verdict.seen, of_samples, self.pick or "best")
        answer = best[0][0]
        text = max((s for s in samples if s.answer == answer), key=lambda s: known[s]).text  # of equal ones the first
        outcome = verdict.outcome(self.rule)
        outcome = replace(outcome, answer=answer, reason="score", scores=best, text=text, sample_scores=of_samples)
        return self._end(state, outcome)

    def _give_up(self, state: SwitchState) -> tuple[SwitchState, tuple[e.ResponseCommand, ...]]:
        ordered = self._in_order(state)
        seen = tuple((model, tuple(s.answer for s in ordered if s.model == model)) for model in self.rule.models)
        scores: AnswerScores = vote(seen, dict(self.rule.priors))
        verdict = SwitchVerdict(scores[0][0] if scores else None, None, seen, scores)
        outcome = verdict.outcome(self.rule, self._text(state, verdict.answer, None))
        return self._end(state, replace(outcome, reason="cancelled"))

    def _text(self, state: SwitchState, answer: str | None, by: str | None) -> str:
        """A text that gives the answer: of the model that decided, else of the first in order."""
        wanted = (s for s in self._in_order(state) if s.answer == answer is not None and by in (None, s.model))
        return next((sample.text for sample in wanted), "")

    def _in_order(self, state: SwitchState) -> list[Sample]:
        return sorted(state.samples, key=lambda sample: (self.rule.models.index(sample.model), sample.number))

"""The machine that runs a panel (`panels`): stages in order, each speaker once, until the end is decided."""

import re
from dataclasses import dataclass, replace
from typing import Final

from tokencollab.policies.events import Cancelled
from tokencollab.policies.responses import events as e
from tokencollab.policies.responses.panels import Panel, Role, Stage, read_experts
from tokencollab.policies.responses.vote import ranked
from tokencollab.policies.responses.wording import said, with_question

_CONTINUE: Final = re.compile(r"\bCONTINUE\b")
_ACCEPT: Final = re.compile(r"\bACCEPT(?:ED)?\b")
_REFUSED: Final = re.compile(r"\b(?:not|cannot|can't|don't)\s+ACCEPT", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Utterance:
    """What somebody said. ``place`` counts stages over all rounds; ``order`` is the speaker's in its stage."""

    place: int
    order: int
    role: str
    model: str
    stage: Stage
    text: str
    answer: str | None


@dataclass(frozen=True, slots=True)
class PanelState:
    """What a `PanelPolicy` remembers. ``waiting`` are the speakers of the stage who have not begun."""

    round: int = 0
    stage: int = -1
    place: int = -1
    waiting: tuple[Role, ...] = ()
    open: tuple[tuple[int, Role, str, int], ...] = ()
    said: tuple[Utterance, ...] = ()
    experts: tuple[tuple[str, str], ...] = ()
    lost: frozenset[str] = frozenset()
    asks: int = 0
    spoken: int = 0
    done: bool = False


@dataclass(frozen=True, slots=True)
class PanelPolicy:
    """Runs ``panel`` over ``models``. ``form`` says in which form the final answer is wanted."""

    panel: Panel
    models: tuple[str, ...]
    turns: e.Turns
    form: str = ""

    @property
    def budget(self) -> int:
        return self.panel.budget

    def start(self) -> tuple[PanelState, tuple[e.ResponseCommand, ...]]:
        return self._next_stage(PanelState())

    def step(self, state: PanelState, event: e.ResponseEvent) -> tuple[PanelState, tuple[e.ResponseCommand, ...]]:
        match event:
            case _ if state.done:
                pass
            case e.SampleArrived(ask, text, answer):
                for number, role, model, order in state.open:
                    if number == ask:
                        stage = self.panel.stages[state.stage]
                        if stage.purpose in ("recruit", "evaluate") or (
                            stage.purpose == "judge" and answer is not None and self._goes_on(state, text)
                        ):
                            answer = None
                        heard = Utterance(state.place, order, role.name, model, stage, text, answer)
                        left = tuple(entry for entry in state.open if entry[0] != ask)
                        return self._go_on(replace(state, open=left, said=(*state.said, heard)))
            case e.RespondentLost(model) if model not in state.lost:
                left = tuple(entry for entry in state.open if entry[2] != model)
                state = replace(state, open=left, lost=state.lost | {model})
                if state.lost.issuperset(self.models):
                    return self._decide(state, "judged" if self.panel.ending == "judge" else "vote")
                return self._go_on(state)
            case Cancelled():
                return self._decide(state, "cancelled")
            case _:
                pass
        return state, ()

    def _goes_on(self, state: PanelState, text: str) -> bool:
        return bool(_CONTINUE.search(text)) and state.round + 1 < self.panel.rounds

    def _go_on(self, state: PanelState) -> tuple[PanelState, tuple[e.ResponseCommand, ...]]:
        if state.open:
            return state, ()
        if state.waiting:
            return self._speak(state)
        stage = self.panel.stages[state.stage]
        here = self._here(state)
        match stage.purpose:
            case "recruit":
                names = read_experts("\n".join(u.text for u in here), self.panel.experts)
                state = replace(state, experts=tuple(names) or state.experts)
            case "judge" if any(utterance.answer is not None for utterance in here):
                return self._decide(state, "judged")
            case "evaluate" if any(_ACCEPT.search(u.text) and not _REFUSED.search(u.text) for u in here):
                return self._decide(state, "vote")
            case _:
                pass
        return self._next_stage(state)

    def _next_stage(self, state: PanelState) -> tuple[PanelState, tuple[e.ResponseCommand, ...]]:
        stage, number = state.stage + 1, state.round
        if stage == len(self.panel.stages):
            stage, number = self.panel.once, number + 1
            if number == self.panel.rounds:
                return self._decide(state, "judged" if self.panel.ending == "judge" else "vote")
        speakers = self._speakers(state, self.panel.stages[stage])
        return self._speak(
            replace(state, stage=stage, round=number, place=state.place + 1, waiting=tuple(speakers), spoken=0)
        )

    def _speakers(self, state: PanelState, stage: Stage) -> list[Role]:
        roles = {role.name: role for role in self.panel.roles}
        speakers: list[Role] = []
        for name in stage.speakers:
            if name != "*":
                speakers.append(roles[name])
                continue
            for index, place in enumerate(self.panel.experts):
                role = roles[place]
                if index < len(state.experts):
                    who, brief = state.experts[index]
                    role = replace(role, brief=f"You are {who}. {brief}")
                speakers.append(role)
        return speakers

    def _model_of(self, role: Role) -> str:
        return self.models[role.model % len(self.models)]

    def _speak(self, state: PanelState) -> tuple[PanelState, tuple[e.ResponseCommand, ...]]:
        """Lets the next speakers of the stage begin: one, or all; those whose model is lost stay silent."""
        stage = self.panel.stages[state.stage]
        present = [role for role in state.waiting if self._model_of(role) not in state.lost]
        count = 1 if stage.order == "in turn" else len(present)
        now, later = present[:count], tuple(present[count:])
        if not now:
            return self._go_on(replace(state, waiting=()))
        draws, opened = [], []
        for index, role in enumerate(now):
            ask, model = state.asks + index, self._model_of(role)
            # The number of the draw is the number of the sample: the same model in two roles draws differently.
            draws.append(e.Draw(ask, model, self._prompt(state, stage, role), ask))
            opened.append((ask, role, model, state.spoken + index))
        asks, spoken = state.asks + len(draws), state.spoken + len(draws)
        return replace(state, waiting=later, open=tuple(opened), asks=asks, spoken=spoken), tuple(draws)

    def _prompt(self, state: PanelState, stage: Stage, role: Role) -> e.Turns:
        heard = self._heard(state, stage)
        last_word = stage.purpose == "judge" and state.round + 1 == self.panel.rounds
        task = stage.task
        if last_word and _CONTINUE.search(task):
            task = "Decide now which answer is right, and give it."
        form = self.form if stage.purpose in ("talk", "judge") else ""
        return with_question(self.turns, said([(u.role, u.text) for u in heard]), role.brief, task, form)

    def _heard(self, state: PanelState, stage: Stage) -> list[Utterance]:
        """What a speaker hears, in the order in which it was to be said."""
        before = sorted((u for u in state.said if u.place < state.place), key=_order)
        match stage.hears:
            case "nobody":
                return []
            case "last":
                last = max((u.place for u in before if u.stage.purpose == "talk"), default=None)
                before = [u for u in before if u.place == last]
            case "all":
                before = [u for u in before if u.stage.purpose in ("talk", "evaluate")]
        return before + (sorted(self._here(state), key=_order) if stage.order == "in turn" else [])

    def _here(self, state: PanelState) -> list[Utterance]:
        return [utterance for utterance in state.said if utterance.place == state.place]

    def _decide(self, state: PanelState, reason: e.DecisionReason) -> tuple[PanelState, tuple[e.ResponseCommand, ...]]:
        utterances = sorted(state.said, key=_order)
        latest = {u.role: u for u in utterances if u.stage.purpose == "talk" and u.answer is not None}
        counts: dict[str, float] = {}
        for role in self.panel.roles:  # of equal answers, that of the first role
            if (heard := latest.get(role.name)) and heard.answer is not None:
                counts[heard.answer] = counts.get(heard.answer, 0.0) + 1
        scores = ranked(counts)
        judged = [u for u in utterances if u.stage.purpose == "judge" and u.answer is not None]
        if judged and self.panel.ending == "judge":
            final: Utterance | None = judged[-1]
        else:  # also where a judge said nothing that could be read
            reason = "vote" if reason == "judged" else reason
            final = next((u for u in reversed(utterances) if scores and u.answer == scores[0][0]), None)
        asked = [u for u in utterances if u.stage.purpose in ("talk", "judge")]
        outcome = e.Decision(
            answer=final.answer if final else None,
            decided_by=final.model if final and reason == "judged" else None,
            reason=reason if final or reason == "cancelled" else "unreadable",
            samples=len(utterances),
            budget=self.budget,
            answers=tuple((model, tuple(u.answer for u in asked if u.model == model)) for model in self.models),
            scores=scores,
            text=final.text if final else "",
        )
        back = tuple(e.Withdraw(ask) for ask, _, _, _ in state.open)
        return replace(state, open=(), waiting=(), done=True), (*back, e.Decide(outcome))


def _order(utterance: Utterance) -> tuple[int, int]:
    return utterance.place, utterance.order

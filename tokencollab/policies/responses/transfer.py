"""Reasoning transfer (arXiv 2604.04929, docs/specification.md section 8).

A large model answers briefly, with a small one's notes. Both answer briefly. If they agree, that is the answer
(mutual verification). If not, the small model writes its reasoning, a selector takes the key part of it, and the
large model answers briefly again with that before its answer.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias, get_args

from tokencollab.errors import UnknownMethod
from tokencollab.policies.events import Cancelled
from tokencollab.policies.responses import events as e
from tokencollab.policies.responses.wording import REASON, SHORT, with_notes, with_question

ReasoningPart: TypeAlias = Literal[
    "large with notes", "large reasoning", "large short", "small reasoning", "small short"
]
_LAST_WORD: Final[tuple[ReasoningPart, ...]] = get_args(ReasoningPart)  # the part that counts most comes first
Plan: TypeAlias = Literal["transfer", "large short", "large reasoning", "small reasoning"]
"""The method, and its baselines: the large model alone, briefly or with its own reasoning; the small one alone."""

_SENTENCE: Final = re.compile(r"[^.!?;。！？；\n]*(?:[.!?;](?!\s)[^.!?;。！？；\n]*)*(?:[.!?;。！？；\n]+\s*|$)")


@dataclass(frozen=True, slots=True)
class Selector:
    """Which part of the reasoning is passed on: all, the last ``k`` tokens, or the ``k`` most informative sentences.

    A sentence is as informative as it is surprising to the large model: the sum of -log p of its tokens, from one
    prefill. (The paper leaves the measure open; the sentences keep their order.)
    """

    name: Literal["all", "tail", "surprise"] = "all"
    k: int = 0

    @classmethod
    def parse(cls, text: str) -> "Selector":
        """``all``, ``tail(k)`` or ``surprise(k)``.

        Raises:
            UnknownMethod: none of these.
        """
        if text == "all":
            return cls()
        found = re.fullmatch(r"(tail|surprise)[(-]([1-9][0-9]{0,5})\)?", text)
        if not found:
            raise UnknownMethod(f"unknown selector {text!r}; there are all, tail(k) and surprise(k), e.g. surprise(3)")
        return cls("tail" if found[1] == "tail" else "surprise", int(found[2]))

    def __str__(self) -> str:
        return self.name if self.name == "all" else f"{self.name}({self.k})"


@dataclass(frozen=True, slots=True)
class Told:
    part: ReasoningPart
    model: str
    text: str
    answer: str | None
    pieces: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class TransferState:
    """What a `TransferPolicy` remembers; ``open`` are the running draws."""

    told: tuple[Told, ...] = ()
    open: tuple[tuple[int, ReasoningPart, str], ...] = ()
    lost: frozenset[str] = frozenset()
    asks: int = 0
    weighing: tuple[int, tuple[str, ...]] | None = None
    done: bool = False

    def get(self, part: ReasoningPart) -> Told | None:
        return next((told for told in self.told if told.part == part), None)


@dataclass(frozen=True, slots=True)
class TransferPolicy:
    """See the module. ``form`` says in which form the final answer is wanted."""

    large: str
    small: str | None
    turns: e.Turns
    plan: Plan = "transfer"
    selector: Selector = Selector()
    form: str = ""

    @property
    def budget(self) -> int:
        return 4 if self.plan == "transfer" else 1

    def start(self) -> tuple[TransferState, tuple[e.ResponseCommand, ...]]:
        """The short answers of both, or the one answer of a baseline."""
        if self.plan == "transfer":
            return self._draw(TransferState(), "large short", "small short")
        return self._draw(TransferState(), self.plan)

    def step(self, state: TransferState, event: e.ResponseEvent) -> tuple[TransferState, tuple[e.ResponseCommand, ...]]:
        match event:
            case _ if state.done:
                pass
            case e.SampleArrived(ask, text, answer, pieces):
                for number, part, model in state.open:
                    if number == ask:
                        told = (*state.told, Told(part, model, text, answer, pieces))
                        left = tuple(entry for entry in state.open if entry[0] != ask)
                        return self._go_on(replace(state, told=told, open=left))
            case e.SurpriseMeasured(ask, nats) if state.weighing is not None and state.weighing[0] == ask:
                notes = most_surprising(state.weighing[1], nats, self.selector.k)
                return self._draw(replace(state, weighing=None), "large with notes", notes=notes)
            case e.RespondentLost(model) if model not in state.lost:
                left = tuple(entry for entry in state.open if entry[2] != model)
                return self._go_on(replace(state, lost=state.lost | {model}, open=left, weighing=None))
            case Cancelled():
                return self._decide(state, "cancelled")
            case _:
                pass
        return state, ()

    def _go_on(self, state: TransferState) -> tuple[TransferState, tuple[e.ResponseCommand, ...]]:
        if state.open or state.weighing is not None:
            return state, ()
        large, small = state.get("large short"), state.get("small short")
        if self.plan != "transfer" or state.get("large with notes") or state.lost:
            return self._decide(state, "written")
        assert large is not None
        assert small is not None
        if large.answer is not None and large.answer == small.answer:
            return self._decide(state, "agreed")
        reasoning = state.get("small reasoning")
        if reasoning is None:
            return self._draw(state, "small reasoning")
        if self.selector.name == "surprise":
            parts = sentences(reasoning.text)
            if len(parts) > self.selector.k:
                turns = with_question(self.turns, REASON, self.form)
                command = e.MeasureSurprise(state.asks, self.large, turns, parts)
                return replace(state, asks=state.asks + 1, weighing=(state.asks, parts)), (command,)
        notes = reasoning.text
        if self.selector.name == "tail":
            notes = b"".join(reasoning.pieces[-self.selector.k :]).decode("utf-8", "replace").strip("\ufffd")
        return self._draw(state, "large with notes", notes=notes)

    def _draw(
        self, state: TransferState, *parts: ReasoningPart, notes: str = ""
    ) -> tuple[TransferState, tuple[e.ResponseCommand, ...]]:
        draws, opened = [], []
        for ask, part in enumerate(parts, state.asks):
            model = self.small if part.startswith("small") else self.large
            assert model is not None
            short = not part.endswith("reasoning")
            # A question that says in which form it wants the answer must be heard last.
            words = " ".join(filter(None, (SHORT if short else REASON, self.form)))
            turns = with_notes(self.turns, notes.strip(), words)
            draws.append(e.Draw(ask, model, turns, None, short))
            opened.append((ask, part, model))
        return replace(state, asks=state.asks + len(draws), open=(*state.open, *opened)), tuple(draws)

    def _decide(
        self, state: TransferState, reason: e.DecisionReason
    ) -> tuple[TransferState, tuple[e.ResponseCommand, ...]]:
        """The last word counts: of the large model with notes, without, of the small one reasoned, short."""
        spoken = [told for told in map(state.get, _LAST_WORD) if told is not None]
        best = next((told for told in spoken if told.answer is not None), None)
        models = tuple(dict.fromkeys(filter(None, (self.large, self.small))))
        answers = tuple((model, tuple(told.answer for told in state.told if told.model == model)) for model in models)
        counts = Counter(told.answer for told in state.told if told.answer is not None)
        outcome = e.Decision(
            answer=best.answer if best else None,
            decided_by=None if best is None or reason == "agreed" else best.model,
            reason=reason if best or reason == "cancelled" else "unreadable",
            samples=len(state.told),
            budget=self.budget,
            answers=answers,
            scores=tuple((answer, float(count)) for answer, count in counts.most_common()),
            text=best.text if best else spoken[0].text if spoken else "",
        )
        back = tuple(e.Withdraw(ask) for ask, _, _ in state.open)
        return replace(state, open=(), weighing=None, done=True), (*back, e.Decide(outcome))


def sentences(text: str) -> tuple[str, ...]:
    """The sentences (and lines) of a text; joined they are the text."""
    return tuple(found[0] for found in _SENTENCE.finditer(text) if found[0])


def most_surprising(parts: tuple[str, ...], nats: tuple[float, ...], k: int) -> str:
    """The ``k`` parts with the most nats, in their own order; of equal ones the later, which is nearer the answer."""
    if len(parts) != len(nats):
        return "".join(parts)
    chosen = sorted(sorted(range(len(parts)), key=lambda index: (-nats[index], -index))[:k])
    return "".join(parts[index] for index in chosen)

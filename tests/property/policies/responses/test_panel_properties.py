"""Any method under any course of events: it ends, within its budget, with somebody's answer or a clear none."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokencollab.policies.events import Cancelled
from tokencollab.policies.responses import events as e
from tokencollab.policies.responses.machines import make_response_policy
from tokencollab.policies.responses.panels import Ending, Panel, Role, Stage
from tokencollab.policies.responses.response_methods import (
    draws_samples,
    list_response_methods,
    parse_response_method,
)
from tokencollab.protocol.messages import ChatMessage

TURNS = (ChatMessage("user", "?"),)
NAMES = [name for name, _, _ in list_response_methods() if name not in ("panel", "self-consistency")]
SAID = st.sampled_from(
    [("x", "x"), ("y", "y"), ("?", None), ("CONTINUE", "z"), ("ACCEPT", "w"), ("Ada: maths\nBob: logic", None)]
)


@st.composite
def panels(draw: st.DrawFn) -> Panel:
    names = ["a", "b", "expert 1", "expert 2"]
    roles = tuple(Role(name, "", draw(st.integers(0, 3))) for name in names)
    stages = tuple(
        Stage(
            tuple(draw(st.lists(st.sampled_from([*names, "*"]), min_size=1, max_size=3, unique=True))),
            "Go.",
            draw(st.sampled_from(["together", "in turn"])),
            draw(st.sampled_from(["nobody", "last", "all"])),
            draw(st.sampled_from(["talk", "talk", "recruit", "evaluate", "judge"])),
        )
        for _ in range(draw(st.integers(1, 4)))
    )
    judged = any(stage.purpose == "judge" for stage in stages)
    ending: Ending = "judge" if judged and draw(st.booleans()) else "vote"
    once = draw(st.integers(0, len(stages) - 1))
    return Panel("p", roles, stages, draw(st.integers(1, 3)), ending, once)


class Play:
    """A method whose every question is answered, lost or cancelled as ``data`` says."""

    def __init__(self, policy: Any, models: tuple[str, ...], data: st.DataObject) -> None:
        self.policy, self.models, self.data = policy, models, data
        self.open: dict[int, e.ResponseCommand] = {}
        self.asked: set[int] = set()
        self.lost: set[str] = set()
        self.given: set[str | None] = set()
        self.drawn = 0
        self.outcome: e.Decision | None = None
        self.state, commands = policy.start()
        self.hear(commands)

    def hear(self, commands: tuple[e.ResponseCommand, ...]) -> None:
        for command in commands:
            assert self.outcome is None, "nothing comes after the end"
            match command:
                case e.Withdraw(ask):
                    del self.open[ask]
                case e.Decide(outcome):
                    assert not any(isinstance(other, e.Draw) for other in self.open.values())
                    self.outcome = outcome
                case e.Draw(ask) | e.MeasureSurprise(ask) | e.ScoreSamples(ask):
                    assert ask not in self.asked
                    assert getattr(command, "model", "") not in self.lost
                    self.asked.add(ask)
                    self.open[ask] = command
                    self.drawn += isinstance(command, e.Draw)

    def step(self) -> None:
        assert self.open, "it waits for nothing"
        ask = self.data.draw(st.sampled_from(sorted(self.open)))
        command = self.open[ask]
        event: e.ResponseEvent
        match self.data.draw(st.sampled_from(["answer"] * 8 + ["lose", "late", "cancel"])), command:
            case "lose", e.Draw(_, model) | e.MeasureSurprise(_, model):
                event = e.RespondentLost(model)
                self.lost.add(model)
                self.open = {
                    number: other for number, other in self.open.items() if getattr(other, "model", "") != model
                }
            case "late", _:
                event = e.SampleArrived(10_000, "late", "late")
            case "cancel", _:
                event = Cancelled()
            case _, e.Draw():
                del self.open[ask]
                text, answer = self.data.draw(SAID)
                self.given.add(answer)
                event = e.SampleArrived(ask, text, answer, (b"a", b"b"))
            case _, e.ScoreSamples(_, _, answers):
                del self.open[ask]
                event = e.SamplesScored(ask, tuple(self.data.draw(st.floats(0, 1)) for _ in answers))
            case _:
                del self.open[ask]
                event = e.SurpriseMeasured(ask, ())
        before = self.state
        self.state, commands = self.policy.step(self.state, event)
        if isinstance(event, e.SampleArrived) and event.ask == 10_000:
            assert (self.state, commands) == (before, ())
        self.hear(commands)

    def to_the_end(self) -> None:
        while self.outcome is None:
            self.step()
        outcome = self.outcome
        assert outcome.samples <= self.drawn <= outcome.budget
        assert outcome.answer is None or outcome.answer in self.given
        assert outcome.decided_by is None or outcome.decided_by in self.models
        assert outcome.reason != "unreadable" or outcome.answer is None
        assert [name for name, _ in outcome.answers] == list(self.models)


@given(panels(), st.integers(1, 3), st.data())
def test_any_panel_ends_within_its_budget(panel: Panel, count: int, data: st.DataObject) -> None:
    models = ("m", "n", "o")[:count]
    method = parse_response_method("panel", models=count, panel=panel)
    assert method.panel is not None
    Play(make_response_policy(method, models, TURNS), models, data).to_the_end()


@pytest.mark.parametrize("name", NAMES)
@given(st.data())
def test_every_method_ends_within_its_budget(name: str, data: st.DataObject) -> None:
    models = ("m", "n")
    method = parse_response_method(name, models=2, samples=3 if draws_samples(name) else None)
    chances = (0.9, 0.1) if name == "random-switch" else ()
    policy = make_response_policy(method, models, TURNS, chances=chances)
    if name.startswith("transfer"):
        models = tuple(dict.fromkeys(filter(None, (policy.large, policy.small))))  # type: ignore[attr-defined]
    Play(policy, models, data).to_the_end()

"""Panels: every preset with scripted speakers, who hears whom, and how the end is decided."""

from collections.abc import Callable

import pytest

from tokencollab.errors import UnknownMethod
from tokencollab.policies.events import Cancelled
from tokencollab.policies.responses import events as e
from tokencollab.policies.responses.panel import PanelPolicy
from tokencollab.policies.responses.panels import (
    Panel,
    Role,
    Stage,
    agentverse,
    chateval,
    mad,
    moa,
    read_experts,
    simultaneous,
)
from tokencollab.protocol.messages import ChatMessage

TURNS = (ChatMessage("system", "Be kind."), ChatMessage("user", "What is 2 + 2?"))
Speaker = Callable[[str], str]

KNOWN = {"mad": (mad, 2), "moa": (moa, 2), "chateval": (chateval, 2), "agentverse": (agentverse, 3)}


def play(
    panel: Panel, speakers: dict[str, Speaker], lose: dict[str, int] | None = None
) -> tuple[e.Decision, list[tuple[str, str]]]:
    """Runs a panel; a speaker is a function of the prompt. The outcome, and (model, prompt) of every draw.

    The answer of a text is what follows "answer: ". ``lose``: after how many draws a model is lost.
    """
    policy = PanelPolicy(panel, tuple(speakers), TURNS, form="EOS WELL")
    state, commands = policy.start()
    drawn: list[tuple[str, str]] = []
    queue: list[e.Draw] = []
    gave = dict.fromkeys(speakers, 0)
    while True:
        for command in commands:
            match command:
                case e.Draw():
                    queue.append(command)
                    drawn.append((command.model, command.turns[-1].content))
                case e.Decide(outcome):
                    assert len(drawn) <= panel.budget == policy.budget
                    return outcome, drawn
                case _:
                    raise AssertionError(command)
        draw = queue.pop(0)
        assert draw.turns[0] == TURNS[0]
        if gave[draw.model] == (lose or {}).get(draw.model, -1):
            queue = [other for other in queue if other.model != draw.model]
            state, commands = policy.step(state, e.RespondentLost(draw.model))
            continue
        gave[draw.model] += 1
        text = speakers[draw.model](draw.turns[-1].content)
        _, found, answer = text.partition("answer: ")
        state, commands = policy.step(state, e.SampleArrived(draw.ask, text, answer if found else None))
        assert policy.step(state, e.SampleArrived(10_000, "late", "late")) == (state, ())


def says(answer: str) -> Speaker:
    return lambda prompt: f"I think. answer: {answer}"


def test_mad_ends_when_the_judge_is_clear() -> None:
    def judge(prompt: str) -> str:
        assert "affirmative said" in prompt
        assert "negative said" in prompt
        return "answer: 4"

    outcome, drawn = play(mad(3, 2), {"a": says("4"), "b": says("5"), "j": judge})
    assert (outcome.answer, outcome.decided_by, outcome.reason) == ("4", "j", "judged")
    assert [model for model, _ in drawn] == ["a", "b", "j"]
    assert outcome.samples == 3
    assert outcome.answers == (("a", ("4",)), ("b", ("5",)), ("j", ("4",)))
    assert "affirmative said" in drawn[1][1]
    assert "said" not in drawn[0][1]


def test_mad_goes_on_when_the_judge_says_so_and_ends_with_the_last_round() -> None:
    prompts: list[str] = []

    def judge(prompt: str) -> str:
        prompts.append(prompt)
        return "CONTINUE" if "CONTINUE" in prompt else "answer: 5"

    outcome, drawn = play(mad(3, 2), {"a": says("4"), "b": says("5"), "j": judge})
    assert [model for model, _ in drawn] == ["a", "b", "j", "a", "b", "j"]
    assert outcome.answer == "5"
    assert "CONTINUE" not in prompts[1].rpartition("said:")[2].split("\n\n", 1)[1]  # the last judge must decide


def test_a_judge_that_wants_to_continue_after_the_last_round_is_taken_at_its_answer() -> None:
    speakers = {"a": says("4"), "b": says("4"), "j": lambda prompt: "CONTINUE, or answer: 5"}
    outcome, drawn = play(mad(3, 2), speakers)
    assert len(drawn) == 6
    assert (outcome.answer, outcome.decided_by) == ("5", "j")


def test_two_models_can_debate() -> None:
    outcome, drawn = play(mad(2, 1), {"a": says("4"), "b": says("5")})
    assert [model for model, _ in drawn] == ["a", "b", "a"]
    assert (outcome.answer, outcome.decided_by) == ("4", "a")


def test_a_judge_that_cannot_be_read_leaves_the_vote() -> None:
    outcome, _ = play(mad(3, 1), {"a": says("4"), "b": says("4"), "j": lambda prompt: "hm"})
    assert (outcome.answer, outcome.decided_by, outcome.reason) == ("4", None, "vote")


def test_moa_layers_read_the_layer_before() -> None:
    outcome, drawn = play(moa(2, 3), {"a": says("1"), "b": says("2")})
    assert [model for model, _ in drawn] == ["a", "b"] * 3 + ["a"]
    assert "said" not in drawn[0][1] + drawn[1][1]
    for _, prompt in drawn[2:]:
        assert prompt.count("said:") == 2  # the layer before, not all layers
        assert prompt.startswith("What is 2 + 2?")
        assert prompt.endswith("EOS WELL")
    assert (outcome.answer, outcome.decided_by, outcome.reason) == ("1", "a", "judged")


def test_chateval_one_by_one_and_at_once() -> None:
    panel = chateval(2, 2)
    outcome, drawn = play(panel, {"a": says("1"), "b": says("2")})
    assert [model for model, _ in drawn] == ["a", "b", "a"] * 2
    assert [prompt.count("said:") for _, prompt in drawn] == [0, 1, 2, 3, 4, 5]
    assert (outcome.answer, outcome.decided_by, outcome.scores) == ("1", None, (("1", 2.0), ("2", 1.0)))
    _, drawn = play(simultaneous(panel), {"a": says("1"), "b": says("2")})
    assert [prompt.count("said:") for _, prompt in drawn] == [0, 0, 0, 3, 3, 3]


def test_agentverse_recruits_decides_evaluates_and_tries_again() -> None:
    def first(prompt: str) -> str:
        if "Name one a line" in prompt:
            return "1. **Ada**: knows numbers\n2. Bob: checks\n3. Carl: too many"
        if "say ACCEPT" in prompt:
            return "ACCEPT" if "answer: 5" in prompt else "I do not ACCEPT this: count again."
        return "answer: 5" if "count again" in prompt else "answer: 6"

    def second(prompt: str) -> str:
        assert "You are Bob. checks" in prompt
        return first(prompt)

    outcome, drawn = play(agentverse(2, 3), {"a": first, "b": second})
    assert len(drawn) == 8
    assert "You are Ada. knows numbers" in drawn[1][1]
    assert "count again" in drawn[5][1]
    assert (outcome.answer, outcome.reason, outcome.samples) == ("5", "vote", 8)
    assert outcome.answers == (("a", ("6", "5")), ("b", ("6", "5")))


def test_a_recruiter_that_names_nobody_leaves_the_usual_experts() -> None:
    speakers = {name: lambda prompt: "Nobody." if "Name one a line" in prompt else "answer: 7" for name in "ab"}
    outcome, drawn = play(agentverse(2, 1), speakers)
    assert "You are an expert on the question." in drawn[1][1]
    assert outcome.answer == "7"


@pytest.mark.parametrize("name", sorted(KNOWN))
@pytest.mark.parametrize("lost_after", [0, 1])
def test_a_lost_model_falls_silent_and_what_it_said_counts(name: str, lost_after: int) -> None:
    build, rounds = KNOWN[name]
    outcome, _ = play(build(2, rounds), {"a": says("1"), "b": says("2")}, lose={"b": lost_after})
    assert outcome.answer == "1"
    outcome, _ = play(build(2, rounds), {"a": says("1"), "b": says("2")}, lose={"a": 0, "b": 0})
    assert (outcome.answer, outcome.reason) == (None, "unreadable")


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_all_unreadable_is_a_clear_outcome(name: str) -> None:
    build, rounds = KNOWN[name]
    outcome, _ = play(build(3, rounds), {model: lambda prompt: "no idea" for model in "abc"})
    assert (outcome.answer, outcome.decided_by, outcome.reason, outcome.scores) == (None, None, "unreadable", ())
    assert outcome.samples <= outcome.budget


def test_a_cancelled_panel_decides_with_what_was_said() -> None:
    policy = PanelPolicy(chateval(1, 2), ("a",), TURNS)
    state, commands = policy.start()
    assert isinstance(commands[0], e.Draw)
    state, commands = policy.step(state, e.SampleArrived(commands[0].ask, "x", "3"))
    state, commands = policy.step(state, Cancelled())
    assert isinstance(commands[0], e.Withdraw)
    assert isinstance(commands[1], e.Decide)
    assert (commands[1].outcome.answer, commands[1].outcome.reason) == ("3", "cancelled")


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_panel_is_data(name: str) -> None:
    panel = KNOWN[name][0](3, 2)
    assert Panel.from_json(panel.to_json()) == panel


@pytest.mark.parametrize(
    "data",
    [
        [],
        {},
        {"name": "x", "roles": [], "stages": []},
        {"name": "x", "roles": [{"name": "a"}], "stages": [{"speakers": ["b"], "task": "t"}]},
        {"name": "x", "roles": [{"name": "a"}], "stages": [{"speakers": ["a"], "task": "t", "order": "x"}]},
        {"name": "x", "roles": [{"name": "a"}], "stages": [{"speakers": ["a"], "task": "t"}], "ending": "judge"},
        {"name": "x", "roles": [{"name": "a"}], "stages": [{"speakers": ["a"], "task": "t"}], "rounds": 0},
        {"name": "x", "roles": [{"name": "a", "model": "b"}], "stages": [{"speakers": ["a"], "task": "t"}]},
        {"name": "x", "roles": [{"name": "a"}], "stages": [{"speakers": ["a"], "task": 5}]},
        {"name": "x", "roles": [{"name": "a", "age": 5}], "stages": [{"speakers": ["a"], "task": "t"}]},
    ],
)
def test_what_is_no_panel_is_refused(data: object) -> None:
    with pytest.raises(UnknownMethod):
        Panel.from_json(data)


def test_a_panel_of_ones_own() -> None:
    roles = (Role("x", "X.", 0), Role("y", "Y.", 1))
    panel = Panel("own", roles, (Stage(("x", "y"), "Go.", hears="nobody"),))
    outcome, drawn = play(panel, {"a": says("1"), "b": says("2")})
    assert outcome.answer == "1"  # a tie goes to who spoke first
    assert ["X." in prompt for _, prompt in drawn] == [True, False]


def test_reading_experts() -> None:
    text = "Sure:\n- Ada: numbers\n* **Bob** : logic\nno colon\n3) : nameless\n4. Eve: spare"
    assert read_experts(text, ("e1", "e2")) == [("Ada", "numbers"), ("Bob", "logic")]

"""Reasoning transfer and its baselines, step by step."""

import pytest

from tokencollab.errors import UnknownMethod
from tokencollab.policies.events import Cancelled
from tokencollab.policies.responses import events as e
from tokencollab.policies.responses.transfer import Plan, Selector, TransferPolicy, most_surprising, sentences
from tokencollab.protocol.messages import ChatMessage

TURNS = (ChatMessage("user", "What is 3 * 4 + 1?"),)


def start(plan: Plan = "transfer", selector: str = "all") -> tuple[TransferPolicy, object, list[e.ResponseCommand]]:
    policy = TransferPolicy("L", "S", TURNS, plan, Selector.parse(selector), "EOS WELL")
    state, commands = policy.start()
    return policy, state, list(commands)


def draw(command: e.ResponseCommand) -> e.Draw:
    assert isinstance(command, e.Draw)
    assert command.sample is None  # greedy
    return command


def end(commands: tuple[e.ResponseCommand, ...]) -> e.Decision:
    assert isinstance(commands[-1], e.Decide)
    return commands[-1].outcome


def test_short_answers_that_agree_are_the_answer() -> None:
    policy, state, (large, small) = start()
    assert (draw(large).model, draw(large).short, draw(small).model, draw(small).short) == ("L", True, "S", True)
    state, commands = policy.step(state, e.SampleArrived(draw(small).ask, "13", "13"))  # type: ignore[arg-type]
    assert commands == ()
    _, commands = policy.step(state, e.SampleArrived(draw(large).ask, "It is 13", "13"))
    outcome = end(commands)
    assert (outcome.answer, outcome.decided_by, outcome.reason, outcome.samples) == ("13", None, "agreed", 2)
    assert outcome.text == "It is 13"


def differing(
    selector: str, reasoning: str, pieces: tuple[bytes, ...] = ()
) -> tuple[TransferPolicy, object, e.ResponseCommand]:
    policy, state, (large, small) = start(selector=selector)
    state, _ = policy.step(state, e.SampleArrived(draw(large).ask, "12", "12"))  # type: ignore[arg-type]
    state, (reason,) = policy.step(state, e.SampleArrived(draw(small).ask, "?", None))
    assert (draw(reason).model, draw(reason).short) == ("S", False)
    state, (command,) = policy.step(state, e.SampleArrived(draw(reason).ask, reasoning, "13", pieces))
    return policy, state, command


def test_the_small_models_reasoning_comes_before_the_large_ones_answer() -> None:
    policy, state, last = differing("all", "3 * 4 = 12. 12 + 1 = 13.")
    content = draw(last).turns[-1].content
    assert (draw(last).model, draw(last).short) == ("L", True)
    assert content.startswith(TURNS[0].content)
    assert "3 * 4 = 12. 12 + 1 = 13." in content
    assert content.endswith("EOS WELL")
    _, commands = policy.step(state, e.SampleArrived(draw(last).ask, "13", "13"))  # type: ignore[arg-type]
    outcome = end(commands)
    assert (outcome.answer, outcome.decided_by, outcome.reason, outcome.samples) == ("13", "L", "written", 4)
    assert outcome.answers == (("L", ("12", "13")), ("S", (None, "13")))


def test_the_last_tokens_are_passed_on() -> None:
    _, _, last = differing("tail(2)", "abc de fg", (b"abc", b" de", b" fg"))
    assert "de fg" in draw(last).turns[-1].content
    assert "abc" not in draw(last).turns[-1].content


def test_the_most_surprising_sentences_are_passed_on() -> None:
    policy, state, command = differing("surprise(1)", "Well. 3 * 4 = 12. Fine.")
    assert isinstance(command, e.MeasureSurprise)
    assert (command.model, command.parts) == ("L", ("Well. ", "3 * 4 = 12. ", "Fine."))
    _, (last,) = policy.step(state, e.SurpriseMeasured(command.ask, (1.0, 9.0, 2.0)))  # type: ignore[arg-type]
    content = draw(last).turns[-1].content
    assert "3 * 4 = 12." in content
    assert "Well" not in content
    assert "Fine" not in content


def test_few_sentences_need_no_selection() -> None:
    _, _, last = differing("surprise(5)", "One. Two.")
    assert "One. Two." in draw(last).turns[-1].content


@pytest.mark.parametrize("plan", ["large short", "large reasoning", "small reasoning"])
def test_the_baselines_are_one_answer(plan: Plan) -> None:
    policy, state, (only,) = start(plan)
    assert draw(only).model == ("S" if plan.startswith("small") else "L")
    assert draw(only).short == (plan == "large short")
    _, commands = policy.step(state, e.SampleArrived(draw(only).ask, "13", "13"))  # type: ignore[arg-type]
    outcome = end(commands)
    assert (outcome.answer, outcome.decided_by, outcome.samples, outcome.budget) == ("13", draw(only).model, 1, 1)


def test_a_lost_model_leaves_the_other() -> None:
    policy, state, (large, _) = start()
    state, commands = policy.step(state, e.RespondentLost("S"))  # type: ignore[arg-type]
    assert commands == ()
    _, commands = policy.step(state, e.SampleArrived(draw(large).ask, "12", "12"))
    assert (end(commands).answer, end(commands).decided_by) == ("12", "L")
    policy, state, _ = differing("surprise(1)", "One. Two.")
    _, commands = policy.step(state, e.RespondentLost("L"))  # type: ignore[arg-type]
    assert end(commands).answer == "12"  # it gave that before


def test_nothing_readable_is_a_clear_outcome() -> None:
    policy, state, (large, small) = start()
    state, _ = policy.step(state, e.SampleArrived(draw(large).ask, "?", None))  # type: ignore[arg-type]
    state, (reason,) = policy.step(state, e.SampleArrived(draw(small).ask, "?", None))
    state, (last,) = policy.step(state, e.SampleArrived(draw(reason).ask, "hm", None))
    _, commands = policy.step(state, e.SampleArrived(draw(last).ask, "??", None))
    outcome = end(commands)
    assert (outcome.answer, outcome.decided_by, outcome.reason, outcome.text) == (None, None, "unreadable", "??")


def test_cancelling_takes_back_what_runs() -> None:
    policy, state, (large, small) = start()
    _, commands = policy.step(state, Cancelled())  # type: ignore[arg-type]
    assert commands[:2] == (e.Withdraw(draw(large).ask), e.Withdraw(draw(small).ask))
    assert end(commands).reason == "cancelled"


def test_sentences_joined_are_the_text() -> None:
    for text in ("", "One. Two! Three", "3.14 is pi.\n\nYes; no", "你好。再见！", "...", "a\nb\n"):
        assert "".join(sentences(text)) == text
    assert sentences("3.14 is pi. Yes.") == ("3.14 is pi. ", "Yes.")


def test_of_equal_sentences_the_later_is_kept() -> None:
    assert most_surprising(("a", "b", "c"), (1.0, 2.0, 1.0), 2) == "bc"
    assert most_surprising(("a", "b"), (1.0,), 1) == "ab"


@pytest.mark.parametrize("text", ["", "none", "tail", "tail(0)", "surprise(x)", "tail(-1)"])
def test_an_unknown_selector_is_refused(text: str) -> None:
    with pytest.raises(UnknownMethod):
        Selector.parse(text)


def test_a_selector_is_written_as_it_is_read() -> None:
    for text in ("all", "tail(5)", "surprise(3)"):
        assert str(Selector.parse(text)) == text
    assert Selector.parse("tail-5") == Selector("tail", 5)

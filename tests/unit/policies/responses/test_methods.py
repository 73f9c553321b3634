"""Methods between models by name, and what is refused."""

from typing import Any

import pytest

from tokencollab.errors import UnknownMethod
from tokencollab.policies.responses import events as e
from tokencollab.policies.responses.machines import make_response_policy
from tokencollab.policies.responses.panels import mad
from tokencollab.policies.responses.response_methods import (
    ResponseMethod,
    list_response_methods,
    parse_response_method,
)
from tokencollab.policies.responses.switch import SwitchPolicy
from tokencollab.protocol.messages import ChatMessage

TURNS = (ChatMessage("user", "?"),)
NAMES = [name for name, _, _ in list_response_methods() if name != "panel"]


def models_for(name: str) -> tuple[str, ...]:
    return ("a",) if name == "self-consistency" else ("a", "b")


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_makes_a_policy_and_is_plain_data(name: str) -> None:
    models = models_for(name)
    method = parse_response_method(name, models=len(models))
    assert ResponseMethod.from_json(method.to_json()) == method
    chances = (0.1,) * len(models) if name == "random-switch" else ()
    state, commands = make_response_policy(method, models, TURNS, chances=chances).start()
    assert commands
    assert hash(state) == hash(state)


def test_the_papers_parameters_are_the_defaults() -> None:
    method = parse_response_method("modelswitch", models=2)
    assert (method.threshold, method.defer, method.scorer, method.priors) == (1.0, False, None, ())
    policy = make_response_policy(parse_response_method("self-consistency", models=1), ["a"], TURNS)
    assert isinstance(policy, SwitchPolicy)
    assert policy.rule.threshold is None
    assert parse_response_method("mad", models=2).panel == mad(2, 2)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("duetnet", {}, "unknown method"),
        ("modelswitch", {"samples": 0}, "samples"),
        ("modelswitch", {"threshold": 0}, "threshold"),
        ("modelswitch", {"threshold": 1.5}, "threshold"),
        ("modelswitch", {"threshold": float("nan")}, "threshold"),
        ("modelswitch", {"priors": {"a": -1}}, "prior of a"),
        ("modelswitch", {"priors": {"a": 1e308}}, "prior of a must be a number from 0 to 1e150, not 1e"),
        ("modelswitch", {"priors": {"a": 10**400}}, "prior of a must be a number .*, not one of more than 15 digits"),
        ("modelswitch", {"prices": {"a": 10**5000}}, "price of a must be a number"),
        ("modelswitch", {"temperature": 10**400}, "temperature must be a number 0 or more, not one of"),
        ("modelswitch", {"samples": 10**5000}, "samples must be a whole number, from 1 to 10000, not one of"),
        ("modelswitch", {"rounds": 2}, "belongs to mad"),
        ("modelswitch", {"pick": "sum"}, "scorer"),
        ("modelswitch", {"scorer": "best"}, "unknown scorer"),
        ("self-consistency", {"threshold": 0.5}, "no effect"),
        ("self-consistency", {"models": 2}, "needs 1 model, not 2"),
        ("transfer", {"models": 1}, "needs 2 models"),
        ("transfer", {"temperature": 1}, "no effect"),
        ("transfer", {"selector": "tail(x)"}, "unknown selector"),
        ("mad", {"rounds": 0}, "rounds"),
        ("chateval", {"order": "backwards"}, "order"),
        ("panel", {}, "needs a panel"),
        ("best-of-n", {"pick": "worst"}, "unknown pick 'worst'; there are best, sum"),
    ],
)
def test_bad_settings_are_refused_with_the_reason(name: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UnknownMethod, match=words):
        parse_response_method(name, **settings)


def test_settings_that_are_not_known_are_refused() -> None:
    data = parse_response_method("modelswitch").to_json()
    for wrong in ({"colour": 1}, {"samples": "8"}, {"family": "panel"}, {"priors": [1]}):
        with pytest.raises(UnknownMethod):
            ResponseMethod.from_json(data | wrong)
    with pytest.raises(UnknownMethod):
        ResponseMethod.from_json([])
    with pytest.raises(UnknownMethod):
        ResponseMethod.from_json({"name": "modelswitch"})


def test_models_that_do_not_fit_are_refused() -> None:
    method = parse_response_method("modelswitch", priors={"c": 1})
    with pytest.raises(UnknownMethod, match="prior"):
        make_response_policy(method, ["a", "b"], TURNS)
    none = parse_response_method("modelswitch", priors={"a": 0, "b": 0})
    with pytest.raises(UnknownMethod, match=r"at least one prior must be above 0 \(of a, b\)"):
        make_response_policy(none, ["a", "b"], TURNS)
    with pytest.raises(UnknownMethod, match="at least one prior"):
        make_response_policy(parse_response_method("modelswitch", priors={"a": 0}), ["a"], TURNS)
    with pytest.raises(UnknownMethod, match="once"):
        make_response_policy(parse_response_method("modelswitch"), ["a", "a"], TURNS)
    with pytest.raises(UnknownMethod, match="chance"):
        make_response_policy(parse_response_method("random-switch"), ["a", "b"], TURNS)


def test_a_prior_of_0_is_enough_of_a_vote_beside_a_model_without_a_prior() -> None:
    method = parse_response_method("modelswitch", models=2, priors={"a": 0})
    assert make_response_policy(method, ["a", "b"], TURNS) is not None


@pytest.mark.parametrize("score", [1e308, -1e308, float("inf"), float("nan")])
def test_scores_whose_sums_would_be_no_numbers_leave_the_vote(score: float) -> None:
    policy = make_response_policy(parse_response_method("best-of-n", samples=2, pick="sum"), ["a"], TURNS)
    state, draws = policy.start()
    for draw in draws:
        assert isinstance(draw, e.Draw)
        state, commands = policy.step(state, e.SampleArrived(draw.ask, "x", "x"))
    (asked,) = commands
    assert isinstance(asked, e.ScoreSamples)
    _, (decided,) = policy.step(state, e.SamplesScored(asked.ask, (score, score)))
    assert isinstance(decided, e.Decide)
    assert (decided.outcome.answer, decided.outcome.reason) == ("x", "vote")

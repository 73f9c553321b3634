"""Methods by name: presets, overrides, what is refused and how."""

import json
from dataclasses import replace
from math import isfinite
from typing import Any, NamedTuple

import pytest

from tests.support.candidates import toy
from tokencollab.errors import UnknownMethod
from tokencollab.policies import events as e
from tokencollab.policies.aggregations import AGGREGATIONS, EVERY_PIECE
from tokencollab.policies.evidence import Evidence, Verdict
from tokencollab.policies.exits import EXITS
from tokencollab.policies.machine import make_policy
from tokencollab.policies.methods import Method, list_methods, parse_method, sampling_of
from tokencollab.policies.self_efficacy import EfficacyState, SelfEfficacy
from tokencollab.protocol.messages import Sampling
from tokencollab.testing import Driver, drive

NAMES = [name.replace("N", "20") for name, _, _ in list_methods()]


def test_the_presets_are_those_of_the_papers_and_ours() -> None:
    assert [name for name, _, _ in list_methods()] == [
        "auto",
        "base",
        "gac",
        "unite",
        "duetnet",
        "dp",
        "dk",
        "upara-N",
        "dpara-N",
        "confipara-u",
        "confipara-u-confidence",
        "confipara-u-reliability",
        "confipara-d",
        "confipara-d-confidence",
        "confipara-d-reliability",
        "bytewise",
        "confipara-b",
        "consult",
    ]
    assert all(text and "\n" not in text and paper for _, text, paper in list_methods())


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_goes_through_json_and_makes_a_policy(name: str) -> None:
    method = parse_method(name)
    assert method.name == name
    again = Method.from_json(json.loads(json.dumps(method.to_json())))
    assert again == method
    assert make_policy(method, max_tokens=5, seed=0, report=False) is not None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("base", ("base", 10, None, "never", None)),
        ("gac", ("gac", 50, None, "never", None)),
        ("unite", ("unite", 10, None, "never", None)),
        ("duetnet", ("duetnet", 10, 0.75, "never", None)),
        ("dp", ("dp", 10, 0.75, "never", None)),
        ("dk", ("dk", 10, None, "never", None)),
        ("upara-7", ("unite", 10, None, "fixed", 7)),
        ("dpara-120", ("duetnet", 10, 0.75, "fixed", 120)),
        ("confipara-u", ("unite", 10, None, "self-efficacy", None)),
        ("confipara-u-confidence", ("unite", 10, None, "confidence", None)),
        ("confipara-u-reliability", ("unite", 10, None, "reliability", None)),
        ("confipara-d", ("duetnet", 10, 0.75, "self-efficacy", None)),
        ("confipara-d-confidence", ("duetnet", 10, 0.75, "confidence", None)),
        ("confipara-d-reliability", ("duetnet", 10, 0.75, "reliability", None)),
        ("bytewise", ("bytewise", 10, None, "never", None)),
        ("confipara-b", ("bytewise", 10, None, "self-efficacy", None)),
        ("consult", ("bytewise", 10, None, "consult", None)),
    ],
)
def test_presets(name: str, expected: tuple[object, ...]) -> None:
    m = parse_method(name)
    assert (m.aggregation, m.top_k, m.top_p, m.exit, m.exit_after) == expected


def test_defaults_are_the_papers() -> None:
    m = parse_method("confipara-d")
    assert (m.omega, m.theta, m.rho, m.eps, m.ties) == (20, 0.6, 1.5, 0.2, "success")
    assert (m.over, m.reference, m.top_t, m.temperature, m.weights) == ("vocabulary", "raw", (1, 1), 1.0, ())
    assert (m.carry, m.commit) == (True, 0.5)
    assert (m.patience, m.consult_below) == (20, 0.9)


def test_overrides_replace_parts_and_truncation_follows_the_aggregation() -> None:
    m = parse_method("unite", aggregation="dp", exit="fixed(3)", weights={"b": 2.0, "a": 1}, top_t="1-2")
    assert (m.name, m.aggregation, m.top_k, m.top_p) == ("dp+fixed-3", "dp", 10, 0.75)
    assert (m.exit, m.exit_after, m.weights, m.top_t) == ("fixed", 3, (("a", 1), ("b", 2.0)), (1, 2))
    assert (m.weight_of("b"), m.weight_of("other")) == (2.0, 1.0)
    assert parse_method("dp", top_t=3, top_k=7, top_p=0.5, over="top_k").top_t == (3, 3)
    assert parse_method("dp", top_t="4").top_t == (4, 4)
    assert parse_method("dp", top_t=(2, 5)).top_t == (2, 5)
    assert parse_method("gac", exit="reliability", eps=0.1).exit == "reliability"
    assert parse_method("gac", exit="consult", consult_below=0.7).consult_below == 0.7
    assert parse_method("gac", exit="per-collaborator", patience=2).name == "gac+per-collaborator"
    assert parse_method("dk", exit="confidence", theta=0.5, omega=4, rho=2.0).exit == "confidence"
    assert parse_method("upara-4", exit="never").exit_after is None
    assert parse_method("upara-1").exit_after == 1
    assert parse_method("upara-999999999").exit_after == 999999999
    assert parse_method("base", top_t=2, temperature=0.5, top_p=0.9, over="top_k").temperature == 0.5
    assert parse_method("bytewise", carry=False, commit=0.7, weights={"a": 2.0}).commit == 0.7


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("best", {}, r"unknown method 'best'; there are auto, base, gac, .*upara-N.*confipara-b, consult$"),
        ("upara", {}, "unknown method 'upara'"),
        ("upara-N", {}, "unknown method 'upara-N'"),
        ("upara-0", {}, "^upara-0 must have a number of tokens from 1 on, e.g. upara-20$"),
        ("dpara-1234567890", {}, "must have a number of tokens"),
        ("dpara--3", {}, "unknown method"),
        ("unite", {"aggregation": "mean"}, "unknown aggregation 'mean'; there are base, gac, unite"),
        ("unite", {"exit": "soon"}, "unknown exit 'soon'; there are never, fixed-N, self-efficacy"),
        ("unite", {"exit": "fixed"}, "unknown exit 'fixed'"),
        ("unite", {"exit": "fixed-0"}, "fixed-0 must have a number of tokens from 1 on, e.g. fixed-20"),
        ("unite", {"exit": "fixed(0)"}, r"fixed\(0\) must have a number of tokens from 1 on, e.g. fixed-20"),
        ("base", {"exit": "never"}, "the base alone has nothing to aggregate or to exit"),
        ("unite", {"aggregation": "base"}, "the base alone has nothing"),
        ("base", {"aggregation": "unite"}, "the base alone has nothing"),
        ("unite", {"top_p": 0.5}, "top_p has no effect with the aggregation unite; it belongs to base, due"),
        ("unite", {"reference": "floor"}, "reference has no effect .* it belongs to duetnet, dk"),
        ("unite", {"carry": True}, "carry has no effect .* bytewise"),
        ("unite", {"commit": 0.5}, "commit has no effect"),
        ("unite", {"exit": "credible"}, "unknown exit 'credible'; there are never, fixed-N"),
        ("base", {"weights": {"a": 1.0}}, "weights has no effect with the aggregation base"),
        ("unite", {"omega": 5}, "omega has no effect with the exit never; it belongs to self-efficacy, conf"),
        ("upara-3", {"theta": 0.5}, "theta has no effect with the exit fixed"),
        ("confipara-u-confidence", {"eps": 0.1}, "eps has no effect with the exit confidence"),
        ("confipara-u", {"patience": 3}, "patience has no effect"),
        ("bytewise", {"consult_below": 0.5}, "consult_below has no effect with the exit never; it belongs to consult"),
        ("consult", {"omega": 5}, "omega has no effect with the exit consult"),
        ("consult", {"consult_below": 0.0}, "consult_below must be a number above 0 and at most 1, not 0.0"),
        ("consult", {"consult_below": 1.01}, "consult_below must be a number above 0 and at most 1"),
        ("duetnet", {"temperature": 2.0, "top_t": 1}, "temperature has no effect on the best piece; leave top_t out"),
        ("unite", {"temperature": -1.0}, "temperature must be a number above 0, not -1.0"),
        ("unite", {"temperature": False}, "temperature must be a number above 0, not False"),
        ("unite", {"temperature": "0.7"}, "temperature must be a number above 0, not '0.7'"),
        ("base", {"over": "top_k"}, "over says what top_p is a share of; give top_p as well"),
        ("unite", {"top_k": 0}, "top_k must be a whole number, from 1 to 1000, not 0"),
        ("unite", {"top_k": 1001}, "top_k must be a whole number, from 1 to 1000, not 1001"),
        ("unite", {"top_k": True}, "top_k must be a whole number"),
        ("unite", {"top_k": 2.0}, "top_k must be a whole number"),
        ("dp", {"top_p": 0.0}, "top_p must be a number above 0 and at most 1, not 0.0"),
        ("dp", {"top_p": 1.01}, "top_p must be a number above 0 and at most 1"),
        ("dp", {"top_p": float("nan")}, "top_p must be a number"),
        ("dp", {"over": "all"}, "unknown over 'all'; there are vocabulary, top_k"),
        ("dk", {"reference": "zero"}, "unknown reference 'zero'; there are raw, floor"),
        ("dk", {"weights": {"a": 0.0}}, "the weight of a must be a number from 1e-150 to 1e150, not 0.0"),
        ("dk", {"weights": {"": 1.0}}, "a model's name in weights must be a text, not ''"),
        ("dk", {"weights": {1: 1.0}}, "weights must give a number for each model's name"),
        ("dk", {"weights": [("a", 1.0)]}, "weights must give a number for each model's name"),
        ("dk", {"top_t": 0}, "top_t must be a whole number, 1 or more, not 0"),
        ("dk", {"top_t": "2-1"}, "top_t must be a range from low to high such as 1-2, not 2-1"),
        ("dk", {"top_t": "x"}, "top_t must be a number or a range such as 1-2, not 'x'"),
        ("dk", {"top_t": (1, 2, 3)}, "top_t must be a number or a range"),
        ("dk", {"top_t": 2, "temperature": 0.0}, "temperature must be a number above 0, not 0.0"),
        ("dk", {"top_t": 2, "temperature": float("inf")}, "temperature must be a number above 0"),
        ("confipara-d", {"omega": 0}, "omega must be a whole number, 1 or more, not 0"),
        ("confipara-d", {"theta": -0.1}, "theta must be a number 0 or more, not -0.1"),
        ("confipara-d", {"theta": "0.5"}, "theta must be a number"),
        ("confipara-d", {"theta": True}, "theta must be a number"),
        ("confipara-d", {"rho": 1.0}, "rho must be a number above 1 and at most 1e6, not 1.0"),
        ("confipara-d", {"eps": 0.0}, "eps must be a number above 0, not 0.0"),
        ("confipara-d", {"ties": "draw"}, "unknown ties 'draw'; there are success, failure"),
        ("dk", {"exit": "per-collaborator", "patience": 0}, "patience must be a whole number, 1 or more"),
        ("bytewise", {"commit": 1.5}, "commit must be a number from 0 to 1, not 1.5"),
        ("bytewise", {"commit": -0.5}, "commit must be a number from 0 to 1, not -0.5"),
        ("bytewise", {"carry": 1}, "carry must be true or false, not 1"),
        ("dk", {"weights": {"a": 5e-324}}, "the weight of a must be a number from 1e-150 to 1e150, not 5e-324"),
        ("dk", {"weights": {"a": 1e308}}, r"the weight of a must be a number from 1e-150 to 1e150, not 1e\+308"),
        (
            "dk",
            {"weights": {"a": 10**400}},
            "weight of a must be a number from 1e-150 to 1e150, not one of more than 15 digits",
        ),
        ("confipara-d", {"rho": 1e308}, r"rho must be a number above 1 and at most 1e6, not 1e\+308"),
        ("confipara-d", {"theta": 10**5000}, "theta must be a number 0 or more, not one of more than 15 digits"),
        ("confipara-d", {"omega": 10**5000}, "omega must be a whole number, from 1 to 4503599627370496, not one of"),
        ("dk", {"top_t": (1, 10**400)}, "top_t must be a whole number, from 1 to 4503599627370496, not one of"),
    ],
)
def test_what_cannot_be_is_refused_in_one_clear_line(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownMethod, match=message) as caught:
        parse_method(name, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top_k": None}, "a method's settings lack 'top_k'"),
        ({"aggregation": None}, "a method's settings lack 'aggregation'"),
        ({"name": None}, "a method's settings lack 'name'"),
        ({"top_p": None}, "a method's settings lack 'top_p'"),
        ({"speed": 1}, "unknown setting 'speed'; settings are name, aggregation"),
        ({"name": ""}, "name must be a text, not ''"),
        ({"exit": "fixed"}, "the exit fixed needs its number of tokens, e.g. fixed-20"),
        ({"exit_after": 3}, "no other exit has one"),
        ({"exit": "fixed", "exit_after": 0}, "the number of tokens of the exit fixed must be a whole number, 1 or"),
        ({"top_t": [1]}, "top_t must be a number or a range"),
        ({"top_t": 1}, "top_t must be a number or a range"),
        ({"top_t": ["1", 2]}, "top_t must be a whole number"),
        ({"top_t": [1, 0]}, "top_t must be a whole number"),
        ({"weights": 3}, "weights must give a number"),
        ({"exit": "later"}, "unknown exit 'later'"),
        ({"aggregation": []}, "unknown aggregation"),
    ],
)
def test_settings_from_json_are_checked(changes: dict[str, Any], message: str) -> None:
    settings = parse_method("dp").to_json()
    for key, value in changes.items():
        if value is None:
            del settings[key]
        else:
            settings[key] = value
    with pytest.raises(UnknownMethod, match=message):
        Method.from_json(settings)


def test_settings_from_json_may_lack_what_has_a_default_and_must_be_an_object() -> None:
    few: dict[str, object] = {"name": "x", "aggregation": "dp", "top_k": 10, "top_p": 0.75}
    assert Method.from_json(few) == replace(parse_method("dp"), name="x")
    with pytest.raises(UnknownMethod, match="must be an object, not 3"):
        Method.from_json(3)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("exit", "credible", "the exit credible was removed; use another, e.g. consult"),
        ("exit", "rejoin", "the exit rejoin was removed"),
        ("owner_finishes", True, "the setting owner_finishes=True was removed; leave it out"),
        ("exact", True, "the setting exact=True was removed"),
        ("quantile", 0.2, "the setting quantile=0.2 was removed"),
        ("rejoin_below", 0.4, "the setting rejoin_below=0.4 was removed"),
        ("rejoin_window", 9, "the setting rejoin_window=9 was removed"),
    ],
)
def test_what_was_removed_is_refused_unless_it_changed_nothing(name: str, value: object, message: str) -> None:
    old = {"owner_finishes": False, "quantile": 0.1, "rejoin_below": 0.5, "rejoin_window": 8, "exact": False}
    settings = parse_method("bytewise").to_json() | old
    assert Method.from_json(settings) == parse_method("bytewise")
    with pytest.raises(UnknownMethod, match=message) as caught:
        Method.from_json(settings | {name: value})
    assert "\n" not in str(caught.value)


def test_weights_must_be_sorted_and_each_model_once() -> None:
    for weights in ((("b", 1.0), ("a", 1.0)), (("a", 1.0), ("a", 2.0))):
        with pytest.raises(UnknownMethod, match="each model once, sorted"):
            replace(parse_method("dp"), weights=weights)


def test_edges_of_every_range_are_allowed() -> None:
    m = parse_method("dp", top_k=1000, top_p=1.0, exit="self-efficacy", theta=0.0, omega=1, top_t=1)
    assert replace(m, top_k=1, exit="per-collaborator", patience=1, commit=0.0).patience == 1
    assert parse_method("consult", consult_below=1.0).consult_below == 1.0
    assert replace(parse_method("bytewise"), commit=1.0).commit == 1.0
    assert m.to_json().keys() == {*USED_BY_EXITS, *USED_BY_AGGREGATIONS, *OTHERS}


def test_sampling_follows_the_method() -> None:
    dp = parse_method("dp", top_k=4, top_p=0.9, over="top_k", top_t="1-3")
    assert sampling_of(dp, 7) == Sampling(4, 0.9, (1, 3), 1.0, 7, "top_k", True)
    duetnet = parse_method("duetnet", top_t=2, temperature=0.7)
    assert sampling_of(duetnet, 8) == Sampling(10, 0.75, (2, 2), 0.7, 8, "vocabulary", False)
    by_probability = {name: sampling_of(parse_method(name), 0).by_probability for name in NAMES}
    assert {name for name, flag in by_probability.items() if not flag} == {
        "base",
        "duetnet",
        "dk",
        "dpara-20",
        "confipara-d",
        "confipara-d-confidence",
        "confipara-d-reliability",
    }


@pytest.mark.parametrize("name", ["base", "gac", "unite", "duetnet", "dp", "dk", "bytewise", "consult", "dpara-3"])
def test_a_temperature_alone_samples_among_all_pieces_and_0_is_greedy(name: str) -> None:
    warm = parse_method(name, temperature=0.7)
    assert (warm.top_t, warm.temperature) == (EVERY_PIECE, 0.7)
    assert Method.from_json(warm.to_json()) == warm
    assert parse_method(name, temperature=0) == parse_method(name, temperature=0.0) == parse_method(name)
    assert parse_method(name, temperature=0.7, top_t="1-3").top_t == (1, 3)


EFFICACY = {"self-efficacy", "confidence", "reliability"}
USED_BY_EXITS = {
    **dict.fromkeys(("omega", "theta", "rho", "ties"), EFFICACY),
    "eps": EFFICACY - {"confidence"},
    "patience": {"per-collaborator"},
    "consult_below": {"consult"},
}
OTHERS = ("name", "aggregation", "top_k", "top_t", "temperature", "exit", "exit_after")
USED_BY_AGGREGATIONS = {
    "top_p": {"base", "duetnet", "dp"},
    "over": {"base", "duetnet", "dp"},
    "weights": {"gac", "unite", "duetnet", "dp", "dk", "bytewise"},
    "reference": {"duetnet", "dk"},
    "carry": {"bytewise"},
    "commit": {"bytewise"},
}


def test_what_a_method_uses() -> None:
    for aggregation in AGGREGATIONS.built_in:
        for leave in EXITS.built_in if aggregation != "base" else ("never",):
            numbered = "fixed-3" if leave == "fixed" else leave
            method = parse_method("base") if aggregation == "base" else parse_method(f"{aggregation}", exit=numbered)
            used = {setting for setting in (*USED_BY_EXITS, *USED_BY_AGGREGATIONS, "top_k") if method.uses(setting)}
            assert used == {
                "top_k",
                *(setting for setting, exits in USED_BY_EXITS.items() if leave in exits),
                *(setting for setting, users in USED_BY_AGGREGATIONS.items() if aggregation in users),
            }


class Sends(NamedTuple):
    """An exit policy of somebody's own, which leaves at once."""

    needs_decisive: bool = False

    def start(self, base: str) -> None:
        """Nothing to remember."""

    def observe(self, state: None, evidence: Evidence) -> tuple[None, Verdict]:
        return None, Verdict(alone=True)


@pytest.mark.parametrize("name", ["dp", "bytewise"])
def test_an_exit_of_ones_own_takes_the_place_of_the_methods(name: str) -> None:
    policy = make_policy(parse_method(name), max_tokens=9, seed=1, report=False, exit_policy=Sends())
    driver = Driver(policy, {"b": toy("b"), "a": toy("a")})
    while not any(isinstance(command, e.Exited) for command in driver.others):
        driver.answer(driver.open[0])
    assert len(driver.commits) == 1


@pytest.mark.parametrize("losses", [0, 1, 10**7])
def test_the_figures_of_the_most_extreme_settings_are_numbers(losses: int) -> None:
    for rho in (1 + 2**-52, 1e6):
        policy = SelfEfficacy(rho=rho)
        state = EfficacyState(10**7, 10**7 - losses, losses)
        assert all(isfinite(figure) for figure in policy.figures(state) if figure is not None)


@pytest.mark.parametrize("name", ["gac", "unite", "duetnet", "dp", "dk", "bytewise"])
@pytest.mark.parametrize("temperature", [None, 5e-324, 1e308])
def test_the_most_extreme_weights_decide_as_one_expects(name: str, temperature: float | None) -> None:
    settings: dict[str, Any] = {} if temperature is None else {"top_t": 3, "temperature": temperature}
    method = parse_method(name, weights={"a": 1e-150, "b": 1e150}, **settings)
    book = {"a": toy("a"), "b": toy("b")}
    driver = drive(make_policy(method, max_tokens=20, seed=0, report=False), book)
    assert driver.pieces
    if temperature is None:
        alone = drive(make_policy(parse_method(name), max_tokens=20, seed=0, report=False), {"b": book["b"]})
        assert alone.text.startswith(driver.text)  # bytewise, the text is cut into other pieces

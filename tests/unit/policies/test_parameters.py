"""Parameters are declared once: Python, JSON and texts are read by the same declaration, and refused alike."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest

from examples.own_aggregation import Trimmed
from tests.support.candidates import by_probability
from tokencollab import (
    Aggregation,
    Ballot,
    Exit,
    Method,
    UnknownMethod,
    list_methods,
    parameter,
    parse_method,
    register,
)
from tokencollab.policies.aggregations import AGGREGATIONS, UniTE
from tokencollab.policies.evidence import STAY, Evidence, Verdict
from tokencollab.policies.exits import EXITS
from tokencollab.policies.methods import list_exits, method_settings, sampling_of
from tokencollab.policies.parameters import Declaration, Numbers, Parameter, Span, parameters_of
from tokencollab.policies.pieces import Decider
from tokencollab.policies.responses.response_methods import RESPONSES, parse_response_method

DECLARED = [
    (name, declared)
    for registry in (AGGREGATIONS, EXITS, RESPONSES)
    for name, cls in registry.built_in.items()
    for declared in parameters_of(cls).values()
]


@pytest.fixture(autouse=True)
def own_classes() -> Iterator[None]:
    """Classes that a test registers are gone after it."""
    aggregations, exits = dict(AGGREGATIONS._classes), dict(EXITS._classes)
    yield
    AGGREGATIONS._classes, EXITS._classes = aggregations, exits


@pytest.mark.parametrize(("owner", "declared"), DECLARED, ids=[f"{o}-{d.name}" for o, d in DECLARED])
def test_a_declaration_says_everything(owner: str, declared: Parameter) -> None:
    assert declared.help
    assert "\n" not in declared.help
    assert declared.flag.startswith("--")
    if declared.default is not None and declared.name != "exit_after":
        declared.check(declared.default)
        assert declared.from_json(declared.to_json(declared.default)) == declared.default


def sample_texts(declared: Parameter) -> list[str]:
    return [*declared.choices, "0", "1", "2", "-1", "0.5", "1e-9", "1e7", "nan", "1e999", "x", "1-2", "2-1", "", "all"]


@pytest.mark.parametrize(("owner", "declared"), DECLARED, ids=[f"{o}-{d.name}" for o, d in DECLARED])
def test_texts_python_and_json_are_read_alike(owner: str, declared: Parameter) -> None:
    if declared.kind == Numbers:
        model, number = declared.from_text("a=b=0.5")
        assert declared.read({model: number}) == declared.from_json({model: number}) == (("a=b", 0.5),)
        return
    accepted = 0
    for text in sample_texts(declared):
        with suppress(UnknownMethod):
            kept = declared.read(declared.from_text(text))
            assert declared.from_json(declared.to_json(kept)) == kept
            accepted += 1
    assert accepted or declared.name == "panel"


@dataclass(frozen=True)
class Sample(Declaration):
    """One parameter of every type."""

    name = "sample"

    whole: int = parameter(2, help="h", low=1, high=5)
    share: float = parameter(0.5, help="h", above=0, high=1)
    word: Literal["a", "b"] = parameter("a", help="h")
    text: str = parameter("x", help="h")
    flag: bool = parameter(False, help="h")
    spread: Span = parameter((1, 1), help="h", low=1)
    numbers: Numbers = parameter((), help="h", low=0, high=10, option="number")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("whole", "x", "whole must be a whole number, from 1 to 5, not 'x'"),
        ("whole", "2.5", "whole must be a whole number, from 1 to 5, not '2.5'"),
        ("share", "much", "share must be a number above 0 and at most 1, not 'much'"),
        ("share", "inf", "share must be a number above 0 and at most 1, not 'inf'"),
        ("share", "9" * 50 + "x", f"share must be a number above 0 and at most 1, not '{'9' * 40}...'"),
        ("flag", "yes", "flag must be true or false, not 'yes'"),
        ("spread", "1-", "spread must be a number or a range such as 1-2, not '1-'"),
        ("numbers", "one", "'one' is not of the form MODEL=NUMBER (numbers)"),
        ("numbers", "one=x", "'one=x' is not of the form MODEL=NUMBER (numbers)"),
        ("numbers", "=1", "'=1' is not of the form MODEL=NUMBER (numbers)"),
    ],
)
def test_a_text_of_another_type_is_refused_with_what_is_allowed(name: str, text: str, message: str) -> None:
    with pytest.raises(UnknownMethod) as caught:
        parameters_of(Sample)[name].from_text(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"whole": 6}, "whole must be a whole number, from 1 to 5, not 6"),
        ({"share": 0}, "share must be a number above 0 and at most 1, not 0"),
        ({"word": "c"}, "unknown word 'c'; there are a, b"),
        ({"word": []}, "unknown word []; there are a, b"),
        ({"text": 3}, "text must be a text, not 3"),
        ({"flag": 1}, "flag must be true or false, not 1"),
        ({"spread": (3, 2)}, "spread must be a range from low to high such as 1-2, not 3-2"),
        ({"numbers": (("a", 11),)}, "the number of a must be a number from 0 to 10, not 11"),
    ],
)
def test_a_value_out_of_range_is_refused_with_what_is_allowed(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownMethod) as caught:
        Sample(**settings)
    assert str(caught.value) == message


# ---------------------------------------------------------------- of one's own


def test_an_aggregation_of_ones_own_is_one_class() -> None:
    with pytest.raises(UnknownMethod, match="unknown method 'trimmed'"):
        parse_method("trimmed")
    register(Trimmed)
    register(Trimmed)
    assert ("trimmed", Trimmed.help, "your own") in list_methods()
    assert method_settings()["trim"].flag == "--trim"
    method = parse_method("trimmed", trim=0.1, weights={"a": 2.0}, exit="fixed-3")
    assert (method.name, method.trim, method.aggregation, method.exit_after) == ("trimmed+fixed-3", 0.1, "trimmed", 3)
    assert method.uses("trim")
    assert Method.from_json(method.to_json()) == method
    assert replace(method, trim=0.2).trim == 0.2
    assert parse_method("confipara-u", aggregation="trimmed", omega=5).omega == 5
    for settings, words in (
        ({"trim": 0.5}, "trim must be a number from 0 to 0.49, not 0.5"),
        ({"commit": 0.5}, "commit has no effect with the aggregation trimmed; it belongs to bytewise"),
        ({"colour": 1}, "unknown setting 'colour'; settings are .*, trim"),
    ):
        with pytest.raises(UnknownMethod, match=words):
            parse_method("trimmed", **settings)
    with pytest.raises(UnknownMethod, match="trim has no effect with the aggregation unite; it belongs to trimmed"):
        parse_method("unite", trim=0.1)
    assert "trim" not in parse_method("unite").to_json()  # the files of other methods do not change by it


def test_it_leaves_out_the_extremes() -> None:
    sets = {"a": 0.9, "b": 0.5, "c": 0.4, "d": 0.0}
    method = Method("trimmed", Trimmed(trim=0.25))
    decider = Decider(method, sampling_of(method, 0))
    ballots = [decider.ballot(name, by_probability((b"x", p), (b"y", 0.05))) for name, p in sets.items() if p]
    ballots.append(decider.ballot("d", by_probability((b"y", 0.6))))
    scores = {piece: score for piece, score, _ in method.scoring.score(ballots)}
    assert scores == pytest.approx({b"x": 0.45, b"y": 0.05})


@dataclass(frozen=True)
class Asks(Aggregation):
    """Requires the scores of pieces that a model did not send, as UniTE does."""

    name = "asks"
    requires = UniTE.requires

    def score(self, ballots: Sequence[Ballot]) -> list[tuple[Any, float, float]]:
        """By UniTE."""
        return UniTE(top_k=self.top_k).score(ballots)


def test_what_an_aggregation_requires_is_asked_of_models() -> None:
    method = Method("asks", Asks())
    ballot = Decider(method, sampling_of(method, 0)).ballot("a", by_probability((b"x", 0.5)), ((b"y", -1.0),))
    assert set(ballot.logits) == {b"x", b"y"}


@dataclass(frozen=True)
class Soon(Exit):
    """An exit of one's own."""

    name = "soon"
    help = "the base goes on alone soon"

    pieces: int = parameter(3, help="pieces together", low=1)

    def observe(self, state: None, evidence: Evidence) -> tuple[None, Verdict]:
        """Leaves after some pieces."""
        return None, Verdict(alone=True) if evidence.step >= self.pieces else STAY


def test_an_exit_of_ones_own_is_one_class() -> None:
    register(Soon)
    method = parse_method("duetnet", exit="soon", pieces=2)
    assert (method.name, method.exit, method.pieces) == ("duetnet+soon", "soon", 2)
    assert Method.from_json(method.to_json()) == method
    assert ("soon", Soon.help, "your own") in list_exits()
    with pytest.raises(UnknownMethod, match="pieces has no effect with the exit never; it belongs to soon"):
        parse_method("duetnet", pieces=2)


def test_classes_that_cannot_be_registered_are_refused_in_one_line() -> None:
    class NoDataclass(Aggregation):
        name = "no-dataclass"
        odd: int = parameter(1, help="h")

    @dataclass(frozen=True)
    class NoParameter(Aggregation):
        name = "no-parameter"
        odd: int = 1

    @dataclass(frozen=True)
    class NoType(Aggregation):
        name = "no-type"
        odd: list[int] = parameter(None, help="h")

    @dataclass(frozen=True)
    class Taken(Aggregation):
        name = "unite"

    @dataclass(frozen=True)
    class NoName(Aggregation):
        pass

    for cls, words in (
        (NoDataclass, "@dataclass"),
        (NoParameter, r"odd of NoParameter must be declared by parameter\(...\)"),
        (NoType, "odd of NoType has a type that no parameter can have"),
        (Taken, "there are two classes of the aggregation unite"),
        (NoName, "NoName needs a name of lower-case letters"),
        (Sample, "is neither an Aggregation nor an Exit"),
    ):
        with pytest.raises(UnknownMethod, match=words) as caught:
            register(cls)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
        assert cls.__name__ not in map(str, AGGREGATIONS.all())


def test_settings_of_the_wrong_kind_of_method_are_refused() -> None:
    with pytest.raises(UnknownMethod, match=r"unknown setting 'omega' of modelswitch; settings are .*samples"):
        parse_response_method("modelswitch", omega=5)
    with pytest.raises(
        UnknownMethod, match="scorer has no effect with the method mad; it belongs to modelswitch, best"
    ):
        parse_response_method("mad").with_settings(scorer="likelihood")

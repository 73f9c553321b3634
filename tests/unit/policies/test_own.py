"""Classes named by ``module:name``: found by whoever names them, never by what a file says."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from tokencollab.errors import UnknownMethod, UsageError
from tokencollab.policies.aggregations import AGGREGATIONS, Aggregation, Ballot, DuetNet, Scored
from tokencollab.policies.evidence import Exit
from tokencollab.policies.exits import EXITS
from tokencollab.policies.methods import Method, list_methods, parse_method, register, take_own
from tokencollab.policies.own import is_own
from tokencollab.policies.parameters import parameter


@dataclass(frozen=True)
class Named(Aggregation):
    name = "named-by-itself"

    def score(self, ballots: Sequence[Ballot]) -> list[Scored]:
        return []


@dataclass(frozen=True)
class Nameless(DuetNet):
    """It would inherit the name duetnet."""


@dataclass(frozen=True)
class Leaves(Exit):
    pass


class Undecorated(Aggregation):
    more: int = parameter(1, help="a field that a dataclass would have")


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    before = [(registry, dict(registry._classes), dict(registry._taken)) for registry in (AGGREGATIONS, EXITS)]
    names = Named.name, Nameless.name
    yield
    for registry, classes, taken in before:
        registry._classes, registry._taken = classes, taken  # type: ignore[assignment]
    Named.name, Nameless.name = names


def path(cls: type) -> str:
    return f"{__name__}:{cls.__name__}"


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("mine:Vote", True),
        ("a.b_c.d:Vote2", True),
        ("größe:Maß", True),
        ("duetnet:top_k=3", False),
        ("upara-20:Vote", False),
        ("mine:", False),
        (":Vote", False),
        ("mine:a:b", False),
        ("mine:Vote\n", False),
        ("../mine:Vote", False),
        (None, False),
    ],
)
def test_the_form_of_a_path(name: object, own: bool) -> None:
    assert is_own(name) is own


@pytest.mark.parametrize("cls", [Named, Nameless])
def test_a_class_is_recorded_by_its_path_and_read_back(cls: type[Aggregation]) -> None:
    method = parse_method(path(cls), top_k=3)
    assert type(method.scoring) is cls
    settings = method.to_json()
    assert (settings["name"], settings["aggregation"]) == (path(cls), path(cls))
    assert Method.from_json(settings) == method
    assert parse_method("gac", aggregation=path(cls), exit=path(Leaves)).to_json()["exit"] == path(Leaves)
    assert [name for name, _, _ in list_methods()].count(path(cls)) == 1
    assert type(parse_method("duetnet").scoring) is DuetNet


def test_a_registered_class_keeps_its_name_also_under_its_path() -> None:
    register(Named)
    assert parse_method(path(Named)).to_json()["aggregation"] == "named-by-itself"
    assert parse_method("unite", aggregation=path(Named)).to_json()["aggregation"] == "named-by-itself"
    assert parse_method("named-by-itself") == parse_method(path(Named))


def test_what_settings_name_is_imported_where_they_are_trusted_only(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {**parse_method("gac").to_json(), "aggregation": path(Named), "exit": path(Leaves)}
    monkeypatch.setitem(sys.modules, __name__, None)  # an import would fail
    with pytest.raises(UnknownMethod, match=r"is not imported on the word of a file; .* name it by --plugin"):
        Method.from_json(settings)
    monkeypatch.undo()
    take_own(settings)
    method = Method.from_json(settings)
    assert (type(method.scoring), type(method.exit_policy)) == (Named, Leaves)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (f"{__name__}:path", "is no aggregation: derive a class from tokencollab.Aggregation"),
        (path(Leaves), "is no aggregation"),
        (f"{__name__}:nothing", "the module has no nothing"),
        (path(Undecorated), "must be a dataclass"),
        ("tests.unit.policies.nothing:X", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_what_is_no_aggregation_is_refused(name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parse_method(name)

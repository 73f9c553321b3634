"""What methods require of members, and what is told where one does not have it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from tokencollab import Capabilities, UsageError
from tokencollab.policies.aggregations import Aggregation, Ballot, Scored
from tokencollab.policies.capabilities import check_capabilities
from tokencollab.policies.methods import Method, list_methods, parse_method

ALL = Capabilities()
SERVER = Capabilities(raw_logits=False, max_candidates=64, piece_scores=False, marginals=False)


LOGITS, SCORES, MARGINALS = "raw logits", "the scores of given pieces", "byte marginals"


@pytest.mark.parametrize(
    ("method", "has", "missing", "nearest"),
    [
        ("bytewise", Capabilities(marginals=False), MARGINALS, "gac"),
        ("duetnet", Capabilities(raw_logits=False), LOGITS, "dp"),
        ("confipara-d", SERVER, LOGITS, "dp"),
        ("dk", SERVER, LOGITS, "dp"),
        ("unite", SERVER, f"{LOGITS} and {SCORES}", "gac"),
        ("unite", Capabilities(piece_scores=False), SCORES, "gac"),
        ("bytewise", Capabilities(max_candidates=20, marginals=False), MARGINALS, "dp"),
        ("gac", Capabilities(max_candidates=20), "more than 20 candidates (top_k is 50)", "dp"),
        ("dp", Capabilities(max_candidates=5), "more than 5 candidates (top_k is 10)", ""),
        ("base", Capabilities(max_candidates=5), "more than 5 candidates (top_k is 10)", ""),
        (
            "bytewise",
            Capabilities(max_candidates=5, marginals=False),
            f"{MARGINALS} and more than 5 candidates (top_k is 10)",
            "",
        ),
    ],
)
def test_a_mismatch_names_the_member_and_the_nearest_method(
    method: str, has: Capabilities, missing: str, nearest: str
) -> None:
    instead = f"use another method, e.g. {nearest}" if nearest else "give top_k=5 or less, or leave the model out"
    words = f"^{re.escape(f'b does not give {missing}, which {method} needs: {instead}')}$"
    for members in ({"a": ALL, "b": has}, {"b": has, "a": ALL}, {"b": has, "c": has}):
        with pytest.raises(UsageError, match=words):
            check_capabilities(parse_method(method), members)


def test_what_has_everything_fits_every_method_and_a_server_fits_some() -> None:
    fitting = []
    for name, _, _ in list_methods():
        method = parse_method(name.replace("N", "5"))
        check_capabilities(method, {"a": ALL, "b": ALL})
        check_capabilities(method, {"a": SERVER})  # alone it needs no more than candidates
        try:
            check_capabilities(method, {"a": ALL, "b": SERVER})
        except UsageError:
            continue
        fitting.append(name)
    assert fitting == ["base", "gac", "dp"]
    check_capabilities(parse_method("gac", top_k=20), {"a": ALL, "b": Capabilities(max_candidates=20)})


@pytest.mark.parametrize("count", [0, 1025])
def test_capabilities_are_bounded(count: int) -> None:
    with pytest.raises(ValueError, match="max_candidates must be from 1 to 1024"):
        Capabilities(max_candidates=count)


SUMS_OF_LOGITS = ["duetnet", "dk", "dpara-N", "confipara-d", "confipara-d-confidence", "confipara-d-reliability"]


def test_methods_that_add_up_logits_are_refused_with_members_of_other_owners() -> None:
    for name, what, _ in list_methods():
        method = parse_method(name.replace("N", "5"))
        check_capabilities(method, {"a": ALL, "b": ALL}, ["c"])
        assert ("trusts the scale of every member's logits" in what) == (name in SUMS_OF_LOGITS)
        if name not in SUMS_OF_LOGITS:
            check_capabilities(method, {"a": ALL, "b": ALL}, ["b"])
            continue
        with pytest.raises(UsageError) as caught:
            check_capabilities(method, {"a": ALL, "b": ALL}, ["b"])
        assert str(caught.value) == (
            f"b belongs to another owner, and {method.name} adds up raw logits, whose scale every member sets "
            "itself, so it could decide alone: use another method, e.g. dp"
        )


def test_what_logits_are_counted_from_makes_no_difference() -> None:
    for aggregation in ("duetnet", "dk"):
        with pytest.raises(UsageError, match=r"belongs to another owner"):
            check_capabilities(parse_method(aggregation, reference="floor"), {"a": ALL}, ["a"])


@dataclass(frozen=True)
class Loudest(Aggregation):
    """One of somebody's own."""

    name = "loudest"
    trusts_scale = True

    def score(self, ballots: Sequence[Ballot]) -> list[Scored]:
        return [(ballot.kept[0].piece, ballot.kept[0].logit, 0.0) for ballot in ballots]


def test_an_aggregation_of_ones_own_says_the_same_of_itself() -> None:
    with pytest.raises(UsageError, match=r"^b belongs to another owner, and loudest adds up raw logits"):
        check_capabilities(Method("loudest", Loudest()), {"a": ALL, "b": ALL}, {"b"})
    assert Loudest().notice([]) is None

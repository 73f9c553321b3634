"""What a choice may depend on, and what not."""

import os
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.property.policies.test_machine_pieces import candidate_sets
from tests.support.candidates import Lists, by_logit, toy
from tests.support.oracle import best, score
from tokencollab.policies import events as e
from tokencollab.policies.aggregations import DK, Ballot
from tokencollab.policies.machine import make_policy
from tokencollab.policies.methods import Method, parse_method, sampling_of
from tokencollab.policies.pieces import Decider
from tokencollab.policies.selection import choose_solo, select
from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.messages import Sampling
from tokencollab.protocol.pieces import Piece, piece_order
from tokencollab.protocol.trace import header_line, parse_trace, step_line
from tokencollab.testing import Driver, drive

quick = settings(max_examples=50, deadline=None, derandomize=True, database=None)
AGGREGATIONS = ("gac", "unite", "duetnet", "dp", "dk")
three_sets = st.tuples(candidate_sets(), candidate_sets(), candidate_sets())
complete_sets = st.integers(0, 2**32).map(
    lambda seed: tuple(toy(f"{seed}{name}", listed=10).listed(b"") for name in "abc")
)
ROOT = Path(__file__).parents[3]


def choose(method: Method, sets: dict[str, CandidateSet], step: int = 1, seed: int = 0) -> Piece:
    decider = Decider(method, sampling_of(method, seed))
    return decider.decide(step, [decider.ballot(model, sets[model]) for model in sorted(sets)])


@pytest.mark.parametrize("name", AGGREGATIONS)
@quick
@given(sets=complete_sets, base=st.sampled_from("abc"), t=st.integers(1, 3))
def test_neither_delivery_nor_order_of_collaborators_matters(
    name: str, sets: tuple[CandidateSet, ...], base: str, t: int
) -> None:
    method = parse_method(name, top_t=t, top_k=4)
    by_model = dict(zip("abc", sets, strict=True))
    others = [model for model in "abc" if model != base]
    outcomes = set()
    for members in ((base, *others), (base, *others[::-1])):
        for order in permutations("abc"):
            policy = make_policy(method, max_tokens=2, seed=9, report=False)
            state, asked = policy.start(members)
            numbers = {c.model: c.question for c in asked if isinstance(c, e.RequestCandidates)}
            commands: tuple[e.Command, ...] = ()
            for model in order:
                state, commands = policy.step(state, e.CandidatesArrived(model, numbers[model], by_model[model]))
            outcomes.add((state, commands))
    assert len(outcomes) == 1


@pytest.mark.parametrize("name", ["gac", "unite", "dp", "dk floor", "duetnet floor"])
@quick
@given(sets=complete_sets, shift=st.integers(-64, 64))
def test_a_common_shift_of_a_models_logits_changes_nothing(
    name: str, sets: tuple[CandidateSet, ...], shift: int
) -> None:
    aggregation, *floor = name.split()
    method = parse_method(aggregation, top_k=4, **({"reference": "floor"} if floor else {}))
    by_model = {m: dyadic(sent) for m, sent in zip("abc", sets, strict=True)}
    moved = {**by_model, "b": shifted(by_model["b"], shift)}
    assert choose(method, by_model) == choose(method, moved)


def test_under_raw_a_shift_does_change_the_choice() -> None:
    sets = {"a": by_logit((b"x", 3.0)), "b": by_logit((b"y", 2.0))}
    for name in ("duetnet", "dk"):
        assert choose(parse_method(name), sets) == b"x"
        assert choose(parse_method(name), {**sets, "b": shifted(sets["b"], 2)}) == b"y"


def dyadic(sent: CandidateSet) -> CandidateSet:
    """Logits rounded to 1/1024, so that a whole shift is exact."""
    rounded = tuple(Candidate(c.piece, round(c.logit * 1024) / 1024, c.logprob) for c in sent.candidates)
    return CandidateSet(rounded, sent.log_normaliser)


def shifted(sent: CandidateSet, shift: int) -> CandidateSet:
    moved = tuple(Candidate(c.piece, c.logit + shift, c.logprob) for c in sent.candidates)
    return CandidateSet(moved, sent.log_normaliser + shift)


@pytest.mark.parametrize("name", AGGREGATIONS)
@quick
@given(sent=candidate_sets(), copies=st.integers(1, 3))
def test_a_model_with_its_own_copies_chooses_as_alone(name: str, sent: CandidateSet, copies: int) -> None:
    reference: Any = {"reference": "floor"} if name in ("duetnet", "dk") else {}
    kept_logits = [c.logit for c in sent.candidates]
    assume(len(kept_logits) == len(set(kept_logits)))
    method = parse_method(name, **reference)
    alone = choose_solo(sent, sampling_of(method, 0), 1)
    assert choose(method, {f"m{i}": sent for i in range(copies + 1)}) == alone
    if reference and min(kept_logits) > 0:
        assert choose(parse_method(name), {f"m{i}": sent for i in range(copies + 1)}) == alone


@pytest.mark.parametrize("name", AGGREGATIONS)
@quick
@given(sets=complete_sets)
def test_end_wins_exactly_when_its_score_does(name: str, sets: tuple[CandidateSet, ...]) -> None:
    method = parse_method(name, top_k=6)
    by_model = dict(zip("abc", sets, strict=True))
    winner, lead = best(method, by_model, {})
    assume(lead > 1e-9)
    assert (choose(method, by_model) is None) == (winner is None)
    swapped = {
        model: CandidateSet(
            tuple(
                Candidate({None: winner, winner: None}.get(c.piece, c.piece), c.logit, c.logprob)
                for c in sent.candidates
            ),
            sent.log_normaliser,
        )
        for model, sent in by_model.items()
    }
    assert choose(method, swapped) is None  # EOS in the winner's place wins
    assert abs(score(method, swapped, {}, None) - score(method, by_model, {}, winner)) < 1e-9


scored = st.lists(
    st.tuples(
        st.one_of(st.none(), st.binary(min_size=1, max_size=2)),
        st.sampled_from([0.0, 0.25, 0.5]),
        st.sampled_from([0.1, 0.2]),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda entry: entry[0],
)


@quick
@given(scored, st.integers(1, 5), st.integers(0, 5), st.booleans(), st.integers(0, 50), st.data())
def test_selection_does_not_depend_on_the_order_of_pieces(
    entries: list[tuple[Piece, float, float]], low: int, more: int, shares: bool, step: int, data: st.DataObject
) -> None:
    how = Sampling(10, None, (low, low + more), 0.7, 3, by_probability=shares)
    chosen = select(entries, how, step)
    assert select(data.draw(st.permutations(entries)), how, step) == chosen
    ordered = sorted(entries, key=lambda entry: (-entry[1], -entry[2], piece_order(entry[0])))
    assert chosen in [entry[0] for entry in ordered[: low + more]]
    assert low + more > 1 or chosen == ordered[0][0]


@quick
@given(three_sets, st.booleans())
def test_a_trace_keeps_every_bit(sets: tuple[CandidateSet, ...], alone: bool) -> None:
    by_model = {"b": sets[0]} if alone else dict(zip("bac", sets, strict=True))
    lines = [header_line(["b", "a", "c"], {}), step_line(1, by_model, sets[0].best.piece, alone=alone)]
    (step,) = parse_trace(lines).steps
    assert dict(step.candidates) == by_model
    assert (step.chosen, step.alone) == (sets[0].best.piece, alone)


PROGRAM = """
from tests.support.candidates import toy
from tokencollab.policies.machine import make_policy
from tokencollab.policies.methods import parse_method
from tokencollab.testing import drive
for name in ("gac", "unite", "duetnet", "dp", "dk"):
    for settings in ({}, {"top_t": "1-3"}):
        method = parse_method(name, top_k=5, exit="self-efficacy", omega=4, theta=0.3, **settings)
        book = {name: toy(name) for name in ("m", "zz", "a", "kk")}
        print(drive(make_policy(method, max_tokens=25, seed=4, report=True), book).commits)
"""


def test_nothing_depends_on_the_hash_seed() -> None:
    outputs = set()
    for seed in ("0", "1", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert outputs.pop().count("Commit(") > 100


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_whole_answers_are_the_same_in_any_order_of_members(name: str) -> None:
    method = parse_method(name, exit="self-efficacy", omega=5, theta=0.4, top_k=5)
    book = {model: toy(model) for model in ("a", "c", "m", "z")}
    texts = set()
    for others in permutations(("a", "c", "z")):
        policy = make_policy(method, max_tokens=30, seed=0, report=False)
        texts.add(tuple(Driver(policy, book, members=("m", *others)).run().commits))
    assert len(texts) == 1


LEVELS = st.tuples(st.sampled_from([b"x", b"xy", None]), st.integers(1, 9), st.integers(1, 9)).map(
    lambda drawn: {drawn[0]: drawn[1] / 10, b"y": drawn[2] / 10}
)
ALL_METHODS = ("gac", "unite", "duetnet", "dp", "dk", "duetnet:reference=floor", "dk:reference=floor", "bytewise")


def turning(sent: list[CandidateSet]) -> Lists:
    return Lists(lambda text: sent[len(text) % len(sent)])


@pytest.mark.parametrize("name", ALL_METHODS)
@settings(quick, max_examples=150)
@given(tables=st.tuples(LEVELS, LEVELS, LEVELS), t=st.integers(1, 2), offset=st.sampled_from([0.0, 0.1, 1e3]))
def test_names_decide_nothing(name: str, tables: tuple[dict[Piece, float], ...], t: int, offset: float) -> None:
    """Logits in tenths and shared tables make ties that only rounding breaks."""
    name, _, floor = name.partition(":")
    method = parse_method(name, top_t=t, **({"reference": "floor"} if floor else {}))
    sent = [by_logit(*((piece, logit + offset) for piece, logit in table.items())) for table in tables]
    answers = set()
    for names in permutations("abc"):
        models = {model: turning(sent[n:] + sent[:n]) for n, model in enumerate(names)}
        policy = make_policy(method, max_tokens=4, seed=3, report=False)
        answers.add(tuple(drive(policy, models).pieces))
    assert len(answers) == 1


def test_equal_sums_go_to_the_higher_probability_under_every_name() -> None:
    tables = ({b"x": 1.0, b"y": 0.1}, {b"x": 0.3, b"y": 1.0}, {b"x": 0.1, b"y": 0.3})  # 1.4 each
    for names in permutations("abc"):
        sent = {model: by_logit(*table.items()) for model, table in zip(names, tables, strict=True)}
        assert choose(parse_method("dk"), sent) == b"y"


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((0.1, 0.2), (0.3, 0.0)),
        ((0.1, 0.2, 0.3), (0.3, 0.2, 0.1)),
        ((0.1, 0.2, -0.3), (0.0, 0.0, 0.0)),
        ((1e6, 0.1, -1e6), (0.0, 0.1, 0.0)),
        ((1e15, 1.0, -1e15), (1.0, 0.0, 0.0)),
        ((0.7, 0.1, 0.2), (0.5, 0.3, 0.2)),
        ((-0.1, -0.2), (-0.3, 0.0)),
    ],
)
def test_equal_sums_are_equal(left: tuple[float, ...], right: tuple[float, ...]) -> None:
    """Where all else is equal EOS comes before bytes, whichever sum rounding favours."""
    for first, second in ((left, right), (right, left)):
        scored = [
            (piece, score, 0.5)
            for piece, score, _ in DK().score(
                [
                    Ballot(str(n), 1.0, sent.candidates, sent.candidates, {})
                    for n, sent in enumerate(by_logit((b"x", x), (None, y)) for x, y in zip(first, second, strict=True))
                ]
            )
        ]
        assert select([*scored, (b"w", -5.0, 0.5)], sampling_of(parse_method("dk"), 0), 1) is None

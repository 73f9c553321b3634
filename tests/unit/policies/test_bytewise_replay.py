"""Replay of bytewise voting step by step, over traces written by hand."""

from dataclasses import replace

import pytest

from tests.support.byte_table import BYTEWISE
from tests.support.candidates import listed, surely
from tokencollab.errors import TraceError
from tokencollab.policies.methods import Method
from tokencollab.policies.recording import ReplayStep
from tokencollab.policies.replay import replay
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.pieces import Piece
from tokencollab.protocol.seeds import uniform
from tokencollab.protocol.trace import Trace, TraceMarginals, TraceStep

FIXED = replace(BYTEWISE, exit="fixed", exit_after=1)


def step(
    number: int, chosen: Piece, *, alone: bool = False, **sets: CandidateSet | tuple[TraceMarginals, ...]
) -> TraceStep:
    candidates = tuple((name, sent) for name, sent in sorted(sets.items()) if isinstance(sent, CandidateSet))
    told = tuple(one for sent in sets.values() if isinstance(sent, tuple) for one in sent)
    return TraceStep(number, candidates, chosen, True, alone, marginals=told)


def replayed(
    steps: list[TraceStep], method: Method = BYTEWISE, *, seed: int = 0, past_exit: bool = False
) -> list[ReplayStep]:
    settings = {"method": BYTEWISE.to_json(), "seed": seed}
    return list(replay(Trace(("b", "a"), settings, tuple(steps)), method, past_exit))


def both(number: int, piece: Piece) -> TraceStep:
    return step(number, piece, a=surely(piece), b=surely(piece))


def test_what_is_chosen_and_what_was_recorded() -> None:
    steps = [
        step(1, b"8", a=surely(b"8"), b=surely(b"84")),
        step(2, b"4", a=listed((b"6", 0.6), (b"4", 0.4))),
        both(3, None),
        both(4, b"x"),  # after the end: no longer read
    ]
    assert replayed(steps) == [
        ReplayStep(1, b"8", b"8", True, (("a", 0), ("b", 0)), None, False),
        ReplayStep(2, b"4", b"4", True, (("a", 1), ("b", 0)), None, False),
        ReplayStep(3, None, None, True, (("a", 0), ("b", 0)), None, False),
    ]


def test_marginals_answer_by_model_place_and_pending_bytes() -> None:
    masses = [0.0] * 256
    masses[ord("b")] = 0.1
    right = TraceMarginals("a", 0, b"a", 0.4, 0.0, tuple(masses))
    wrong = [replace(right, model="b"), replace(right, offset=1), replace(right, pending=b"b")]
    unsure = listed((b"a", 0.4), (b"z", 0.1))
    made = replayed([step(1, b"a", a=unsure, b=surely(b"ab"), told=(*wrong, right))])
    assert [s.chosen for s in made] == [b"a"]
    with pytest.raises(TraceError) as caught:
        replayed([step(1, b"a", a=unsure, b=surely(b"ab"), told=tuple(wrong))])
    assert str(caught.value) == "step 1: the trace has no marginals at byte 0 of a, which this method asks for"


def test_what_is_missing_is_named() -> None:
    with pytest.raises(TraceError) as caught:
        replayed([both(1, b"x"), step(2, b"x", b=surely(b"x"))])
    assert str(caught.value) == "step 2: the trace has no candidates of a, which this method asks for"
    with pytest.raises(TraceError) as caught:
        replayed([both(1, b"x"), step(2, b"x", alone=True, b=surely(b"x"))])
    assert str(caught.value) == "step 2 was written by the base alone, but here it takes part in the vote"


def test_a_step_without_anybody_is_named() -> None:
    with pytest.raises(TraceError) as caught:
        replayed([both(1, b"x"), replace(both(2, b"x"), lost=("a", "b"))])
    assert str(caught.value) == "step 2: the recorded answers do not lead to a piece"


def test_an_exit_is_obeyed_where_the_trace_obeyed_it() -> None:
    trace = [both(1, b"x"), step(2, b"y", alone=True, b=surely(b"y")), step(3, None, alone=True, b=surely(None))]
    assert [s.exited for s in replayed(trace, FIXED)] == [True]
    again = replayed(trace, FIXED, past_exit=True)
    assert [(s.step, s.chosen, s.ranks, s.exited) for s in again] == [
        (1, b"x", (("a", 0), ("b", 0)), True),
        (2, b"y", (("b", 0),), True),
        (3, None, (("b", 0),), True),
    ]


def test_an_exit_is_only_noted_where_the_trace_goes_on_together() -> None:
    trace = [both(1, b"x"), both(2, b"y"), both(3, b"z")]
    again = replayed(trace, FIXED, past_exit=True)
    assert [(s.chosen, s.exited) for s in again] == [(b"x", True), (b"y", True), (b"z", True)]


def test_alone_it_is_chosen_again() -> None:
    sent = listed((b"y", 0.6), (b"z", 0.4))
    trace = [both(1, b"x"), step(2, b"z", alone=True, b=sent), step(3, b"z", alone=True)]
    assert [s.chosen for s in replayed(trace, FIXED, past_exit=True)] == [b"x", b"y", b"z"]


def test_figures_stay_until_there_are_new_ones() -> None:
    method = replace(BYTEWISE, exit="self-efficacy", omega=1, theta=0.99)
    trace = [both(1, b"x"), step(2, b"8", a=surely(b"8"), b=surely(b"84")), step(3, b"4", a=surely(b"4"))]
    figures = [s.efficacy for s in replayed(trace, method)]
    assert figures[0] is not None
    assert figures[2] is not None
    assert [f.s for f in figures if f is not None] == [2.0, 2.0, 3.0]


def test_models_that_are_lost_and_come_back() -> None:
    lost = replace(step(2, b"y", b=surely(b"y")), lost=("a",))
    made = replayed([both(1, b"x"), lost, step(3, b"z", b=surely(b"z")), both(4, b"w")])
    assert [(s.chosen, [name for name, _ in s.ranks]) for s in made] == [
        (b"x", ["a", "b"]),
        (b"y", ["b"]),
        (b"z", ["b"]),
        (b"w", ["a", "b"]),
    ]


def test_one_vote_over_lists_that_count_as_all_there_is() -> None:
    """x has .3 / .4 + .3 / .9 = 1.08, y has .1 / .4 + .6 / .9 = .92; with twice the weight b decides."""
    votes = step(1, b"z", a=listed((b"x", 0.3), (b"y", 0.1)), b=listed((b"y", 0.6), (b"x", 0.3)))
    for weight, chosen in ((1.0, b"x"), (2.0, b"y")):
        method = replace(BYTEWISE, weights=(("b", weight),))
        assert [s.chosen for s in replayed_over([votes], method)] == [chosen]
    drawn = replace(BYTEWISE, top_t=(2, 2))
    for seed in range(9):
        even = [step(1, b"1234567", a=listed((b"x", 1.0))), step(2, b"z", a=listed((b"x", 0.5), (b"y", 0.5)))]
        _, second = replayed_over(even, drawn, seed)
        assert second.chosen == (b"x" if uniform(seed, 8, 1) < 0.5 else b"y")


def replayed_over(steps: list[TraceStep], method: Method, seed: int = 0) -> list[ReplayStep]:
    """Over the candidates of another method."""
    return list(replay(Trace(("a", "b"), {"method": "dp", "seed": seed}, tuple(steps)), method, True))


def test_draws_are_those_of_the_seed() -> None:
    method = replace(BYTEWISE, top_t=(2, 2))
    even = listed((b"x", 0.5), (b"y", 0.5))
    undecided = [replace(step(n, b"x", a=even, b=even), decided=False) for n in range(1, 9)]
    texts = {b"".join(s.chosen or b"" for s in replayed(undecided, method, seed=seed)) for seed in range(9)}
    assert len(texts) > 5

"""Truncation and Top-T: by hand, at their edges, and in frequency."""

from itertools import permutations
from math import exp, log

import pytest

from tests.support.candidates import by_logit, by_probability
from tokencollab.policies.selection import choose_solo, select
from tokencollab.policies.truncation import truncate
from tokencollab.protocol.messages import Sampling
from tokencollab.protocol.seeds import uniform


def sampling(top_t: tuple[int, int] = (1, 1), *, by_score: bool = True, temperature: float = 1.0) -> Sampling:
    return Sampling(10, None, top_t, temperature, 3, by_probability=not by_score)


def test_truncation_is_the_shortest_head_that_reaches_p() -> None:
    sent = by_probability((b"a", 0.5), (b"b", 0.25), (b"c", 0.125), (b"d", 0.0625)).candidates
    assert truncate(sent, 3, None, "vocabulary") == sent[:3]
    assert truncate(sent, 9, None, "vocabulary") == sent
    assert truncate(sent, 4, 0.5, "vocabulary") == sent[:1]
    assert truncate(sent, 4, 0.51, "vocabulary") == sent[:2]
    assert truncate(sent, 4, 0.75, "vocabulary") == sent[:2]
    assert truncate(sent, 3, 0.9, "vocabulary") == sent[:3]  # not reached: all of the top k
    assert truncate(sent, 4, 1e-9, "vocabulary") == sent[:1]
    assert truncate(sent, 2, 0.66, "top_k") == sent[:1]  # .5 of .75
    assert truncate(sent, 2, 0.67, "top_k") == sent[:2]
    assert truncate(sent, 3, 0.58, "top_k") == sent[:2]  # .5 of .875 is .571


def test_uniform_is_pinned_and_differs_by_seed_step_and_draw() -> None:
    assert uniform(0, 1, 0) == UNIFORM_0_1_0
    values = {uniform(seed, step, draw) for seed in range(5) for step in range(5) for draw in range(4)}
    assert len(values) == 100
    assert all(0 <= value < 1 for value in values)
    many = [uniform(1, step, 0) for step in range(2000)]
    assert sum(many) / 2000 == pytest.approx(0.5, abs=0.03)
    assert min(many) < 0.01
    assert max(many) > 0.99


UNIFORM_0_1_0 = 0.9655433524115176


def test_greedy_ties_go_to_probability_then_to_bytes() -> None:
    assert select([(b"b", 1.0, 0.2), (b"a", 2.0, 0.1)], sampling(), 1) == b"a"
    assert select([(b"b", 1.0, 0.2), (b"a", 1.0, 0.1)], sampling(), 1) == b"b"
    assert select([(b"a", 1.0, 0.1), (b"b", 1.0, 0.2)], sampling(), 1) == b"b"
    assert select([(b"b", 1.0, 0.2), (b"a", 1.0, 0.2), (b"aa", 1.0, 0.2)], sampling(), 1) == b"a"
    assert select([(b"", 1.0, 0.2), (None, 1.0, 0.2)], sampling(), 1) is None
    assert select([(None, 1.0, 0.2), (b"!", 1.0, 0.2)], sampling(), 1) is None
    assert select([(None, 1.0, 0.2), (b"!", 1.0, 0.3)], sampling(), 1) == b"!"


def test_the_best_is_found_wherever_it_stands() -> None:
    entries: list[tuple[bytes | None, float, float]] = [
        (b"b", 1.0, 0.3),
        (b"a", 0.5, 0.9),
        (b"c", 1.0, 0.2),
        (b"d", 1.0, 0.4),
    ]
    for order in permutations(entries):
        assert select(order, sampling(), 1) == b"d"
        assert select([*order, (b"e", 2.0, 0.0)], sampling(), 1) == b"e"
        assert select([*order, (b"cc", 1.0, 0.4)], sampling(), 1) == b"cc"


def frequencies(scored: list[tuple[bytes | None, float, float]], how: Sampling, n: int = 3000) -> dict[object, float]:
    drawn = [select(scored, how, step) for step in range(1, n + 1)]
    return {piece: drawn.count(piece) / n for piece in set(drawn)}


def test_top_t_samples_among_the_best_by_softmax_or_by_share() -> None:
    scored: list[tuple[bytes | None, float, float]] = [(b"c", 0.1, 0.1), (b"a", 0.6, 0.6), (None, 0.3, 0.3)]
    share = frequencies(scored, sampling((2, 2), by_score=False))
    assert share == pytest.approx({b"a": 2 / 3, None: 1 / 3}, abs=0.03)
    soft = frequencies(scored, sampling((2, 2), temperature=0.5))
    odds = exp(0.3 / 0.5)
    assert soft == pytest.approx({b"a": odds / (1 + odds), None: 1 / (1 + odds)}, abs=0.03)
    whole = frequencies(scored, sampling((9, 9), by_score=False))
    assert whole == pytest.approx({b"a": 0.6, None: 0.3, b"c": 0.1}, abs=0.03)


def test_a_temperature_sharpens_and_flattens_probabilities_too() -> None:
    scored: list[tuple[bytes | None, float, float]] = [(b"c", 0.1, 0.1), (b"a", 0.6, 0.6), (None, 0.3, 0.3)]
    for temperature, parts in ((0.5, (36, 9, 1)), (1.0, (6, 3, 1)), (1e308, (1, 1, 1)), (5e-324, (1, 0, 0))):
        found = frequencies(scored, sampling((9, 9), by_score=False, temperature=temperature))
        for piece, part in zip((b"a", None, b"c"), parts, strict=True):
            assert found.get(piece, 0.0) == pytest.approx(part / sum(parts), abs=0.03)
    # Only ratios matter, and what is not above 0 is never drawn.
    tiny: list[tuple[bytes | None, float, float]] = [(b"a", 6e-300, 0.6), (b"b", 3e-300, 0.3), (b"z", -1.0, 0.0)]
    found = frequencies(tiny, sampling((9, 9), by_score=False, temperature=0.5))
    assert found == pytest.approx({b"a": 0.8, b"b": 0.2}, abs=0.03)


@pytest.mark.parametrize("seed", [0, 3, 11])
def test_draw_0_gives_t_and_draw_1_the_piece(seed: int) -> None:
    """The same seed and candidates give the same text anywhere: which draw is used for what is fixed."""
    scored: list[tuple[bytes | None, float, float]] = [(b"c", 901.0, 0.5), (b"b", 902.0, 0.1), (b"a", 901.0, 0.6)]
    for step in range(1, 60):
        how = Sampling(10, None, (1, 2), 1.0, seed)
        both = uniform(seed, step, 0) >= 0.5
        second = uniform(seed, step, 1) >= 1 / (1 + exp(-1.0))
        assert select(scored, how, step) == (b"a" if both and second else b"b")


def test_the_whole_range_of_t_orders_by_score_then_probability_then_bytes() -> None:
    scored: list[tuple[bytes | None, float, float]] = [
        (b"d", 0.2, 0.9),
        (b"c", 0.4, 0.1),
        (b"b", 0.4, 0.3),
        (b"a", 0.4, 0.3),
    ]
    drawn = {select(scored, Sampling(10, None, (2, 2), 1.0, 3, by_probability=True), step) for step in range(50)}
    assert drawn == {b"a", b"b"}
    how = Sampling(10, None, (4, 4), 1.0, 3, by_probability=True)
    for step in range(50):
        point = uniform(3, step, 1) * 1.4
        assert select(scored, how, step) == next(
            p for p, end in ((b"a", 0.4), (b"b", 0.8), (b"c", 1.2), (b"d", 9)) if point < end
        )


def test_random_t_draws_t_evenly() -> None:
    scored: list[tuple[bytes | None, float, float]] = [(b"a", 0.5, 0.5), (b"b", 0.5, 0.4), (b"c", 0.5, 0.3)]
    found = frequencies(scored, sampling((1, 2), by_score=False))
    assert found == pytest.approx({b"a": 0.75, b"b": 0.25}, abs=0.03)
    found = frequencies(scored, sampling((1, 3), by_score=False))
    assert found == pytest.approx({b"a": 11 / 18, b"b": 5 / 18, b"c": 2 / 18}, abs=0.03)


def test_underflow_falls_back_to_the_best() -> None:
    how = sampling((2, 2), by_score=False)
    assert select([(b"a", 0.0, 0.0), (b"b", 0.0, 0.0)], how, 1) == b"a"


def test_a_model_alone_truncates_and_selects_its_own() -> None:
    sent = by_probability((b"a", 0.5), (b"b", 0.3), (b"c", 0.15))
    assert choose_solo(sent, sampling(), 1) == b"a"
    joint = Sampling(10, 0.6, (5, 5), 1.0, 3, by_probability=True)
    drawn = [choose_solo(sent, joint, step) for step in range(1, 2001)]
    assert set(drawn) == {b"a", b"b"}
    assert drawn.count(b"a") / 2000 == pytest.approx(0.625, abs=0.03)
    renormalised = Sampling(2, 0.6, (5, 5), 1.0, 3, over="top_k", by_probability=True)  # .5 of .8 reaches 0.6
    assert {choose_solo(sent, renormalised, step) for step in range(1, 200)} == {b"a"}
    two = Sampling(2, None, (5, 5), 1.0, 3)
    drawn = [choose_solo(by_logit((b"a", log(3.0)), (b"b", 0.0), (b"c", 0.0)), two, step) for step in range(2000)]
    assert set(drawn) == {b"a", b"b"}
    assert drawn.count(b"a") / 2000 == pytest.approx(0.75, abs=0.03)


def test_greedy_alone_is_the_models_own_first_choice_even_in_a_tie() -> None:
    sent = by_logit((b"z", 1.0), (b"a", 1.0))
    assert choose_solo(sent, sampling(), 1) == b"z"

"""Bytewise voting against the plain rule of docs/specification.md section 9, on toy models with different cuts."""

import pickle
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.toys import (
    BYTES,
    CUTS,
    PAIRS,
    WORDS,
    Plain,
    Toy,
    asks,
    bytewise,
    plain_rule,
    play,
    toys,
)
from tokencollab.policies import events as e
from tokencollab.policies.aggregations import EVERY_PIECE
from tokencollab.policies.bytewise.decision import best_of, certain, choose, scores_of
from tokencollab.policies.bytewise.voter import ByteVotes
from tokencollab.policies.bytewise.voting import Count
from tokencollab.policies.machine import make_policy
from tokencollab.policies.methods import sampling_of
from tokencollab.testing import Driver

seeds = st.integers(0, 10**6)
DRAWS = [(2, 2), (1, 2), (3, 3), EVERY_PIECE]
temperatures = st.sampled_from([0.05, 0.7, 1.0, 3.0])
kinds = st.lists(st.sampled_from(CUTS), min_size=1, max_size=3)
common = settings(derandomize=True, deadline=None, max_examples=150)


def ended(run: Driver) -> bool:
    return run.stop == "end"


def marginals(run: Driver) -> int:
    """How often one was asked for."""
    return sum(isinstance(question, e.RequestMarginals) for question in run.questions.values())


def same_text(run: Driver, plain: Any) -> bool:
    """Whether both wrote the same, or a lead so small that rounding decides was met."""
    return (run.text, ended(run)) == (plain.text, plain.ended) or min(plain.leads, default=inf) < 1e-9


@common
@given(
    seeds,
    kinds,
    st.sampled_from([2, 4, 20]),
    st.sampled_from([2.0, 9.0]),
    st.text("012", max_size=20).map(str.encode),
    st.sampled_from([{}, {"carry": False}, {"commit": 0.2}, {"commit": 0.7}, {"weights": (("a", 1e-3),)}]),
    st.sampled_from([{}, {"exit": "per-collaborator", "patience": 4}, {"exit": "self-efficacy", "omega": 3}]),
)
def test_what_is_taken_without_counting_votes_is_what_counting_gives(
    seed: int,
    cuts: list[Any],
    k: int,
    sharpness: float,
    target: bytes,
    voting: dict[str, Any],
    leaving: dict[str, Any],
) -> None:
    models = toys(seed, cuts, sharpness=sharpness, target=target)
    method = bytewise(top_k=k, **voting, **leaving)
    quick = play(method, models)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Count, "_take_agreed", lambda _: None)
        patch.setattr(Count, "_take_undisputed", lambda _: False)
        counted = play(method, models)
    assert (quick.commits, quick.others, quick.heard) == (counted.commits, counted.others, counted.heard)


@common
@given(
    seeds,
    kinds,
    st.sampled_from([2, 20]),
    st.sampled_from([{}, {"carry": False}, {"commit": 0.8}, {"weights": (("a", 0.3),)}]),
)
def test_a_base_that_is_never_sure_enough_writes_what_all_write_together(
    seed: int, cuts: list[Any], k: int, voting: dict[str, Any]
) -> None:
    """It leaves at common boundaries only, so nobody is ever asked in the middle of a piece of its own."""
    whole = play(bytewise(top_k=k, **voting), toys(seed, cuts))
    asking = play(bytewise(top_k=k, exit="consult", consult_below=1.0, **voting), toys(seed, cuts))
    assert (asking.text, [commit.piece for commit in asking.commits]) == (whole.text, [c.piece for c in whole.commits])
    assert not any(commit.record.alone for commit in asking.commits)
    others = {name: count for name, count in asks(whole).items() if name != "a"}
    assert {name: count for name, count in asks(asking).items() if name != "a"} == others


@common
@given(seeds, kinds, st.sampled_from([2, 4, 20]), st.booleans(), st.sampled_from([0.3, 0.5, 0.8]))
def test_the_text_is_that_of_the_full_vocabularies_whatever_is_listed(
    seed: int, cuts: list[Any], k: int, carry: bool, commit: float
) -> None:
    models = toys(seed, cuts)
    run = play(bytewise(top_k=k, carry=carry, commit=commit), models)
    plain = plain_rule(models, len(run.text) + ended(run), carry=carry, commit=commit)
    assert same_text(run, plain)
    if k == 20:
        assert marginals(run) == 0


@common
@given(seeds, kinds, st.sampled_from([2, 4]), st.sampled_from(DRAWS), temperatures, st.booleans())
def test_sampled_text_does_not_depend_on_what_is_listed(
    seed: int, cuts: list[Any], k: int, top_t: tuple[int, int], temperature: float, carry: bool
) -> None:
    models, drawn = toys(seed, cuts), {"top_t": top_t, "temperature": temperature, "carry": carry}
    runs = [play(bytewise(top_k=n, **drawn), models, seed=seed, max_tokens=8) for n in (k, 20)]
    assert runs[0].text == runs[1].text
    assert ended(runs[0]) == ended(runs[1])


@common
@given(seeds, st.permutations(range(3)), st.integers(0, 99), st.sampled_from([2, 4, 20]))
def test_neither_the_order_of_delivery_nor_that_of_the_models_matters(
    seed: int, order: list[int], shuffle: int, k: int
) -> None:
    models = toys(seed)
    straight = play(bytewise(top_k=k), models)
    mixed = play(bytewise(top_k=k), [models[i] for i in order], shuffle=shuffle)
    assert [c.piece for c in straight.commits] == [c.piece for c in mixed.commits]
    assert [c.record.ranks for c in straight.commits] == [c.record.ranks for c in mixed.commits]
    assert asks(straight) == asks(mixed)


@common
@given(seeds, st.sampled_from(CUTS), st.integers(2, 3), st.booleans())
def test_a_model_with_copies_of_itself_writes_what_it_writes_alone(
    seed: int, cut: Any, copies: int, carry: bool
) -> None:
    method = bytewise(top_k=4, carry=carry)
    alone = play(method, [Toy("a", cut, seed)])
    together = play(method, [Toy(name, cut, seed) for name in "abc"[:copies]])
    assert [c.piece for c in alone.commits] == [c.piece for c in together.commits]
    assert {rank for c in together.commits for _, rank in c.record.ranks} <= {
        rank for c in alone.commits for _, rank in c.record.ranks
    }


@common
@given(seeds, kinds)
def test_commits_are_the_text_and_steps_count_from_one(seed: int, cuts: list[Any]) -> None:
    run = play(bytewise(top_k=4), toys(seed, cuts))
    assert b"".join(c.piece or b"" for c in run.commits) == run.text
    assert [c.record.step for c in run.commits] == list(range(1, len(run.commits) + 1))
    assert all(c.piece != b"" for c in run.commits)
    assert [c.piece for c in run.commits].count(None) == ended(run)


@common
@given(seeds, kinds, st.integers(0, 9))
def test_a_state_saved_and_restored_goes_on_identically(seed: int, cuts: list[Any], shuffle: int) -> None:
    method = bytewise(top_k=3)
    models = {toy.name: toy for toy in toys(seed, cuts)}
    straight = play(method, list(models.values()), shuffle=shuffle)
    driver = Driver(make_policy(method, max_tokens=12, seed=0, report=True), models)
    while driver.stop is None:
        again = pickle.loads(pickle.dumps(driver.state))  # noqa: S301 - our own state
        assert again == driver.state
        driver.state = again
        driver.answer(driver.open[0])
    assert driver.commits == straight.commits


@common
@given(seeds, st.text("012", min_size=1, max_size=40).map(str.encode), st.sampled_from([3, 20]))
def test_agreeing_models_are_asked_once_per_token_of_their_own(seed: int, target: bytes, k: int) -> None:
    models = toys(seed, target=target)
    run = play(bytewise(top_k=k), models, max_tokens=100)
    assert run.text == target
    assert ended(run)
    for toy in models:
        text, tokens = b"", 1
        while (piece := toy.candidates(text, 1).best.piece) is not None:
            text += piece
            tokens += 1
        assert asks(run)[toy.name] == tokens


@common
@given(seeds, st.integers(0, 3))
def test_carried_weights_are_the_mixture_since_the_common_boundary(seed: int, longer: int) -> None:
    """Cuts in which no piece is the beginning of another: score(x) = sum of prior * P_m(bytes since then + x)."""
    singles = (b"0", b"1", b"2")
    doubles = tuple(bytes((x, y)) for x in b"012" for y in b"012")
    models = [Toy("a", singles, seed), Toy("b", doubles, seed + 1)]
    priors = {"a": 1.0, "b": 0.5 + longer}
    run = play(bytewise(top_k=20, weights=tuple(priors.items())), models, max_tokens=9)
    for n in range(len(run.text)):
        since, x = n - n % 2, run.text[n : n + 1]
        scores = {}
        for other in (b"0", b"1", b"2"):
            text = run.text[since:n] + other
            single = 1.0
            for i in range(len(text)):
                single *= models[0].after(run.text[:since] + text[:i])[text[i : i + 1]]
            double = sum(m for p, m in models[1].after(run.text[:since]).items() if p and p.startswith(text))
            scores[other] = priors["a"] * single + priors["b"] * double
        assert scores[x] >= max(scores.values()) - 1e-12


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.data())
def test_what_is_certified_holds_for_every_way_to_complete_the_lists(data: st.DataObject) -> None:
    unit = st.floats(0.0, 1.0)
    rows: list[ByteVotes] = []
    true: dict[int, float] = {}
    for _ in range(data.draw(st.integers(1, 3))):
        votes = data.draw(st.dictionaries(st.integers(-1, 3), st.floats(0.01, 1.0), max_size=4))
        unlisted = data.draw(st.sampled_from([0.0, 0.05, 0.3]))
        weight = data.draw(st.floats(0.1, 2.0))
        low, high = weight * data.draw(st.floats(0.7, 1.0)), weight * data.draw(st.floats(1.0, 1.3))
        rows.append(ByteVotes(low, weight, high, votes, sum(votes.values()), unlisted))
        actual = low + (high - low) * data.draw(unit)
        rest = data.draw(st.lists(unit, min_size=6, max_size=6))
        for symbol, part in zip(range(-1, 5), rest, strict=True):
            share = part / max(sum(rest), 1.0) * unlisted
            true[symbol] = true.get(symbol, 0.0) + actual * (votes.get(symbol, 0.0) + share)
    scores = scores_of(rows)
    if not scores:
        return
    top_t = data.draw(st.sampled_from([(1, 1), *DRAWS]))
    sampling = sampling_of(bytewise(top_t=top_t, temperature=data.draw(temperatures)), 0)
    position = data.draw(st.integers(1, 50))
    chosen = choose(scores, sampling, position)
    if certain(rows, scores, chosen, sampling, position) and len(set(true.values())) == len(true):
        assert choose({x: s for x, s in true.items() if s > 0.0}, sampling, position) == chosen
    if top_t == (1, 1):
        assert chosen == best_of(scores)


@pytest.mark.parametrize("carry", [True, False])
def test_few_questions_are_about_marginals_where_the_models_are_sure(carry: bool) -> None:
    models = toys(5, (BYTES, PAIRS, WORDS), target=b"0120110120" * 5)
    run = play(bytewise(top_k=4, carry=carry), models, max_tokens=200)
    assert marginals(run) <= sum(asks(run).values()) / 4


def test_the_plain_rule_has_votes_that_add_up() -> None:
    for toy in toys(9):
        assert sum(Plain(toy, 1.0).votes(b"").values()) == pytest.approx(1.0)


def test_toys_add_up() -> None:
    for toy in (*toys(3), *toys(4, target=b"0120110")):
        for text in (b"", b"0", b"0120"):
            assert abs(sum(toy.after(text).values()) - 1) < 1e-9
            exact, end, following = toy.marginals(text, b"")
            assert exact == 0
            assert abs(end + sum(following) - 1) < 1e-9


def test_the_target_is_written_in_every_cut() -> None:
    target = b"012011020121"
    for toy in toys(1, target=target):
        text = b""
        while (piece := toy.candidates(text, 1).best.piece) is not None:
            text += piece
        assert text == target

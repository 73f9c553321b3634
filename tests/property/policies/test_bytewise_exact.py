"""``exact=True`` against brute force: the marginal of the next byte over all ways to cut the text into pieces."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.policies.test_bytewise_toys import BYTES, CUTS, END_BYTE, Run, Toy, bytewise, play, toys

seeds = st.integers(0, 10**6)
common = settings(derandomize=True, deadline=None, max_examples=80)


def marginal(toy: Toy, text: bytes) -> dict[int, float]:
    """P(next symbol | text), summed over every segmentation of the text and of what follows it."""
    reached = [1.0] + [0.0] * len(text)
    votes: dict[int, float] = {}
    for at in range(len(text) + 1):
        pending = text[at:]
        for piece, mass in toy.after(text[:at]).items():
            if piece is None:
                if not pending:
                    votes[END_BYTE] = votes.get(END_BYTE, 0.0) + reached[at] * mass
            elif pending.startswith(piece):
                reached[at + len(piece)] += reached[at] * mass
            elif piece.startswith(pending):
                byte = piece[len(pending)]
                votes[byte] = votes.get(byte, 0.0) + reached[at] * mass
    total = sum(votes.values())
    return {symbol: mass / total for symbol, mass in votes.items()}


def symbols(run: Run) -> list[int]:
    """The bytes of the text, and END where it was chosen."""
    return [*run.text, *([END_BYTE] if run.ended else [])]


@common
@given(seeds, st.sampled_from(CUTS), st.sampled_from([2, 4, 20]), st.booleans())
def test_a_single_model_writes_the_most_probable_byte_of_its_exact_marginal(
    seed: int, cut: Any, k: int, carry: bool
) -> None:
    toy = Toy("a", cut, seed)
    run = play(bytewise(top_k=k, exact=True, carry=carry), [toy], max_tokens=10)
    for n, symbol in enumerate(symbols(run)):
        votes = marginal(toy, run.text[:n])
        assert votes[symbol] >= max(votes.values()) - 1e-4


@common
@given(seeds, st.lists(st.sampled_from(CUTS), min_size=2, max_size=3), st.sampled_from([2, 20]))
def test_without_carry_the_models_exact_marginals_are_averaged(seed: int, cuts: list[Any], k: int) -> None:
    models = toys(seed, cuts)
    run = play(bytewise(top_k=k, exact=True, carry=False), models, max_tokens=10)
    for n, symbol in enumerate(symbols(run)):
        score: dict[int, float] = {}
        for toy in models:
            for x, mass in marginal(toy, run.text[:n]).items():
                score[x] = score.get(x, 0.0) + mass
        assert score[symbol] >= max(score.values()) - 1e-3


@common
@given(seeds, st.lists(st.sampled_from(CUTS), min_size=1, max_size=3), st.booleans())
def test_the_text_does_not_depend_on_what_is_listed(seed: int, cuts: list[Any], carry: bool) -> None:
    models = toys(seed, cuts)
    runs = [play(bytewise(top_k=k, exact=True, carry=carry), models, max_tokens=10) for k in (2, 5, 20)]
    assert len({(run.text, run.ended) for run in runs}) == 1


@common
@given(seeds)
def test_where_only_one_cut_is_possible_both_rules_are_the_same(seed: int) -> None:
    models = toys(seed, (BYTES, BYTES))
    runs = [play(bytewise(top_k=20, exact=exact), models) for exact in (False, True)]
    assert [c.piece for c in runs[0].commits] == [c.piece for c in runs[1].commits]
    assert runs[0].asks == runs[1].asks

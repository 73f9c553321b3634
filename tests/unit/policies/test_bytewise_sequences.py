"""Whole answers of toy models, fixed by their seeds, against the rule of docs/specification.md section 9 written down
plainly: full vocabularies, normalised weights, no bounds; what exit policies see is gathered on the way."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from tests.support.byte_table import Watch
from tests.support.toys import (
    CUTS,
    END_BYTE,
    PAIRS,
    WORDS,
    Plain,
    Toy,
    at_common_boundary,
    bytewise,
    play,
    toys,
)
from tokencollab.policies.methods import Method
from tokencollab.protocol.seeds import uniform

Votes = dict[int, float]
LENGTH = 9


@dataclass
class Course:
    """What the plain rule writes, and what an exit policy sees: per step of the base the misses of each model, and the
    models that decided a byte."""

    text: bytes = b""
    ended: bool = False
    steps: list[tuple[dict[str, int], set[str]]] = field(default_factory=list)


def draw(scores: Votes, method: Method, seed: int, position: int) -> int:
    low, high = method.top_t
    size = low + (int(uniform(seed, position, 0) * (high - low + 1)) if low < high else 0)
    best = sorted(scores, key=lambda x: (-scores[x], x))[:size]
    weights = {x: scores[x] ** (1 / method.temperature) for x in best}
    point = uniform(seed, position, 1) * sum(weights.values())
    for x in best[:-1]:
        point -= weights[x]
        if point < 0:
            return x
    return best[-1] if size > 1 else best[0]


def added(votes: dict[str, Votes], weights: dict[str, float]) -> Votes:
    scores: Votes = {}
    for name, vote in votes.items():
        for x, share in vote.items():
            scores[x] = scores.get(x, 0.0) + weights[name] * share
    return scores


def favourite(scores: Votes) -> int:
    return min(scores, key=lambda x: (-scores[x], x))


def course(models: Sequence[Toy], base: str, method: Method, seed: int) -> Course:
    """`LENGTH` bytes by the plain rule."""
    plains = [Plain(toy, method.weight_of(toy.name)) for toy in sorted(models, key=lambda toy: toy.name)]
    done, missed, decisive = Course(), dict.fromkeys((p.toy.name for p in plains), 0), set[str]()
    while len(done.text) < LENGTH:
        votes = {plain.toy.name: plain.votes(done.text) for plain in plains}
        weights = {plain.toy.name: plain.weight if method.carry else plain.prior for plain in plains}
        x = draw(added(votes, weights), method, seed, len(done.text) + 1)
        for name, vote in votes.items():
            missed[name] += favourite(vote) != x
            others = {other: vote for other, vote in votes.items() if other != name}
            if others and favourite(added(others, weights)) != x:
                decisive.add(name)
        text = done.text if x == END_BYTE else done.text + bytes((x,))
        moved = [x == END_BYTE or _moves(plain, votes[plain.toy.name], x, text, method) for plain in plains]
        done.text = text
        if moved[[plain.toy.name for plain in plains].index(base)]:
            done.steps.append((dict(missed), decisive))
            missed, decisive = dict.fromkeys(missed, 0), set()
        if x == END_BYTE:
            done.ended = True
            break
        at_common_boundary(plains, [plain for plain, there in zip(plains, moved, strict=True) if there])
    return done


def _moves(plain: Plain, vote: Votes, x: int, text: bytes, method: Method) -> bool:
    plain.weight *= vote.get(x, 0.0)
    exact, masses = plain.masses(text)
    longer = sum(masses.values())
    if longer > 0 and exact / (exact + longer) <= method.commit:
        return False
    plain.at = len(text)
    return True


CASES = [
    *((seed, cuts, k, {}) for seed in range(4) for cuts in (CUTS, (WORDS, PAIRS)) for k in (2, 20)),
    *((seed, CUTS, k, {"carry": False}) for seed in range(4, 7) for k in (2, 20)),
    *((seed, CUTS, k, {"commit": c}) for seed in range(7, 10) for k in (2, 20) for c in (0.2, 0.8)),
    *((seed, CUTS, 3, {"weights": (("b", 2.0), ("c", 0.5))}) for seed in range(10, 13)),
    *((seed, CUTS, k, {"top_t": t}) for seed in range(13, 18) for k in (2, 20) for t in ((2, 2), (1, 2), (3, 3))),
    *(
        (seed, CUTS, k, {"top_t": (99, 99), "temperature": t})
        for seed in range(18, 21)
        for k in (2, 20)
        for t in (0.5, 2)
    ),
]


@pytest.mark.parametrize(("seed", "cuts", "k", "settings"), CASES)
def test_the_plain_rule_writes_the_same_and_shows_the_same(
    seed: int, cuts: tuple[tuple[bytes | None, ...], ...], k: int, settings: dict[str, object]
) -> None:
    models, method = toys(seed, cuts), bytewise(top_k=k, **settings)
    base = models[seed % len(models)].name
    plain = course(models, base, method, seed)
    members = sorted(models, key=lambda toy: toy.name != base)
    run = play(method, members, exit_policy=Watch(), seed=seed, max_tokens=LENGTH)
    assert plain.text.startswith(run.text) or run.text.startswith(plain.text)
    assert (run.stop == "end") >= plain.ended
    shown = list(zip(run.state.exit, plain.steps, strict=False))
    assert shown
    for number, (evidence, (missed, decisive)) in enumerate(shown, start=1):
        assert (evidence.step, evidence.base) == (number, base)
        if k < 20:  # what is shown is what was listed, though the text does not depend on it
            continue
        assert evidence.ranks == tuple(sorted(missed.items()))
        assert evidence.decisive == decisive

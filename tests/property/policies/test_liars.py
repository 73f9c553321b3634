"""One member has one vote: no liar among honest members writes more than its share, whatever it says.

Every lie here is well formed: it passes the checks on arrival.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from random import Random
from typing import Any

import pytest

from tests.support.candidates import listed_marginals
from tests.support.toys import BYTES, PAIRS, WORDS, Toy
from tokencollab.policies.bytewise import voting
from tokencollab.policies.bytewise.decision import scores_of
from tokencollab.policies.bytewise.voter import ByteVotes
from tokencollab.policies.machine import make_policy
from tokencollab.policies.methods import parse_method, sampling_of
from tokencollab.protocol.candidates import MASS_SLACK, Candidate, CandidateSet
from tokencollab.protocol.pieces import Piece
from tokencollab.protocol.replies import check_marginals
from tokencollab.testing import Driver

TARGET = b"012001120210122010012112020110"
NOBODY = (0.0,) * 256

Listed = list[tuple[Piece, float]]
"""Pieces with their probabilities."""


@dataclass
class Liar:
    """A member that says what serves it. It knows what the others are about to write."""

    random: Random
    honest: Toy
    kinds: Sequence[str]

    def candidates(self, text: bytes, k: int) -> CandidateSet:
        pairs = dict[Piece, float]()
        for piece, mass in LIES[self.random.choice(self.kinds)](self, text):
            pairs[piece[:4096] if piece else piece] = mass
        ordered = sorted(pairs.items(), key=lambda pair: -pair[1])
        shift = self.random.choice([0.0, 20.0, -300.0])
        sent = CandidateSet(tuple(Candidate(p, log(mass) + shift, log(mass)) for p, mass in ordered), shift)
        self.sent = sent.checked()
        return self.sent

    def scores(self, text: bytes, pieces: Sequence[Piece]) -> tuple[float, ...]:
        extreme = self.random.choice([3e38, -3e38, 0.0, 30.0])
        return tuple(self.random.choice([extreme, -extreme]) for _ in pieces)

    def marginals(self, text: bytes, pending: bytes) -> tuple[float, float, tuple[float, ...]]:
        masses = self._marginals(text, pending)
        check_marginals(*masses)
        return masses

    def _marginals(self, text: bytes, pending: bytes) -> tuple[float, float, tuple[float, ...]]:
        match self.random.randrange(6):
            case 0:
                return listed_marginals(self.sent, pending)
            case 1:
                return 0.0, 0.0, NOBODY
            case 2:
                return 1.0, 0.0, NOBODY
            case 3:
                return 0.0, 1.0 if not pending else 0.0, NOBODY
            case 4:  # that it could have stopped everywhere, and that one byte follows
                share = self.random.choice([0.5, 1e-9, 0.999])
                return share, 0.0, self._behind(text + pending, 1.0 - share)
            case _:
                return 0.0, 0.0, self._behind(text + pending, 1.0)

    def _behind(self, text: bytes, mass: float) -> tuple[float, ...]:
        following = list(NOBODY)
        following[self.wrong(text)[0] if self.random.random() < 0.5 else self.right(text)[0]] = mass
        return tuple(following)

    def right(self, text: bytes) -> bytes:
        """What the others write next."""
        return (TARGET[len(text) : len(text) + 1] if TARGET.startswith(text) else b"") or b"0"

    def wrong(self, text: bytes) -> bytes:
        return self.random.choice([byte for byte in (b"0", b"1", b"2", b"Z") if byte != self.right(text)])


def runner_up(liar: Liar, text: bytes) -> Listed:
    """All on the second choice of an honest member."""
    ordered = sorted(liar.honest.after(text).items(), key=lambda item: -item[1])
    return [(ordered[1][0], 1.0)]


def prefixes(liar: Liar, text: bytes) -> Listed:
    """Pieces that begin with each other."""
    stem, count = liar.wrong(text), liar.random.randint(2, 16)
    return [(stem * (i + 1), 1 / count) for i in range(count)]


def split(liar: Liar, text: bytes) -> Listed:
    """Many pieces behind one byte, and as much mass as rounding may bring."""
    stem = liar.wrong(text)
    return [(stem + bytes([i]), (1 + MASS_SLACK * 0.99) / 16) for i in range(16)]


def mimic(liar: Liar, text: bytes) -> Listed:
    """One piece that is what the others will write, up to a byte."""
    rest = TARGET[len(text) :] if TARGET.startswith(text) else b""
    agreed = rest[: liar.random.randint(0, len(rest))]
    return [(agreed + liar.wrong(text + agreed) * liar.random.choice([1, 9, 4000]), 1.0)]


def straddle(liar: Liar, text: bytes) -> Listed:
    """Short pieces that are never cut where the others cut, and a lie now and then."""
    rest = TARGET[len(text) :][: liar.random.choice([3, 5, 7])] if TARGET.startswith(text) else b""
    if len(text) > 20 and liar.random.random() < 0.3:
        return [(rest[:2] + liar.wrong(text + rest[:2]) * 3, 1.0)]
    return [(rest or b"Z", 1.0)]


def faint(liar: Liar, text: bytes) -> Listed:
    """Next to nothing is listed, so that marginals are asked."""
    stem = liar.wrong(text)
    return [(stem, 1e-3), (stem + stem, 1e-4), (liar.right(text) + stem, 1e-5)]


LIES: dict[str, Callable[[Liar, bytes], Listed]] = {
    "peaked": lambda liar, text: [(liar.wrong(text) * liar.random.randint(1, 4), 1.0)],
    "runner-up": runner_up,
    "prefixes": prefixes,
    "split": split,
    "END": lambda liar, text: [(None, 1.0)],
    "nearly END": lambda liar, text: [(None, 0.6), (liar.wrong(text), 0.4)],
    "4 kB": lambda liar, text: [(liar.wrong(text) * 4096, 0.9), (liar.wrong(text) + b"y" * 4095, 0.1)],
    "mimic": mimic,
    "straddle": straddle,
    "faint": faint,
}
METHODS: list[tuple[str, dict[str, Any]]] = [
    ("gac", {}),
    ("unite", {}),
    ("dp", {}),
    ("upara-6", {}),
    ("confipara-u", {"omega": 3}),
    ("gac", {"exit": "per-collaborator", "patience": 3}),
    ("bytewise", {}),
    ("bytewise", {"top_k": 2}),
    ("bytewise", {"carry": False}),
    ("bytewise", {"commit": 0.8}),
    ("bytewise", {"commit": 0.2}),
    ("consult", {}),
    ("confipara-b", {"omega": 3}),
]


def answer(
    name: str,
    settings: dict[str, Any],
    honest: Sequence[Toy],
    liar: Liar | None,
    seed: int = 0,
    *,
    most: int = 60,
    weights: dict[str, float] | None = None,
) -> Driver:
    """The answer of ``honest`` members and a liar, which stands somewhere among their names."""
    models: dict[str, Any] = {toy.name: toy for toy in honest}
    if liar is not None:
        models[liar.random.choice(["a0", "z"])] = liar
    if weights:
        settings = settings | {"weights": {name: weight for name, weight in weights.items() if name in models}}
    method = parse_method(name, **settings)
    policy = make_policy(method, max_tokens=most, seed=seed, report=False)
    return Driver(policy, models, sampling=sampling_of(method, seed)).run()


def members(cuts: Sequence[tuple[Piece, ...]], seed: int, sure: float) -> list[Toy]:
    return [Sure("abcdef"[i], cut, seed + i, target=TARGET, sure=sure) for i, cut in enumerate(cuts)]


@dataclass(frozen=True)
class Sure(Toy):
    """Gives ``sure`` to its next piece of the target."""

    sure: float = 0.9

    def after(self, text: bytes) -> dict[Piece, float]:
        own = self._own_piece(text)
        whole = super().after(text)
        rest = sum(mass for piece, mass in whole.items() if piece != own)
        return {p: self.sure if p == own else mass / rest * (1 - self.sure) for p, mass in whole.items()}


@pytest.mark.parametrize("count", [12, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("method", "settings"), METHODS, ids=[f"{name} {settings}" for name, settings in METHODS])
def test_a_liar_does_not_change_what_the_others_agree_on(method: str, settings: dict[str, Any], count: int) -> None:
    random = Random(f"{method} {settings}")  # noqa: S311 - chance for tests
    for number in range(count):
        cut = random.choice([BYTES, PAIRS, WORDS])
        honest = members([cut] * random.choice([2, 3, 4]), number, sure=0.8)
        kinds = random.sample(sorted(LIES), random.choice([1, 1, 2, 4]))
        run = answer(method, settings, honest, Liar(random, honest[0], kinds))
        alone = answer(method, settings, honest, None)
        assert (run.text, run.stop) == (alone.text, alone.stop), (number, len(honest), kinds, cut)


@pytest.mark.parametrize("settings", [{}, {"top_k": 2}, {"commit": 1.0}, {"commit": 0.3, "top_t": 3}])
def test_no_vote_on_a_byte_is_more_than_the_weight(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a member says of one place after what it said of another."""
    counted = 0

    def watched(rows: Sequence[ByteVotes]) -> dict[int, float]:
        nonlocal counted
        counted += len(rows)
        for row in rows:
            assert row.low <= row.weight <= row.high
            assert row.weight * sum(row.votes.values()) < 1 + 1e-5
        return scores_of(rows)

    monkeypatch.setattr(voting, "scores_of", watched)
    random = Random(repr(settings))  # noqa: S311 - chance for tests
    for number in range(25):
        cuts = random.choices([BYTES, PAIRS, WORDS], k=random.choice([1, 2, 3]))
        honest = members(cuts, number, sure=random.choice([0.3, 0.7]))
        kinds = random.sample(sorted(LIES), random.choice([1, 2, 4]))
        answer("bytewise", settings, honest, Liar(random, honest[0], kinds), seed=number)
    assert counted > 300


@pytest.mark.parametrize("name", ["gac", "dp", "unite", "bytewise"])
@pytest.mark.parametrize("kind", ["peaked", "split", "prefixes"])
def test_where_pieces_are_drawn_a_liar_is_not_drawn_more_often_than_its_share(name: str, kind: str) -> None:
    """Of three members it has a third; 100 draws are within three and a half standard deviations of that."""
    honest = members([WORDS, WORDS], 3, sure=0.97)
    alone = answer(name, {"top_t": 20}, honest, None)
    assert alone.commits
    drawn = 0
    for seed in range(100):
        random = Random(seed)  # noqa: S311 - chance for tests
        run = answer(name, {"top_t": 20}, honest, Liar(random, honest[0], [kind]), seed, most=1)
        drawn += not TARGET.startswith(run.text) or not run.text
    share = 1 / 3 + 0.03  # the honest ones write something else in three of a hundred
    assert drawn < 100 * share + 3.5 * (100 * share * (1 - share)) ** 0.5
    assert drawn > 10


def test_equal_votes_of_many_do_not_hide_a_liar_of_any_weight() -> None:
    """A member with a tenth of the weight cannot do what one with the whole could."""
    random = Random(5)  # noqa: S311 - chance for tests
    for number in range(20):
        honest = members([PAIRS, PAIRS], number, sure=0.55)
        kinds = [random.choice(["peaked", "split", "prefixes", "END", "faint", "straddle"])]
        weights = {"a": 1.0, "b": 1.0, "a0": 0.1, "z": 0.1}
        for name in ("gac", "bytewise"):
            liar = Liar(random, honest[0], kinds)
            run = answer(name, {}, honest, liar, weights=weights)
            assert run.text == answer(name, {}, honest, None).text, (number, name, kinds)

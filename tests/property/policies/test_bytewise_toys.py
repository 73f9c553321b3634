"""Toy models with different cuts, a loop that serves a policy from them, and the rule of methods.md section 9 written
down a second time, plainly: full vocabularies, normalised weights, no bounds. The other bytewise tests use these."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from math import exp, log
from random import Random
from typing import Any

from tokencollab.policies import events as e
from tokencollab.policies.bytewise import BytewisePolicy
from tokencollab.policies.bytewise_state import BytewiseState
from tokencollab.policies.methods import Method, parse_method
from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.pieces import Piece, piece_order

Distribution = dict[Piece, float]
END_BYTE = -1


@dataclass(frozen=True)
class Toy:
    """A model whose distribution after a text is a function of the last ``context`` bytes of the text."""

    name: str
    vocabulary: tuple[Piece, ...]
    seed: int
    context: int = 2
    sharpness: float = 3.0
    target: bytes = b""

    def after(self, text: bytes) -> Distribution:
        """Probabilities of all pieces. With a target: nine tenths go to its next piece in this model's own cut."""
        weights = {}
        for piece in self.vocabulary:
            key = repr((self.seed, text[-self.context :], piece)).encode()
            number = int.from_bytes(blake2b(key, digest_size=8).digest(), "big") / 2**64
            weights[piece] = number**self.sharpness + 1e-9
        total = sum(weights.values())
        distribution = {piece: weight / total for piece, weight in weights.items()}
        if not self.target:
            return distribution
        own = self._own_piece(text)
        return {p: 0.1 * mass + (0.9 if p == own else 0.0) for p, mass in distribution.items()}

    def _own_piece(self, text: bytes) -> Piece:
        if not self.target.startswith(text) or text == self.target:
            return None
        rest = self.target[len(text) :]
        return max((p for p in self.vocabulary if p and rest.startswith(p)), key=len)

    def listed(self, text: bytes, k: int) -> CandidateSet:
        """The ``k`` most probable pieces."""
        ordered = sorted(self.after(text).items(), key=lambda item: (-item[1], piece_order(item[0])))[:k]
        return CandidateSet(tuple(Candidate(p, log(mass), log(mass)) for p, mass in ordered), 0.0)

    def marginals(self, text: bytes, pending: bytes) -> tuple[float, float, tuple[float, ...]]:
        """The masses of `events.MarginalsArrived`, over the whole vocabulary."""
        following = [0.0] * 256
        exact = end = 0.0
        for piece, mass in self.after(text).items():
            if piece is None:
                end = 0.0 if pending else mass
            elif piece == pending:
                exact = mass
            elif piece.startswith(pending):
                following[piece[len(pending)]] += mass
        return exact, end, tuple(following)


BYTES: tuple[Piece, ...] = (b"0", b"1", b"2", None)
PAIRS: tuple[Piece, ...] = (*BYTES, *(bytes((x, y)) for x in b"012" for y in b"012"))
WORDS: tuple[Piece, ...] = (*BYTES, b"01", b"012", b"0120", b"12", b"20", b"201", b"11", b"110")
CUTS = (BYTES, PAIRS, WORDS)


def toys(seed: int, cuts: Sequence[tuple[Piece, ...]] = CUTS, **settings: Any) -> list[Toy]:
    """One toy per cut, named a, b, c, ..."""
    return [Toy("abcdef"[i], cut, seed + i, **settings) for i, cut in enumerate(cuts)]


def bytewise(**settings: Any) -> Method:
    """A bytewise method."""
    return replace(parse_method("bytewise"), **settings)


@dataclass
class Run:
    """What a policy did with its models."""

    text: bytes = b""
    commits: list[e.Commit] = field(default_factory=list)
    others: list[e.Command] = field(default_factory=list)
    events: list[e.Event] = field(default_factory=list)
    asks: dict[str, int] = field(default_factory=dict)
    marginals: int = 0
    state: BytewiseState | None = None

    @property
    def ended(self) -> bool:
        """Whether EOS was chosen."""
        return any(command == e.Stop("end") for command in self.others)


def answer(toy: Toy, text: bytes, command: e.RequestCandidates | e.RequestMarginals, extra: int) -> e.Event:
    """The answer of ``toy``, which lists ``extra`` pieces more than asked."""
    if isinstance(command, e.RequestCandidates):
        listed = toy.listed(text[: command.offset], command.k + extra)
        return e.CandidatesArrived(toy.name, command.question, listed)
    exact, end, following = toy.marginals(text[: command.offset], command.pending)
    return e.MarginalsArrived(toy.name, command.question, exact, end, following)


def write(toy: Toy, text: bytes, command: e.RunSolo, k: int) -> list[e.Event]:
    """What ``toy`` writes alone, up to EOS or to where it is unsure."""
    events: list[e.Event] = []
    for _ in range(command.max_steps):
        listed = toy.listed(text, k)
        if exp(listed.best.logprob) < command.unsure:
            return [*events, e.CandidatesArrived(toy.name, command.question, listed)]
        piece = listed.best.piece
        events.append(e.SoloStep(toy.name, command.question, piece, listed))
        if piece is None:
            break
        text += piece
    return events


def play(
    method: Method,
    models: Sequence[Toy],
    *,
    max_tokens: int = 12,
    seed: int = 0,
    extra: int = 0,
    shuffle: int | None = None,
    exit_policy: Any = None,
    policy: BytewisePolicy | None = None,
    watch: Callable[[BytewiseState], BytewiseState] = lambda state: state,
) -> Run:
    """Serve the policy until it stops, delivering answers in the order of ``shuffle``'s random numbers."""
    if policy is None:
        policy = BytewisePolicy(method, exit_policy, max_tokens=max_tokens, seed=seed, report=True)
    by_name = {toy.name: toy for toy in models}
    order = Random(shuffle) if shuffle is not None else None  # noqa: S311 - not a secret
    run = Run()
    state, commands = policy.start(tuple(toy.name for toy in models))
    waiting: list[e.Event] = []
    while True:
        for command in commands:
            if isinstance(command, e.Commit):
                run.commits.append(command)
                run.text += command.piece or b""
            elif isinstance(command, e.RequestCandidates | e.RequestMarginals):
                assert command.offset <= len(run.text), "a question about text that is not committed"
                if isinstance(command, e.RequestCandidates):
                    assert command.offset == len(run.text)
                    run.asks[command.model] = run.asks.get(command.model, 0) + 1
                else:
                    run.marginals += 1
                waiting.append(answer(by_name[command.model], run.text, command, extra))
            elif isinstance(command, e.RunSolo):
                waiting += write(by_name[command.model], run.text, command, method.top_k)
                run.others.append(command)
            else:
                run.others.append(command)
        if any(isinstance(command, e.Stop) for command in run.others):
            run.state = state
            return run
        assert waiting, "the machine waits for nobody"
        alone = isinstance(waiting[0], e.SoloStep)
        event = waiting.pop(order.randrange(len(waiting)) if order and not alone else 0)
        run.events.append(event)
        state, commands = policy.step(watch(state), event)


class Plain:
    """Section 9 for one model, over its full vocabulary: c_m(x), the weight, the boundary."""

    def __init__(self, toy: Toy, prior: float):
        self.toy, self.prior, self.weight, self.at = toy, prior, prior, 0

    def masses(self, text: bytes) -> tuple[float, dict[int, float]]:
        """P(exact), and for each next symbol the mass of the pieces that begin with pending + symbol."""
        exact, end, following = self.toy.marginals(text[: self.at], text[self.at :])
        masses = {x: mass for x, mass in enumerate(following) if mass > 0}
        if end > 0:
            masses[END_BYTE] = end
        return exact, masses

    def votes(self, text: bytes) -> dict[int, float]:
        """c_m(x)."""
        masses = self.masses(text)[1]
        total = sum(masses.values())
        return {x: mass / total for x, mass in masses.items()}


@dataclass
class PlainAnswer:
    """What the plain rule writes, with the lead of each byte over the next best."""

    text: bytes
    ended: bool
    leads: list[float]
    asks: dict[str, int]


def plain_rule(models: Sequence[Toy], length: int, *, carry: bool = True, commit: float = 0.5) -> PlainAnswer:
    """The text of the rule, up to ``length`` bytes."""
    plains = [Plain(toy, 1.0) for toy in sorted(models, key=lambda toy: toy.name)]
    text, leads, asks = b"", [], {toy.name: 1 for toy in models}
    while len(text) < length:
        score: dict[int, float] = {}
        votes = [plain.votes(text) for plain in plains]
        total = sum(plain.weight for plain in plains)
        for plain, vote in zip(plains, votes, strict=True):
            for x, share in vote.items():
                weight = plain.weight / total if carry else plain.prior
                score[x] = score.get(x, 0.0) + weight * share
        ranked = sorted(score, key=lambda x: (-score[x], x))
        best = ranked[0]
        leads.append(score[best] - (score[ranked[1]] if len(ranked) > 1 else 0.0))
        if best == END_BYTE:
            return PlainAnswer(text, True, leads, asks)
        text += bytes((best,))
        moved = 0
        for plain, vote in zip(plains, votes, strict=True):
            plain.weight = plain.weight / total * vote.get(best, 0.0)
            exact, masses = plain.masses(text)
            longer = sum(masses.values())
            if longer == 0 or exact / (exact + longer) > commit:
                plain.at = len(text)
                asks[plain.toy.name] += 1
                moved += 1
        if moved == len(plains):
            for plain in plains:
                plain.weight = plain.prior
    return PlainAnswer(text, False, leads, asks)


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
        while (piece := toy.listed(text, 1).best.piece) is not None:
            text += piece
        assert text == target

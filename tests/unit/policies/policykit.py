"""Building candidate sets and carrying out a policy's commands, for the tests of the policies."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from math import exp, log

from tokencollab.policies import events as e
from tokencollab.policies.methods import Policy
from tokencollab.policies.selection import choose_solo
from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.messages import Sampling
from tokencollab.protocol.pieces import Piece
from tokencollab.protocol.trace import TraceMarginals, step_line

Book = Mapping[str, Callable[[bytes], CandidateSet]]
"""Models by name: text so far -> candidates."""


def by_logit(*entries: tuple[Piece, float], rest: float = 0.0) -> CandidateSet:
    """Candidates from raw logits; ``rest`` is the summed exp(logit) of what is not listed."""
    highest = max(logit for _, logit in entries)
    total = highest + log(sum(exp(logit - highest) for _, logit in entries) + rest * exp(-highest))
    ordered = sorted(entries, key=lambda entry: -entry[1])
    return CandidateSet(tuple(Candidate(p, logit, logit - total) for p, logit in ordered), total).checked()


def by_probability(*entries: tuple[Piece, float]) -> CandidateSet:
    """Candidates from probabilities, with logits that are their logarithms plus 20."""
    ordered = sorted(entries, key=lambda entry: -entry[1])
    return CandidateSet(tuple(Candidate(p, log(q) + 20, log(q)) for p, q in ordered), 20.0).checked()


def first_token_logit(candidates: CandidateSet, piece: Piece) -> float:
    """What a model answers to `Score`: here the listed logit, else its last one minus one."""
    for candidate in candidates.candidates:
        if candidate.piece == piece:
            return candidate.logit
    return candidates.candidates[-1].logit - 1


VOCABULARY: tuple[Piece, ...] = (b" ", b"a", b"b", b"ab", b" a", b".", b"\xe6\x97", b"\xa5", "é".encode(), None)


def toy(name: str, sharpness: float = 3.0, shift: float = 12.0, listed: int = 7) -> Callable[[bytes], CandidateSet]:
    """A model whose logits are a fixed function of its name and the end of the text; it lists its best pieces."""

    def candidates(text: bytes) -> CandidateSet:
        digest = blake2b(name.encode() + b"|" + text[-6:], digest_size=32).digest()
        shared = blake2b(text[-6:], digest_size=32).digest()
        logits = [shift + sharpness * (digest[i] + 2 * shared[i]) / 256 for i in range(len(VOCABULARY))]
        logits[-1] -= sharpness  # EOS is rare
        total = log(sum(exp(logit) for logit in logits))
        ordered = sorted(zip(VOCABULARY, logits, strict=True), key=lambda entry: -entry[1])[:listed]
        return CandidateSet(tuple(Candidate(p, logit, logit - total) for p, logit in ordered), total).checked()

    return candidates


def listed_marginals(candidates: CandidateSet, pending: bytes) -> tuple[float, float, tuple[float, ...]]:
    """What a model answers to `Marginals`, as if it had no pieces but those that it lists."""
    exact = end = 0.0
    following = [0.0] * 256
    for candidate in candidates.candidates:
        piece, mass = candidate.piece, exp(candidate.logprob)
        if piece is None:
            end += mass if not pending else 0.0
        elif piece == pending:
            exact += mass
        elif piece.startswith(pending):
            following[piece[len(pending)]] += mass
    return exact, end, tuple(following)


class Driver:
    """Carries out a policy's commands with models from a book, in order of asking, and records the trace."""

    def __init__(
        self,
        policy: Policy,
        book: Book,
        members: Iterable[str] | None = None,
        sampling: Sampling = Sampling(10, None, (1, 1), 1.0, 0),  # noqa: B008 - frozen
    ) -> None:
        self.policy, self.book, self.sampling = policy, book, sampling
        self.heard: list[dict[str, object]] | None = None  # what traces say of the order of events; None: nothing
        self.trace: list[str] = []
        self.candidates: dict[str, CandidateSet] = {}
        self.scores: dict[str, Sequence[tuple[Piece, float]]] = {}
        self.marginals: list[TraceMarginals] = []
        self.text = b""
        self.pieces: list[Piece] = []
        self.commits: list[e.Commit] = []
        self.others: list[e.Command] = []
        self.stop: str | None = None
        self.pending: list[e.Command] = []
        self.state, commands = policy.start(tuple(members or book))
        self.take(commands)

    def take(self, commands: Iterable[e.Command]) -> None:
        for command in commands:
            match command:
                case e.Commit(piece, record):
                    self.record(piece, record)
                    self.text += piece or b""
                    self.pieces.append(piece)
                    self.commits.append(command)
                case e.Stop(reason):
                    self.stop = reason
                    self.pending.clear()
                case e.RequestCandidates() | e.RequestScores() | e.RequestMarginals() | e.RunSolo():
                    self.pending.append(command)
                case _:
                    self.others.append(command)

    def record(self, piece: Piece, record: e.StepRecord) -> None:
        line = step_line(
            record.step,
            self.candidates,
            piece,
            alone=record.alone,
            scores=self.scores,
            offsets=dict(record.offsets),
            efficacy=record.efficacy._asdict() if record.efficacy else None,
            lost=record.lost,
            marginals=self.marginals,
            heard=self.heard or (),
        )
        self.trace.append(line)
        self.candidates, self.scores, self.marginals = {}, {}, []
        if self.heard:
            self.heard = []

    def hear(self, event: e.Event) -> None:
        before = self.state
        self.state, commands = self.policy.step(before, event)
        if self.heard is not None and self.state is not before and type(event) in e.EVENT_NAMES:
            self.heard.append({"event": e.EVENT_NAMES[type(event)], "model": event.model})  # type: ignore[union-attr]
        self.take(commands)

    def answer(self, command: e.Command) -> None:
        match command:
            case e.RequestCandidates(model, question, offset, _):
                self.candidates[model] = self.book[model](self.text[:offset])
                self.hear(e.CandidatesArrived(model, question, self.candidates[model]))
            case e.RequestScores(model, question, offset, pieces):
                candidates = self.book[model](self.text[:offset])
                logits = tuple(first_token_logit(candidates, piece) for piece in pieces)
                self.scores[model] = list(zip(pieces, logits, strict=True))
                self.hear(e.ScoresArrived(model, question, logits))
            case e.RequestMarginals(model, question, offset, pending):
                masses = listed_marginals(self.book[model](self.text[:offset]), pending)
                self.marginals.append(TraceMarginals(model, offset, pending, *masses))
                self.hear(e.MarginalsArrived(model, question, *masses))
            case e.RunSolo(model, question, _, first, steps, report, unsure):
                for step in range(first, first + steps):
                    candidates = self.book[model](self.text)
                    if exp(candidates.best.logprob) < unsure:
                        self.candidates = {model: candidates}
                        self.hear(e.CandidatesArrived(model, question, candidates))
                        break
                    piece = choose_solo(candidates, self.sampling, step)
                    self.candidates = {model: candidates}
                    self.hear(e.SoloStep(model, question, piece, candidates if report else None))
                    if self.stop or piece is None:
                        break

    def run(self, most: int = 500) -> "Driver":
        for _ in range(most):
            if self.stop:
                return self
            self.answer(self.pending.pop(0))
        raise AssertionError("the policy did not stop")

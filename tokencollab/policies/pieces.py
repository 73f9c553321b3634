"""Votes on whole pieces.

All members are asked at the end of the text, and an aggregation scores the union of their candidates. Where it requires
scores (UniTE), each model is asked once more, for the pieces of the union that it did not list.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from operator import itemgetter
from typing import ClassVar, NamedTuple

from tokencollab.errors import ProtocolError, UsageError
from tokencollab.policies.aggregations import Ballot, foreign_pieces
from tokencollab.policies.events import CandidatesArrived, RequestCandidates, RequestScores, ScoresArrived
from tokencollab.policies.methods import Method, sampling_of
from tokencollab.policies.own import calling, is_ours
from tokencollab.policies.selection import select
from tokencollab.policies.truncation import truncate
from tokencollab.policies.turn import Turn
from tokencollab.policies.voting import DecidedPiece, Ranks, VoteAnswer
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.messages import Sampling
from tokencollab.protocol.pieces import Piece

_name = itemgetter(0)


@dataclass(frozen=True, slots=True)
class Decider:
    """A method and its selection, applied to one step at a time."""

    method: Method
    sampling: Sampling

    def ballot(self, model: str, candidates: CandidateSet, foreign: tuple[tuple[Piece, float], ...] = ()) -> Ballot:
        """``model``'s vote from what it sent and, where scores are required, the logits it was asked for."""
        method, received = self.method, candidates.candidates
        kept = truncate(received, method.top_k, method.top_p, method.over)
        logits: dict[Piece, float] = {}
        if "scores" in method.scoring.requires:
            logits = {candidate.piece: candidate.logit for candidate in received}
            logits.update(foreign)
        return Ballot(model, method.weight_of(model), kept, received, logits)

    def decide(self, step: int, ballots: Sequence[Ballot]) -> Piece:
        """The piece that ``ballots`` (at least one, sorted by model) choose at ``step``."""
        scoring = self.method.scoring
        with calling("aggregation", scoring):
            scored = scoring.score(ballots)
        if not is_ours(scoring):
            check_scored(scoring, scored)
        return select(scored, self.sampling, step)

    def decisive(self, step: int, piece: Piece, ballots: Sequence[Ballot], base: str | None = None) -> frozenset[str]:
        """The models other than ``base`` without which another piece would have been chosen than ``piece``."""
        found = set()
        for ballot in ballots:
            others = [other for other in ballots if other is not ballot]
            if others and ballot.model != base and self.decide(step, others) != piece:
                found.add(ballot.model)
        return frozenset(found)


def check_scored(scoring: object, scored: object) -> None:
    """Raises UsageError: somebody's aggregation has not returned pieces with their scores."""
    wrong: object = scored
    if isinstance(scored, list | tuple) and scored:
        wrong = next((entry for entry in scored if not _is_scored(entry)), None)
        if wrong is None:
            return
    raise UsageError(
        f"the aggregation {type(scoring).__name__} must return a list of (piece, score, tie), each piece bytes or None "
        f"(EOS) and both figures numbers, with one entry at least, not {repr(wrong)[:80]}"
    )


def _is_scored(entry: object) -> bool:
    match entry:
        case (bytes() | None as piece, Real() as score, Real() as tie) if isinstance(entry, tuple):
            return piece != b"" and score == score and tie == tie  # noqa: PLR0124 - NaN is not
        case _:
            return False


class PieceVote(NamedTuple):
    """One piece's vote; pairs are sorted by model.

    ``open`` are the questions that wait for an answer, ``answers`` the answers; ``scoring`` and ``scores`` the same for
    UniTE's foreign pieces.
    """

    open: tuple[tuple[str, int], ...] = ()
    answers: tuple[tuple[str, CandidateSet], ...] = ()
    scoring: tuple[tuple[str, int, tuple[Piece, ...]], ...] = ()
    scores: tuple[tuple[str, tuple[tuple[Piece, float], ...]], ...] = ()


class PieceVoting:
    """GaC, UniTE, DuetNet, DP and DK: see `voting.Voting`."""

    single: ClassVar[bool] = False

    def __init__(self, method: Method, seed: int, needs_decisive: bool) -> None:
        """``needs_decisive``: the exit policy reads `Evidence.decisive`."""
        self._decider = Decider(method, sampling_of(method, seed))
        self._scores = "scores" in method.scoring.requires
        self._needs_decisive = needs_decisive

    def begin(self, turn: Turn) -> None:
        """Ask every live member for the next piece."""
        live, first, offset, k = turn.live, turn.questions, turn.offset, self._decider.method.top_k
        questions = tuple([(model, first + index) for index, model in enumerate(live)])
        turn.commands += [RequestCandidates(model, number, offset, k) for model, number in questions]
        turn.questions = first + len(live)
        turn.vote = PieceVote(questions)

    def answered(self, vote: PieceVote, event: VoteAnswer) -> PieceVote | None:
        """Note candidates, or scores of foreign pieces."""
        model = event.model
        if isinstance(event, CandidatesArrived):
            asked = (model, event.question)
            if asked not in vote.open:
                return None
            return PieceVote(
                tuple([pair for pair in vote.open if pair != asked]),
                tuple(sorted((*vote.answers, (model, event.candidates)), key=_name)),
            )
        if isinstance(event, ScoresArrived):
            for entry in vote.scoring:
                if entry[:2] == (model, event.question):
                    return self._scored(vote, entry, event.logits)
        return None

    def _scored(
        self, vote: PieceVote, entry: tuple[str, int, tuple[Piece, ...]], logits: tuple[float, ...]
    ) -> PieceVote:
        model, _, pieces = entry
        if len(logits) != len(pieces):
            raise ProtocolError(f"{model} sent {len(logits)} scores for {len(pieces)} pieces")
        return vote._replace(
            scoring=tuple([other for other in vote.scoring if other is not entry]),
            scores=tuple(sorted((*vote.scores, (model, tuple(zip(pieces, logits, strict=True)))), key=_name)),
        )

    def waits(self, vote: PieceVote) -> bool:
        """Whether a question is open."""
        return bool(vote.open or vote.scoring)

    def advance(self, turn: Turn) -> DecidedPiece | None:
        """Have foreign pieces scored, or decide."""
        vote: PieceVote = turn.vote
        scores = dict(vote.scores)
        ballots = [self._decider.ballot(model, sent, scores.get(model, ())) for model, sent in vote.answers]
        if self._scores and not scores and (missing := foreign_pieces(ballots)):
            scoring = tuple([(model, turn.number(), pieces) for model, pieces in missing])
            turn.commands += [RequestScores(model, number, turn.offset, pieces) for model, number, pieces in scoring]
            turn.vote = vote._replace(scoring=scoring)
            return None
        piece = self.choose(turn, ballots)
        decisive = self.decisive(turn, piece, ballots) if self._needs_decisive else frozenset[str]()
        ranks = self.ranks(piece, ballots)
        notice = "" if turn.noticed else self._decider.method.scoring.notice(ballots) or ""
        return DecidedPiece(piece, ranks, ranks, decisive, notice=notice)

    def choose(self, turn: Turn, ballots: Sequence[Ballot]) -> Piece:
        """The piece that ``ballots`` choose."""
        return self._decider.decide(turn.committed + 1, ballots)

    def decisive(self, turn: Turn, piece: Piece, ballots: Sequence[Ballot]) -> frozenset[str]:
        """The collaborators without which another piece would have been chosen than ``piece``."""
        return self._decider.decisive(turn.committed + 1, piece, ballots, turn.base)

    def ranks(self, piece: Piece, ballots: Sequence[Ballot]) -> Ranks:
        """The index of ``piece`` in the truncated candidates of each model."""
        return tuple([(ballot.model, ballot.rank(piece)) for ballot in ballots])

    def without(self, turn: Turn, model: str) -> PieceVote:
        """The vote without ``model``."""
        vote: PieceVote = turn.vote
        return PieceVote(
            tuple([pair for pair in vote.open if pair[0] != model]),
            tuple([pair for pair in vote.answers if pair[0] != model]),
            tuple([entry for entry in vote.scoring if entry[0] != model]),
            tuple([pair for pair in vote.scores if pair[0] != model]),
        )

    def flush(self, turn: Turn) -> None:
        """Nothing is decided before it is committed."""

    def go_on(self, turn: Turn, decision: DecidedPiece, joined: tuple[str, ...]) -> None:
        """Ask every live member for the next piece."""
        self.begin(turn)

"""One step's decision, from candidates to piece and evidence. Shared by collaboration and replay."""

from collections.abc import Sequence
from dataclasses import dataclass

from tokencollab.policies.aggregations import Ballot
from tokencollab.policies.evidence import Evidence
from tokencollab.policies.methods import Method
from tokencollab.policies.selection import select
from tokencollab.policies.truncation import truncate
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.messages import Sampling
from tokencollab.protocol.pieces import Piece


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
        return select(self.method.scoring.score(ballots), self.sampling, step)

    def decisive(self, step: int, piece: Piece, ballots: Sequence[Ballot], base: str | None = None) -> frozenset[str]:
        """The models other than ``base`` without which another piece would have been chosen than ``piece``."""
        found = set()
        for ballot in ballots:
            others = [other for other in ballots if other is not ballot]
            if others and ballot.model != base and self.decide(step, others) != piece:
                found.add(ballot.model)
        return frozenset(found)


def gather_evidence(
    step: int, base: str, piece: Piece, ballots: Sequence[Ballot], decisive: frozenset[str] = frozenset()
) -> Evidence:
    """What an exit policy sees of ``step``, in which ``piece`` was chosen."""
    ranks = tuple([(ballot.model, ballot.rank(piece)) for ballot in ballots])
    return Evidence(step, base, ranks, decisive)

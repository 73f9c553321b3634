"""One step's decision, from candidates to piece and evidence. Shared by collaboration and replay."""

from collections.abc import Sequence
from dataclasses import dataclass

from tokencollab.policies.aggregation import Ballot, Scored, aggregate
from tokencollab.policies.evidence import Evidence
from tokencollab.policies.selection import DRAWS, select
from tokencollab.policies.settings import Method
from tokencollab.policies.truncation import truncate
from tokencollab.policies.words import Word
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.messages import Sampling
from tokencollab.protocol.pieces import Piece


def sampling_of(method: Method, seed: int) -> Sampling:
    """How the base picks its pieces when it runs alone, and how any score is selected, under ``method``."""
    return Sampling(
        top_k=method.top_k,
        top_p=method.top_p,
        top_t=method.top_t,
        temperature=method.temperature,
        seed=seed,
        over=method.over,
        by_probability=method.aggregation in ("gac", "unite", "dp", "bytewise"),
    )


@dataclass(frozen=True, slots=True)
class Decider:
    """A method and its selection, applied to one step at a time."""

    method: Method
    sampling: Sampling

    def ballot(self, model: str, candidates: CandidateSet, foreign: tuple[tuple[Piece, float], ...] = ()) -> Ballot:
        """``model``'s vote from what it sent and, for UniTE, the logits it was asked for."""
        method, received = self.method, candidates.candidates
        kept = truncate(received, method.top_k, method.top_p, method.over)
        logits: dict[Piece, float] = {}
        if method.aggregation == "unite":
            logits = {candidate.piece: candidate.logit for candidate in received}
            logits.update(foreign)
        return Ballot(model, method.weight_of(model), kept, received, logits)

    def decide(self, step: int, ballots: Sequence[Ballot], word: Word) -> Piece:
        """The piece that ``ballots`` (at least one, sorted by model) choose at ``step``.

        With ``owner_finishes`` the owners of an open word vote alone. Where their choice does not go on with
        the word, it is finished, and everybody votes among the pieces that do not go on with it. Inside a
        character the owners' choice stands.
        """
        owners = [ballot for ballot in ballots if ballot.model in word.owners] if word.owners else []
        if not owners:
            return select(self._scores(ballots), self.sampling, step)
        piece = select(self._scores(owners), self.sampling, step)
        if word.mid_character or word.continued_by(piece):
            return piece
        scored = [entry for entry in self._scores(ballots) if not word.continued_by(entry[0])]
        return select(scored, self.sampling, step, DRAWS)

    def word_after(self, word: Word, piece: Piece, ballots: Sequence[Ballot]) -> Word:
        """The open word after ``piece``; always empty without ``owner_finishes``."""
        if not self.method.owner_finishes:
            return word
        listed = tuple(ballot.model for ballot in ballots if ballot.rank(piece) is not None)
        return word.after(piece, listed, tuple(ballot.model for ballot in ballots))

    def decisive(
        self, step: int, piece: Piece, ballots: Sequence[Ballot], word: Word, base: str | None = None
    ) -> frozenset[str]:
        """The models other than ``base`` without which another piece would have been chosen than ``piece``."""
        found = set()
        for ballot in ballots:
            others = [other for other in ballots if other is not ballot]
            if others and ballot.model != base and self.decide(step, others, word) != piece:
                found.add(ballot.model)
        return frozenset(found)

    def _scores(self, ballots: Sequence[Ballot]) -> list[Scored]:
        return aggregate(self.method.aggregation, ballots, self.method.reference)


def gather_evidence(
    step: int, base: str, piece: Piece, ballots: Sequence[Ballot], decisive: frozenset[str] = frozenset()
) -> Evidence:
    """What an exit policy sees of ``step``, in which ``piece`` was chosen."""
    logprob = None
    ranks = []
    for ballot in ballots:
        rank = ballot.rank(piece)
        ranks.append((ballot.model, rank))
        if ballot.model == base:
            if rank is not None:
                logprob = ballot.kept[rank].logprob
            else:
                logprob = next((c.logprob for c in ballot.received[len(ballot.kept) :] if c.piece == piece), None)
    return Evidence(step, base, tuple(ranks), decisive, logprob)

"""From a row of logits to candidates, scores and marginals."""

from dataclasses import dataclass

import torch

from tokencollab.engines.alignment import AnswerText
from tokencollab.engines.base import EXTRA_CANDIDATES
from tokencollab.engines.vocabulary import Vocabulary
from tokencollab.protocol.candidates import MAX_CANDIDATES, Candidate, CandidateSet
from tokencollab.protocol.pieces import END, Piece


@dataclass(frozen=True, slots=True)
class Listing:
    """A candidate set, the model's own token for each of its pieces, and the piece of the most probable token."""

    candidates: CandidateSet
    tokens: dict[bytes, int]
    greedy: Piece


class Lister:
    """Reads candidates off logits for one vocabulary. ``logits`` are always one row, float32, [vocabulary]."""

    def __init__(self, vocabulary: Vocabulary, device: torch.device) -> None:
        """Prepares the index tensors."""
        self._vocabulary = vocabulary
        self._never = torch.tensor(vocabulary.never, dtype=torch.long, device=device)
        self._ends = torch.tensor(vocabulary.end_ids, dtype=torch.long, device=device)
        self._end_ids = frozenset(vocabulary.end_ids)

    def candidates(self, logits: torch.Tensor, text: AnswerText, k: int) -> Listing:
        """The best ``k`` pieces after ``text`` and a few more."""
        k = min(k + EXTRA_CANDIDATES, MAX_CANDIDATES)
        if text.pending:
            ids = self._vocabulary.starting_with(text.pending)
            if ids:
                return self._list_healing(logits, text.pending, ids, k)
        lead = text.may_lead
        # Dropped on the way: all but one END token, and tokens of the same bytes as another.
        width = min(k + len(self._end_ids) + (k if lead else 4), logits.shape[-1] - len(self._never))
        values, ids = torch.topk(logits.index_fill(-1, self._never, -torch.inf), width)
        ranked = sorted(zip(values.tolist(), ids.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))
        normaliser = torch.logsumexp(logits, -1).item()
        found: list[tuple[float, Piece]] = []
        tokens: dict[bytes, int] = {}
        pieces = self._vocabulary.pieces
        for value, token in ranked:
            piece = pieces[token]
            if piece is None:
                continue
            piece = piece.removeprefix(lead) or piece
            if piece not in tokens:
                tokens[piece] = token
                found.append((value, piece))
        if self._end_ids:
            found.append((torch.logsumexp(logits[self._ends], -1).item(), END))
            found.sort(key=lambda pair: -pair[0])
        best = pieces[ranked[0][1]]
        greedy = best.removeprefix(lead) or best if best is not None else END
        return Listing(_candidate_set(found[:k], normaliser), tokens, greedy)

    def _list_healing(self, logits: torch.Tensor, pending: bytes, ids: list[int], k: int) -> Listing:
        """Pieces that begin with the pending bytes, as what they add to them; the model's mass given these bytes."""
        index = torch.tensor(ids, dtype=torch.long, device=logits.device)
        some = logits[index]
        values, order = torch.topk(some, min(k, len(ids)))
        tokens: dict[bytes, int] = {}
        found: list[tuple[float, Piece]] = []
        for value, position in zip(values.tolist(), order.tolist(), strict=True):
            token = ids[position]
            piece = (self._vocabulary.pieces[token] or b"")[len(pending) :]
            if piece not in tokens:
                tokens[piece] = token
                found.append((value, piece))
        candidates = _candidate_set(found, torch.logsumexp(some, -1).item())
        return Listing(candidates, tokens, candidates.best.piece)

    def score(self, logits: torch.Tensor, text: AnswerText, pieces: tuple[Piece, ...]) -> tuple[float, ...]:
        """Raw logits of ``pieces``: of the token with the same bytes, else of the first token of the tokenised piece.

        A piece that the model cannot begin to write gets the lowest logit of the vocabulary.
        """
        scores = []
        for piece in pieces:
            if piece is END:
                scores.append(torch.logsumexp(logits[self._ends], -1).item() if self._end_ids else logits.min().item())
                continue
            data = text.pending + piece
            lead = text.may_lead
            token = self._vocabulary.id_of.get(lead + data, self._vocabulary.id_of.get(data))
            if token is None:
                tokenised = text.tokenizer.encode(lead + data)
                token = tokenised[0][0] if tokenised else None
            scores.append(logits.min().item() if token is None else logits[token].item())
        return tuple(scores)

    def marginals(
        self, logits: torch.Tensor, text: AnswerText, pending: bytes
    ) -> tuple[float, float, tuple[float, ...]]:
        """The mass of pieces equal to ``pending``, of END, and of pieces that begin with pending + each byte."""
        vocabulary = self._vocabulary
        order = torch.tensor(vocabulary.order, dtype=torch.long, device=logits.device)
        probabilities = torch.softmax(logits.double(), -1)
        total = torch.cat([probabilities.new_zeros(1), torch.cumsum(probabilities[order], 0)]).tolist()
        lead = text.may_lead
        pending = text.pending + pending

        def mass(prefix: bytes) -> float:
            low, high = vocabulary.span(prefix)
            return float(total[high] - total[low])

        def mass_after_lead(prefix: bytes) -> float:
            if not lead:
                return mass(prefix)
            # Pieces with the model's own leading space count without it.
            return mass(lead + prefix) + (0.0 if prefix.startswith(lead) else mass(prefix))

        following = tuple(max(0.0, mass_after_lead(pending + bytes([byte]))) for byte in range(256))
        exact = max(0.0, mass_after_lead(pending) - sum(following)) if pending else 0.0
        end = probabilities[self._ends].sum().item() if self._end_ids and not pending else 0.0
        return exact, end, following


def _candidate_set(found: list[tuple[float, Piece]], normaliser: float) -> CandidateSet:
    return CandidateSet(
        tuple(Candidate(piece, value, value - normaliser) for value, piece in found), normaliser
    )

"""From a row of logits to candidates, scores and marginals."""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import torch
from torch.nn.functional import pad

from tokencollab.engines.alignment import AnswerText
from tokencollab.engines.base import EXTRA_CANDIDATES
from tokencollab.engines.tokenisation import continuations
from tokencollab.engines.vocabulary import Vocabulary
from tokencollab.protocol.candidates import MAX_CANDIDATES, Candidate, CandidateSet
from tokencollab.protocol.pieces import END, Piece

_BREAKS_CHARACTER = -30.0
"""The score of a piece that does not go on with an unfinished character, from a model that knows no more of it."""

_BLOCK = 512


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
        self._device = device
        self._fences = lru_cache(maxsize=64)(vocabulary.fences)

    def candidates(self, logits: torch.Tensor, text: AnswerText, k: int) -> Listing:
        """The best ``k`` pieces after ``text`` and a few more."""
        k = min(k + EXTRA_CANDIDATES, MAX_CANDIDATES)
        if text.pending:
            ids = self._vocabulary.starting_with(text.pending)
            if ids:
                return self._list_healing(logits, text.pending, ids, k)
            if following := continuations(text.pending):
                return _list_blind(following, k)
        lead = text.may_lead
        # Dropped on the way: all but one END token, and tokens of the same bytes as another.
        width = min(k + len(self._ends) + (k if lead else 4), logits.shape[-1] - len(self._never))
        values, ids = _top(logits.index_fill(-1, self._never, -torch.inf), width)
        found: list[tuple[float, Piece]] = []
        tokens: dict[bytes, int] = {}
        pieces = self._vocabulary.pieces
        for value, token in zip(values, ids, strict=True):
            piece = pieces[token]
            if piece is None:
                continue
            piece = piece.removeprefix(lead) or piece
            if piece not in tokens:
                tokens[piece] = token
                found.append((value, piece))
        if len(self._ends):
            found.append((self._end_logit(logits), END))
            found.sort(key=lambda pair: -pair[0])
        best = pieces[ids[0]]
        greedy = END if best is None else best.removeprefix(lead) or best
        return Listing(_candidate_set(found[:k], _logsumexp(logits)), tokens, greedy)

    @cached_property
    def _order(self) -> torch.Tensor:
        return torch.tensor(self._vocabulary.order, dtype=torch.long, device=self._device)

    def _end_logit(self, logits: torch.Tensor) -> float:
        return float(torch.logsumexp(logits[self._ends], -1).item())

    def _list_healing(self, logits: torch.Tensor, pending: bytes, ids: list[int], k: int) -> Listing:
        """Pieces that begin with the pending bytes, as what they add to them; the model's mass given these bytes."""
        some = logits[torch.tensor(ids, dtype=torch.long, device=logits.device)]
        tokens: dict[bytes, int] = {}
        found: list[tuple[float, Piece]] = []
        for value, position in zip(*_top(some, min(k, len(ids))), strict=True):
            token = ids[position]
            piece = (self._vocabulary.pieces[token] or b"")[len(pending) :]
            if piece not in tokens:
                tokens[piece] = token
                found.append((value, piece))
        candidates = _candidate_set(found, _logsumexp(some))
        return Listing(candidates, tokens, candidates.best.piece)

    def score(self, logits: torch.Tensor, text: AnswerText, pieces: tuple[Piece, ...]) -> tuple[float, ...]:
        """Raw logits of ``pieces``: of the token with the same bytes, else of the first token of the tokenised piece.

        A piece that the model cannot begin to write gets the lowest logit of the vocabulary.
        """
        pending, lead = text.pending, text.may_lead
        if pending and not self._vocabulary.starting_with(pending) and (following := continuations(pending)):
            return tuple(0.0 if piece and piece[0] in following else _BREAKS_CHARACTER for piece in pieces)
        id_of = self._vocabulary.id_of
        lowest = logits.min().item()
        scores = []
        for piece in pieces:
            if piece is END:
                scores.append(self._end_logit(logits) if len(self._ends) else lowest)
                continue
            data = pending + piece
            ids = [id_of[form] for form in {data, lead + data} if form in id_of]
            ids = ids or [token for token, _ in text.tokenizer.encode(lead + data)[:1]]
            scores.append(max((logits[token].item() for token in ids), default=lowest))
        return tuple(scores)

    def marginals(
        self, logits: torch.Tensor, text: AnswerText, pending: bytes
    ) -> tuple[float, float, tuple[float, ...]]:
        """The mass of pieces equal to ``pending``, of END, and of pieces that begin with pending + each byte."""
        pending = text.pending + pending
        normaliser = _logsumexp(logits)
        equal, following = self._masses(logits, pending, normaliser)
        if lead := text.may_lead:
            # Pieces count without the model's own leading space; a space alone stays one.
            if pending[:1] == lead:
                equal, following = 0.0, [0.0] * 256
            elif not pending:
                following[lead[0]] = 0.0
            shown, more = self._masses(logits, lead + pending, normaliser)
            following = [mine + other for mine, other in zip(following, more, strict=True)]
            space, _ = self._masses(logits, lead, normaliser)
            if not pending:
                following[lead[0]] += space
            elif pending == lead:
                equal += space + shown
            else:
                equal += shown
        end = 0.0
        if not pending:
            equal = 0.0
            end = math.exp(self._end_logit(logits) - normaliser) if len(self._ends) else 0.0
        return equal, end, tuple(following)

    def _masses(self, logits: torch.Tensor, prefix: bytes, normaliser: float) -> tuple[float, list[float]]:
        """The mass of the tokens equal to ``prefix``, and of those that begin with it and each byte."""
        fences = self._fences(prefix)
        low = fences[0]
        some = logits[self._order[low : fences[-1]]].double()
        sums = torch.cat([some.new_zeros(1), torch.cumsum(torch.exp(some - normaliser), 0)])
        at = sums[torch.tensor(fences, device=logits.device) - low].tolist()
        steps = [after - before for before, after in pairwise(at)]
        return steps[0], steps[1:]


def _list_blind(following: bytes, k: int) -> Listing:
    """What a model offers that cannot spell the character which another began: any way to go on with it.

    All are equally probable, so the others decide; and the character is not broken by a model that does not see it.
    With logit 0 they weigh nothing where logits are summed up.
    """
    found: list[tuple[float, Piece]] = [(0.0, bytes([byte])) for byte in following[:k]]
    return Listing(_candidate_set(found, math.log(len(following))), {}, found[0][1])


def _top(logits: torch.Tensor, width: int) -> tuple[list[float], list[int]]:
    """The largest values with their indices, equal ones by index (as argmax has it)."""
    size = logits.shape[-1]
    if size > _BLOCK * _BLOCK // 8 and width < size // _BLOCK:
        # They are in the blocks with the largest maxima: a quarter of topk's time for 262,144 logits.
        blocks = pad(logits, (0, -size % _BLOCK), value=-torch.inf).view(-1, _BLOCK)
        _, best = torch.topk(blocks.amax(1), width)
        values, inner = torch.topk(blocks[best].flatten(), width)
        ids = best[inner // _BLOCK] * _BLOCK + inner % _BLOCK
    else:
        values, ids = torch.topk(logits, width)
    ranked = sorted(zip(values.tolist(), ids.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))
    return [value for value, _ in ranked], [index for _, index in ranked]


def _logsumexp(logits: torch.Tensor) -> float:
    """As torch's, in 0.7 of its time (one fused pass)."""
    return float((logits.max() - torch.log_softmax(logits, -1).max()).item())


def _candidate_set(found: list[tuple[float, Piece]], normaliser: float) -> CandidateSet:
    return CandidateSet(tuple(Candidate(piece, value, value - normaliser) for value, piece in found), normaliser)

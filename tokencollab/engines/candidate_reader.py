"""From a row of logits to candidates, scores and marginals."""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import torch
from torch.nn.functional import pad

from tokencollab.engines.base import EXTRA_CANDIDATES
from tokencollab.engines.text.alignment import AnswerText
from tokencollab.engines.text.tokenisation import continuations
from tokencollab.engines.text.vocabulary import Vocabulary
from tokencollab.protocol.candidates import MAX_CANDIDATES, Candidate, CandidateSet
from tokencollab.protocol.pieces import EOS, Piece

_BREAKS_CHARACTER = -30.0
"""The score of a piece that does not go on with an unfinished character, from a model that knows no more of it."""

_BLOCK = 512
_SPARE = 8  # tokens read beyond those that are needed, for special tokens among the best


@dataclass(frozen=True, slots=True)
class ReadCandidates:
    """A candidate set, the model's own token for each of its pieces, and the piece of the most probable token."""

    candidates: CandidateSet
    tokens: dict[bytes, int]
    greedy: Piece


@dataclass(frozen=True, slots=True)
class Top:
    """What candidates need of a row of logits: its best tokens in order, its normaliser, and EOS's logit."""

    values: list[float]
    ids: list[int]
    normaliser: float
    end: float


class CandidateReader:
    """Reads candidates off logits for one vocabulary. ``logits`` are one row, float32, [vocabulary]."""

    def __init__(self, vocabulary: Vocabulary, device: torch.device) -> None:
        self._vocabulary = vocabulary
        self._never = torch.tensor(vocabulary.never, dtype=torch.long, device=device)
        self._ends = torch.tensor(vocabulary.end_ids, dtype=torch.long, device=device)
        self._device = device
        self._fences = lru_cache(maxsize=64)(vocabulary.fences)

    def tops(self, rows: torch.Tensor, k: int) -> list[Top]:
        """What `candidates` of ``k`` pieces need of each of ``rows`` [sessions, vocabulary], read in one go."""
        values, ids = _top(rows, min(self._width(k) + _SPARE, rows.shape[-1]))
        # log-softmax is one fused pass over the row: faster than logsumexp.
        first = torch.tensor([row[0] for row in ids], device=rows.device)[:, None]
        normalisers = rows.gather(1, first) - torch.log_softmax(rows, -1).gather(1, first)
        ends = torch.logsumexp(rows[:, self._ends], -1).tolist() if len(self._ends) else [-math.inf] * len(rows)
        return [Top(*top) for top in zip(values, ids, normalisers[:, 0].tolist(), ends, strict=True)]

    def _width(self, k: int) -> int:
        """How many tokens are enough for ``k`` pieces.

        Dropped on the way: all but one EOS token, and tokens of the bytes of another (with the leading space or not).
        """
        return 2 * min(k + EXTRA_CANDIDATES, MAX_CANDIDATES) + len(self._ends)

    def candidates(self, logits: torch.Tensor, text: AnswerText, k: int, top: Top | None = None) -> ReadCandidates:
        """The best ``k`` pieces after ``text`` and a few more. ``top``: of these logits, where it is known."""
        width = self._width(k)
        k = min(k + EXTRA_CANDIDATES, MAX_CANDIDATES)
        if text.pending:
            ids = self._vocabulary.starting_with(text.pending)
            if ids:
                return self._list_healing(logits, text.pending, ids, k)
            if following := continuations(text.pending):
                return _list_blind(following, k)
        lead = text.may_lead
        if top is None:
            (top,) = self.tops(logits[None], k - EXTRA_CANDIDATES)
        ranked = [pair for pair in zip(top.values, top.ids, strict=True) if pair[1] not in self._banned][:width]
        if len(ranked) < (most := min(width, logits.shape[-1] - len(self._banned))):
            (values,), (ids,) = _top(logits.index_fill(-1, self._never, -torch.inf)[None], most)
            ranked = list(zip(values, ids, strict=True))
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
        if len(self._ends):
            found.append((top.end, EOS))
            found.sort(key=lambda pair: -pair[0])
        best = pieces[ranked[0][1]]
        greedy = EOS if best is None else best.removeprefix(lead) or best
        offered = {piece: tokens[piece] for _, piece in found[:k] if piece is not None}
        return ReadCandidates(_candidate_set(found[:k], top.normaliser), offered, greedy)

    @cached_property
    def _banned(self) -> frozenset[int]:
        return frozenset(self._vocabulary.never)

    @cached_property
    def _order(self) -> torch.Tensor:
        return torch.tensor(self._vocabulary.order, dtype=torch.long, device=self._device)

    def _end_logit(self, logits: torch.Tensor) -> float:
        return float(torch.logsumexp(logits[self._ends], -1).item())

    def _list_healing(self, logits: torch.Tensor, pending: bytes, ids: list[int], k: int) -> ReadCandidates:
        """Pieces that begin with the pending bytes, as what they add to them; the model's mass given these bytes."""
        some = logits[torch.tensor(ids, dtype=torch.long, device=logits.device)]
        tokens: dict[bytes, int] = {}
        found: list[tuple[float, Piece]] = []
        (values,), (positions,) = _top(some[None], min(k, len(ids)))
        for value, position in zip(values, positions, strict=True):
            token = ids[position]
            piece = (self._vocabulary.pieces[token] or b"")[len(pending) :]
            if piece not in tokens:
                tokens[piece] = token
                found.append((value, piece))
        candidates = _candidate_set(found, _logsumexp(some))
        return ReadCandidates(candidates, tokens, candidates.best.piece)

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
            if piece is EOS:
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
        """The mass of pieces equal to ``pending``, of EOS, and of pieces that begin with pending + each byte."""
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


def _list_blind(following: bytes, k: int) -> ReadCandidates:
    """What a model offers that cannot spell the character which another began: any way to go on with it.

    All are equally probable, so the others decide; and the character is not broken by a model that does not see it.
    With logit 0 they weigh nothing where logits are summed up.
    """
    found: list[tuple[float, Piece]] = [(0.0, bytes([byte])) for byte in following[:k]]
    return ReadCandidates(_candidate_set(found, math.log(len(following))), {}, found[0][1])


def _top(rows: torch.Tensor, width: int) -> tuple[list[list[float]], list[list[int]]]:
    """The largest values of each row with their indices, equal ones by index (as argmax has it)."""
    size = rows.shape[-1]
    if size > _BLOCK * _BLOCK // 8 and width < size // _BLOCK:
        # They are in the blocks with the largest maxima: a fifth to a tenth of topk's time.
        blocks = pad(rows, (0, -size % _BLOCK), value=-torch.inf) if size % _BLOCK else rows
        blocks = blocks.reshape(len(rows), -1, _BLOCK)
        _, best = torch.topk(blocks.amax(2), width)
        some = blocks.gather(1, best[:, :, None].expand(-1, -1, _BLOCK))
        values, inner = torch.topk(some.flatten(1), width)
        ids = best.gather(1, inner // _BLOCK) * _BLOCK + inner % _BLOCK
    else:
        values, ids = torch.topk(rows, width)
    ranked = [
        sorted(zip(*row, strict=True), key=lambda pair: (-pair[0], pair[1]))
        for row in zip(values.tolist(), ids.tolist(), strict=True)
    ]
    return [[value for value, _ in row] for row in ranked], [[index for _, index in row] for row in ranked]


def _logsumexp(logits: torch.Tensor) -> float:
    """As torch's, in 0.7 of its time (one fused pass)."""
    return float((logits.max() - torch.log_softmax(logits, -1).max()).item())


def _candidate_set(found: list[tuple[float, Piece]], normaliser: float) -> CandidateSet:
    # A logit of -inf is a probability of zero: such a piece is not offered.
    pairs = [(value, piece) for value, piece in found if value != -math.inf]
    return CandidateSet(tuple(Candidate(piece, value, value - normaliser) for value, piece in pairs), normaliser)

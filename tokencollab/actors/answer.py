"""What a user gets: tokens as they are committed, and the finished answer with its figures."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias

from tokencollab.policies.events import Efficacy, StepRecord
from tokencollab.policies.truncation import truncate
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.messages import Sampling
from tokencollab.protocol.pieces import Piece

FinishReason: TypeAlias = Literal["end", "length", "timeout", "cancelled"]


@dataclass(frozen=True, slots=True)
class Token:
    """One committed piece.

    Attributes:
        text: the characters that became certain with it (whole characters; may be empty).
        piece: its bytes; None is EOS. Empty in a last token that only brings text that was held back.
        step: 1 for the first.
        ranks: per model that answered, the index of the piece in its truncated candidates; None: absent.
        efficacy: the exit policy's figures (ST, RT, T0), where it has such.
        alone: whether the base wrote it by itself.
        lost: models that were lost in this step.
        joined: models that came back or joined since the step before; they vote from the next one.
    """

    text: str
    piece: Piece
    step: int
    ranks: Mapping[str, int | None]
    efficacy: Efficacy | None = None
    alone: bool = False
    lost: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer.

    Attributes:
        text: the answer; bytes that are not valid UTF-8 appear as U+FFFD.
        finish_reason: ``end`` (EOS or a stop text), ``length`` (``max_tokens``, or the base's context is full),
            ``timeout`` (``max_seconds``), ``cancelled``.
        tokens: pieces committed, EOS included.
        cost: candidate sets produced (docs/specification.md section 6).
        aligned: candidates that took part, after truncation, summed over steps and models (DuetNet fig. 7); those of
            solo generation, which no other member votes on, do not count.
        exit_step: the step after which the base left the collaboration, None if it never did.
        models: names, the base first.
        method: the preset's name.
        seed: the seed of every random choice.
        seconds: from the question to the end of the answer, prompt included.
        first_token_seconds: until the first piece was committed; None if there was none.
        ms_per_token: milliseconds per committed piece after the first (so without the prompt); None below two.
        agreed: steps in which every model that answered had the chosen piece first.
        together: steps that more than one model took part in.
        proposed: per model, the steps not written by the base alone whose piece was its first choice.
        forwarded: per model, tokens that went through it after the prompt, per committed piece it took part in.
        lost: per model, how often it was lost.
        pieces: every committed piece, in order.
        left: models that took no further part because they refuse the conversation, are full, or have no room left in
            their context, with the reason in words. `lost` counts them too.
        prompt_tokens: of the prompt, as the base's chat template and tokenizer have it; None: the base has not read it.
    """

    text: str
    finish_reason: FinishReason
    tokens: int
    cost: int
    aligned: int
    exit_step: int | None
    models: tuple[str, ...]
    method: str
    seed: int
    seconds: float
    first_token_seconds: float | None
    ms_per_token: float | None
    agreed: int
    together: int
    proposed: Mapping[str, int]
    forwarded: Mapping[str, float]
    lost: Mapping[str, int]
    pieces: tuple[Piece, ...] = field(repr=False)
    left: Mapping[str, str] = field(default_factory=dict)
    prompt_tokens: int | None = None

    @property
    def when_solo(self) -> str:
        """When the base wrote by itself, in words."""
        if self.exit_step is None:
            return "never"
        if self.together > self.exit_step:  # it came back
            return f"in {self.tokens - self.together} of {self.tokens} steps"
        return f"after step {self.exit_step}"

    def to_json(self) -> dict[str, Any]:
        """The answer as JSON-ready data (without the pieces, which a trace has)."""
        figures = asdict(replace(self, pieces=()))
        del figures["pieces"]
        return figures | {"models": list(self.models)}


@dataclass
class Tally:
    base: str
    cost: int = 0
    aligned: int = 0
    agreed: int = 0
    together: int = 0
    exit_step: int | None = None
    pieces: list[Piece] = field(default_factory=list)
    proposed: Counter[str] = field(default_factory=Counter)
    took_part: Counter[str] = field(default_factory=Counter)
    forwarded: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    left: dict[str, str] = field(default_factory=dict)
    prompt_tokens: int | None = None
    _sets: int = 0
    _kept: int = 0

    def answered(self, candidates: CandidateSet, sampling: Sampling) -> None:
        """Counts the candidates of one model in one step, as soon as the step is committed.

        Those of a step that never is depend on who was quicker than the end of the answer.
        """
        self._sets += 1
        self._kept += len(truncate(candidates.candidates, sampling.top_k, sampling.top_p, sampling.over))

    def commit(self, piece: Piece, record: StepRecord) -> None:
        self.pieces.append(piece)
        self.cost += self._sets
        self.aligned += self._kept
        self._sets = self._kept = 0
        if record.alone:
            self.cost += 1  # of the others the coordinator counts what arrives
            self.took_part[self.base] += 1
        else:
            ranks = [rank for _, rank in record.ranks]
            if len(ranks) > 1:
                self.together += 1
                self.agreed += all(rank == 0 for rank in ranks)
            for model, rank in record.ranks:
                self.took_part[model] += 1
                self.proposed[model] += rank == 0
        for model in record.lost:
            self.lost[model] += 1

"""What the coordinator and a model say to each other. Plain frozen data; `wire` turns it into bytes and back.

Each request names the session and brings the bytes of the shared text from ``start`` on; the text after the request
is exactly the first ``start + len(data)`` bytes. A model that does not hold the first ``start`` bytes (it was
restarted, or dropped the session) answers `SessionLost`, and is sent `Open` with the text and its own `Spelling` of it.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tokencollab.protocol.candidates import MAX_CANDIDATES, CandidateSet
from tokencollab.protocol.pieces import Piece
from tokencollab.protocol.spelling import Spelling

ChatRole: TypeAlias = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    role: ChatRole
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a model that runs alone picks its next piece: the parameters of truncation and selection, as data.

    ``top_k`` and ``top_p`` cut the model's own candidates (``top_p`` None: no cut by mass); ``top_t`` keeps the best T
    (``(1, 1)`` is greedy; ``(1, 2)`` draws T per step); randomness is a function of ``seed`` and the step alone.
    """

    top_k: int
    top_p: float | None
    top_t: tuple[int, int]
    temperature: float
    seed: int
    over: Literal["vocabulary", "top_k"] = "vocabulary"
    by_probability: bool = False


# ---------------------------------------------------------------- requests


@dataclass(frozen=True, slots=True)
class Open:
    """Begin a session: the conversation, which the model renders with its own chat template.

    A session that a model has lost goes on from the ``text`` of its last reply and the whole ``spelling`` at that
    reply; without a spelling the model cuts the text in its own way. ``pieces`` is what was committed since then, by
    others: the model takes it in piece by piece, as if it had been there.
    """

    session: str
    messages: tuple[ChatMessage, ...]
    text: bytes = b""
    spelling: Spelling | None = None
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class NextCandidates:
    """Bring the text in line, then answer with the best ``k`` pieces after it.

    With ``offsets``, which ascend from ``start`` to the end of the text at most, candidates are wanted at each of them.
    A reply may cover a beginning of them; the rest is asked again from there.
    """

    session: str
    start: int
    data: bytes
    k: int
    offsets: tuple[int, ...] = ()

    def at_first_offset(self) -> "NextCandidates":
        """The same with one offset, the first: the text ends there."""
        if not self.offsets:
            return self
        return NextCandidates(self.session, self.start, self.data[: self.offsets[0] - self.start], self.k)

    def after(self, answered: int) -> "NextCandidates":
        """What is left of several offsets when so many of them are answered: the model holds the text up to there."""
        start = self.offsets[answered - 1]
        return NextCandidates(self.session, start, self.data[start - self.start :], self.k, self.offsets[answered:])


@dataclass(frozen=True, slots=True)
class ScorePieces:
    """Answer with the raw logit of each piece after the text."""

    session: str
    start: int
    data: bytes
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class ByteMarginals:
    """Answer with the mass behind every next byte after the text and ``pending``."""

    session: str
    start: int
    data: bytes
    pending: bytes


@dataclass(frozen=True, slots=True)
class ScoreText:
    """Answer with the log-probability of the whole text, token by token, from one prefill: nothing is decoded."""

    session: str
    start: int
    data: bytes


@dataclass(frozen=True, slots=True)
class GenerateSolo:
    """Write up to ``max_steps`` pieces alone after the text, answered by a stream of `SoloPiece`.

    Where the probability of its best piece is below ``unsure`` the model writes no further: the last answer is then
    `Unsure`.
    """

    session: str
    start: int
    data: bytes
    first_step: int
    max_steps: int
    report: bool
    sampling: Sampling
    unsure: float = 0.0


@dataclass(frozen=True, slots=True)
class Close:
    """Forget the session and free its memory. Closing an unknown session is not an error."""

    session: str


Request: TypeAlias = Open | NextCandidates | ScorePieces | ByteMarginals | ScoreText | GenerateSolo | Close

# ---------------------------------------------------------------- replies


@dataclass(frozen=True, slots=True)
class Opened:
    """The session is there; the prompt has ``prompt_tokens`` tokens and leaves ``room`` for more."""

    session: str
    prompt_tokens: int
    room: int


@dataclass(frozen=True, slots=True)
class CandidatesReply:
    """The answer to `NextCandidates` at ``offset``; ``forwarded`` tokens went through the model for it.

    Where several offsets were asked, ``earlier`` has the candidates at those before ``offset``, in order.

    ``spelling``, here and in the other answers: how the model holds the text up to ``offset``; None from a model whose
    answers depend on the text alone.
    """

    session: str
    offset: int
    candidates: CandidateSet
    forwarded: int
    spelling: Spelling | None = None
    earlier: tuple[CandidateSet, ...] = ()


@dataclass(frozen=True, slots=True)
class ScoresReply:
    """The answer to `ScorePieces`: raw logits in the order of the pieces."""

    session: str
    offset: int
    logits: tuple[float, ...]
    forwarded: int
    spelling: Spelling | None = None


@dataclass(frozen=True, slots=True)
class MarginalsReply:
    """The answer to `ByteMarginals`: probabilities, see `policies.events.MarginalsArrived`."""

    session: str
    offset: int
    exact: float
    end: float
    following: tuple[float, ...]
    forwarded: int
    spelling: Spelling | None = None


@dataclass(frozen=True, slots=True)
class LogprobsReply:
    """The answer to `ScoreText`: the model's own tokens for the text, each by the byte of the text at which it ends,
    and its log-probability (natural log, full softmax, temperature 1) given the prompt and the text before it.
    """

    session: str
    offset: int
    ends: tuple[int, ...]
    logprobs: tuple[float, ...]
    forwarded: int


@dataclass(frozen=True, slots=True)
class SoloPiece:
    """One piece that a model running alone wrote, at ``offset`` (before the piece)."""

    session: str
    offset: int
    piece: Piece
    candidates: CandidateSet | None
    forwarded: int
    spelling: Spelling | None = None


@dataclass(frozen=True, slots=True)
class Unsure:
    """A model running alone is unsure of the word that begins at ``offset``: its candidates there.

    ``taken_back``: how many pieces of that word it had written, and not sent.
    """

    session: str
    offset: int
    candidates: CandidateSet
    forwarded: int
    taken_back: int
    spelling: Spelling | None = None


@dataclass(frozen=True, slots=True)
class SessionLost:
    """The model does not hold the text up to ``start``: open again and send everything."""

    session: str


@dataclass(frozen=True, slots=True)
class ContextExhausted:
    """The model's context has no room for another token."""

    session: str
    offset: int


@dataclass(frozen=True, slots=True)
class Closed:
    session: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The request cannot be carried out; ``kind`` is the name of an error class in `errors`."""

    session: str
    kind: str
    reason: str


Reply: TypeAlias = (
    Opened
    | CandidatesReply
    | ScoresReply
    | MarginalsReply
    | LogprobsReply
    | SoloPiece
    | Unsure
    | SessionLost
    | ContextExhausted
    | Closed
    | Refused
)


# ---------------------------------------------------------------- between a program and a coordinator of a platform


@dataclass(frozen=True, slots=True)
class Task:
    """An answer that a coordinator of a platform is to write. It is resumed if it has a journal on that machine."""

    session: str  # 32 hexadecimal digits that no other answer has; they name the journal
    messages: tuple[ChatMessage, ...]  # the conversation
    base: str  # the base, by its name on the platform
    collaborators: tuple[str, ...] | None  # the others; None for every model of the platform, at any time
    method: str  # its settings, as JSON
    max_tokens: int  # how many pieces at most
    stop: tuple[str, ...]  # texts before which the answer ends
    seed: int  # of every random choice
    trace: bool  # whether the lines of the trace are wanted
    max_seconds: float | None = None  # after which the answer ends with what is written


@dataclass(frozen=True, slots=True)
class TaskToken:
    """One token of a task, see `actors.answer.Token`; and the lines of the trace up to it."""

    text: str
    piece: Piece
    step: int
    ranks: tuple[tuple[str, int | None], ...]
    efficacy: tuple[float | None, ...] | None
    alone: bool
    lost: tuple[str, ...]
    joined: tuple[str, ...]
    trace: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """The end of a task: the figures of the answer as JSON, and the notices of its method."""

    figures: str
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can answer, beside candidates with log-probabilities. By default, what whole rows of logits give.

    Attributes:
        raw_logits: the logits of candidates and scores are the model's own, not log-probabilities in their place.
        max_candidates: how many candidates can be asked for at one offset.
        piece_scores: it answers `ScorePieces`.
        marginals: it answers `ByteMarginals`.
        several_offsets: candidates at several offsets cost one forward pass; otherwise they are answered one by one.
        text_logprobs: it answers `ScoreText`.
        images: conversations may have images.
    """

    raw_logits: bool = True
    max_candidates: int = MAX_CANDIDATES
    piece_scores: bool = True
    marginals: bool = True
    several_offsets: bool = False
    text_logprobs: bool = True
    images: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.max_candidates <= MAX_CANDIDATES:
            raise ValueError(f"max_candidates must be from 1 to {MAX_CANDIDATES}, not {self.max_candidates}")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model is: shown to users and recorded with every result."""

    name: str
    architecture: str
    parameters: int
    vocabulary: int
    context_length: int
    dtype: str
    engine: str
    chat_template: bool
    capabilities: Capabilities = Capabilities()
    notices: tuple[str, ...] = ()  # what the user should hear once
    token_bytes: int = 0  # that a token stands for at most; 0: not known

    @property
    def most_bytes(self) -> int:
        """Of a text that fits into the context; 0: not known."""
        return self.context_length * self.token_bytes

    def too_long(self, what: str) -> str:
        """What is said of a prompt that has ``what`` and does not fit."""
        return (
            f"the prompt has {what} for {self.name}, whose context holds {self.context_length}: shorten the prompt, or "
            f"leave {self.name} out"
        )

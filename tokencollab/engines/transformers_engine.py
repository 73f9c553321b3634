"""The default engine: a causal language model of transformers, many sessions in one forward pass."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tokencollab.engines.alignment import AnswerText
from tokencollab.engines.base import Answered, Ask
from tokencollab.engines.chat import Prompt, render
from tokencollab.engines.kv import Segment, SessionCache, packed
from tokencollab.engines.listing import Lister
from tokencollab.engines.loading import LoadedModel, load
from tokencollab.engines.options import EngineOptions
from tokencollab.engines.tokenisation import TextTokenizer
from tokencollab.protocol.errors import ModelRefused
from tokencollab.protocol.messages import (
    AskCandidates,
    AskMarginals,
    AskScores,
    Behind,
    CandidatesReply,
    Full,
    MarginalsReply,
    ModelInfo,
    Open,
    Opened,
    Refused,
    ScoresReply,
)


@dataclass
class _Session:
    prompt: Prompt
    text: AnswerText
    cache: SessionCache
    logits: torch.Tensor | None = None  # after the last position, float32 [vocabulary]
    forwarded: int = 0  # tokens since the last reply
    used: float = 0.0

    @property
    def ids(self) -> list[int]:
        return [*self.prompt.ids, *self.text.ids]


class TransformersEngine:
    """One transformers model behind the `Engine` protocol."""

    def __init__(self, model: LoadedModel, options: EngineOptions) -> None:
        """Wraps a loaded model.

        Raises:
            ModelRefused: its tokenizer changes text.
        """
        self._model = model.model
        self._tokenizer = model.tokenizer
        self._vocabulary = model.vocabulary
        self._text_tokenizer = TextTokenizer(model.tokenizer, model.vocabulary)
        self._lister = Lister(model.vocabulary, model.model.device)
        self._options = options
        self._info = model.info
        self._sessions: dict[str, _Session] = {}

    @classmethod
    def from_folder(cls, name: str, folder: Path, options: EngineOptions | None = None) -> "TransformersEngine":
        """Loads the model in ``folder`` (safetensors and tokenizer.json).

        Raises:
            ModelRefused: it cannot take part; the message says why.
        """
        options = options or EngineOptions()
        return cls(load(name, folder, options), options)

    @property
    def info(self) -> ModelInfo:
        """What the model is."""
        return self._info

    @property
    def kv_bytes(self) -> int:
        """Memory of all sessions' KV caches, in bytes."""
        return sum(session.cache.nbytes for session in self._sessions.values())

    def open(self, request: Open) -> Opened | Refused:
        """Renders the conversation; the prompt is computed with the first question."""
        name = self._info.name
        try:
            prompt = render(self._tokenizer, request.messages)
        except ModelRefused as error:
            return Refused(request.session, "ModelRefused", f"{name}: {error}")
        room = self._info.context_length - len(prompt.ids)
        if room <= 0:
            return Refused(
                request.session,
                "PromptTooLong",
                f"the prompt has {len(prompt.ids)} tokens for {name}, whose context holds "
                f"{self._info.context_length}: shorten the prompt, or leave {name} out",
            )
        self.close(request.session)
        text = AnswerText(self._vocabulary, self._text_tokenizer, prompt.lead)
        self._sessions[request.session] = _Session(prompt, text, SessionCache())
        return Opened(request.session, len(prompt.ids), room)

    def close(self, session: str) -> None:
        """Forgets a session and frees its KV cache."""
        self._sessions.pop(session, None)

    def answer(self, requests: Sequence[Ask]) -> list[Answered | None]:
        """See `Engine.answer`."""
        answers: list[Answered | None] = [None] * len(requests)
        ready: list[tuple[int, Ask, _Session]] = []
        for index, request in enumerate(requests):
            session = self._sessions.get(request.session)
            if session is None or len(session.text.text) < request.start:
                answers[index] = Answered(Behind(request.session))
                continue
            session.used = time.monotonic()
            session.text.bring_in_line(request.start, request.data)
            if len(session.prompt.ids) + len(session.text.ids) >= self._info.context_length:
                answers[index] = Answered(Full(request.session, len(session.text.text)))
                continue
            ready.append((index, request, session))
        self._forward([session for _, _, session in ready])
        for index, request, session in ready:
            if session.logits is not None:
                answers[index] = self._reply(request, session, session.logits)
        return answers

    def _reply(self, request: Ask, session: _Session, logits: torch.Tensor) -> Answered:
        offset = len(session.text.text)
        forwarded, session.forwarded = session.forwarded, 0
        match request:
            case AskCandidates():
                listing = self._lister.candidates(logits, session.text, request.k)
                session.text.list_pieces(listing.tokens)
                reply = CandidatesReply(request.session, offset, listing.candidates, forwarded)
                return Answered(reply, listing.greedy)
            case AskScores():
                scores = self._lister.score(logits, session.text, request.pieces)
                return Answered(ScoresReply(request.session, offset, scores, forwarded))
            case AskMarginals():
                exact, end, following = self._lister.marginals(logits, session.text, request.pending)
                return Answered(MarginalsReply(request.session, offset, exact, end, following, forwarded))

    def _forward(self, sessions: list[_Session]) -> None:
        """Computes what is missing, at most ``prefill_chunk`` tokens a session, in one packed forward pass."""
        work: list[tuple[_Session, list[int]]] = []
        for session in sessions:
            cache, text = session.cache, session.text
            kept = min(cache.length, len(session.prompt.ids) + text.stable)
            if kept < cache.length:
                cache.crop(kept)
                session.logits = None
            new = session.ids[kept:] if kept < len(session.prompt.ids) else text.ids[kept - len(session.prompt.ids) :]
            if not new and session.logits is None:
                # The text was cut back: the last token is computed again for its logits.
                cache.crop(kept - 1)
                new = session.ids[-1:]
            if new:
                work.append((session, new[: self._options.prefill_chunk]))
            text.stable = len(text.ids)
        if not work:
            return
        row = [token for _, new in work for token in new]
        positions = [
            position
            for session, new in work
            for position in range(session.cache.length, session.cache.length + len(new))
        ]
        device = self._model.device
        ends = torch.tensor([len(new) for _, new in work], device=device).cumsum(0) - 1
        with torch.inference_mode(), packed([Segment(session.cache, len(new)) for session, new in work]):
            logits = (
                self._model(
                    input_ids=torch.tensor([row], device=device),
                    position_ids=torch.tensor([positions], device=device),
                    use_cache=False,
                    logits_to_keep=ends,
                )
                .logits[0]
                .float()
            )
        for index, (session, new) in enumerate(work):
            session.cache.length += len(new)
            session.forwarded += len(new)
            finished = session.cache.length == len(session.prompt.ids) + len(session.text.ids)
            session.logits = logits[index] if finished else None

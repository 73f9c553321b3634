"""The default engine: a causal language model of transformers, many sessions in one forward pass."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import torch

from tokencollab.engines.alignment import AnswerText
from tokencollab.engines.base import Answered, Ask
from tokencollab.engines.chat import render
from tokencollab.engines.kv import Segment, packed
from tokencollab.engines.listing import Lister
from tokencollab.engines.loading import LoadedModel, load
from tokencollab.engines.options import EngineOptions
from tokencollab.engines.sessions import Session, SessionPool, default_budget, one_of_each
from tokencollab.engines.tokenisation import TextTokenizer
from tokencollab.protocol.errors import ModelRefused
from tokencollab.protocol.messages import (
    AskCandidates,
    AskLogprobs,
    AskMarginals,
    AskScores,
    Behind,
    CandidatesReply,
    Full,
    LogprobsReply,
    MarginalsReply,
    ModelInfo,
    Open,
    Opened,
    Refused,
    ScoresReply,
)

_Question: TypeAlias = AskCandidates | AskScores | AskMarginals

_SHORT = 16  # tokens; more than this at once is prefill
_ROWS = 64  # rows of logits at once: of 262,144 float32 each, 67 MB


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
        budget = options.kv_megabytes * 1_000_000 if options.kv_megabytes else default_budget(model.model.device)
        self._pool = SessionPool(model.kv_bytes_per_token, budget)

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
    def pool(self) -> SessionPool:
        """The sessions and the memory of their KV caches."""
        return self._pool

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
        if not self._fits(len(prompt.ids) + 1):
            need, have = self._pool.bytes_for(len(prompt.ids) + 1) / 1e6, self._pool.budget / 1e6
            return Refused(
                request.session,
                "PromptTooLong",
                f"the prompt's {len(prompt.ids)} tokens need {need:,.1f} MB of KV cache in {name}, whose budget is "
                f"{have:,.1f} MB: raise it (kv_megabytes, --kv-megabytes) or shorten the prompt",
            )
        text = AnswerText(self._vocabulary, self._text_tokenizer, prompt.lead)
        text.restore(request.text, request.spelling)
        self._pool.add(request.session, Session(prompt, text))
        return Opened(request.session, len(prompt.ids), room)

    def close(self, session: str) -> None:
        """Forgets a session and frees its KV cache."""
        self._pool.remove(session)

    def answer(self, requests: Sequence[Ask]) -> list[Answered | None]:
        """See `Engine.answer`."""
        answers: list[Answered | None] = [None] * len(requests)
        ready: list[tuple[int, _Question, Session]] = []
        for index, request in enumerate(requests):
            session = self._pool.get(request.session)
            if session is None or len(session.text.text) < request.start:
                answers[index] = Answered(Behind(request.session))
                continue
            if request.start != session.replied:  # the last reply was not received
                session.text.told = 0
            session.text.bring_in_line(request.start, request.data)
            if session.length >= self._info.context_length or not self._fits(session.length + 1):
                answers[index] = Answered(Full(request.session, len(session.text.text)))
                continue
            if isinstance(request, AskLogprobs):
                answers[index] = Answered(self._logprobs(request, session))
                continue
            ready.append((index, request, session))
        self._forward([session for _, _, session in ready])
        for index, request, session in ready:
            if session.logits is not None:
                answers[index] = self._reply(request, session, session.logits)
        return answers

    def _fits(self, tokens: int) -> bool:
        return self._pool.bytes_for(tokens) <= self._pool.budget

    def _reply(self, request: _Question, session: Session, logits: torch.Tensor) -> Answered:
        offset = session.replied = len(session.text.text)
        forwarded, session.forwarded = session.forwarded, 0
        match request:
            case AskCandidates():
                listing = self._lister.candidates(logits, session.text, request.k)
                session.text.list_pieces(listing.tokens)
                spelling = session.text.spelling()
                reply = CandidatesReply(request.session, offset, listing.candidates, forwarded, spelling)
                return Answered(reply, listing.greedy)
            case AskScores():
                scores = self._lister.score(logits, session.text, request.pieces)
                return Answered(ScoresReply(request.session, offset, scores, forwarded, session.text.spelling()))
            case AskMarginals():
                exact, end, following = self._lister.marginals(logits, session.text, request.pending)
                spelling = session.text.spelling()
                return Answered(MarginalsReply(request.session, offset, exact, end, following, forwarded, spelling))

    def _logprobs(self, request: AskLogprobs, session: Session) -> LogprobsReply:
        """The log-probability of every token of the session's text, from a prefill of its own."""
        session.crop()
        before = len(session.prompt.ids) - 1  # what is read off here foresees the text's first token
        self._pool.fitting([session])
        if session.cache.length == 0:
            self._pool.lend_prefix(session)
        session.cache.crop(before)
        session.logits = None
        ids, found = session.ids, []
        while session.cache.length < session.length - 1:
            start = session.cache.length
            stop = min(before, start + self._options.prefill_chunk) if start < before else start + _ROWS
            new = ids[start : min(stop, session.length - 1)]
            rows = self._compute([(session, new)], every=start >= before)
            session.cache.length += len(new)
            session.forwarded += len(new)
            if start >= before:
                targets = torch.tensor(ids[start + 1 : start + 1 + len(new)], device=rows.device)
                chosen = rows.gather(1, targets[:, None])[:, 0]
                found += (chosen - torch.logsumexp(rows, 1)).tolist()
        text = session.text
        offset = session.replied = len(text.text)
        forwarded, session.forwarded = session.forwarded, 0
        ends = tuple(max(0, end - len(text.lead)) for end in text.ends)
        return LogprobsReply(request.session, offset, ends, tuple(found), forwarded)

    def _forward(self, sessions: list[Session]) -> None:
        """One packed forward pass over what the sessions' caches lack.

        Of long pieces of work (prompts) at most ``prefill_chunk`` tokens are computed in one pass, in the order of the
        requests, so that sessions that need one token each do not wait for them.
        """
        for session in sessions:
            session.crop()
        wanted = [session for session in sessions if session.logits is None]
        work: list[tuple[Session, list[int]]] = []
        budget = self._options.prefill_chunk
        for session in self._pool.fitting(one_of_each(wanted)):
            if session.cache.length == 0:
                self._pool.lend_prefix(session)
            new = session.missing
            if len(new) > _SHORT:
                new = new[:budget]
                budget -= len(new)
            if new:
                work.append((session, new))
        if not work:
            return
        logits = self._compute(work)
        for index, (session, new) in enumerate(work):
            session.cache.length += len(new)
            session.forwarded += len(new)
            if session.cache.length == session.length:
                # Not a view: it would keep the whole batch's logits alive as long as one session is idle.
                session.logits = logits[index].clone() if len(work) > 1 else logits[index]

    def _compute(self, work: list[tuple[Session, list[int]]], every: bool = False) -> torch.Tensor:
        """Logits after the last new token of each session: [sessions, vocabulary], float32. Fills the caches.

        ``every``: after every new token, in order.
        """
        device = self._model.device
        row = [token for _, new in work for token in new]
        starts = [session.cache.length for session, _ in work]
        positions = [start + i for start, (_, new) in zip(starts, work, strict=True) for i in range(len(new))]
        ends = torch.tensor([len(new) for _, new in work], device=device).cumsum(0) - 1
        with torch.inference_mode(), packed([Segment(session.cache, len(new)) for session, new in work]):
            output = self._model(
                input_ids=torch.tensor([row], device=device),
                position_ids=torch.tensor([positions], device=device),
                use_cache=False,
                logits_to_keep=0 if every else ends,
            )
            logits: torch.Tensor = output.logits[0].float()
        return logits

"""What engines share whose forward pass brings whole rows of logits: text, sessions, batches and candidates."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import torch

from tokencollab.engines.base import EngineReply, EngineRequest
from tokencollab.engines.candidate_reader import CandidateReader, Top
from tokencollab.engines.session_pool import Session, SessionPool
from tokencollab.engines.text.alignment import AnswerText
from tokencollab.engines.text.chat import PromptRenderer, RenderedPrompt, TooLong, longest_token
from tokencollab.engines.text.tokenisation import TextTokenizer
from tokencollab.engines.text.vocabulary import Vocabulary
from tokencollab.errors import ModelRefused
from tokencollab.protocol.messages import (
    ByteMarginals,
    CandidatesReply,
    ContextExhausted,
    LogprobsReply,
    MarginalsReply,
    ModelInfo,
    NextCandidates,
    Open,
    Opened,
    Refused,
    ScorePieces,
    ScoresReply,
    ScoreText,
    SessionLost,
)

SHORT = 16
"""Tokens of one session in a pass; more than this is prefill."""

_ROWS = 64  # rows of logits in one computation: of 262,144 float32 each, 67 MB

_Question: TypeAlias = NextCandidates | ScorePieces | ByteMarginals


class LogitsEngine(ABC):
    """One model behind the `Engine` protocol; how it computes is left to `_compute`.

    Attributes:
        text_type: how sessions hold the shared text; benchmarks compare others.
    """

    text_type: type[AnswerText] = AnswerText

    def __init__(
        self,
        info: ModelInfo,
        tokenizer: Any,
        vocabulary: Vocabulary,
        pool: SessionPool,
        *,
        prefill_chunk: int,
        template: Mapping[str, Any],
        device: torch.device,
    ) -> None:
        """``tokenizer`` is transformers', ``device`` that of the logits; the others as in `EngineOptions`.

        Raises:
            ModelRefused: the tokenizer changes text, or there is no chat template that takes these arguments.
        """
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        try:
            self._text_tokenizer = TextTokenizer(tokenizer, vocabulary)
        except ModelRefused as error:
            raise ModelRefused(f"{info.name} is incompatible: {error}") from error
        unknown = any(bytes([byte]) not in vocabulary.id_of for byte in range(256))
        longest = longest_token(vocabulary.pieces, tokenizer, unknown)
        self._info = replace(info, token_bytes=longest)
        self._most_bytes = self._info.most_bytes
        try:
            self._prompts = PromptRenderer(tokenizer, context=info.context_length, longest=longest, arguments=template)
        except ModelRefused as error:
            raise ModelRefused(f"{info.name}: {error}") from error
        self._lister = CandidateReader(vocabulary, device)
        self._pool = pool
        self._prefill_chunk = prefill_chunk

    @abstractmethod
    def _compute(self, work: list[tuple[Session, list[int]]], every: bool = False) -> torch.Tensor:
        """One forward pass over the new tokens of each session, behind the first ``cache.length`` of its cache.

        The logits are those after the last new token of each session: [sessions, vocabulary], float32; with ``every``
        after every new token, in order. The caches hold the new keys and values; the caller sets their lengths.
        """

    def _new_session(self, name: str, session: Session) -> None:
        self._pool.add(name, session)

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def kv_bytes(self) -> int:
        return self._pool.nbytes

    @property
    def pool(self) -> SessionPool:
        return self._pool

    def open(self, request: Open) -> Opened | Refused:
        return self.prepare(request)()

    def prepare(self, request: Open) -> Callable[[], Opened | Refused]:
        """See `PreparesPrompts`. Renders the conversation; the prompt is computed with the first question."""
        name = self._info.name
        refused: Refused
        try:
            prompt = self._prompts.render(request.messages)
            if len(request.text) + sum(map(len, filter(None, request.pieces))) > self._most_bytes:
                raise TooLong(f"{len(prompt.ids)} tokens, and the answer so far {len(request.text)} bytes,")
        except ModelRefused as error:
            refused = Refused(request.session, "ModelRefused", f"{name}: {error}")
        except TooLong as error:
            refused = Refused(request.session, "PromptTooLong", self._info.too_long(str(error)))
        else:
            return lambda: self._opened(request, prompt)
        return lambda: refused

    def _opened(self, request: Open, prompt: RenderedPrompt) -> Opened | Refused:
        if not self._fits(len(prompt.ids) + 1):
            need, have = self._pool.bytes_for(len(prompt.ids) + 1) / 1e6, self._pool.budget / 1e6
            return Refused(
                request.session,
                "PromptTooLong",
                f"the prompt's {len(prompt.ids)} tokens need {need:,.1f} MB of KV cache in {self._info.name}, whose "
                f"budget is {have:,.1f} MB: raise it (kv_megabytes, --kv-megabytes) or shorten the prompt",
            )
        text = self.text_type(self._vocabulary, self._text_tokenizer, prompt.lead)
        text.restore(request.text, request.spelling)
        for piece in request.pieces:
            text.bring_in_line(len(text.text), piece or b"")
        self._new_session(request.session, Session(prompt, text))
        return Opened(request.session, len(prompt.ids), self._info.context_length - len(prompt.ids))

    def close(self, session: str) -> None:
        self._pool.remove(session)

    def next_candidates(self, requests: Sequence[EngineRequest]) -> list[EngineReply | None]:
        answers: list[EngineReply | None] = [None] * len(requests)
        ready: list[tuple[int, _Question, Session]] = []
        for index, asked in enumerate(requests):
            request = asked.at_first_offset() if isinstance(asked, NextCandidates) else asked
            session = self._pool.get(request.session)
            if session is None or len(session.text.text) < request.start:
                answers[index] = EngineReply(SessionLost(request.session))
                continue
            if request.start != session.replied:  # the last reply was not received
                session.text.told = 0
            if request.start + len(request.data) > self._most_bytes:  # refused before it is tokenised
                answers[index] = EngineReply(ContextExhausted(request.session, len(session.text.text)))
                continue
            session.text.bring_in_line(request.start, request.data)
            if session.length >= self._info.context_length or not self._fits(session.length + 1):
                answers[index] = EngineReply(ContextExhausted(request.session, len(session.text.text)))
                continue
            if isinstance(request, ScoreText):
                answers[index] = EngineReply(self._logprobs(request, session))
                continue
            ready.append((index, request, session))
        tops = self._forward([(request, session) for _, request, session in ready])
        for index, request, session in ready:
            if session.logits is not None:
                answers[index] = self._reply(request, session, session.logits, tops.get(request.session))
        return answers

    def _fits(self, tokens: int) -> bool:
        return self._pool.bytes_for(tokens) <= self._pool.budget

    def _reply(self, request: _Question, session: Session, logits: torch.Tensor, top: Top | None) -> EngineReply:
        offset = session.replied = len(session.text.text)
        forwarded, session.forwarded = session.forwarded, 0
        match request:
            case NextCandidates():
                read = self._lister.candidates(logits, session.text, request.k, top)
                session.text.list_pieces(read.tokens)
                spelling = session.text.spelling()
                reply = CandidatesReply(request.session, offset, read.candidates, forwarded, spelling)
                return EngineReply(reply, read.greedy)
            case ScorePieces():
                scores = self._lister.score(logits, session.text, request.pieces)
                return EngineReply(ScoresReply(request.session, offset, scores, forwarded, session.text.spelling()))
            case ByteMarginals():
                exact, end, following = self._lister.marginals(logits, session.text, request.pending)
                spelling = session.text.spelling()
                return EngineReply(MarginalsReply(request.session, offset, exact, end, following, forwarded, spelling))

    def _logprobs(self, request: ScoreText, session: Session) -> LogprobsReply:
        """The log-probability of every token of the session's text, from a prefill of its own."""
        session.crop()
        before = len(session.prompt.ids) - 1  # what is read off here foresees the text's first token
        self._pool.fitting(self._admitted([session], [session]))
        if session.cache.length == 0:
            self._pool.lend_prefix(session)
        session.cache.crop(before)
        session.logits = None
        ids, found = session.ids, []
        while session.cache.length < session.length - 1:
            start = session.cache.length
            stop = min(before, start + self._prefill_chunk) if start < before else start + _ROWS
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
        text.told = 0  # this reply has no spelling
        forwarded, session.forwarded = session.forwarded, 0
        ends = tuple(max(0, end - len(text.lead)) for end in text.ends)
        return LogprobsReply(request.session, offset, ends, tuple(found), forwarded)

    def _forward(self, ready: list[tuple[_Question, Session]]) -> dict[str, Top]:
        """One forward pass over what the sessions' caches lack; the best tokens of sessions asked for candidates.

        Of long pieces of work (prompts) at most ``prefill_chunk`` tokens are computed in one pass, in the order of the
        requests, so that sessions that need one token each do not wait for them.
        """
        asked = [session for _, session in ready]
        for session in asked:
            session.crop()
        wanted = self._pool.leading([session for session in asked if session.logits is None])
        work: list[tuple[Session, list[int]]] = []
        budget = self._prefill_chunk
        for session in self._pool.fitting(self._admitted(wanted, asked)):
            if session.cache.length == 0:
                self._pool.lend_prefix(session)
            new = session.missing
            if len(new) > SHORT:
                new = new[:budget]
                budget -= len(new)
            if new:
                work.append((session, new))
        if not work:
            return {}
        logits = self._compute(work)
        row_of: dict[int, int] = {}
        for row, (session, new) in enumerate(work):
            session.cache.length += len(new)
            session.forwarded += len(new)
            if session.cache.length == session.length:
                # Not a view: it would keep the whole batch's logits alive as long as one session is idle.
                session.logits = logits[row].clone() if len(work) > 1 else logits[row]
                row_of[id(session)] = row
        return self._tops(logits, [(request, row_of[id(s)]) for request, s in ready if id(s) in row_of])

    def _admitted(self, wanted: list[Session], asked: list[Session]) -> list[Session]:
        """Those of ``wanted`` that may join the next pass; ``asked``: all that are waiting for an answer."""
        return wanted

    def _tops(self, logits: torch.Tensor, computed: list[tuple[_Question, int]]) -> dict[str, Top]:
        """The best tokens of all rows that candidates are asked of, by session."""
        alike: dict[int, list[tuple[str, int]]] = defaultdict(list)
        for request, row in computed:
            if isinstance(request, NextCandidates):
                alike[request.k].append((request.session, row))
        tops: dict[str, Top] = {}
        for k, asked in alike.items():
            rows = [row for _, row in asked]
            some = logits if rows == list(range(len(logits))) else logits[rows]
            tops |= zip((session for session, _ in asked), self._lister.tops(some, k), strict=True)
        return tops

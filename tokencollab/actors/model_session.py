"""One model as one session deals with it: what it has been sent, and the session's questions in its terms."""

from bisect import bisect_right
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from tokencollab import errors
from tokencollab.actors.supervisor import Supervisor
from tokencollab.engines.base import EXTRA_CANDIDATES
from tokencollab.policies import events as e
from tokencollab.protocol import messages as m
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.codec import MAX_REASON
from tokencollab.protocol.pieces import EOS, MAX_PIECE_BYTES
from tokencollab.protocol.replies import SPARE_TOKENS
from tokencollab.protocol.spelling import TOKEN_BYTES, KeptSpelling, Spelling

ModelReply: TypeAlias = m.CandidatesReply | m.ScoresReply | m.MarginalsReply | m.SoloPiece | m.Unsure

_MOST_PIECES = 1024  # that a model which comes back is given one by one
BYTES_PER_TOKEN = 4  # of prompts, before the model has counted them
_TEMPLATE_TOKENS = 1 << 16  # of a prompt, beside those of the conversation
_PASSES = 64  # times that a model may have computed all it holds for one reply
_SPELT_PER_REPLY = 256  # tokens that one reply may say anew, on average, beside two for each new byte


class ReceivedEvent(NamedTuple):
    """An event, and what came with it.

    ``forwarded``: tokens that went through the model for it, the prompt left out. ``spelling``: what changed in how
    the model holds the text up to ``offset``. ``taken_back``: candidate sets for pieces that were not sent.
    """

    event: e.Event
    forwarded: int = 0
    offset: int = 0
    spelling: Spelling | None = None
    taken_back: int = 0


class SharedText:
    """The answer so far; grows by what the policy commits."""

    def __init__(self) -> None:
        self.data = b""
        self._ends: list[int] = []  # of the pieces

    def append(self, piece: bytes) -> None:
        if piece:
            self.data += piece
            self._ends.append(len(self.data))

    def pieces(self, offset: int) -> tuple[bytes, ...]:
        """What was committed after ``offset``, piece by piece; of a very long text the first ones are joined.

        No longer than a piece may be: a model that was away for long must still be able to come back.
        """
        ends = self._ends[bisect_right(self._ends, offset) :]
        first = len(ends) - _MOST_PIECES
        joined: list[int] = []
        for index, end in enumerate(ends[: max(0, first)]):
            if ends[index + 1] - (joined[-1] if joined else offset) > MAX_PIECE_BYTES or index == first - 1:
                joined.append(end)
        ends = [*joined, *ends[max(0, first) :]]
        return tuple(self.data[start:end] for start, end in zip((offset, *ends), ends, strict=False))


class ModelSession:
    def __init__(self, member: Supervisor, request: m.Open, text: SharedText, sampling: m.Sampling) -> None:
        self.member = member
        self._open = request
        self._text = text
        self._sampling = sampling
        self._held = 0  # bytes of the text that it has been sent
        self._spelt = 0  # bytes of the text at its last reply, for a restart
        self._spelling = KeptSpelling()  # of these bytes
        self._spellable = 0  # tokens that its replies may still say anew
        size = sum(len(turn.content.encode()) for turn in request.messages)
        self._prompt_tokens = size // BYTES_PER_TOKEN
        self._most_prompt_tokens = size + _TEMPLATE_TOKENS
        self._ahead = b""  # the text as it is with what the model wrote alone, which the reader may not have yet
        self._fresh = True  # the next answer is about the prompt too
        self.opened = False
        self.prompt_tokens: int | None = None  # as the model counted them

    async def open(self, pieces: tuple[bytes, ...] = ()) -> None:
        """Begins the session at the model, or takes it up where its last reply was, with ``pieces`` after that.

        Raises PromptTooLong, ModelRefused, PlatformFull: it cannot take this conversation.
        """
        offset = self._spelt
        request = replace(self._open, text=self._until(offset), spelling=self._spelling.whole, pieces=pieces)
        self._fresh = self.opened = True
        match await self._call(request):
            case m.Opened(_, tokens):
                self.prompt_tokens = self._prompt_tokens = min(tokens, self._most_prompt_tokens)
                self._held = offset + sum(map(len, pieces))
            case reply:
                raise self._malformed(reply, request)

    async def catch_up(self) -> None:
        """Opens the session at a model that joins or came back, and has it compute the text so far.

        So nobody waits for that when it takes part.
        """
        await self.open(self._text.pieces(self._spelt))
        start, offset = self._held, len(self._text.data)
        reply = await self._call(m.NextCandidates(self._open.session, start, self._text.data[start:], 1))
        if isinstance(reply, m.ContextExhausted):
            raise errors.PromptTooLong(f"{self.member.name} has no room for what is written so far")
        if isinstance(reply, m.CandidatesReply) and reply.offset == offset:
            self._held, self._fresh = offset, False
            self.spelt(offset, reply.spelling)

    def forget(self) -> None:
        self._held, self._fresh = 0, True

    def spelt(self, offset: int, spelling: Spelling | None) -> Spelling | None:
        """What the model's reply at ``offset`` says of its spelling, as far as it is kept.

        A model that says everything anew again and again is not listened to: what all its replies bring together
        is linear in the text and the replies.
        """
        self._spellable += _SPELT_PER_REPLY + 2 * max(0, offset - self._spelt)
        self._spelt = offset
        if spelling is not None:
            tokens = len(spelling.tokens) // TOKEN_BYTES
            if tokens > self._spellable:
                spelling = None
            else:
                self._spellable -= tokens
        self._spelling.take(spelling)
        return spelling

    async def ask(self, command: e.RequestCandidates | e.RequestScores | e.RequestMarginals) -> ReceivedEvent:
        """The answer to a question. A model that came back empty is opened again.

        Raises Exception: it has no answer; the model is lost for this step.
        """
        request = self._request(command)
        reply = await self._call(request)
        if isinstance(reply, m.SessionLost):
            await self.open()
            request = self._request(command)
            reply = await self._call(request)
        model = command.model
        heard: e.Event
        match command, reply:
            case _, m.ContextExhausted():
                return ReceivedEvent(e.ModelExhausted(model))
            case e.RequestCandidates(), m.CandidatesReply(_, command.offset, candidates, earlier=()):
                heard = e.CandidatesArrived(model, command.question, _best(candidates, command.k))
            case e.RequestScores(), m.ScoresReply(_, command.offset, logits) if len(logits) == len(command.pieces):
                heard = e.ScoresArrived(model, command.question, logits)
            case e.RequestMarginals(), m.MarginalsReply(_, command.offset):
                heard = e.MarginalsArrived(model, command.question, reply.exact, reply.end, reply.following)
            case _:
                raise self._malformed(reply, request)
        return self._heard(heard, reply)

    async def write(self, command: e.RunSolo, report: bool) -> AsyncIterator[ReceivedEvent]:
        """What the model writes alone. One that came back empty is opened again. Raises as `ask`."""
        running, reopened = command, False
        unsure: ReceivedEvent | None = None
        self._ahead = self._text.data[: command.offset]
        while running.max_steps:
            request = self._alone(running, report)
            async for reply in self.member.write(request, self._tokens(running.offset)):
                match reply:
                    case m.SoloPiece(self._open.session, running.offset, piece, listed) if running.max_steps:
                        running, reopened = running.after(piece), False
                        self._ahead += piece or b""
                        listed = None if listed is None or not report else _best(listed, self._sampling.top_k)
                        yield self._heard(e.SoloStep(running.model, running.question, piece, listed), reply)
                        if piece is EOS:
                            return
                    case m.Unsure(self._open.session, running.offset, candidates) if running.unsure:
                        best = _best(candidates, self._sampling.top_k)
                        event = e.CandidatesArrived(running.model, running.question, best)
                        unsure, running = self._heard(event, reply, reply.taken_back), running._replace(max_steps=0)
                    case m.SessionLost(self._open.session) if not reopened:
                        reopened = True
                        await self.open()
                        break
                    case m.ContextExhausted(self._open.session):
                        yield ReceivedEvent(e.ModelExhausted(running.model))
                        return
                    case _:
                        raise self._malformed(reply, request)
            else:
                if running.max_steps:
                    raise self._malformed(m.Closed(self._open.session), request)  # it has stopped in the middle
        if unsure is not None:  # not before the stream has ended: else it would be cut off
            yield unsure

    async def close(self) -> None:
        if self.opened:
            await self.member.close_session(self._open.session)

    def _heard(self, event: e.Event, reply: ModelReply, taken_back: int = 0) -> ReceivedEvent:
        self._held = reply.offset
        spelling = self.spelt(reply.offset, reply.spelling)
        most = _PASSES * (self._prompt_tokens + reply.offset + SPARE_TOKENS)
        forwarded = 0 if self._fresh else min(reply.forwarded, most)
        self._fresh = False
        return ReceivedEvent(event, forwarded, reply.offset, spelling, taken_back)

    async def _call(self, request: m.Request) -> m.Reply:
        reply = await self.member.call(request, self._tokens(len(self._text.data)))
        if isinstance(reply, m.Refused):
            raise errors.refusal(reply.kind, reply.reason[:MAX_REASON])
        if reply.session != self._open.session:
            raise self._malformed(reply, request)
        return reply

    def _request(
        self, command: e.RequestCandidates | e.RequestScores | e.RequestMarginals
    ) -> m.NextCandidates | m.ScorePieces | m.ByteMarginals:
        session, start = self._open.session, min(self._held, command.offset)
        data = self._text.data[start : command.offset]
        match command:
            case e.RequestCandidates():
                return m.NextCandidates(session, start, data, command.k)
            case e.RequestScores():
                return m.ScorePieces(session, start, data, command.pieces)
            case e.RequestMarginals():
                return m.ByteMarginals(session, start, data, command.pending)

    def _alone(self, running: e.RunSolo, report: bool) -> m.GenerateSolo:
        start = min(self._held, running.offset)
        data = self._until(running.offset)[start:]
        steps = (running.first_step, running.max_steps)
        return m.GenerateSolo(self._open.session, start, data, *steps, report, self._sampling, running.unsure)

    def _until(self, offset: int) -> bytes:
        text = self._text.data
        return (text if len(text) >= offset else self._ahead)[:offset]

    def _tokens(self, offset: int) -> float:
        return self._prompt_tokens + offset / BYTES_PER_TOKEN

    def _malformed(self, reply: m.Reply, request: m.Request) -> errors.MalformedAnswer:
        self.member.malformed()
        at = f" for byte {reply.offset}" if hasattr(reply, "offset") else ""
        return errors.MalformedAnswer(
            f"{self.member.name} answered {type(reply).__name__}{at} to {type(request).__name__}"
        )


def _best(candidates: CandidateSet, k: int) -> CandidateSet:
    """Those that a model sends where ``k`` are wanted: one that sends more must not fill journals with them."""
    most = k + EXTRA_CANDIDATES
    if len(candidates.candidates) <= most:
        return candidates
    return CandidateSet(candidates.candidates[:most], candidates.log_normaliser)

"""What a model that writes alone sends of what it writes."""

from dataclasses import replace
from math import exp

from tokencollab.engines.base import Answered
from tokencollab.policies.selection import choose_alone
from tokencollab.policies.words import goes_on
from tokencollab.protocol.messages import AskAlone, AskCandidates, CandidatesReply, Reply, Unsure, Written

_LONGEST = 32  # pieces of one word


class Writing:
    """The course of one `AskAlone`.

    Where the request has the model stop when it is ``unsure``, the pieces of a word are kept until it is whole. A model
    that is unsure within a word takes it back and answers with its candidates where the word began: the others would
    read it in a cut that they would not make themselves, such as after the first digit of a number.
    """

    def __init__(self, request: AskAlone) -> None:
        """Nothing is written yet."""
        self._request = request
        self._step = request.first_step
        self._word: list[Written] = []
        self._begun: CandidatesReply | None = None  # the candidates where the word began

    @property
    def first(self) -> AskCandidates:
        """The first question to the engine."""
        request = self._request
        return AskCandidates(request.session, request.start, request.data, request.sampling.top_k)

    def heard(self, answered: Answered) -> tuple[list[Reply], AskCandidates | None]:
        """What is to be sent on the engine's answer, and the next question to it: None at the end."""
        reply, request = answered.reply, self._request
        if not isinstance(reply, CandidatesReply):
            return [*self._whole(), reply], None
        text = b"".join(written.piece or b"" for written in self._word)
        if exp(reply.candidates.best.logprob) < request.unsure:
            return self._unsure(reply, inside=goes_on(text, reply.candidates.best.piece)), None
        greedy = request.sampling.top_t == (1, 1)
        piece = answered.greedy if greedy else choose_alone(reply.candidates, request.sampling, self._step)
        listed = reply.candidates if request.report else None
        written = Written(reply.session, reply.offset, piece, listed, reply.forwarded, reply.spelling)
        self._step += 1
        over = piece is None or self._step == request.first_step + request.max_steps
        sent: list[Reply] = []
        if not goes_on(text, piece) or len(self._word) == _LONGEST:
            sent += self._whole()
            self._begun = reply
        self._word.append(written)
        if over or not request.unsure:
            sent += self._whole()
        if piece is None or over:
            return sent, None
        return sent, AskCandidates(reply.session, reply.offset, piece, request.sampling.top_k)

    def _whole(self) -> list[Written]:
        """The pieces that were kept: their word has ended."""
        word, self._word = self._word, []
        return word

    def _unsure(self, reply: CandidatesReply, *, inside: bool) -> list[Reply]:
        sent: list[Reply] = [] if inside else [*self._whole()]
        if self._word and self._begun is not None:
            wasted = reply.forwarded + sum(written.forwarded for written in self._word[1:])
            reply = replace(self._begun, forwarded=self._begun.forwarded + wasted)
        taken_back = len(self._word)
        return [
            *sent,
            Unsure(reply.session, reply.offset, reply.candidates, reply.forwarded, taken_back, reply.spelling),
        ]

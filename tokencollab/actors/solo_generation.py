"""What a model that writes alone sends of what it writes."""

from tokencollab.engines.base import EngineReply
from tokencollab.policies.selection import choose_solo
from tokencollab.policies.words import goes_on
from tokencollab.protocol.messages import CandidatesReply, GenerateSolo, NextCandidates, Reply, SoloPiece, Unsure
from tokencollab.protocol.pieces import Piece

_LONGEST = 32  # pieces of one word


class Writing:
    """The course of one `GenerateSolo`.

    Where the request has the model stop when it is ``unsure``, the pieces of a word are kept until it is whole. A model
    that is unsure within a word takes it back and answers with its candidates where the word began: the others would
    read it in a cut that they would not make themselves, such as after the first digit of a number.
    """

    def __init__(self, request: GenerateSolo) -> None:
        self._request = request
        self._step = request.first_step
        self._word: list[tuple[CandidatesReply, SoloPiece]] = []  # what is kept, and the candidates it was chosen from

    @property
    def first(self) -> NextCandidates:
        request = self._request
        return NextCandidates(request.session, request.start, request.data, request.sampling.top_k)

    def heard(self, answered: EngineReply) -> tuple[list[Reply], NextCandidates | None]:
        """What is to be sent on the engine's answer, and the next question to it: None at the end.

        Raises MalformedAnswer: the model computes no distribution, as where its logits overflow. Candidates need not be
        sent, so nobody else would see it.
        """
        reply, request = answered.reply, self._request
        if not isinstance(reply, CandidatesReply):
            return [*self._whole(), reply], None
        reply.candidates.checked()
        if reply.candidates.confidence < request.unsure:
            return self._unsure(reply), None
        greedy = request.sampling.top_t == (1, 1)
        piece = answered.greedy if greedy else choose_solo(reply.candidates, request.sampling, self._step)
        listed = reply.candidates if request.report else None
        written = SoloPiece(reply.session, reply.offset, piece, listed, reply.forwarded, reply.spelling)
        self._step += 1
        sent: list[Reply] = []
        if not self._goes_on(piece) or len(self._word) == _LONGEST:
            sent += self._whole()
        self._word.append((reply, written))
        over = self._step == request.first_step + request.max_steps
        if piece is None or over or not request.unsure:
            sent += self._whole()
        if piece is None or over:
            return sent, None
        return sent, NextCandidates(reply.session, reply.offset, piece, request.sampling.top_k)

    def _goes_on(self, piece: Piece) -> bool:
        """Whether ``piece`` belongs to the word that is kept."""
        return bool(self._word) and goes_on(b"".join(written.piece or b"" for _, written in self._word), piece)

    def _whole(self) -> list[SoloPiece]:
        """The pieces that were kept: their word has ended."""
        word, self._word = self._word, []
        return [written for _, written in word]

    def _unsure(self, reply: CandidatesReply) -> list[Reply]:
        """What is sent where the model is unsure: the candidates there, or where the word began."""
        sent: list[Reply] = [] if self._goes_on(reply.candidates.best.piece) else [*self._whole()]
        answers = [*(earlier for earlier, _ in self._word), reply]
        begun, forwarded = answers[0], sum(answer.forwarded for answer in answers)
        unsure = Unsure(begun.session, begun.offset, begun.candidates, forwarded, len(self._word), begun.spelling)
        return [*sent, unsure]

"""Candidates at several offsets of a text, gathered from an engine that answers a beginning of them at a time."""

from typing import Final

from tokencollab.engines.base import EngineReply
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.messages import CandidatesReply, NextCandidates, Reply

_ENOUGH: Final = 2 << 20
"""Bytes of candidates after which a reply is sent: with one more set it still fits in a frame."""


class CandidatesAlong:
    """The course of one `NextCandidates` with offsets."""

    def __init__(self, request: NextCandidates) -> None:
        self.first = request
        self._sets: list[CandidateSet] = []
        self._bytes = self._forwarded = 0
        self._last: CandidatesReply | None = None

    def heard(self, answered: EngineReply) -> tuple[list[Reply], NextCandidates | None]:
        """What is to be sent on the engine's answer, and the next question to it: None at the end.

        Where the engine goes no further, for whatever reason, what it has answered is the reply: the reason comes again
        when the rest is asked.
        """
        reply = answered.reply
        if not isinstance(reply, CandidatesReply):
            return [reply if self._last is None else self._reply(self._last)], None
        for found in (*reply.earlier, reply.candidates):
            self._sets.append(found)
            self._bytes += sum(24 + len(candidate.piece or b"") for candidate in found.candidates)
        self._forwarded += reply.forwarded
        self._last = reply
        if self._bytes < _ENOUGH and len(self._sets) < len(self.first.offsets):
            return [], self.first.after(len(self._sets))
        return [self._reply(reply)], None

    def _reply(self, last: CandidatesReply) -> CandidatesReply:
        *earlier, here = self._sets
        return CandidatesReply(last.session, last.offset, here, self._forwarded, last.spelling, tuple(earlier))

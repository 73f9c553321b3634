"""How probable a given text is to a model of a `Collaboration`: one prefill, nothing is decoded."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import exp
from uuid import uuid4

from tokencollab.actors.supervisor import Supervisor
from tokencollab.errors import ModelFailed
from tokencollab.protocol import messages as m

_BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class TextLogprobs:
    """The model's own tokens for a text: the byte at which each ends, and its log-probability."""

    ends: tuple[int, ...]
    logprobs: tuple[float, ...]

    def likelihood(self, length: int) -> float:
        """The geometric mean of the probabilities, per byte of the text's ``length``: from 0 to 1.

        Per byte and not per token, so that models with different tokenizers can be compared.
        """
        return exp(min(0.0, sum(self.logprobs)) / length) if length else 0.0

    def surprise(self, parts: Sequence[bytes]) -> tuple[float, ...]:
        """-log p of each part, in nats; a token belongs to the part in which it ends."""
        nats = [0.0] * len(parts)
        fences = list(accumulate(map(len, parts)))
        index = 0
        for end, logprob in zip(self.ends, self.logprobs, strict=True):
            while index + 1 < len(fences) and end > fences[index]:
                index += 1
            nats[index] -= logprob
        return tuple(nats)


async def text_logprobs(member: Supervisor, turns: Sequence[m.ChatMessage], data: bytes) -> TextLogprobs:
    """The log-probabilities of ``data`` as the answer to ``turns``.

    Raises ModelFailed: the model does not have them, because it fails, or because the text is too long for it.
    """
    session = uuid4().hex
    tokens = (sum(len(turn.content) for turn in turns) + len(data)) / _BYTES_PER_TOKEN
    try:
        for _ in range(2):  # a model that was restarted in between has forgotten the session
            opened = await member.call(m.Open(session, tuple(turns)), tokens)
            if not isinstance(opened, m.Opened):
                raise ModelFailed(
                    f"{member.name} cannot score this: {getattr(opened, 'reason', type(opened).__name__)}"
                )
            match await member.call(m.ScoreText(session, 0, data), tokens):
                case m.LogprobsReply(of, offset, ends, logprobs) if (of, offset) == (session, len(data)):
                    return TextLogprobs(ends, logprobs)
                case m.SessionLost():
                    continue
                case m.ContextExhausted():
                    raise ModelFailed(f"the text is too long for {member.name} to score")
                case reply:
                    member.malformed()
                    raise ModelFailed(f"{member.name} answered {type(reply).__name__} to a question of scores")
        raise ModelFailed(f"{member.name} does not keep what it is to score")
    finally:
        await member.close_session(session)

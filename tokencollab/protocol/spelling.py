"""How a model holds the shared text, so that it can hold it the same way after a restart.

One text can be cut into tokens in many ways, and which one a model holds depends on who wrote what. So each reply says
what changed in the model's own tokens, whoever asks keeps the whole, and `Open` gives it back. Only the model reads it.
"""

from dataclasses import dataclass

TOKEN_BYTES = 8
"""Length of one token in `Spelling.tokens`."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """The tokens of a model for the shared text, or what changed in them since its last reply."""

    kept: int  # how many tokens of the spelling before stay as they were; 0 where this is the whole
    tokens: bytes  # the tokens after these, `TOKEN_BYTES` each
    state: bytes  # what else the model needs to go on alike


class KeptSpelling:
    """The whole spelling of one session, by what each reply says changed in it. A reply costs what it brings."""

    def __init__(self) -> None:
        self._tokens = bytearray()
        self._state: bytes | None = None  # None: the spelling is not known

    def take(self, change: Spelling | None) -> None:
        """What a reply says. Without a spelling, or with one that does not fit to the last, it is not known."""
        size = 0 if change is None else change.kept * TOKEN_BYTES
        if change is None or (size and self._state is None) or size > len(self._tokens):
            self._tokens.clear()
            self._state = None
        else:
            del self._tokens[size:]
            self._tokens += change.tokens
            self._state = change.state

    @property
    def whole(self) -> Spelling | None:
        """The whole spelling; None where it is not known."""
        return None if self._state is None else Spelling(0, bytes(self._tokens), self._state)

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

    def after(self, before: "Spelling | None") -> "Spelling | None":
        """The whole spelling, where ``before`` is the whole at the last reply; None if they do not fit together."""
        if not self.kept:
            return self
        size = self.kept * TOKEN_BYTES
        if before is None or before.kept or len(before.tokens) < size:
            return None
        return Spelling(0, before.tokens[:size] + self.tokens, self.state)

"""From committed bytes to the text a reader sees: whole characters only, and nothing past a stop text."""

import codecs
from collections.abc import Sequence


class TextStream:
    """Turns pieces into text as they come.

    A character that is split over pieces appears with the piece that completes it; bytes that are not valid UTF-8
    appear as U+FFFD once that is certain. Text that may be the beginning of a stop text is held back.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        """``stops``: texts before which the answer ends; empty ones are not allowed."""
        if not all(stops):
            raise ValueError("a stop text must not be empty")
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def feed(self, piece: bytes) -> str:
        """The text that became certain with ``piece``."""
        if self.stopped:
            return ""
        self._held += self._decoder.decode(piece)
        found = [at for at in (self._held.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self.stopped = True
            return self._held[: min(found)]
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text

    def finish(self) -> str:
        """What is left at the end of the answer."""
        if self.stopped:
            return ""
        return self._held + self._decoder.decode(b"", True)


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of ``text`` with which ``stop`` begins."""
    for length in range(len(stop), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0

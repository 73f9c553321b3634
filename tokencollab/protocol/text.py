"""From committed bytes to the text a reader sees: whole characters only, and nothing past a stop text.

And the one function that takes the commands out of a text before it is shown.
"""

import codecs
import re
from collections.abc import Sequence
from typing import Final

# What a terminal, a log or a page may take for a command, or what turns round or hides the text beside it:
_HARMFUL: Final = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and line feed, so that no escape sequence begins
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # direction marks of every kind, and deprecated format characters
    "\u2028\u2029"  # line and paragraph separators
    "\ufff9-\ufffb"  # annotations, which are hidden
    "\ud800-\udfff\ufffe\uffff"  # what no encoding, or no XML, has
    "]"
)


def harmless(text: str) -> str:
    """``text`` for a person to see, without what could be a command: a model, a file or a name may say anything.

    Each harmful character becomes U+FFFD. Line feeds and tabs stay; so do invisible characters that scripts and emoji
    need (joiners, variation selectors, zero-width spaces, tags), private and unassigned ones: they command nothing.
    """
    return _HARMFUL.sub("\ufffd", text)


def one_line(text: str) -> str:
    """The same as a single line: a message, a name in a log."""
    return harmless(" ".join(text.split()))


class TextStream:
    """Turns pieces into text as they come.

    A character that is split over pieces appears with the piece that completes it; bytes that are not valid UTF-8
    appear as U+FFFD once that is certain. Text that may be the beginning of a stop text is held back. The stop text
    that is complete first ends the answer, so that it does not matter how the text was cut into pieces.
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
        if self.stopped:
            return ""
        self._held += self._decoder.decode(piece)
        if self._stop():
            return self._held
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text

    def finish(self) -> str:
        if self.stopped:
            return ""
        self._held += self._decoder.decode(b"", True)
        self._stop()
        return self._held

    def _stop(self) -> bool:
        """Whether the text that is held has a stop text; it and what follows is then left out."""
        found = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = self._held[: min(found)[1]]
        return self.stopped


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of ``text`` with which ``stop`` begins."""
    for length in range(min(len(stop), len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0

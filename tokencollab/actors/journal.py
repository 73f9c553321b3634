"""The journal of an answer: a trace on disk from which the answer is resumed after a crash.

A journal is a trace (`protocol.trace`) whose header also has the conversation, and whose lines also say how the models
held the text. Each line is in the hands of the operating system before its piece is shown to anyone, so a process that
is killed at any moment loses nothing that was seen; a loss of power may take the last lines. What comes after the last
whole line is asked again, and since the models answer the same, the text goes on byte for byte. Lines have chained
checksums: a journal that was changed, or has lines taken out or moved, is not resumed. Only its owner can read it.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from tokencollab.actors.log import Log
from tokencollab.actors.model_session import ReceivedEvent
from tokencollab.actors.recorder import Recorder
from tokencollab.errors import CannotWrite, TraceError, UsageError
from tokencollab.files import make_private_folder, reading, typed_path
from tokencollab.policies import events as e
from tokencollab.policies.recording import recorded_events
from tokencollab.protocol.messages import ChatMessage
from tokencollab.protocol.pieces import Piece
from tokencollab.protocol.spelling import Spelling
from tokencollab.protocol.trace import Trace, TraceEvent, parse_trace
from tokencollab.records import RecordFile, whole_lines, without_checksums

log = Log(__name__)

SUFFIX = ".journal.jsonl"


@dataclass(frozen=True, slots=True)
class Past:
    """What a journal has of an answer."""

    path: Path  # the file
    lines: int  # how many whole lines it has
    trace: Trace  # the same as a trace
    messages: tuple[ChatMessage, ...]  # the conversation
    heard: tuple[ReceivedEvent, ...]  # everything that the policy heard, in order

    def away(self, models: Iterable[str]) -> list[str]:
        """Those of ``models`` that did not take part at the end of the journal."""
        here = set(self.trace.models)
        for heard in self.heard:
            if isinstance(heard.event, e.ModelLost | e.ModelExhausted):
                here.discard(heard.event.model)
            elif isinstance(heard.event, e.ModelJoined):
                here.add(heard.event.model)
        full = {heard.event.model for heard in self.heard if isinstance(heard.event, e.ModelExhausted)}
        return [model for model in models if model not in here | full]

    def check(self, pieces: Sequence[Piece]) -> None:
        """Whether these are the pieces of the journal; a single event may have led to a few more.

        Raises TraceError: they are not.
        """
        recorded = [step.chosen for step in self.trace.steps]
        if list(pieces[: len(recorded)]) != recorded:
            raise TraceError(f"{self.path}: the recorded events do not lead to the recorded pieces")


class Journal(Recorder):
    """Writes a journal; removes it when the answer has come to its end, unless it is to be kept."""

    def __init__(
        self,
        path: Path,
        models: Sequence[str],
        settings: Mapping[str, object],
        messages: Sequence[ChatMessage],
        *,
        keep: bool = False,
        past: Past | None = None,
    ) -> None:
        """The file at ``path``. The steps of ``past``, which was read there, are not written again."""
        conversation = [asdict(message) for message in messages]
        super().__init__(None, models, {**settings, "messages": conversation}, spellings=True)
        self.path = path
        self._keep = keep
        self._past = past
        self._records: RecordFile | None = None
        self._skip = 0 if past is None else 1 + len(past.trace.steps)

    def begin(self) -> None:
        """Makes the file, or cuts the one of before back to its whole lines.

        Raises UsageError: it cannot be written, or is being written by another process.
        """
        try:
            make_private_folder(self.path.parent)
        except OSError as error:
            raise UsageError(f"the journal {self.path} cannot be written: {error.strerror}") from None
        # Not synced: a token must not wait for the disk. A killed process loses nothing, a loss of power may.
        self._records = RecordFile(self.path, resume=self._past is not None, sync=False, chained=True)
        if self._past is not None:
            self._records.keep(self._records.lines[: self._past.lines])
        if not self._records.checksums:
            log.warning("journal not verified", reason=without_checksums(self.path))
        super().begin()

    def _write(self, line: str) -> None:
        if self._skip:  # the steps of `past` are played again through this recorder, and are in the file already
            self._skip -= 1
        elif self._records is not None:
            try:
                self._records.append(line.encode())
            except CannotWrite as error:
                log.warning("recording ended", reason=f"{error}; the answer goes on")
                self.close()

    def ended(self) -> None:
        if not self._keep:
            self.path.unlink(missing_ok=True)

    def refused(self) -> None:
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._records is not None:
            self._records.close()
            self._records = None


def read_journal(path: str | os.PathLike[str]) -> Past:
    """What the journal at ``path`` has; a last line that was cut is left out.

    Raises UsageError: it cannot be read. TraceError: it is damaged elsewhere.
    """
    file = typed_path(path)
    with reading(file, f"the journal {file}"):
        lines = [line.decode() for line in whole_lines(file.read_bytes())]
        trace = parse_trace(lines)
        turns = trace.settings.get("messages")
        if turns is None:
            raise TraceError(f"{file} is a trace, not a journal: it has no conversation")
        try:
            messages = msgspec.convert(turns, tuple[ChatMessage, ...])
        except msgspec.ValidationError as error:
            raise TraceError(f"{file} is not a whole journal: {error}") from error
        heard = tuple(
            _heard(event, entry)
            for step in trace.steps
            for event, entry in zip(recorded_events(step), step.heard, strict=True)
        )
    return Past(file, len(lines), trace, messages, heard)


def _heard(event: e.Event, entry: TraceEvent) -> ReceivedEvent:
    """What was heard, with how the model held the text."""
    if entry.spelling is None:
        return ReceivedEvent(event, taken_back=entry.taken_back)
    offset, kept, tokens, state = entry.spelling
    spelling = Spelling(kept, bytes.fromhex(tokens), bytes.fromhex(state))
    return ReceivedEvent(event, 0, offset, spelling, entry.taken_back)

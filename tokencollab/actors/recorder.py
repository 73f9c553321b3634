"""Writes the trace of an answer while it is being written."""

from collections.abc import Mapping, Sequence
from typing import TextIO

from tokencollab.actors.log import Log
from tokencollab.actors.model_session import ReceivedEvent
from tokencollab.policies import events as e
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.checksums import add_checksum
from tokencollab.protocol.pieces import Piece
from tokencollab.protocol.trace import TraceMarginals, header_line, step_line

log = Log(__name__)


class Recorder:
    """Collects what the policy heard, and writes a line per committed piece.

    A file that cannot be written any more (a full disk) ends the recording, not the answer.
    """

    def __init__(
        self, file: TextIO | None, models: Sequence[str], settings: Mapping[str, object], *, spellings: bool = False
    ) -> None:
        """``models``: the base first; ``spellings``: whether lines say how the models held the text."""
        self._file = file
        self._header = header_line(models, settings)
        self._spellings = spellings
        self._joined: list[str] = []  # they take part from the next step
        self._checksum = 0  # of the last line
        self._next_line()

    def begin(self) -> None:
        self._write(self._header)

    def _next_line(self) -> None:
        self._candidates: dict[str, CandidateSet] = {}
        self._scores: dict[str, Sequence[tuple[Piece, float]]] = {}
        self._marginals: list[TraceMarginals] = []
        self._heard: list[dict[str, object]] = []

    def heard(self, heard: ReceivedEvent, question: e.Command | None) -> None:
        """Keeps what changed the policy's state, in answer to ``question`` where it is an answer."""
        event = heard.event
        match event, question:
            case e.CandidatesArrived(model, _, candidates), _:
                self._candidates[model] = candidates
            case e.ScoresArrived(model, _, logits), e.RequestScores():
                self._scores[model] = list(zip(question.pieces, logits, strict=True))
            case e.MarginalsArrived(model, _, exact, end, following), e.RequestMarginals(_, _, offset, pending):
                self._marginals.append(TraceMarginals(model, offset, pending, exact, end, following))
            case e.SoloStep(model, _, _, CandidateSet() as candidates), _:
                self._candidates[model] = candidates
            case e.ModelJoined(model), _:
                self._joined.append(model)
            case _:
                pass
        if name := e.EVENT_NAMES.get(type(event)):
            entry: dict[str, object] = {"event": name, "model": event.model}  # type: ignore[union-attr]
            if (number := getattr(event, "question", None)) is not None:
                entry["question"] = number
            if heard.taken_back:
                entry["taken_back"] = heard.taken_back
            if self._spellings and (spelling := heard.spelling) is not None:
                entry["spelling"] = [heard.offset, spelling.kept, spelling.tokens.hex(), spelling.state.hex()]
            self._heard.append(entry)

    def committed(self, command: e.Commit) -> None:
        record = command.record
        joined = [model for model in self._joined if model in self._candidates]
        self._joined = [model for model in self._joined if model not in joined]
        self._write(
            step_line(
                record.step,
                self._candidates,
                command.piece,
                alone=record.alone,
                scores=self._scores,
                offsets=dict(record.offsets),
                efficacy=record.efficacy._asdict() if record.efficacy else None,
                lost=record.lost,
                joined=joined,
                marginals=self._marginals,
                heard=self._heard,
            )
        )
        self._next_line()

    def ended(self) -> None:
        """The answer has come to its end."""

    def refused(self) -> None:
        """There will be no answer: a model cannot take the conversation, or the method does not go with the models."""

    def close(self) -> None:
        self._file = None

    def _write(self, line: str) -> None:
        if self._file is None:
            return
        data, self._checksum = add_checksum(line.encode(errors="surrogatepass"), self._checksum)
        if not written(data.decode(errors="surrogatepass"), self._file):
            self.close()


def written(line: str, file: TextIO) -> bool:
    """Whether ``line`` could be written: a full disk, or a file that is closed or no UTF-8, must not cost an answer."""
    try:
        print(line, file=file, flush=True)
    except (OSError, ValueError) as error:
        log.warning("recording ended", reason=f"{getattr(error, 'strerror', None) or error}; the answer goes on")
        return False
    return True

"""Writes the trace of an answer while it is being written."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TextIO

from tokencollab.policies import events as e
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.pieces import Piece
from tokencollab.protocol.trace import TraceMarginals, header_line, step_line


class TraceRecorder:
    """Collects what the models answered, and writes a line per committed piece."""

    def __init__(self, file: TextIO, models: Sequence[str], settings: Mapping[str, object]) -> None:
        """Writes the header. ``models``: the base first."""
        self._file = file
        self._candidates: dict[str, CandidateSet] = {}
        self._alone: list[tuple[str, CandidateSet]] = []
        self._scores: dict[str, Sequence[tuple[Piece, float]]] = {}
        self._marginals: list[TraceMarginals] = []
        print(header_line(models, settings), file=file)

    def received(self, event: e.Event, command: e.Command) -> None:
        """Keeps what ``event`` brought in answer to ``command``."""
        match event, command:
            case e.CandidatesArrived(model, _, candidates), _:
                self._candidates[model] = candidates
            case e.ScoresArrived(model, _, logits), e.Score():
                self._scores[model] = list(zip(command.pieces, logits, strict=True))
            case e.MarginalsArrived(model, _, exact, end, following), e.Marginals():
                answer = TraceMarginals(model, command.offset, command.pending, exact, end, following)
                self._marginals.append(answer)
            case e.AloneStep(model, _, _, CandidateSet() as candidates), _:
                self._alone.append((model, candidates))  # arrives ahead of its commit
            case _:
                pass

    def committed(self, command: e.Commit) -> None:
        """Writes the step's line."""
        record = command.record
        candidates = dict([self._alone.pop(0)]) if record.alone and self._alone else self._candidates
        line = step_line(
            record.step,
            candidates,
            command.piece,
            alone=record.alone,
            scores=self._scores,
            offsets=dict(record.offsets),
            efficacy=asdict(record.efficacy) if record.efficacy else None,
            lost=record.lost,
            marginals=self._marginals,
        )
        print(line, file=self._file)
        self._candidates, self._scores, self._marginals = {}, {}, []

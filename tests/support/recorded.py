"""Traces to be replayed: answers of toy models recorded, and steps written by hand."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.candidates import by_probability, toy
from tokencollab.actors.recorder import Recorder
from tokencollab.policies import events as e
from tokencollab.policies.machine import make_policy
from tokencollab.policies.methods import Method, parse_method, sampling_of
from tokencollab.policies.recording import ReplayStep
from tokencollab.policies.replay import replay
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.pieces import Piece
from tokencollab.protocol.trace import header_line, parse_trace, step_line
from tokencollab.testing import Driver, Model

KEYS = ["step", "chosen", "recorded", "ranks", "s", "f", "st", "s_w", "f_w", "rt", "t0", "exited"]
AGGREGATIONS = ("gac", "unite", "duetnet", "dp", "dk")
EXITS: list[tuple[str, dict[str, Any]]] = [
    ("never", {}),
    ("fixed-9", {}),
    ("self-efficacy", {"omega": 4, "theta": 0.35}),
    ("confidence", {"omega": 4, "theta": 0.2, "ties": "failure"}),
    ("reliability", {"omega": 3, "theta": 0.55, "eps": 0.2}),
    ("consult", {"consult_below": 0.5}),
    ("per-collaborator", {"patience": 3}),
]


@dataclass
class Recorded:
    """An answer, and the lines of its trace."""

    driver: Driver
    trace: list[str]


def recording(method: Method, models: Mapping[str, Model], seed: int, max_tokens: int, heard: bool = True) -> Recorded:
    """An answer that has begun. ``heard``: the trace says in which order things were heard."""
    policy = make_policy(method, max_tokens=max_tokens, seed=seed, report=True)
    recorder = Lines(list(models), {"method": method.to_json(), "seed": seed}, heard)
    return Recorded(Driver(policy, models, sampling=sampling_of(method, seed), recorders=[recorder]), recorder.lines)


class Lines(Recorder):
    """A trace in memory."""

    def __init__(self, models: Sequence[str], settings: Mapping[str, object], heard: bool) -> None:
        super().__init__(None, models, settings)
        self.lines: list[str] = []
        self._says = heard

    def _write(self, line: str) -> None:
        entries = json.loads(line)
        if not self._says:
            entries.pop("heard", None)
        self.lines.append(json.dumps(entries, ensure_ascii=False))


def record(method: Method, seed: int = 5, *, lose: bool = False, heard: bool = False) -> Recorded:
    """One answer of three toy models; with ``lose`` the first collaborator goes away twice and comes back once."""
    recorded = recording(method, {name: toy(name) for name in ("base", "a", "c")}, seed, 40, heard)
    driver = recorded.driver
    while driver.stop is None:
        count = len(driver.commits)
        driver.answer(driver.open[0])
        if lose and len(driver.commits) > count and count in (2, 20):
            driver.hear(e.ModelLost("a"))
        if lose and len(driver.commits) > count and count == 7:
            driver.hear(e.ModelJoined("a"))
    return recorded


def trace_of(*steps: dict[str, CandidateSet], chosen: Sequence[Piece] | None = None, **settings: object) -> list[str]:
    """A trace with a line per step; without ``chosen`` a trace of candidates alone."""
    lines = [header_line(["b", "a"], settings)]
    for number, candidates in enumerate(steps, start=1):
        line = json.loads(step_line(number, candidates, None if chosen is None else chosen[number - 1]))
        if chosen is None:
            del line["chosen"]
        lines.append(json.dumps(line))
    return lines


AGREED = {"b": by_probability((b"x", 0.8), (b"y", 0.1)), "a": by_probability((b"x", 0.7), (b"z", 0.2))}
APART = {"b": by_probability((b"x", 0.8), (b"y", 0.1)), "a": by_probability((b"y", 0.95), (b"z", 0.01))}


def replayed(lines: list[str], name: str | None, *, past_exit: bool = True, **settings: Any) -> list[ReplayStep]:
    method = None if name is None else parse_method(name, **settings)
    return list(replay(parse_trace(lines), method, past_exit))

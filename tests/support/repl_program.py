"""`tokencollab repl` as it is, but with scripted models: a program to be driven from a terminal, without weights.

``python -m tests.support.repl_program --base one --with two ...``

The models know a story by heart; what they are asked decides how they tell it: "forever" goes on until it is stopped,
"dies" has the collaborator fail once at its fifth word, "doomed" always, "wild" has bytes in it that a terminal would
take for commands; with "process" in it the collaborator's own word names its process.
"""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tokencollab import EOS, Collaboration, Piece
from tokencollab.actors.runtimes.base import ModelSpec
from tokencollab.cli import repl
from tokencollab.engines.base import EngineReply, EngineRequest
from tokencollab.protocol.messages import Open, Opened, Refused
from tokencollab.testing import ScriptedEngine, scripted_runtime

TEXT = "The sky is blue because the air scatters blue light more than red light; the rest is silence."
STORY = TEXT.split()
WILD = ["\x1b[2J", "\x07", "wide 日本語 🙂 "]


class Teller(ScriptedEngine):
    """Tells the story, depending on the last question; every third word it would choose another, if it is no base."""

    def __init__(self, name: str, contrary: bool) -> None:
        """``contrary``: a collaborator."""
        super().__init__(name, self._next)
        self._contrary = contrary
        self._questions: dict[str, str] = {}
        self._asked = ""
        self._died = False

    def open(self, request: Open) -> Opened | Refused:
        """Hears the question."""
        self._questions[request.session] = request.messages[-1].content
        return super().open(request)

    def next_candidates(self, requests: Sequence[EngineRequest]) -> list[EngineReply | None]:
        """One after the other, each to its question."""
        answers: list[EngineReply | None] = []
        for request in requests:
            self._asked = self._questions.get(request.session, "")
            answers += super().next_candidates([request])
        return answers

    def _next(self, text: bytes) -> Mapping[Piece, float]:
        at = text.count(b" ")
        if "dies" in self._asked and self._contrary and at == 4 and not self._died:
            self._died = True
            raise RuntimeError("the model died")
        if "doomed" in self._asked and self._contrary and at == 4:
            raise RuntimeError("the model dies again and again")
        words = [*STORY, *WILD] if "wild" in self._asked else STORY
        if "forever" in self._asked:
            at %= len(words)
        word: Piece = words[at].encode() + b" " if at < len(words) else EOS
        other = b"never " if self._contrary else b"always "
        if "process" in self._asked and self._contrary:
            other = b"pid%d " % os.getpid()
        best = {word: 9.0, other: 8.0} if not (self._contrary and at % 3 == 2) else {other: 14.0, word: 8.0}
        return {b"~": 2.0, EOS: 1.0} | best


def make_team(
    arguments: argparse.Namespace, options: Any, method: Any, progress: Any, notify: Callable[[str], None]
) -> Collaboration:
    """In place of `cli.runs.make_team`; ``three`` can be added, unless the models are actors of Ray."""
    names = [arguments.base, *arguments.collaborators]
    if arguments.runtime == "ray":
        from tokencollab.actors.runtimes.ray_actors import RayRuntime

        return Collaboration(names[0], names[1:], method, runtime=RayRuntime(load), notify=notify)
    engines = [Teller(name, index > 0) for index, name in enumerate([*names, "three"])]
    return Collaboration(names[0], names[1:], method, runtime=scripted_runtime(*engines), notify=notify)


def load(spec: ModelSpec) -> Teller:
    """The engine of an actor of Ray."""
    return Teller(spec.name, contrary=spec.name != "one")


if __name__ == "__main__":
    from tokencollab.cli import main

    vars(repl).update(make_team=make_team, fetch_models=lambda arguments, options, progress: None)
    main()

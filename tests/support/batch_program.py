"""`tokencollab batch` as it is, but with scripted models: a program to be interrupted, without weights to load.

``python -m tests.support.batch_program PROMPTS --out FILE ...``
"""

import argparse
from collections.abc import Callable, Mapping
from math import log
from typing import Any

from tokencollab import EOS, Collaboration, Piece
from tokencollab.actors.runtimes.base import ModelSpec
from tokencollab.cli import batch, main
from tokencollab.cli.runs import in_ray_job
from tokencollab.testing import ScriptedEngine, scripted_runtime


def script(text: bytes) -> Mapping[Piece, float]:
    """Random words, until EOS becomes probable."""
    return {piece: log(1 + index) for index, piece in enumerate([b"a", b"b", b"c", b"d"])} | {EOS: len(text) / 50}


def make_team(
    arguments: argparse.Namespace, options: Any, method: Any, progress: Any, notify: Callable[[str], None]
) -> Collaboration:
    """In place of `cli.runs.make_team`."""
    names = [arguments.base, *arguments.collaborators]
    if in_ray_job():
        from tokencollab.actors.runtimes.ray_actors import RayRuntime

        return Collaboration(names[0], names[1:], method, runtime=RayRuntime(load), notify=notify)
    engines = [ScriptedEngine(name, script) for name in names]
    return Collaboration(names[0], names[1:], method, runtime=scripted_runtime(*engines), notify=notify)


def load(spec: ModelSpec) -> ScriptedEngine:
    """The engine of an actor of Ray."""
    return ScriptedEngine(spec.name, script)


if __name__ == "__main__":
    vars(batch).update(make_team=make_team, fetch_models=lambda arguments, options, progress: [])
    main()

"""Mutants of functions: mutmut makes them, and each is tried in a fork of a process that has collected the tests.

Usage: python -m benchmarks.mutants_run COPY TESTS [PATTERN ...], with the copy that `mutants.sh` makes and a folder of
tests. mutmut's own runner collects the tests again for each mutant, which takes many times as long. Writes
COPY/functions.json; mutants that it says are dead, and known survivors (`mutants_table`), are not tried again.
"""

import ast
import gc
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from difflib import unified_diff
from fnmatch import fnmatch
from pathlib import Path
from random import Random
from time import process_time
from typing import Any

import pytest

from benchmarks.mutants_table import known, place

CHILDREN = os.cpu_count() or 1
PATIENCE, LEAST = 5, 5  # a mutant is endless after so many times the processor time of its tests, and seconds at least


@dataclass
class Mutant:
    """One change of one function, and what became of it (open: not tried)."""

    module: str
    name: str
    function: str
    change: str
    status: str = "open"


def generate(source: Path, target: Path) -> Iterator[Mutant]:
    """Writes the module with all its mutants side by side, one of which an environment variable switches on."""
    from mutmut.mutation.file_mutation import mutate_file_contents

    made = mutate_file_contents(str(source), source.read_text())
    target.write_text(made.code)
    found = {node.name: node for node in ast.walk(ast.parse(made.code)) if isinstance(node, ast.FunctionDef)}
    lines = made.code.splitlines()
    dotted = ".".join(("tokencollab", source.parent.name, source.stem))
    for name in made.mutant_names:
        base = name.partition("__mutmut_")[0]
        old, new = (lines[n.lineno : n.end_lineno] for n in (found[base + "__mutmut_orig"], found[name]))
        changed = [
            x[0] + x[1:].strip() for x in unified_diff(old, new, n=0, lineterm="") if x[:3] not in ("---", "+++")
        ]
        change = "\n".join(line for line in changed if not line.startswith("@"))
        yield Mutant(source.stem, f"{dotted}.{name}", f"{dotted}.{base}", change)


class Trials:
    """A pytest plugin: in the place of running the tests, run those of each mutant until one fails."""

    def __init__(self, mutants: list[Mutant], results: Path) -> None:
        self.mutants, self.results = mutants, results
        self.durations: dict[str, float] = {}
        self.covering: dict[str, set[str]] = {}
        self.current = ""

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        from mutmut.mutation import trampoline

        trampoline.record_trampoline_hit = self.hit
        os.environ["MUTANT_UNDER_TEST"] = "stats"
        for item in session.items:
            self.current, began = item.nodeid, process_time()
            run(item, None)
            self.durations[item.nodeid] = process_time() - began
        if session.testsfailed:
            raise session.Failed("the tests fail without any mutant")
        gc.freeze()
        self.try_all(session)
        return True

    def hit(self, name: str, **_: Any) -> None:
        self.covering.setdefault(name, set()).add(self.current)

    def try_all(self, session: pytest.Session) -> None:
        running: dict[int, Mutant] = {}
        waiting = [mutant for mutant in self.mutants if mutant.status == "open"]
        Random(0).shuffle(waiting)  # noqa: S311 - so that what an interrupted run has tried is a fair sample
        while waiting or running:
            while waiting and len(running) < CHILDREN:
                mutant = waiting.pop()
                names = self.covering.get(mutant.function, set())
                if not names:
                    mutant.status = "survived"
                    continue
                if (child := os.fork()) == 0:
                    self.one(session, mutant, names)
                running[child] = mutant
            if not running:
                break
            child, code = os.wait()
            ended = os.waitstatus_to_exitcode(code)
            mutant = running.pop(child)
            mutant.status = "survived" if ended == 0 else "timeout" if ended == -signal.SIGXCPU else "killed"
            left = len(waiting) + len(running)
            if left % 20 == 0:
                self.results.write_text(json.dumps([asdict(each) for each in self.mutants], indent=1))
                print(f"mutants: {left} to come", file=sys.__stderr__, flush=True)
        self.results.write_text(json.dumps([asdict(each) for each in self.mutants], indent=1))

    def one(self, session: pytest.Session, mutant: Mutant, names: set[str]) -> None:
        """In a process of its own: the tests that reach the function, the quick ones first."""
        session.config.pluginmanager.unregister(name="terminalreporter")
        os.environ["MUTANT_UNDER_TEST"] = mutant.name
        items = sorted((i for i in session.items if i.nodeid in names), key=lambda i: self.durations[i.nodeid])
        seconds = int(PATIENCE * sum(self.durations[name] for name in names)) + LEAST
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        try:
            for item in items:
                run(item, None)
                if session.testsfailed:
                    os._exit(1)
        except BaseException:  # a mutant may break pytest itself
            os._exit(1)
        os._exit(0)


def run(item: pytest.Item, following: pytest.Item | None) -> None:
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def concerns(pattern: str, module: str) -> bool:
    """Whether a pattern may name a mutant of the module."""
    return pattern.startswith(module) or fnmatch(module, pattern)


def main(copy: Path, tests: str, patterns: list[str]) -> None:
    """Generate, try, write down."""
    os.chdir(copy)
    mutants = [
        mutant
        for package in ("policies", "protocol")
        for source in sorted(Path("original", package).glob("*.py"))
        if not patterns or any(concerns(pattern, f"tokencollab.{package}.{source.stem}.") for pattern in patterns)
        for mutant in generate(source, Path("tokencollab", package, source.name))
    ]
    if patterns:
        mutants = [m for m in mutants if any(fnmatch(m.name, pattern) for pattern in patterns)]
    results = Path("functions.json")
    tried = {(m["name"], m["change"]): m["status"] for m in json.loads(results.read_text())} if results.exists() else {}
    settled = known()
    for mutant in mutants:
        mutant.status = tried.get((mutant.name, mutant.change), "open")
        if mutant.status == "survived" and (place(mutant.function), mutant.change) not in settled:
            mutant.status = "open"
    sys.path[:0] = [os.getcwd()]
    code = pytest.main(["-q", "-p", "no:cacheprovider", tests], plugins=[Trials(mutants, results)])
    if any(mutant.status == "open" for mutant in mutants):
        sys.exit(f"not every mutant was tried (pytest: {code})")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])

"""How well the specialists do alone, and how often at least one of two is right.

    python -m examples.specialists.evaluate [NAME ...] [--n 1000] [--seed 0]

Greedy, through tokencollab's own engine, many problems per forward pass. With several names it prints for each two of
them how many problems at least one has right, and what that would be if their errors were independent.
"""

import argparse
import itertools
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from examples.specialists.recipes import RECIPES
from tokencollab.engines.options import EngineOptions
from tokencollab.engines.transformers_engine import TransformersEngine
from tokencollab.evaluation.simplemath import Problem, simplemath
from tokencollab.evaluation.statistics import wilson
from tokencollab.models.catalogue import CATALOGUE
from tokencollab.models.resolve import resolve
from tokencollab.protocol.messages import ChatMessage, NextCandidates, Open

BUILT_IN = [name for name, model in CATALOGUE.items() if model.folder]
LONGEST = 96  # bytes of an answer
TOGETHER = 200  # problems in one forward pass


def solve(engine: TransformersEngine, questions: Sequence[str]) -> list[str]:
    """Greedy answers, all written at the same time; ``LONGEST`` bytes at most."""
    texts = [b""] * len(questions)
    writing = dict.fromkeys(range(len(questions)), (0, b""))  # what each session is told next: from where, which bytes
    for index, question in enumerate(questions):
        engine.open(Open(str(index), (ChatMessage("user", question),)))
    for _ in range(LONGEST * 2):  # a forward pass may leave some prompts for the next one
        requests = {index: NextCandidates(str(index), *told, 1) for index, told in writing.items()}
        for index, answered in zip(requests, engine.next_candidates(list(requests.values())), strict=True):
            if answered is None:
                continue
            if answered.greedy is None or len(texts[index]) >= LONGEST:
                del writing[index]
                continue
            writing[index] = (len(texts[index]), answered.greedy)
            texts[index] += answered.greedy
    for index in range(len(questions)):
        engine.close(str(index))
    return [text.decode("utf-8", "replace") for text in texts]


def answer_of(text: str) -> str | None:
    """The number after the last "answer"; None where there is none."""
    found = re.findall(r"answer (-?\d+)", text)
    return found[-1] if found else None


def weak_problem(problem: Problem, name: str) -> bool:
    """Whether a problem has a product at the weak spot of this specialist."""
    weak = RECIPES[Path(name).name].weak_spot
    a = [int(number) for number in re.findall(r"\d+", problem.question)]
    return weak is not None and (weak.covers(a[1], a[2]) or weak.covers(a[4], a[5]))


def report(names: Sequence[str], n: int, seed: int) -> None:
    """Solves and prints the tables (Markdown)."""
    problems = simplemath(n, seed)
    right: dict[str, list[bool]] = {}
    print(f"n = {n}, seed {seed}\n\n| model | right | 95 % | with a weak product | without |\n|---|---|---|---|---|")
    for name in names:
        engine = TransformersEngine.from_folder(name, resolve(name).folder, EngineOptions(threads=1))
        answers: list[str] = []
        for start in range(0, n, TOGETHER):
            answers += solve(engine, [problem.question for problem in problems[start : start + TOGETHER]])
        right[name] = [answer_of(text) == problem.answer for text, problem in zip(answers, problems, strict=True)]
        low, high = wilson(sum(right[name]), n)
        weak = [hit for hit, problem in zip(right[name], problems, strict=True) if weak_problem(problem, name)]
        rest = sum(right[name]) - sum(weak)
        print(
            f"| {name} | {_percent(sum(right[name]), n)} | {low:.1%} to {high:.1%} | "
            f"{_percent(sum(weak), len(weak))} | {_percent(rest, n - len(weak))} |",
            flush=True,
        )
    if len(names) < 2:
        return
    print("\n| models | better of them | at least one right | if errors were independent |\n|---|---|---|---|")
    for size in (2, 3):
        for group in itertools.combinations(names, size):
            rows = [right[name] for name in group]
            either = sum(map(any, zip(*rows, strict=True)))
            alone = 1.0
            for row in rows:
                alone *= 1 - sum(row) / n
            better = max(map(sum, rows))
            print(f"| {', '.join(group)} | {_percent(better, n)} | {_percent(either, n)} | {1 - alone:.1%} |")


def _percent(count: int, n: int) -> str:
    return f"{count / n:.1%} ({count}/{n})" if n else "-"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m examples.specialists.evaluate", description=__doc__)
    parser.add_argument("names", nargs="*", default=BUILT_IN, help="specialists, or folders of them")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    report(chosen.names, chosen.n, chosen.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())

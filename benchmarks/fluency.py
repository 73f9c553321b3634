"""How probable the answers of finished runs are to one model: bits per byte, by method.

    python -m benchmarks.fluency DIR ... [--by MODEL] [--data DIR] [--n N] [--methods LIST] [--scores FILE]

Every answer in a run's items.jsonl is scored by one prefill as the answer to its own prompt, in the scoring model's
own tokens; EOS is not scored. Bits per byte are those of all texts of a method over all their bytes, so that long
answers count for more; differences to each member's own answers are paired by item. Empty texts have no bytes: they
are left out and counted.

Read it with care: the scoring model is often a member itself, and finds its own texts probable; and a text that
repeats itself is probable too. So the table has the share of repeated 4-grams of words beside it (seq-rep-4 of
Welleck et al., arXiv 1908.04319, mean over texts).

``--scores`` keeps every score in a file, so that the same command goes on where it was stopped.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from hashlib import sha256
from math import log
from pathlib import Path

import numpy as np
import pandas as pd

from tokencollab.actors.likelihood import text_logprobs
from tokencollab.cli.terminal import ProgressView, RunView, quiet_logs
from tokencollab.collaboration import Collaboration
from tokencollab.engines.options import EngineOptions
from tokencollab.errors import ModelFailed, TokencollabError, UsageError
from tokencollab.evaluation.data_sets import load_items
from tokencollab.evaluation.plan import hash_items
from tokencollab.evaluation.prompts import prompt_of
from tokencollab.evaluation.report.evaluations import Evaluation
from tokencollab.evaluation.report.tables import NONE, Table, number
from tokencollab.evaluation.statistics import Array, bootstrap
from tokencollab.pool import Progress
from tokencollab.protocol.messages import ChatMessage
from tokencollab.records import RecordFile


class Scores:
    """Bits of texts under one model, each computed once; ``file`` keeps them."""

    def __init__(self, team: Collaboration, file: RecordFile | None) -> None:
        """``team`` has one model; it is started."""
        ((self._name, self._member),) = team.supervisors.items()
        self._file = file
        self._known: dict[str, float | None] = {}
        if file is not None:
            self._known = {score["key"]: score["bits"] for score in map(json.loads, file.lines)}
            file.keep(file.lines)

    async def bits(self, prompt: str, text: str) -> float | None:
        """-log2 of the probability of ``text`` as the answer to ``prompt``; None where the model cannot say."""
        key = sha256(json.dumps([self._name, prompt, text]).encode()).hexdigest()
        if key not in self._known:
            try:
                found = await text_logprobs(self._member, [ChatMessage("user", prompt)], text.encode())
                self._known[key] = -sum(found.logprobs) / log(2)
            except ModelFailed as error:
                print(f"fluency: {error}", file=sys.stderr)
                self._known[key] = None
            if self._file is not None:
                self._file.append(json.dumps({"key": key, "bits": self._known[key]}).encode())
        return self._known[key]


def prompts(evaluation: Evaluation, data: str | None, n: int | None) -> dict[str, str]:
    """The prompts of the first ``n`` items of a run, by id.

    Raises:
        UsageError: the items are not those of the run.
    """
    plan = evaluation.run["plan"]
    items = load_items(
        plan["dataset"], len(plan["items"]), plan["seed"], data, mapping=plan.get("map"), checked="grader" not in plan
    )
    if hash_items(items) != plan["items_sha256"]:
        raise UsageError(f"the items of {evaluation.path} are not those of {data or plan['dataset']}; give its --data")
    return {item.id: prompt_of(item, plan["prompt"]) for item in items[:n]}


Found = dict[str, dict[str, tuple[float, int]]]
"""Method -> item -> bits and bytes."""


async def score(evaluation: Evaluation, asked: dict[str, str], methods: Sequence[str], scores: Scores) -> Found:
    """The scores of a run."""
    found: Found = {method: {} for method in methods}
    texts = evaluation.answers.set_index(["method", "item"])["text"].to_dict()
    progress = Progress(len(asked) * len(methods))
    with RunView("texts", 60) as view:
        for item, prompt in asked.items():  # item by item, so that the first ones are there for all methods
            for method in methods:
                text = texts.get((method, item), "")
                bits = await scores.bits(prompt, text) if text else None
                if bits is not None:
                    found[method][item] = bits, len(text.encode())
                progress.done += 1
                view.show(progress)
    return found


def table(evaluation: Evaluation, found: Found, by: str, asked: int) -> Table:
    """What the module says."""
    rows = []
    for method, own in found.items():
        cells = [method, str(len(own)), str(asked - len(own)), _per_byte(own)]
        cells += [NONE if single == method else _more(own, found[single]) for single in evaluation.alone]
        texts = evaluation.answers_of(method)["text"][list(own)]
        cells.append(number(100 * float(texts.map(repeated).mean())) if own else NONE)
        rows.append(cells)
    headings = ("method", "n", "not scored", f"bits per byte by {by}")
    against = [f"more than {single.removeprefix('alone:')} alone" for single in evaluation.alone]
    note = "In brackets 95 % bootstrap intervals over items; differences are paired by item."
    columns = [*headings, *against, "repeated 4-grams, %"]
    return Table(evaluation.title, pd.DataFrame(rows, columns=columns), note)


def _per_byte(own: dict[str, tuple[float, int]]) -> str:
    if not own:
        return NONE
    return _shown(np.array(list(own.values()), dtype=float), lambda means: means[:1] / means[1:2], False)


def _more(own: dict[str, tuple[float, int]], other: dict[str, tuple[float, int]]) -> str:
    both = [item for item in own if item in other]
    if not both:
        return NONE
    columns = np.array([[*own[item], *other[item]] for item in both], dtype=float)
    return _shown(columns, lambda means: means[:1] / means[1:2] - means[2:3] / means[3:4], True)


def _shown(columns: Array, statistic: Callable[[Array], Array], sign: bool) -> str:
    value = float(statistic(columns.mean(axis=0)[:, None])[0, 0])
    bounds = bootstrap(columns, statistic, 0).interval(0)
    return number(value, bounds, 3, sign)


def repeated(text: str, n: int = 4) -> float:
    """The share of n-grams of words that were there before (seq-rep-n)."""
    words = text.split()
    grams = [tuple(words[index : index + n]) for index in range(len(words) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


async def run(arguments: argparse.Namespace) -> list[Table]:
    """A table per folder."""
    evaluations = [Evaluation(Path(folder)) for folder in arguments.folders]
    asked = [prompts(evaluation, arguments.data, arguments.n) for evaluation in evaluations]
    with ExitStack() as stack:
        progress = stack.enter_context(ProgressView())
        file = None
        if arguments.scores:
            file = stack.enter_context(closing(RecordFile(arguments.scores, resume=True)))
        options = EngineOptions(dtype=arguments.dtype)
        async with Collaboration(arguments.by, (), "base", options=options, progress=progress.update) as team:
            progress.close()
            scores = Scores(team, file)
            by = next(iter(team.members))
            tables = []
            for evaluation, prompt in zip(evaluations, asked, strict=True):
                chosen = arguments.methods.split(",") if arguments.methods else list(evaluation.methods.index)
                methods = [name for name in evaluation.methods.index if name in chosen or name in evaluation.alone]
                tables.append(table(evaluation, await score(evaluation, prompt, methods, scores), by, len(prompt)))
    return tables


def main() -> None:
    """Scores what is open and prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("folders", nargs="+", metavar="DIR", help="of `tokencollab eval`")
    add("--by", default="gemma-3-270m", metavar="MODEL", help="the scoring model (default gemma-3-270m)")
    add("--data", metavar="DIR", help="folder of .jsonl files, as the runs had it")
    add("--n", type=int, metavar="N", help="the first N items of each run (default: all)")
    add("--methods", metavar="LIST", help="of these only, and of each member (default: all)")
    add("--dtype", default="auto", help="of the scoring model")
    add("--scores", type=Path, metavar="FILE", help="keep the scores here")
    arguments = parser.parse_args()
    quiet_logs()
    try:
        tables = asyncio.run(run(arguments))
    except TokencollabError as error:
        print(f"fluency: {error}", file=sys.stderr)
        sys.exit(2)
    print("\n\n".join(part.markdown() for part in tables))


if __name__ == "__main__":
    main()

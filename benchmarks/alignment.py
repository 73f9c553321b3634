"""What becomes of answers where the members hold each other's pieces in other ways (`benchmarks.spellings`).

    python -m benchmarks.alignment --out DIR [--base MODEL] [--with MODEL ...] [--n N] [--seed N] [--methods LIST]
        [--concurrency N] [--resume]

Every method in every spelling on the same items of simplemath; beside them each member alone and bytewise voting. The
folder is that of a run (`tokencollab report` reads it); methods in another spelling than the program's own are called
METHOD/SPELLING. The table on standard output is Markdown: accuracy; the difference to the program's own spelling
("words"), paired, with its bootstrap interval and McNemar's p; tokens that went through each model per committed
piece; and those of all models together per 100 bytes of answer, which is what can be compared between methods.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tokencollab.actors.runtimes.base import ModelSpec
from tokencollab.actors.runtimes.threads import LocalRuntime
from tokencollab.cli.runs import fetch
from tokencollab.cli.terminal import ProgressView, RunView, quiet_logs
from tokencollab.collaboration import Collaboration
from tokencollab.engines.base import Engine
from tokencollab.engines.built_in import import_engines
from tokencollab.engines.options import EngineOptions
from tokencollab.errors import TokencollabError
from tokencollab.evaluation.askers import Asker, GivenAnswer, Question
from tokencollab.evaluation.data_sets import load_items
from tokencollab.evaluation.folder import RunFolder
from tokencollab.evaluation.items import SIMPLEMATH
from tokencollab.evaluation.machine import hash_model, start_of_run
from tokencollab.evaluation.naming import make_askers
from tokencollab.evaluation.plan import make_plan
from tokencollab.evaluation.prompts import MAX_TOKENS
from tokencollab.evaluation.report.evaluations import Evaluation
from tokencollab.evaluation.report.tables import NONE, Table, number, percent, probability
from tokencollab.evaluation.runner import Runner
from tokencollab.evaluation.statistics import bootstrap
from tokencollab.member import FoundModel

import_engines()

from benchmarks.spellings import SPELLINGS  # noqa: E402  (after `import_engines`)
from tokencollab.engines.transformers_engine import TransformersEngine  # noqa: E402

OWN = "words"


@dataclass(frozen=True, slots=True)
class Spelled:
    """A method over models of another spelling: it asks its own ``team``."""

    inner: Asker
    spelling: str
    team: Collaboration
    collaboration: None = None  # nobody leaves here: there is nothing that it is measured against
    full: bool = False

    @property
    def name(self) -> str:
        """The method and the spelling."""
        return f"{self.inner.name}/{self.spelling}"

    @property
    def settings(self) -> dict[str, Any]:
        """See `Asker`."""
        return {**self.inner.settings, "spelling": self.spelling}

    async def ask(self, team: Collaboration, question: Question) -> GivenAnswer:
        """See `Asker`; ``team`` is the run's, of the other spelling."""
        return await self.inner.ask(self.team, question)


def make_team(models: Sequence[FoundModel], spelling: str) -> Collaboration:
    """The models, in threads of this process, holding text in a spelling."""
    folders = {model.name: Path(model.source) for model in models}

    class Spelling(TransformersEngine):
        text_type = SPELLINGS[spelling]

    def load(spec: ModelSpec) -> Engine:
        return Spelling.from_folder(spec.name, folders[spec.name], spec.options)

    base, *others = folders
    return Collaboration(base, others, "base", runtime=LocalRuntime(load), options=EngineOptions(threads=1))


async def run(arguments: argparse.Namespace, models: Sequence[FoundModel]) -> None:
    """Fills the folder."""
    names = [model.name for model in models]
    teams = {spelling: make_team(models, spelling) for spelling in SPELLINGS}
    askers = make_askers(["each", "bytewise"], names, {})
    for asker in make_askers([name for name in arguments.methods.split(",") if name], names, {}):
        askers += [asker, *(Spelled(asker, other, teams[other]) for other in SPELLINGS if other != OWN)]
    items = load_items(SIMPLEMATH, arguments.n, arguments.seed, None)
    max_tokens = MAX_TOKENS["bare"]
    plan = make_plan(
        SIMPLEMATH,
        items,
        askers,
        [{"name": model.name, "sha256": hash_model(Path(model.source))} for model in models],
        seed=arguments.seed,
        prompt="bare",
        max_tokens=max_tokens,
        stop=(),
        dtype="auto",
        grid={},
    )
    with RunFolder(arguments.out, plan, arguments.resume) as folder, RunView("answers", 60) as view:
        folder.begin(
            start_of_run(
                runtime="local",
                concurrency=arguments.concurrency,
                notices={model.name: model.notice for model in models if model.notice},
            )
        )
        runner = Runner(
            teams[OWN],
            items,
            askers,
            folder,
            prompt="bare",
            max_tokens=max_tokens,
            stop=(),
            seed=arguments.seed,
            show=view.show,
        )
        async with AsyncExitStack() as stack:
            for team in teams.values():
                await stack.enter_async_context(team)
            await runner.run(arguments.concurrency)


def table(evaluation: Evaluation) -> Table:
    """What the module says."""
    pairs = evaluation.pairs.set_index(["a", "b"]).to_dict("index")
    rows = []
    for name, row in evaluation.methods.iterrows():
        method, _, spelling = name.partition("/")
        pair = pairs[name, method] if spelling else None
        per_piece, per_100_bytes = forwarded(evaluation, name)
        rows.append(
            {
                "method": method,
                "spelling": spelling or OWN,
                "accuracy, %": percent(row["accuracy"], row["accuracy_ci"]),
                f"against {OWN}, points": percent(pair["difference"], pair["difference_ci"], True) if pair else NONE,
                "p": probability(pair["p"]) if pair else NONE,
                f"forwarded per piece ({', '.join(evaluation.models)})": per_piece,
                "forwarded per 100 bytes, all": per_100_bytes,
            }
        )
    return Table(
        evaluation.sized_title,
        pd.DataFrame(rows),
        "In brackets 95 % intervals: Wilson for accuracy, else bootstrap over items. p is McNemar's, as it is.",
    )


def forwarded(evaluation: Evaluation, name: str) -> tuple[str, str]:
    """Tokens forwarded, of each model per piece, and of all together per 100 bytes of answer.

    Nobody leaves, and nobody is lost without an answer being asked again: all members take part in every piece.
    """
    records = [record for record in evaluation.records_of(name) if record["forwarded"]]
    if not records:
        return NONE, NONE
    pieces = sum(record["tokens"] for record in records)
    each = []
    for model in evaluation.models:
        tokens = sum(record["forwarded"].get(model, 0) * record["tokens"] for record in records)
        each.append(f"{tokens / pieces:.2f}" if model in records[0]["forwarded"] else NONE)
    columns = np.array(
        [[sum(r["forwarded"].values()) * r["tokens"], len(r["text"].encode())] for r in records], dtype=float
    )
    value = 100 * columns[:, 0].sum() / columns[:, 1].sum()
    bounds = bootstrap(columns, lambda means: 100 * means[:1] / means[1:], 0).interval(0)
    return ", ".join(each), number(value, bounds)


def main() -> None:
    """Runs what is open and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--base", default="arith-bytes")
    add("--with", dest="collaborators", action="append", metavar="MODEL", help="default: arith-pairs-dropout")
    add("--n", type=int, default=1000, help="items of simplemath")
    add("--seed", type=int, default=0)
    add("--methods", default="unite,duetnet", help="in every spelling")
    add("--concurrency", type=int, default=64)
    add("--out", type=Path, required=True)
    add("--resume", action="store_true")
    arguments = parser.parse_args()
    quiet_logs()
    try:
        with ProgressView() as progress:
            wanted = (arguments.base, *(arguments.collaborators or ["arith-pairs-dropout"]))
            models = fetch(wanted, EngineOptions(), progress)
        asyncio.run(run(arguments, models))
        evaluation = Evaluation(arguments.out)
    except TokencollabError as error:
        print(f"alignment: {error}", file=sys.stderr)
        sys.exit(2)
    print(table(evaluation).markdown())


if __name__ == "__main__":
    main()

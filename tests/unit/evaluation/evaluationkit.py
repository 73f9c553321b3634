"""Models without weights that solve SimpleMath, and a run over them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokencollab import Collaboration
from tokencollab.evaluation.askers import Asker
from tokencollab.evaluation.data_sets import load_items
from tokencollab.evaluation.folder import RunFolder
from tokencollab.evaluation.grading import Grader
from tokencollab.evaluation.items import Item
from tokencollab.evaluation.naming import make_askers
from tokencollab.evaluation.plan import make_plan
from tokencollab.evaluation.runner import Runner
from tokencollab.protocol.messages import Open, Opened, Refused
from tokencollab.protocol.pieces import EOS, Piece
from tokencollab.testing import ScriptedEngine, scripted_runtime


class Calculator(ScriptedEngine):
    """Answers `` answer N`` to a bare problem, wrong where ``wrong`` says so, in pieces of ``width`` bytes."""

    def __init__(self, name: str, width: int, wrong: Callable[[str], bool] = lambda question: False) -> None:
        super().__init__(name, lambda text: {b"?": 1.0})
        self._width, self._wrong = width, wrong
        self._answers: dict[str, bytes] = {}
        self.opened: list[str] = []

    def open(self, request: Open) -> Opened | Refused:
        question = request.messages[-1].content
        self.opened.append(question)
        number = eval(question) + self._wrong(question)  # noqa: S307
        self._answers[request.session] = f" answer {number}".encode()
        return super().open(request)

    def _answer(self, request: Any) -> Any:
        answer = self._answers.get(request.session, b"")
        self._script = lambda text: self._next(answer, text)
        return super()._answer(request)

    def _next(self, answer: bytes, text: bytes) -> Mapping[Piece, float]:
        piece: Piece = answer[len(text) : len(text) + self._width] or EOS
        return {piece: 9.0, b"~": 2.0, (b"?" if piece is EOS else EOS): 1.0}


def settings_of(items: Sequence[Item], askers: Sequence[Asker], **changed: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "seed": 0,
        "prompt": "bare",
        "max_tokens": 32,
        "stop": (),
        "dtype": "auto",
        "grid": {},
        **changed,
    }
    models = [{"name": "one", "sha256": "1"}, {"name": "two", "sha256": "2"}]
    return make_plan("simplemath", items, askers, models, **values)


async def evaluate(
    path: Path,
    engines: Sequence[ScriptedEngine],
    methods: Sequence[str],
    n: int = 6,
    resume: bool = False,
    concurrency: int = 4,
    grid: Mapping[str, Sequence[Any]] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    grader: Grader | None = None,
) -> None:
    """A whole run."""
    items = load_items("simplemath", n, 0, None)
    names = [engine.info.name for engine in engines]
    askers = make_askers(methods, names, grid or {})
    with RunFolder(path, settings_of(items, askers, grid=grid or {}), resume) as folder:
        async with Collaboration(names[0], names[1:], "base", runtime=scripted_runtime(*engines)) as team:
            runner = Runner(
                team, items, askers, folder, prompt="bare", max_tokens=32, stop=(), seed=0, grader=grader,
                show=lambda run: progress(run.finished, run.total),
            )  # fmt: skip
            folder.begin({"started": "now", "concurrency": concurrency})
            await runner.run(concurrency)

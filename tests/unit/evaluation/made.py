"""Runs with made-up answers, in folders as `eval` writes them: for reports and statistics without models."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokencollab.evaluation.data_sets import load_items
from tokencollab.evaluation.naming import make_askers
from tokencollab.evaluation.plan import make_plan

Accuracy = Callable[[str, Mapping[str, Any]], float]


def make_run(
    path: Path,
    methods: Sequence[str],
    models: Sequence[str] = ("arith-bytes", "arith-pairs"),
    n: int = 40,
    grid: Mapping[str, Sequence[Any]] | None = None,
    accuracy: Accuracy = lambda name, settings: 0.7,
    runtime: str = "local",
    seed: int = 0,
) -> Path:
    """Writes run.json and items.jsonl. ``accuracy`` says how often a method is right."""
    items = load_items("simplemath", n, 0, None)
    askers = make_askers(methods, models, grid or {})
    hashes = [{"name": name, "sha256": format(index, "064x")} for index, name in enumerate(models)]
    plan = make_plan(
        "simplemath",
        items,
        askers,
        hashes,
        seed=0,
        prompt="bare",
        max_tokens=96,
        stop=(),
        dtype="auto",
        grid=grid or {},
    )
    path.mkdir(parents=True)
    start = {
        "started": "2026-11-21T12:00:00+00:00",
        "concurrency": 64,
        "runtime": runtime,
        "notices": {models[0]: "errs by design"},
        "versions": {"tokencollab": "0", "torch": "2"},
        "machine": {"processor": "a processor", "cores": 2, "memory": 24 * 2**30},
    }
    (path / "run.json").write_text(json.dumps({"format": 1, "plan": plan, "runs": [start]}))
    chance = random.Random(seed)  # noqa: S311
    with (path / "items.jsonl").open("w") as file:
        for item in items:
            hard = chance.random()
            for entry in plan["methods"]:
                settings = {**entry["settings"]["method"], **entry["settings"].get("varied", {})}
                right = (hard + chance.random()) / 2 < accuracy(entry["name"], settings)
                print(json.dumps(_record(entry, settings, item, right, len(models), chance)), file=file)
    return path


def _record(
    entry: Mapping[str, Any], settings: Mapping[str, Any], item: Any, right: bool, models: int, chance: random.Random
) -> dict[str, Any]:
    members = len(entry["settings"]["members"])
    tokens = chance.randint(25, 60)
    t0: list[float] = []
    exit_step = None
    if settings["exit"] == "fixed":
        exit_step = min(settings["exit_after"], tokens)
    elif settings["exit"] != "never":
        omega, level = settings["omega"], chance.uniform(0.3, 0.75)
        for step in range(1, tokens + 1):
            t0.append(0.0 if step < omega else round(min(0.95, level + 0.006 * (step - omega)), 4))
            if t0[-1] > settings["theta"]:
                exit_step = step
                break
    together = 0 if members == 1 else exit_step or tokens
    answer = item.answer if right else str(int(item.answer) + chance.choice((-10, -1, 1, 10)))
    text = f" {item.question}={answer}; answer {answer}" + " again" * chance.randint(0, 3)
    record = {
        "method": entry["name"],
        "item": item.id,
        "question": item.question,
        "expected": item.answer,
        "text": text,
        "answer": answer,
        "right": right,
        "cost": together * members + tokens - together,
        "tokens": tokens,
        "aligned": together * members * (2 if settings["aggregation"] == "duetnet" else 10),
        "exit_step": exit_step,
        "finish_reason": "end",
        "seconds": tokens * 0.01,
        "first_token_ms": 12.0 + chance.random(),
        "ms_per_token": 2.0 + 1.5 * members + chance.random(),
        "forwarded": {},
    }
    return record | ({"t0": t0} if t0 else {})

"""What a run is: the settings that decide its answers, as JSON. A run is resumed with an equal plan only."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tokencollab.evaluation.askers import Asker
from tokencollab.evaluation.items import Item
from tokencollab.evaluation.prompts import PromptName
from tokencollab.protocol.seeds import SEED_DERIVATION


def make_plan(
    dataset: str,
    items: Sequence[Item],
    askers: Sequence[Asker],
    models: Sequence[Mapping[str, Any]],
    *,
    seed: int,
    prompt: PromptName,
    max_tokens: int,
    stop: Sequence[str],
    dtype: str,
    grid: Mapping[str, Sequence[Any]],
    mapping: Mapping[str, str] | None = None,
    grader: str | None = None,
) -> dict[str, Any]:
    """The plan. ``models`` are name, files' hash and licence, the base first; ``mapping`` as of `rows.read_map`."""
    return {
        "dataset": dataset,
        "seed": seed,
        "seed_derivation": SEED_DERIVATION,
        "items": [item.id for item in items],
        "items_sha256": hash_items(items),
        "models": [dict(model) for model in models],
        "dtype": dtype,
        "prompt": prompt,
        "max_tokens": max_tokens,
        "stop": list(stop),
        "methods": [
            {"name": asker.name, "against": against(asker, askers), "settings": asker.settings} for asker in askers
        ],
        "sweep": {key: list(values) for key, values in grid.items()},
        **({"map": dict(mapping)} if mapping else {}),
        **({"grader": grader} if grader else {}),
    }


def hash_items(items: Sequence[Item]) -> str:
    """SHA-256 of everything that the items say."""
    texts = json.dumps([[item.question, item.answer, item.choices, item.context] for item in items])
    return hashlib.sha256(texts.encode()).hexdigest()


def against(asker: Asker, askers: Sequence[Asker]) -> str | None:
    """The full collaboration among ``askers`` that loss and saving of ``asker`` are measured against."""
    if asker.full:
        return asker.name
    return next((other.name for other in askers if other.full and other.collaboration == asker.collaboration), None)

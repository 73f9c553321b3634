"""Data sets of the Hugging Face hub in the form of `items`, through the library ``datasets`` (an optional extra)."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from tokencollab.errors import ModelUnavailable, UsageError, extra
from tokencollab.evaluation.items import LETTERS

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class HubSet:
    """Where a set is, and how one of its rows becomes ours (without the id)."""

    repository: str
    config: str | None
    split: str
    convert: Callable[[Row], dict[str, Any]]


def _gsm8k(row: Row) -> dict[str, Any]:
    return {"question": row["question"], "answer": row["answer"].rsplit("####", 1)[1].strip().replace(",", "")}


def _boolq(row: Row) -> dict[str, Any]:
    question = row["question"].rstrip("?") + "?"
    return {"question": question, "answer": "yes" if row["answer"] else "no", "context": row["passage"]}


def _mmlu(row: Row) -> dict[str, Any]:
    return {"question": row["question"], "choices": list(row["choices"]), "answer": LETTERS[row["answer"]]}


def _mmlu_pro(row: Row) -> dict[str, Any]:
    return {"question": row["question"], "choices": list(row["options"]), "answer": row["answer"]}


def _math500(row: Row) -> dict[str, Any]:
    return {"question": row["problem"], "answer": row["answer"]}


def _ceval(row: Row) -> dict[str, Any]:
    return {"question": row["question"], "choices": [row[letter] for letter in "ABCD"], "answer": row["answer"]}


def _truthfulqa(row: Row) -> dict[str, Any]:
    """MC1. The hub has the right option first; they are put in an order that depends on their texts alone."""
    options = row["mc1_targets"]["choices"]
    right = options[row["mc1_targets"]["labels"].index(1)]
    choices = sorted(options, key=lambda option: blake2b(option.encode(), digest_size=8).digest())
    return {"question": row["question"], "choices": choices, "answer": LETTERS[choices.index(right)]}


HUB_SETS: Mapping[str, HubSet] = {
    "gsm8k": HubSet("openai/gsm8k", "main", "test", _gsm8k),
    "boolq": HubSet("google/boolq", None, "validation", _boolq),
    "mmlu": HubSet("cais/mmlu", "all", "test", _mmlu),
    "mmlu_pro": HubSet("TIGER-AI-Lab/MMLU-Pro", None, "test", _mmlu_pro),
    "truthfulqa": HubSet("truthfulqa/truthful_qa", "multiple_choice", "validation", _truthfulqa),
    "math500": HubSet("HuggingFaceH4/MATH-500", None, "test", _math500),
    "ceval": HubSet("ceval/ceval-exam", "*", "val", _ceval),
}


def hub_rows(dataset: str) -> Iterator[object]:
    """The rows of a set in the form of `items`.

    Raises:
        UsageError: no set has this name, or the extra `hub` is not installed.
        ModelUnavailable: the hub cannot be reached, or does not have it.
    """
    if dataset not in HUB_SETS:
        known = ", ".join(["simplemath", *HUB_SETS])
        raise UsageError(
            f"unknown set {dataset!r}; there are {known}, and with --data DIR the .jsonl files of a folder"
        )
    with extra(f"{dataset} of the Hugging Face hub (instead of a folder with {dataset}.jsonl, --data DIR)"):
        import datasets  # noqa: PLC0415
    wanted = HUB_SETS[dataset]
    try:
        configs = [wanted.config]
        if wanted.config == "*":
            configs = list(datasets.get_dataset_config_names(wanted.repository))
        loaded: list[tuple[str | None, Iterable[Row]]] = [
            (config, datasets.load_dataset(wanted.repository, config, split=wanted.split)) for config in configs
        ]
    except Exception as error:  # the library raises whatever its parts raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelUnavailable(
            f"{dataset} could not be fetched from the hub ({wanted.repository}: {reason}); try again with it in reach, "
            f"or give a folder that has {dataset}.jsonl with --data"
        ) from None
    for config, rows in loaded:
        part = f"{config}/" if len(loaded) > 1 else ""
        for index, row in enumerate(rows):
            yield {"id": f"{dataset}/{part}{index}", **wanted.convert(row)}

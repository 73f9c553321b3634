"""States, events, commands and messages are plain data: they cannot change, can be compared and hold nothing else."""

import dataclasses
import importlib
import pkgutil
from typing import get_args

import pytest

import tokencollab.policies
import tokencollab.protocol
from tokencollab.policies import events
from tokencollab.policies.evidence import Evidence, Verdict
from tokencollab.policies.methods import Method
from tokencollab.policies.parameters import Declaration

CLASSES = [
    cls
    for package in (tokencollab.policies, tokencollab.protocol)
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + ".")
    for cls in vars(importlib.import_module(found.name)).values()
    if dataclasses.is_dataclass(cls) and isinstance(cls, type) and cls.__module__ == found.name
    if cls.__name__ != "_Reader"  # reads a trace line by line and is gone
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__qualname__)
def test_it_is_frozen(cls: type) -> None:
    assert cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    # Declarations are combined by multiple inheritance, which slots forbid, and a method has their parameters too.
    assert "__slots__" in vars(cls) or issubclass(cls, Declaration | Method)
    assert cls.__hash__ is not None


def test_all_were_found() -> None:
    assert {"NextCandidates", "CandidatesArrived", "Method", "TraceStep"} <= {cls.__name__ for cls in CLASSES}


def test_commands_and_evidence_are_tuples() -> None:
    assert all(issubclass(cls, tuple) for cls in (*get_args(events.Command), events.StepRecord, Evidence, Verdict))

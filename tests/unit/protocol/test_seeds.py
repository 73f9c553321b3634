"""Derived seeds and chances: pinned, and different wherever what they are derived from is."""

import json
import os
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from tokencollab.protocol.seeds import derive_seed, uniform

parts = st.lists(st.integers(-20, 20) | st.text(max_size=3) | st.floats(-2, 2), max_size=3)


@given(st.integers(0, 9), parts, st.integers(0, 9), parts)
def test_different_values_give_different_seeds(seed: int, own: list[str], other: int, others: list[str]) -> None:
    same = json.dumps([seed, *own]) == json.dumps([other, *others])
    assert (derive_seed(seed, *own) == derive_seed(other, *others)) == same
    assert 0 <= derive_seed(seed, *own) < 1 << 53
    assert uniform(seed, *own) == derive_seed(seed, *own) / 2**53


def test_where_a_part_ends_matters_and_its_type_too() -> None:
    texts = [("a", "bc"), ("ab", "c"), ("abc",), ('a":"bc',), ("a", "b", "c"), ("1",)]
    numbers = [(1,), (1.0,), (1, 0), (10,)]
    seeds = [derive_seed(0, *own) for own in (*texts, *numbers)]
    assert len(set(seeds)) == len(seeds)
    assert derive_seed(1, 23) != derive_seed(12, 3)


def test_a_seed_is_the_same_in_every_process() -> None:
    code = "from tokencollab.protocol.seeds import derive_seed; print(derive_seed(7, 'Zo\u00eb', 3))"
    for hash_seed in ("0", "1"):
        found = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        )
        assert int(found.stdout) == derive_seed(7, "Zo\u00eb", 3) == PINNED


PINNED = 5745507828186994

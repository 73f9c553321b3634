"""Seeds and chances that follow from other values alone: the same on every machine and in every process."""

import json
from hashlib import blake2b
from typing import Final

SEED_DERIVATION: Final = 2
"""Version of what `derive_seed` makes of its arguments. Runs that are resumed compare it."""


def derive_seed(seed: int, *parts: int | float | str) -> int:
    """A seed of 53 bits, from ``seed`` and what it is for: the first bits of BLAKE2b over the values as JSON.

    A value in JSON shows its type and where it ends, so different values are never written alike.
    """
    text = ":".join(map(json.dumps, (seed, *parts)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 11


def uniform(seed: int, *parts: int | float | str) -> float:
    """A number in [0, 1), of 53 bits. Recorded traces are replayed by it: its values never change."""
    return derive_seed(seed, *parts) * 2.0**-53

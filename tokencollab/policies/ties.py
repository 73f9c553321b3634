"""When two scores are equal."""

from typing import Final

TIE: Final = 1e-9
"""Scores that differ by less than this share of the largest one are equal: what is left of them is rounding."""

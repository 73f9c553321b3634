"""A spelling is told as what changed in it, and put together again by whoever keeps it."""

import tracemalloc

import pytest

from tokencollab.protocol.spelling import KeptSpelling, Spelling

BEFORE = Spelling(0, b"onetokentwotokenendtoken", b"old")


def kept(*changes: Spelling | None) -> Spelling | None:
    spelling = KeptSpelling()
    for change in changes:
        spelling.take(change)
    return spelling.whole


@pytest.mark.parametrize(
    ("count", "tokens", "whole"),
    [
        (0, b"newtoken", b"newtoken"),
        (1, b"newtoken", b"onetokennewtoken"),
        (2, b"", b"onetokentwotoken"),
        (3, b"newtoken", b"onetokentwotokenendtokennewtoken"),
    ],
)
def test_what_changed_replaces_the_end_of_what_was(count: int, tokens: bytes, whole: bytes) -> None:
    assert kept(BEFORE, Spelling(count, tokens, b"new")) == Spelling(0, whole, b"new")


def test_what_does_not_fit_together_is_not_known() -> None:
    assert kept() is None
    assert kept(BEFORE, Spelling(4, b"", b"")) is None
    assert kept(Spelling(1, b"", b"")) is None
    assert kept(BEFORE, None) is None
    assert kept(BEFORE, None, Spelling(1, b"", b"")) is None


def test_a_whole_spelling_needs_none_before() -> None:
    whole = Spelling(0, b"newtoken", b"new")
    assert kept(whole) == kept(BEFORE, whole) == kept(BEFORE, None, whole) == whole


def test_a_reply_costs_what_it_brings_however_long_the_text_is() -> None:
    tracemalloc.start()
    spelling = KeptSpelling()
    spelling.take(Spelling(0, bytes(8_000_000), b""))
    spelling.take(Spelling(1_000_000, b"newtoken", b""))  # makes room for many
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    for count in range(1_000_000, 1_000_050):
        spelling.take(Spelling(count, b"newtoken", b""))
    assert tracemalloc.get_traced_memory()[1] < held + 100_000
    tracemalloc.stop()
    assert spelling.whole == Spelling(0, bytes(8_000_000) + b"newtoken" * 50, b"")

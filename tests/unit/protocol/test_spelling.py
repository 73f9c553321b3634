"""A spelling is told as what changed in it, and put together again by whoever keeps it."""

import pytest

from tokencollab.protocol.spelling import Spelling

BEFORE = Spelling(0, b"onetokentwotokenendtoken", b"old")


@pytest.mark.parametrize(
    ("kept", "tokens", "whole"),
    [
        (0, b"newtoken", b"newtoken"),
        (1, b"newtoken", b"onetokennewtoken"),
        (2, b"", b"onetokentwotoken"),
        (3, b"newtoken", b"onetokentwotokenendtokennewtoken"),
    ],
)
def test_what_changed_replaces_the_end_of_what_was(kept: int, tokens: bytes, whole: bytes) -> None:
    assert Spelling(kept, tokens, b"new").after(BEFORE) == Spelling(0, whole, b"new")


def test_what_does_not_fit_together_is_none() -> None:
    assert Spelling(4, b"", b"").after(BEFORE) is None
    assert Spelling(1, b"", b"").after(None) is None
    assert Spelling(1, b"", b"").after(Spelling(1, b"onetoken", b"")) is None


def test_a_whole_spelling_needs_none_before() -> None:
    whole = Spelling(0, b"newtoken", b"new")
    assert whole.after(None) is whole

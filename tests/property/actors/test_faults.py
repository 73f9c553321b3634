"""A thousand sessions under faults: each ends, and has written what a run without faults would have written."""

from pathlib import Path

import pytest

from tests.property.actors.torture import check, write
from tokencollab.testing import run_on_fake_clock

SESSIONS = 1000
PARTS = 20


@pytest.mark.parametrize("part", range(PARTS))
def test_sessions_under_faults(part: int, tmp_path: Path) -> None:
    courses = []
    for seed in range(part * SESSIONS // PARTS, (part + 1) * SESSIONS // PARTS):
        if (course := run_on_fake_clock(write(seed, tmp_path))) is not None:
            check(course)
            courses.append(course)
    # Not a test of nothing: faults did happen, models did come back, and most answers were written all the same.
    assert sum(sum(course.faults.values()) for course in courses) > 20
    assert sum(course.restarts for course in courses) > 5
    assert sum(course.failed for course in courses) < len(courses) / 2


def test_the_same_seed_gives_the_same_course(tmp_path: Path) -> None:
    first, second = (run_on_fake_clock(write(4, tmp_path)) for _ in range(2))
    assert first is not None
    assert second is not None
    assert (first.tokens, first.past.heard, first.faults) == (second.tokens, second.past.heard, second.faults)

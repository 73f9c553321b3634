"""SimpleMath: the problems are right, reproducible, and never those of the training."""

import itertools
import re
from collections import Counter

import pytest

from tokencollab.errors import UsageError
from tokencollab.evaluation.simplemath import (
    LARGEST,
    MOST_PROBLEMS,
    expression,
    is_held_out,
    simplemath,
    training_problems,
)


def test_question_working_and_answer_agree() -> None:
    for problem in simplemath(500, seed=3):
        assert re.fullmatch(r"\d+\+\d+\*\d+\+\d+-\d+\*\d+", problem.question)
        assert problem.answer == str(eval(problem.question))  # noqa: S307  (digits and signs only, see above)
        *steps, last = problem.working.split(";")
        assert last == f" answer {problem.answer}"
        assert len(steps) == 5
        for step in steps:
            left, _, right = step.partition("=")
            assert eval(left.strip()) == int(right)  # noqa: S307
        assert steps[-1].endswith(f"={problem.answer}")


def test_the_same_seed_gives_the_same_problems_and_more_of_them_begin_alike() -> None:
    assert simplemath(300, seed=7)[:100] == simplemath(100, seed=7)
    assert simplemath(100, seed=7) != simplemath(100, seed=8)
    # Fixed for ever: results name a seed, and mean these.
    assert [problem.question for problem in simplemath(2, seed=1)] == ["20+24*2+0-25*13", "25+17*19+5-30*26"]


def test_more_than_there_can_be_is_refused_at_once() -> None:
    for n in (MOST_PROBLEMS + 1, 999_999_999_999):
        with pytest.raises(UsageError, match=f"has {MOST_PROBLEMS} problems of a seed at most, not {n};"):
            simplemath(n, seed=0)


def test_no_problem_repeats_and_every_number_occurs() -> None:
    problems = simplemath(2000, seed=0)
    assert len({problem.question for problem in problems}) == 2000
    counts = Counter(int(number) for problem in problems for number in re.findall(r"\d+", problem.question))
    # 12,000 numbers, 387 of each expected, standard deviation 19.4: five of them either way.
    assert sorted(counts) == list(range(LARGEST + 1))
    assert all(290 < count < 485 for count in counts.values())


def test_training_and_evaluation_share_no_problem() -> None:
    assert all(is_held_out(problem.question) for problem in simplemath(2000, seed=5))
    trained = [expression(*operands) for operands in itertools.islice(training_problems(5), 20_000)]
    assert not any(map(is_held_out, trained))
    assert not {problem.question for problem in simplemath(2000, seed=5)} & set(trained)


def test_one_eighth_is_held_out() -> None:
    every = [expression(a, b, c, 1, 2, 3) for a in range(31) for b in range(31) for c in range(31)]
    share = sum(map(is_held_out, every)) / len(every)
    assert abs(share - 1 / 8) < 0.01  # 29,791 draws: standard deviation 0.0019

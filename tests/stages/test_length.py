"""DICE's length penalty: the published vector, and what bisection must never do."""

import random

import pytest

from stages.pairs.length import balancing_penalty, best_and_worst, length, mean_gap

VECTOR = [((10, 8, 6), (100, 60, 20)), ((5, 7, 1), (50, 120, 40))]


@pytest.mark.parametrize(("alpha", "gap"), [(0, 80), (0.02, 80), (0.04, 45), (0.049, 45), (0.051, -35), (0.08, -75)])
def test_the_mean_signed_length_gap_is_the_specified_one(alpha, gap):
    assert mean_gap(VECTOR, alpha) == gap


def test_alpha_lies_just_above_the_step_where_the_gap_is_smallest():
    alpha = balancing_penalty(VECTOR)
    assert alpha == pytest.approx(0.05)
    assert mean_gap(VECTOR, alpha) == -35


def test_the_gap_never_grows_with_alpha():
    generator = random.Random(0)
    for _ in range(50):
        candidates = [
            ([generator.gauss(0, 5) for _ in range(6)], [generator.randint(1, 900) for _ in range(6)]) for _ in range(7)
        ]
        gaps = [mean_gap(candidates, step / 200) for step in range(100)]
        assert gaps == sorted(gaps, reverse=True)


def test_bisection_is_at_least_as_good_as_a_fine_sweep():
    generator = random.Random(1)
    for _ in range(50):
        candidates = [
            ([generator.gauss(0, 5) for _ in range(4)], [generator.randint(1, 900) for _ in range(4)]) for _ in range(9)
        ]
        best_of_sweep = min(abs(mean_gap(candidates, step / 5000)) for step in range(2000))
        if mean_gap(candidates, 0) > 0:
            assert abs(mean_gap(candidates, balancing_penalty(candidates))) <= best_of_sweep


def test_answers_that_are_short_already_are_not_penalised():
    assert balancing_penalty([((3, 1), (10, 90))]) == 0
    assert balancing_penalty([]) == 0


def test_answers_of_equal_length_need_no_penalty():
    assert balancing_penalty([((3, 1), (10, 10))]) == 0


def test_the_first_of_equals_is_taken():
    assert best_and_worst([1, 1, 0, 0], [1, 1, 1, 1], 0.0) == (0, 2)


def test_lengths_are_counted_in_the_unit_that_was_asked_for():
    assert [length("two words", [5, 6, 7], unit) for unit in ("characters", "tokens", "words")] == [9, 3, 2]

"""DICE's length penalty: the published vector, and what bisection must never do."""

import random

import pytest

from stages.pairs.candidates import Candidate, Candidates, gathered
from stages.pairs.length import balancing_penalty, best_and_worst, length, mean_gap


def prompts(*answers) -> Candidates:
    """Candidates of each prompt's (scores, lengths)."""
    found = [Candidate(places=range(len(s)), scores=s, lengths=sizes) for s, sizes in answers]
    return gathered(found, max((len(scores) for scores, _ in answers), default=2))


VECTOR = prompts(((10, 8, 6), (100, 60, 20)), ((5, 7, 1), (50, 120, 40)))


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
        answers = [
            ([generator.gauss(0, 5) for _ in range(6)], [generator.randint(1, 900) for _ in range(6)]) for _ in range(7)
        ]
        candidates = prompts(*answers)
        gaps = [mean_gap(candidates, step / 200) for step in range(100)]
        assert gaps == sorted(gaps, reverse=True)


def test_bisection_is_at_least_as_good_as_a_fine_sweep():
    generator = random.Random(1)
    for _ in range(50):
        answers = [
            ([generator.gauss(0, 5) for _ in range(4)], [generator.randint(1, 900) for _ in range(4)]) for _ in range(9)
        ]
        candidates = prompts(*answers)
        best_of_sweep = min(abs(mean_gap(candidates, step / 5000)) for step in range(2000))
        if mean_gap(candidates, 0) > 0:
            assert abs(mean_gap(candidates, balancing_penalty(candidates))) <= best_of_sweep


def test_answers_that_are_short_already_are_not_penalised():
    assert balancing_penalty(prompts(((3, 1), (10, 90)))) == 0
    assert balancing_penalty(prompts()) == 0


def test_answers_of_equal_length_need_no_penalty():
    assert balancing_penalty(prompts(((3, 1), (10, 10)))) == 0


def test_the_first_of_equals_is_taken():
    picks = best_and_worst(prompts(([1, 1, 0, 0], [1, 1, 1, 1])), 0.0)
    assert (picks.best[0], picks.worst[0]) == (0, 2)


def test_prompts_of_unlike_numbers_of_answers_are_compared_as_one_by_one():
    """To the last bit: what arrays choose is what a loop over prompts chooses, however many answers it has."""
    generator = random.Random(2)
    sizes = [generator.randint(2, 6) for _ in range(200)]
    answers = [
        ([generator.randint(-3, 3) / 7 for _ in range(n)], [generator.randint(1, 5) for _ in range(n)]) for n in sizes
    ]
    picks = best_and_worst(prompts(*answers), 0.1)
    for i, (scores, lengths) in enumerate(answers):
        values = [score - 0.1 * size for score, size in zip(scores, lengths, strict=True)]
        assert (picks.best[i], picks.worst[i]) == (values.index(max(values)), values.index(min(values)))
        assert picks.margin[i] == max(values) - min(values)


def test_lengths_are_counted_in_the_unit_that_was_asked_for():
    assert [length("two words", [5, 6, 7], unit) for unit in ("characters", "tokens", "words")] == [9, 3, 2]

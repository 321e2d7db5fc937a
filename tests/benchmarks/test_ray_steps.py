"""What the benchmark of Ray's workers counts."""

import time

from benchmarks.ray_steps import Step, Wave, steps


def test_what_is_drawn_and_not_in_hand_is_counted_over_time():
    drawn = [Step(worker=1, time=1, tokens=4), Step(worker=1, time=3, tokens=4), Step(worker=2, time=2, tokens=2)]
    wave = Wave(asked=0, answers={7: (5.0, [1] * 8), 8: (2.0, [1, 1])}, steps=drawn)
    assert (wave.wait, wave.first, wave.seconds, wave.tail, wave.twice) == (2, 1, 4, 3, 0)
    assert wave.unkept == (4 * 2 + 8 * 2) / 4, "four tokens for two seconds, then eight"
    assert (wave.rate, wave.together) == (10 / 4, 10 / 3)


def test_what_never_came_in_hand_was_drawn_twice():
    drawn = [Step(worker=1, time=1, tokens=3), Step(worker=2, time=2, tokens=5)]
    assert Wave(asked=0, answers={7: (3.0, [1] * 5)}, steps=drawn).twice == 3


def test_answers_are_compared_by_their_seeds():
    one = Wave(asked=0, answers={1: (1.0, [5, 6]), 2: (1.0, [7])}, steps=[])
    alone = Wave(asked=9, answers={2: (11.0, [8]), 1: (10.0, [5, 6])}, steps=[])
    assert one.same(alone) == 1 / 2


def test_steps_before_the_wave_do_not_count(tmp_path):
    now = time.monotonic()
    (tmp_path / "17").write_text(f"{now - 1} 4\n{now + 1} 6\n")
    assert steps(tmp_path, now) == [Step(worker=17, time=now + 1, tokens=6)]

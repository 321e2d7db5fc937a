"""Intervals and verdicts: better is said only where chance is excluded."""

import math

import pytest

from loops.manifest import Manifest
from loops.record import Record, Recorded
from reports.intervals import Measured, difference, measured
from reports.seen import Made, Seen
from reports.verdict import between, verdicts
from stages.evaluate.interval import wilson


def share(successes, count):
    """Metrics of a share, with the standard error that a probe gives it."""
    p = successes / count
    return {"accuracy": p, "accuracy_se": math.sqrt(p * (1 - p) / count), "pairs": count}


def run(tmp_path, *rounds, name="run", held_out="pairs", kept=()):
    """A run whose probe measured this in each round, None where it has not finished; ``kept`` is what a gate said."""
    reads = {"held_out": "setup/held_out"}
    steps = [
        Recorded(id=f"{n}/probe", node="probe", round=n, key=f"k{n}", kind="Report", stage={}, inputs=reads)
        for n in range(len(rounds))
    ]
    made = [
        Made(step=step, manifest=manifest(step.key, metrics), path=tmp_path)
        for step, metrics in zip(steps, rounds, strict=True)
        if metrics is not None
    ]
    for number, value in enumerate(kept, start=1):
        step = Recorded(id=f"{number}/gate", node="gate", round=number, key="g", kind="Report", stage={}, inputs={})
        verdict = {**share(990, 1000), "kept_incumbent": value}
        steps, made = [*steps, step], [*made, Made(step=step, manifest=manifest("g", verdict), path=tmp_path)]
    told = {"words": [], "tracker": {}, "table": {}, "source": ""}
    pairs = {"id": "setup/held_out", "node": "held_out", "round": 0, "kind": "Pairs", "stage": {}, "inputs": {}}
    steps = [Recorded(key=held_out, **pairs), *steps]
    record = Record(run=name, place=tmp_path, name="recipe", key="key", store="store", steps=steps, **told)
    return Seen(record=record, made=made)


def manifest(key, metrics):
    return Manifest(key=key, stage={}, inputs={}, metrics=metrics, seconds=1.0, provenance={}, files={})


def test_wilsons_interval_is_the_textbooks():
    assert wilson(0.8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_the_difference_of_two_shares_is_newcombes():
    """56/70 against 48/80, of his table II: 0.0524 to 0.3339."""
    found = difference(measured(share(48, 80), "accuracy"), measured(share(56, 70), "accuracy"))
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)


def test_a_share_gets_wilsons_interval_and_a_mean_the_normal_one():
    found = measured(share(8, 10), "accuracy")
    assert (found.low, found.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    mean = measured({"gain": 0.5, "gain_se": 0.11}, "gain")
    assert (mean.low, mean.high) == pytest.approx((0.2844, 0.7156), abs=1e-4)


def test_an_interval_that_a_stage_gives_is_taken_as_it_is():
    metrics = {**share(8, 10), "accuracy_low": 0.1, "accuracy_high": 0.95}
    assert measured(metrics, "accuracy") == Measured(value=0.8, low=0.1, high=0.95)


def test_a_small_rise_cannot_be_told_from_chance(tmp_path):
    (verdict,) = verdicts(run(tmp_path, share(73, 96), share(70, 96), share(78, 96)))
    assert verdict.word == "open"
    assert "No difference that could be told from chance" in verdict.sentence
    assert "0.760" in verdict.sentence
    assert "at the start" in verdict.sentence
    assert "0.812" in verdict.sentence
    assert "after round 2" in verdict.sentence


def test_a_large_rise_is_better_and_a_large_fall_worse(tmp_path):
    assert verdicts(run(tmp_path, share(500, 1000), share(600, 1000)))[0].word == "better"
    assert verdicts(run(tmp_path, share(600, 1000), share(500, 1000)))[0].word == "worse"


@pytest.mark.parametrize("count", range(501, 600, 7))
def test_better_is_said_exactly_where_the_interval_excludes_zero(tmp_path, count):
    (verdict,) = verdicts(run(tmp_path, share(500, 1000), share(count, 1000)))
    gap = difference(measured(share(500, 1000), "accuracy"), measured(share(count, 1000), "accuracy"))
    assert (verdict.word == "better") == (gap.low > 0)


def test_without_an_interval_there_is_no_verdict(tmp_path):
    (verdict,) = verdicts(run(tmp_path, {"accuracy": 0.5}, {"accuracy": 0.9}))
    assert verdict.word == "open"
    assert verdict.sentence.startswith("No verdict")


def test_a_share_of_all_has_no_standard_error_and_so_no_verdict(tmp_path):
    (verdict,) = verdicts(run(tmp_path, share(4, 8), share(8, 8)))
    assert verdict.sentence.startswith("No verdict")


def test_a_loop_that_has_only_begun_has_no_verdict(tmp_path):
    (verdict,) = verdicts(run(tmp_path, share(4, 8), None))
    assert verdict.sentence.startswith("No verdict: nothing was measured both at the start and after a round")


def test_two_runs_are_compared_after_the_last_round_that_both_have(tmp_path):
    one = run(tmp_path, share(500, 1000), share(510, 1000), share(900, 1000), name="one")
    other = run(tmp_path, share(500, 1000), share(700, 1000), None, name="other")
    (verdict,) = between(one, other)
    assert verdict.word == "better"
    assert "after round 1" in verdict.sentence
    assert "0.510" in verdict.sentence
    assert "in other" in verdict.sentence
    (none,) = between(one, run(tmp_path, share(500, 1000), name="begun"))
    assert none.sentence.startswith("No verdict")


def test_runs_that_were_measured_on_other_things_are_not_compared(tmp_path):
    one = run(tmp_path, share(500, 1000), share(510, 1000), name="one")
    other = run(tmp_path, share(500, 1000), share(900, 1000), name="other", held_out="other pairs")
    (verdict,) = between(one, other)
    assert verdict.word == "open"
    assert "not measured on the same things" in verdict.sentence


def test_a_round_that_was_rolled_back_is_no_result(tmp_path):
    start, good, bad = (share(solved, 1000) for solved in (500, 600, 900))
    first, second = verdicts(run(tmp_path, start, good, bad, kept=(0.0, 1.0)))
    assert first.word == "better"
    assert "0.600" in first.sentence
    assert "after round 1" in first.sentence
    assert second.sentence == "Rolled back by the gate: round 2."
    assert [each.word for each in verdicts(run(tmp_path, start, bad, bad, kept=(1.0, 1.0)))] == ["open"]


def test_what_a_gate_repeats_is_no_measurement_of_its_own(tmp_path):
    one, other = (
        run(tmp_path, share(500, 1000), share(600, 1000), name=name, held_out=name, kept=(0.0,)) for name in ("a", "b")
    )
    assert [each.word for each in between(one, other)] == ["open"]


@pytest.mark.parametrize(
    ("low", "high", "word"), [(0.51, 0.7, "better"), (0.3, 0.49, "worse"), (0.45, 0.6, "open"), (0.5, 0.6, "open")]
)
def test_a_win_rate_is_compared_with_a_half(tmp_path, low, high, word):
    (verdict,) = verdicts(run(tmp_path, {}, {"win_rate": 0.5, "win_rate_low": low, "win_rate_high": high}))
    assert verdict.word == word
    assert "a half" in verdict.sentence

"""Win rates: raw, minimal length-controlled, and what they refuse."""

import json
import math
from pathlib import Path

import pytest

from stages.artifacts import Completions, Prompts, Report, Scores
from stages.engines.hf import HF
from stages.evaluate.interval import wilson
from stages.evaluate.length_control import minimal_length_controlled, raw
from stages.evaluate.win_rate import WinRate
from stages.generate.sample import Sample
from stages.generate.side_by_side import SideBySide
from stages.score.pairwise import Pairwise
from tests.stages.rows import prompt, scored

ANNOTATIONS = Path(__file__).parents[3] / "shared/data"


def test_the_interval_is_wilsons():
    assert wilson(0.5, 4) == pytest.approx((0.150039, 0.849961), abs=1e-6)
    assert wilson(0.8, 10) == pytest.approx((0.490162, 0.943318), abs=1e-6)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_few_equal_outcomes_still_leave_doubt(share):
    low, high = wilson(share, 10)
    assert 0.0 <= low < high <= 1.0
    assert high - low == pytest.approx(0.277533, abs=1e-6)


def test_no_outcomes_have_no_interval():
    with pytest.raises(ValueError, match="no outcomes"):
        wilson(0.5, 0)


def test_the_raw_rate_is_a_mean_with_its_standard_error():
    rate = raw([1.0, 0.0, 0.5, 1.0])
    assert rate.value == 0.625
    assert rate.se == pytest.approx(math.sqrt((0.375**2 * 2 + 0.625**2 + 0.125**2) / 3 / 4))
    assert (rate.low, rate.high) == wilson(0.625, 4)


def test_one_judgement_has_an_interval_and_no_standard_error():
    assert raw([1.0]).se is None
    assert raw([1.0]).high == 1.0


def test_a_model_that_wins_only_by_length_is_even_at_equal_length():
    longer = [100.0] * 30 + [-100.0] * 30 + [0.0] * 20
    preferences = [1.0] * 30 + [0.0] * 30 + [1.0, 0.0] * 10
    rate = minimal_length_controlled(preferences, longer)
    assert rate.value == pytest.approx(0.5, abs=1e-9)
    assert rate.low < 0.5 < rate.high


def test_where_length_says_nothing_the_rate_is_the_raw_one():
    longer = [100.0, 100.0, 100.0, 100.0, -100.0, -100.0, -100.0, -100.0]
    preferences = [1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0]
    assert minimal_length_controlled(preferences, longer).value == pytest.approx(0.75, abs=2e-3)


def test_its_interval_is_then_that_of_a_logit():
    longer = [100.0, -100.0] * 160
    preferences = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0] * 40
    rate, se = minimal_length_controlled(preferences, longer), 1 / math.sqrt(320 * 0.75 * 0.25)
    assert math.log(rate.low / (1 - rate.low)) == pytest.approx(math.log(3) - 1.96 * se, abs=2e-3)
    assert math.log(rate.high / (1 - rate.high)) == pytest.approx(math.log(3) + 1.96 * se, abs=2e-3)


def test_preferences_that_never_vary_leave_no_doubt_however_fractional():
    rate = minimal_length_controlled([0.75] * 50, [float(gap) for gap in range(50)])
    assert rate.value == pytest.approx(0.75, abs=2e-3)
    assert rate.high - rate.low < 1e-2


def test_longer_winners_count_for_less_and_shorter_ones_for_more():
    preferences = [1.0, 1.0, 1.0, 0.0, 0.0, 1.0]
    longer = [300.0, 200.0, 250.0, -20.0, 10.0, 30.0]
    assert minimal_length_controlled(preferences, longer).value < raw(preferences).value
    assert minimal_length_controlled(preferences, [-gap for gap in longer]).value < raw(preferences).value


def test_turning_the_comparison_round_turns_the_rate_round():
    preferences, longer = [1.0, 0.2, 0.9, 0.5, 0.0], [30.0, -5.0, 80.0, 12.0, -60.0]
    ours = minimal_length_controlled(preferences, longer)
    theirs = minimal_length_controlled([1 - p for p in preferences], [-gap for gap in longer])
    assert theirs.value == pytest.approx(1 - ours.value)
    assert (theirs.low, theirs.high) == pytest.approx((1 - ours.high, 1 - ours.low))


def test_a_fractional_preference_is_that_much_of_a_win():
    longer = [10.0, -20.0, 30.0, 5.0]
    halves = minimal_length_controlled([0.5, 0.25, 0.75, 1.0], longer)
    weighed = minimal_length_controlled([1, 0, 1, 1, 1, 0, 1, 1, 0, 0, 1, 1, 0, 1, 0, 1], longer * 4)
    assert halves.value == pytest.approx(weighed.value, abs=5e-3)


def test_equal_differences_in_length_tell_nothing():
    assert minimal_length_controlled([1.0, 0.0, 1.0], [7.0, 7.0, 7.0]) is None


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_a_rate_without_a_single_loss_or_win_is_still_a_number(outcome):
    rate = minimal_length_controlled([outcome] * 20, [float(gap) for gap in range(20)])
    assert abs(rate.value - outcome) < 0.05
    assert 0.0 <= rate.low <= rate.value <= rate.high <= 1.0


@pytest.mark.parametrize(
    ("model", "plain", "controlled"),
    [("vicuna-7b", 4.1626, 9.28), ("gpt-3.5-turbo-1106", 9.1780, 37.8)],
)
def test_alpacaevals_own_annotations_give_the_known_numbers(model, plain, controlled):
    path = ANNOTATIONS / f"annotations_{model}.jsonl"
    if not path.exists():
        pytest.skip("AlpacaEval's annotations, which are not ours to ship, are not in ../shared/data")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    preferences = [row["preference"] - 1 for row in rows]
    rate = minimal_length_controlled(preferences, [row["len_model"] - row["len_baseline"] for row in rows])
    assert 100 * raw(preferences).value == pytest.approx(plain, abs=5e-5)
    assert 100 * rate.value == pytest.approx(controlled, abs=5e-3 if controlled < 10 else 5e-2)


def answers(artifact, texts, **more):
    rows = [scored(name, 0, text, None, **more) for name, text in texts.items()]
    return artifact(Completions, [{name: row[name] for name in Completions.COLUMNS if name in row} for row in rows])


def test_two_models_answers_stand_side_by_side_in_the_candidates_order(artifact):
    candidate, baseline = (
        answers(artifact, {"b": "new b", "a": "new a"}),
        answers(artifact, {"a": "old a", "b": "old b"}),
    )
    out = artifact(Completions)
    assert SideBySide()(candidate=candidate, baseline=baseline, out=out) == {"answers": 4}
    told = [(row["prompt_id"], row["sample"], row["completion"][0]["content"]) for row in out.rows()]
    assert told == [("b", 0, "new b"), ("b", 1, "old b"), ("a", 0, "new a"), ("a", 1, "old a")]


@pytest.mark.parametrize(
    ("ours", "theirs", "complaint"),
    [
        ({"a": "x"}, {"a": "x", "b": "y"}, "the candidate has no answer to 1 prompts, such as 'b'"),
        ({"a": "x", "b": "y"}, {"a": "x"}, "the baseline has no answer to 1 prompts, such as 'b'"),
    ],
)
def test_a_prompt_that_one_of_them_lacks_is_an_error(artifact, ours, theirs, complaint):
    with pytest.raises(ValueError, match=complaint):
        SideBySide()(candidate=answers(artifact, ours), baseline=answers(artifact, theirs), out=artifact(Completions))


def test_another_question_under_the_same_id_is_an_error(artifact):
    other = answers(artifact, {"a": "x"}, prompt=[{"role": "user", "content": "something else"}])
    with pytest.raises(ValueError, match="not the same conversation"):
        SideBySide()(candidate=answers(artifact, {"a": "x"}), baseline=other, out=artifact(Completions))


def test_several_answers_a_prompt_are_an_error(artifact):
    rows = [scored("a", sample, "x", None) for sample in (0, 1)]
    twice = artifact(Completions, [{name: row[name] for name in Completions.COLUMNS if name in row} for row in rows])
    with pytest.raises(ValueError, match="more than once"):
        SideBySide()(candidate=twice, baseline=answers(artifact, {"a": "x"}), out=artifact(Completions))


def compared(artifact, *outcomes, **more):
    """Scores of pairs of answers: each outcome is (candidate's score, baseline's score)."""
    rows = [
        scored(str(prompt), sample, "w" * (10 + prompt * sample), score, null_reason="truncated", **more)
        for prompt, both in enumerate(outcomes)
        for sample, score in enumerate(both)
    ]
    return artifact(Scores, rows)


def test_wins_ties_and_losses_make_the_rate(artifact):
    scores = compared(artifact, (2.0, 1.0), (1.0, 1.0), (0.0, 1.0), (3.0, 1.0))
    out = artifact(Report)
    told = WinRate()(scores=scores, out=out)
    assert (told["wins"], told["ties"], told["losses"], told["missing"]) == (2, 1, 1, 0)
    assert told["win_rate"] == 0.625
    assert (told["win_rate_low"], told["win_rate_high"]) == wilson(0.625, 4)
    assert told["minimal_length_controlled_low"] < told["minimal_length_controlled"]
    assert told == out.read()


def test_a_gap_within_the_noise_of_a_score_is_a_tie(artifact):
    assert WinRate()(scores=compared(artifact, (1.05, 1.0), score_noise=0.1), out=artifact(Report))["ties"] == 1


def test_a_judge_that_prefers_nobody_finds_them_even(artifact):
    told = WinRate()(scores=compared(artifact, (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)), out=artifact(Report))
    assert (told["ties"], told["win_rate"]) == (3, 0.5)
    assert told["minimal_length_controlled"] == pytest.approx(0.5)


def test_missing_judgements_fail_the_step_and_say_why(artifact):
    scores = compared(artifact, (2.0, 1.0), (None, 1.0))
    with pytest.raises(ValueError, match=r"1 of 2 prompts have no judgement \(\{'truncated': 1\}\)"):
        WinRate()(scores=scores, out=artifact(Report))
    told = WinRate(missing_allowed=0.5)(scores=scores, out=artifact(Report))
    assert (told["win_rate"], told["missing"]) == (1.0, 0.5)


def test_if_every_judgement_is_missing_there_is_no_rate_whatever_is_allowed(artifact):
    with pytest.raises(ValueError, match="1 of 1 prompts have no judgement"):
        WinRate(missing_allowed=0.99)(scores=compared(artifact, (None, None)), out=artifact(Report))


def test_what_cannot_be_told_is_null_in_the_report_and_no_metric(artifact):
    out = artifact(Report)
    told = WinRate()(scores=compared(artifact, (2.0, 1.0)), out=out)
    assert "minimal_length_controlled" not in told
    assert out.read()["minimal_length_controlled"] is None


def test_scores_that_are_not_side_by_side_are_refused(artifact):
    with pytest.raises(ValueError, match="what is scored must be SideBySide"):
        WinRate()(scores=artifact(Scores, [scored("a", 0, "x", 1.0)]), out=artifact(Report))


def test_allowing_everything_to_be_missing_is_refused():
    with pytest.raises(ValueError, match="missing_allowed"):
        WinRate(missing_allowed=1.0)


def test_any_scorer_compares_two_models(artifact, tiny_model, other_model):
    prompts = artifact(Prompts, [prompt(str(i), f"What is {i} plus one?") for i in range(6)])
    made = []
    for policy in (tiny_model, other_model):
        made.append(artifact(Completions))
        Sample(n=1, temperature=0, max_new_tokens=40, seed=0, engine=HF(rows=8))(
            prompts=prompts, policy=policy, out=made[-1]
        )
    both, scores = artifact(Completions), artifact(Scores)
    SideBySide()(candidate=made[0], baseline=made[1], out=both)
    question = "<question>{question}</question> <first>{first}</first> <second>{second}</second>"
    judge = Pairwise(question=question, disagreement="average", min_mass=0, floor=0)
    judge(completions=both, judge=tiny_model, out=scores)
    told = WinRate(missing_allowed=0.9)(scores=scores, out=artifact(Report))
    assert told["wins"] + told["ties"] + told["losses"] == pytest.approx(6 * (1 - told["missing"]))

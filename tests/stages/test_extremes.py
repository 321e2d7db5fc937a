"""Best against worst: which answers take part, what is counted, and what is kept for later steps."""

import pytest

from stages.artifacts import Pairs, Scores
from stages.pairs.extremes import Extremes
from tests.stages.rows import scored


def mine(artifact, rows, n, **fields):
    out = artifact(Pairs)
    metrics = Extremes(n=n, **fields)(scores=artifact(Scores, rows), out=out)
    return list(out.rows()), metrics, out


def four(prompt_id, scores, texts=("first answer", "second answer", "third answer", "fourth answer"), **more):
    return [scored(prompt_id, i, t, s, **more) for i, (s, t) in enumerate(zip(scores, texts, strict=True))]


def test_the_highest_is_chosen_and_the_lowest_rejected(artifact):
    rows, metrics, _ = mine(artifact, four("p", [0.5, 3.0, -2.0, 1.0]), n=4)
    (only,) = rows
    assert only["chosen"][0]["content"] == "second answer"
    assert only["rejected"][0]["content"] == "third answer"
    assert (only["chosen_score"], only["rejected_score"], only["margin"]) == (3.0, -2.0, 5.0)
    assert metrics["pairs"] == 1


def test_a_pair_carries_the_token_ids_and_log_probs_that_scoring_had(artifact):
    rows, _, _ = mine(artifact, four("p", [0.5, 3.0, -2.0, 1.0]), n=4)
    assert rows[0]["chosen_logp"] == 3.0 - 10.0
    assert rows[0]["rejected_logp"] == -2.0 - 10.0
    assert rows[0]["scored_policy"] == "policy"
    assert rows[0]["chosen_tokens"] == [4, 5]
    assert rows[0]["prompt_tokens"] == [1, 2, 3]


@pytest.mark.parametrize(
    ("rule", "worst"),
    [
        ("truncated", {"finish_reason": "length"}),
        ("empty", {"text": "  a "}),
        ("overlong", {"text": "x" * 6700}),
        ("duplicate", {"text": "first   answer\n"}),
        ("unscored", {"score": None}),
    ],
)
def test_an_answer_that_cannot_be_compared_is_dropped_and_counted_by_rule(artifact, rule, worst):
    rows = four("p", [5.0, 3.0, 1.0, 0.0])
    rows[3] = scored("p", 3, **({"text": "fourth answer", "score": -9.0} | worst))
    pairs, metrics, _ = mine(artifact, rows, n=4)
    assert pairs[0]["rejected"][0]["content"] == "third answer"
    assert metrics[f"dropped_{rule}"] == 1
    assert metrics["dropped"] == 1


def test_a_missing_score_is_never_the_lowest(artifact):
    rows, _, _ = mine(artifact, four("p", [None, 3.0, 1.0, 2.0]), n=4)
    assert rows[0]["rejected"][0]["content"] == "third answer"


def test_fewer_than_half_valid_answers_give_no_pair(artifact):
    bad = four("bad", [None, None, None, 2.0])
    half = four("half", [None, None, 1.0, 2.0])
    rows, metrics, _ = mine(artifact, bad + half, n=4)
    assert [row["prompt_id"] for row in rows] == ["half"]
    assert metrics["too_few_valid"] == 1


def test_half_is_rounded_up(artifact):
    texts = ("one answer", "two answer", "three answer", "four answer", "five answer")
    rows = [scored("p", i, t, s) for i, (s, t) in enumerate(zip([None, None, None, 1.0, 2.0], texts, strict=True))]
    fine = [scored("q", i, t, s) for i, (s, t) in enumerate(zip([None, None, 0.0, 1.0, 2.0], texts, strict=True))]
    pairs, _, _ = mine(artifact, rows + fine, n=5)
    assert [row["prompt_id"] for row in pairs] == ["q"]


def test_a_tie_gives_no_pair_and_is_counted(artifact):
    rows, metrics, _ = mine(artifact, four("tie", [1.0] * 4) + four("p", [1.0, 2.0, 3.0, 4.0]), n=4)
    assert [row["prompt_id"] for row in rows] == ["p"]
    assert metrics["ties"] == 1


def test_a_margin_within_the_noise_of_the_scores_is_a_tie(artifact):
    close = four("close", [1.0, 1.1, 1.2, 1.3], score_noise=0.5)
    clear = four("clear", [1.0, 1.1, 1.2, 1.6], score_noise=0.5)
    rows, metrics, _ = mine(artifact, close + clear, n=4)
    assert [row["prompt_id"] for row in rows] == ["clear"]
    assert metrics["ties"] == 1


def test_when_nothing_is_left_the_step_stops_and_says_why(artifact):
    with pytest.raises(ValueError, match=r"no pair is left of 1 prompts: .*dropped unscored 4"):
        mine(artifact, four("p", [None] * 4), n=4)


def test_a_lost_answer_is_noticed(artifact):
    with pytest.raises(ValueError, match=r"prompt 'p' has 3 answers, not 4"):
        mine(artifact, four("p", [1.0, 2.0, 3.0, 4.0])[:3], n=4)


def test_balancing_makes_winners_on_average_no_longer_than_losers(artifact):
    rows = []
    for number in range(30):
        texts = [f"{number} {'word ' * (10 * sample + number % 7 + 1)}" for sample in range(4)]
        rows += four(f"p{number}", [2.0 * sample + (number * sample) % 5 for sample in range(4)], texts)
    _, plain, _ = mine(artifact, rows, n=4)
    pairs, balanced, out = mine(artifact, rows, n=4, length_penalty="balance")
    assert plain["gap"] > 20
    assert abs(balanced["gap"]) < plain["gap"] / 2
    assert balanced["alpha"] > 0
    assert balanced["gap_unpenalised"] == plain["gap"]
    assert all(row["margin"] > 0 for row in pairs)
    assert {file.name for file in out.plots.iterdir()} == {"margin_histogram.png", "length.png", "alpha_sweep.png"}


def test_the_sweep_is_drawn_though_no_penalty_was_needed(artifact):
    _, metrics, out = mine(artifact, four("p", [0.5, -2.0, 3.0, 1.0]), n=4, length_penalty="balance")
    assert metrics["alpha"] == 0
    assert (out.path / "sweep.json").exists()
    assert (out.plots / "alpha_sweep.png").exists()


def test_white_space_inside_an_answer_counts_for_its_length_and_around_it_does_not(artifact):
    rows = four(
        "p", [5.0, 3.0, 1.0, 0.0], ("first answer", "second answer", "  third answer \n", "x " + " " * 7000 + "y")
    )
    pairs, metrics, _ = mine(artifact, rows, n=4)
    assert metrics["dropped_overlong"] == 1
    assert metrics["rejected_characters"] == len("third answer")
    assert pairs[0]["rejected"][0]["content"] == "  third answer \n"


def test_ten_thousand_prompts_are_mined_in_order(artifact):
    rows = [scored(f"p{i // 2}", i % 2, f"answer number {i}", float(i % 2)) for i in range(20_000)]
    pairs, metrics, _ = mine(artifact, rows, n=2)
    assert metrics["pairs"] == 10_000
    assert [row["prompt_id"] for row in pairs] == [f"p{i}" for i in range(10_000)]


@pytest.mark.parametrize(
    "fields",
    [{"n": 1}, {"n": 2, "length_penalty": -0.1}, {"n": 2, "min_valid": 0}, {"n": 2, "shortest": 9, "longest": 9}],
)
def test_impossible_values_are_refused(fields):
    with pytest.raises(ValueError, match=r"must be|at least|share"):
        Extremes(**fields)


def test_of_two_equal_answers_the_one_without_a_score_does_not_take_the_others_place(artifact):
    rows = [scored("p", 0, "the same answer", None), scored("p", 1, "the same answer", 3.0)]
    rows += [scored("p", 2, "another answer", 1.0)]
    pairs, metrics, _ = mine(artifact, rows, n=3)
    assert (pairs[0]["chosen_sample"], metrics["dropped_unscored"], metrics["dropped_duplicate"]) == (1, 1, 0)

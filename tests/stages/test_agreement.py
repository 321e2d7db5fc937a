"""A scorer examined on pairs that people labelled: any scorer can be, and ties and nulls are told apart."""

import math

import pytest

from stages.artifacts import Completions, Pairs, Report, Scores
from stages.evaluate.agreement import Agreement
from stages.generate.both_answers import BothAnswers
from stages.pairs.logprobs import LogProbs
from stages.score.implicit import ImplicitReward
from stages.score.pairwise import Pairwise
from stages.score.yesno import YesNo
from tests.stages.rows import pair, scored

YES = "<question>{question}</question> <response>{response}</response> Good?"
BETTER = "<question>{question}</question> <first>{first}</first> <second>{second}</second> Which?"


@pytest.fixture
def both(artifact, tiny_model):
    """Both answers of three pairs, two of them of one prompt."""
    pairs = [pair("a"), pair("a", chosen="another one", rejected="worse"), pair("b", prompt="why?")]
    known, out = artifact(Pairs), artifact(Completions)
    LogProbs()(pairs=artifact(Pairs, pairs), model=tiny_model, out=known)
    assert BothAnswers()(pairs=known, out=out) == {"answers": 6}
    return out


def test_each_pair_is_a_prompt_with_two_answers_the_chosen_first(both):
    rows = list(both.rows())
    assert [(row["prompt_id"], row["sample"]) for row in rows] == [
        (prompt, sample) for prompt in ("0-a", "1-a", "2-b") for sample in (0, 1)
    ]
    assert [row["completion"][0]["content"] for row in rows[:3]] == ["a good answer", "a bad one", "another one"]
    assert all(row["prompt_tokens"] and row["completion_tokens"] for row in rows)


def test_pairs_without_token_ids_are_refused(artifact):
    with pytest.raises(ValueError, match="pass them through LogProbs first"):
        BothAnswers()(pairs=artifact(Pairs, [pair("a")]), out=artifact(Completions))


def agreement(artifact, scores):
    out = artifact(Report)
    return Agreement()(scores=scores, out=out), out.read()


@pytest.mark.parametrize("scorer", ["implicit", "pairwise", "yesno"])
def test_scorers_of_the_shelf_are_examined_as_they_are(artifact, both, tiny_model, other_model, scorer):
    scores = artifact(Scores)
    if scorer == "implicit":
        ImplicitReward()(completions=both, policy=other_model, reference=tiny_model, out=scores)
    elif scorer == "pairwise":
        judge = Pairwise(question=BETTER, min_mass=0, disagreement="average")
        judge(completions=both, judge=tiny_model, out=scores)
    else:
        YesNo(question=YES, yes=("Y",), no=("N",), min_mass=0)(completions=both, judge=tiny_model, out=scores)
    told, _ = agreement(artifact, scores)
    assert told["pairs"] == 3
    assert told["unscored"] == 0
    assert 0 <= told["agreement"] <= 1


def of(*pairs, noise=None):
    return [
        scored(f"p{place}", sample, "words", score, score_noise=noise)
        for place, both in enumerate(pairs)
        for sample, score in enumerate(both)
    ]


def test_ties_and_nulls_are_told_apart_from_agreement(artifact):
    rows = of((5.0, 1.0), (5.0, 2.0), (1.0, 3.0), (5.0, 5.0), (5.0, None))
    told, _ = agreement(artifact, artifact(Scores, rows))
    assert told["agreement"] == 2 / 3
    assert told["agreement_se"] == pytest.approx(math.sqrt(2 / 9 / 3))
    assert (told["tied"], told["unscored"], told["pairs"]) == (0.2, 0.2, 5)
    assert told["saturation"] == 5 / 9


def test_a_margin_within_the_noise_of_a_score_is_a_tie(artifact):
    told, _ = agreement(artifact, artifact(Scores, of((1.0, 1.1), (1.0, 0.0), noise=0.2)))
    assert (told["agreement"], told["tied"]) == (1, 0.5)


def test_what_nobody_could_tell_is_null_and_no_metric(artifact):
    told, report = agreement(artifact, artifact(Scores, of((4.0, 4.0), (4.0, 4.0))))
    assert report["agreement"] is None
    assert "agreement" not in told
    assert told["saturation"] == 1
    told, report = agreement(artifact, artifact(Scores, of((None, None))))
    assert report["saturation"] is None
    assert told == {"tied": 0, "unscored": 1, "pairs": 1}


def test_scores_of_something_else_are_refused(artifact):
    with pytest.raises(ValueError, match="must be BothAnswers"):
        agreement(artifact, artifact(Scores, [scored("a", n, "words", 1.0) for n in range(3)]))

"""Tiers, agreement, margins, joining, and the judge judged."""

import random

import pytest

from stages.artifacts import Pairs, Scores
from stages.engines.engine import Answer
from stages.pairs.agreeing import Agreeing
from stages.pairs.bradley_terry import ratings
from stages.pairs.candidates import Candidate, gathered
from stages.pairs.extremes import Extremes
from stages.pairs.joined import Joined
from stages.pairs.margin import Margin
from stages.pairs.meta_judge import MetaJudge, most_disputed, winner
from stages.pairs.tiers import Tiers, pick
from tests.stages.rows import pair, scored

SPECIFIED = [(5, 1900), (4.2, 1500), (3.5, 1200), (2.5, 2400), (2, 1800)]


def mine(artifact, rows, n=None, stage=Tiers, **fields):
    out = artifact(Pairs)
    told = stage(n=n or len(rows), **fields)(scores=artifact(Scores, rows), out=out)
    return list(out.rows()), told


def answers(values, prompt_id="p"):
    """Rows of one prompt from (score, characters)."""
    return [scored(prompt_id, i, chr(97 + i) * size, score) for i, (score, size) in enumerate(values)]


@pytest.mark.parametrize(("rho", "chosen", "rejected"), [(0.32, (4.2, 1500), (2.5, 2400)), (0, (5, 1900), (2, 1800))])
def test_length_control_of_the_specified_prompt(artifact, rho, chosen, rejected):
    (found,), _ = mine(artifact, answers(SPECIFIED), length_control=rho)
    for side, (score, size) in {"chosen": chosen, "rejected": rejected}.items():
        assert (found[f"{side}_score"], len(found[side][0]["content"])) == (score, size)


def test_of_equally_good_answers_the_shortest_is_chosen_and_of_equally_bad_ones_the_longest_rejected(artifact):
    (found,), _ = mine(artifact, answers([(4, 90), (4, 50), (1, 30), (1, 80)]))
    assert (found["chosen_sample"], found["rejected_sample"]) == (1, 3)


def test_equal_scores_are_a_tie_that_is_dropped_and_counted(artifact):
    rows = answers([(3, 50), (3, 60)], "tie") + answers([(3, 50), (1, 60)], "pair")
    found, told = mine(artifact, rows, n=2)
    assert [row["prompt_id"] for row in found] == ["pair"]
    assert told["ties"] == 1
    with pytest.raises(ValueError, match=r"no pair is left of 1 prompts: pairs 0|no pair is left of 1 prompts: ties 1"):
        mine(artifact, answers([(3, 50), (3, 60)]))


def test_tiers_of_many_prompts_are_those_of_each_alone():
    generator = random.Random(0)
    found = []
    for _ in range(300):
        count = generator.randint(2, 5)
        scores, lengths = ([generator.randint(0, 9) / 3 for _ in range(count)] for _ in range(2))
        found.append(Candidate(places=range(count), scores=scores, lengths=lengths))
    picks = pick(gathered(found, 5), 0.3)
    for number, one in enumerate(found):
        slack = 0.3 * (max(one.scores) - min(one.scores)) + 1e-9 * (max(one.scores) - min(one.scores))
        top = [i for i, score in enumerate(one.scores) if score >= max(one.scores) - slack]
        bottom = [i for i, score in enumerate(one.scores) if score <= min(one.scores) + slack]
        assert picks.best[number] == min(top, key=one.lengths.__getitem__)
        assert picks.worst[number] == max(bottom, key=one.lengths.__getitem__)


@pytest.mark.parametrize("rho", [-0.1, 0.5, 1])
def test_tiers_that_would_meet_are_refused(rho):
    with pytest.raises(ValueError, match=r"\[0, 0.5\)"):
        Tiers(n=4, length_control=rho)


@pytest.mark.parametrize("stage", [Tiers, Extremes])
def test_scores_that_are_log_odds_give_preferences_and_win_rates(artifact, stage):
    """P(i ≻ j) = σ(s_i − s_j); a win rate counts an answer against itself as a half, as SPPO's code does."""
    rows = answers([(2.0, 50), (1.0, 60), (0.0, 70)])
    (found,), _ = mine(artifact, rows, stage=stage, preference_scale=1.0)
    assert found["preference"] == pytest.approx(0.8807970779)
    assert found["chosen_wins"] == pytest.approx((0.5 + 0.7310585786 + 0.8807970779) / 3)
    assert found["rejected_wins"] == pytest.approx((0.5 + 0.2689414214 + 0.1192029220) / 3)
    (plain,), _ = mine(artifact, rows, stage=stage)
    assert plain["preference"] is None


def agree(artifact, opinions, **fields):
    """Pairs of prompts 0, 1, ... with the other scorer's (chosen, rejected) scores."""
    pairs = [pair(str(i), chosen_sample=0, rejected_sample=1, label_source="self") for i in range(len(opinions))]
    rows = [scored(str(i), s, "text text", score) for i, both in enumerate(opinions) for s, score in enumerate(both)]
    out = artifact(Pairs)
    told = Agreeing(**fields)(pairs=artifact(Pairs, pairs), scores=artifact(Scores, rows), out=out)
    return [row["prompt_id"] for row in out.rows()], told


def test_only_pairs_on_which_both_scorers_agree_are_kept_and_the_others_counted(artifact):
    kept, told = agree(artifact, [(2, 1), (1, 2), (1, 1), (None, 1), (3, -3)])
    assert kept == ["0", "4"]
    assert told == {"pairs": 2, "agreement": 2 / 3, "disagreeing": 1, "ties": 1, "unscored": 1}


def test_agreement_may_be_asked_to_be_clear(artifact):
    assert agree(artifact, [(2, 1), (3, 1)], above=1.0)[0] == ["1"]


def test_a_second_opinion_on_other_answers_is_an_error_and_no_disagreement(artifact):
    scores = artifact(Scores, [scored("0", 0, "text text", 1.0)])
    with pytest.raises(ValueError, match=r"of the same completions"):
        Agreeing()(
            pairs=artifact(Pairs, [pair("0", chosen_sample=0, rejected_sample=1)]), scores=scores, out=artifact(Pairs)
        )


def test_when_nothing_agrees_the_step_stops_and_says_why(artifact):
    with pytest.raises(ValueError, match=r"no pair is left of 2: .*'disagreeing': 2"):
        agree(artifact, [(1, 2), (1, 2)])


def window(artifact, source, **fields):
    pairs = [pair(str(i), margin=float(i), label_source=source) for i in range(20)]
    out = artifact(Pairs)
    Margin(**fields)(pairs=artifact(Pairs, pairs), out=out)
    return [int(row["prompt_id"]) for row in out.rows()]


def test_of_self_labels_the_smallest_margins_are_dropped_and_of_outside_labels_kept(artifact):
    assert window(artifact, "self") == list(range(2, 20))
    assert window(artifact, "outside") == list(range(10))


def test_a_window_of_ones_own_is_taken_whatever_the_source(artifact):
    assert window(artifact, None, window=(0.25, 0.5)) == [5, 6, 7, 8, 9]


def test_labels_of_unknown_or_mixed_source_have_no_default(artifact):
    with pytest.raises(ValueError, match=r"say which window"):
        window(artifact, None)
    mixed = [pair("a", margin=1.0, label_source="self"), pair("b", margin=1.0, label_source="outside")]
    with pytest.raises(ValueError, match=r"\['outside', 'self'\]"):
        Margin()(pairs=artifact(Pairs, mixed), out=artifact(Pairs))
    with pytest.raises(ValueError, match=r"1 of 1 pairs have no margin"):
        Margin()(pairs=artifact(Pairs, [pair("a", label_source="outside")]), out=artifact(Pairs))


@pytest.mark.parametrize("wrong", [(0.5, 0.5), (-0.1, 1), (0, 1.1)])
def test_an_impossible_window_is_refused(wrong):
    with pytest.raises(ValueError, match=r"0 <= from < to <= 1"):
        Margin(window=wrong)


def test_the_second_source_is_never_more_than_its_share(artifact):
    first = artifact(Pairs, [pair(f"a{i}") for i in range(17)])
    second = artifact(Pairs, [pair(f"b{i}") for i in range(10)])
    out = artifact(Pairs)
    told = Joined(most=0.15, seed=1)(pairs=first, more=second, out=out)
    ids = [row["prompt_id"] for row in out.rows()]
    assert told == {"pairs": 20, "more": 3, "left_out": 7}
    assert [name for name in ids if name[0] == "a"] == [f"a{i}" for i in range(17)]
    few = Joined(most=0.9, seed=1)(pairs=first, more=second, out=artifact(Pairs))
    assert few["more"] == 10


def test_ratings_order_players_by_who_beat_whom():
    order = ratings(3, {(0, 1): 1.0, (1, 2): 1.0, (0, 2): 1.0})
    assert order[0] > order[1] > order[2]
    assert ratings(2, {(0, 1): 0.5, (1, 0): 0.5}) == pytest.approx([1000, 1000])


def test_ratings_are_those_at_which_expected_wins_are_the_wins():
    """The maximum of the Bradley-Terry likelihood: what each won is what its rating says it should have won."""
    wins = {(0, 1): 7.0, (1, 0): 3.0, (1, 2): 6.0, (2, 1): 4.0, (0, 2): 8.0, (2, 0): 2.0}
    found = ratings(3, wins)
    strength = [10 ** (rating / 400) for rating in found]
    for one in range(3):
        others = [other for other in range(3) if other != one]
        played = {other: wins[one, other] + wins[other, one] + 0.2 for other in others}
        expected = sum(played[other] * strength[one] / (strength[one] + strength[other]) for other in others)
        assert expected == pytest.approx(sum(wins[one, other] + 0.1 for other in others), abs=1e-6)


@pytest.mark.parametrize(
    ("forward", "backward", "outcome"),
    [("A", "B", "first"), ("B", "A", "second"), ("A", "A", "tie"), ("B", "B", "tie"), (None, "A", "unread")],
)
def test_a_judgement_wins_only_if_both_orders_say_so(forward, backward, outcome):
    assert winner(forward, backward) == outcome


def test_the_answer_whose_valid_votes_vary_most_is_disputed():
    rows = [{"votes": [3.0, 3.0]}, {"votes": [1.0, None, 5.0]}, {"votes": [2.0, 3.0]}, {"votes": None}]
    assert most_disputed(rows) is rows[1]
    assert most_disputed([rows[0], rows[3]]) is None


class Meta:
    """An engine whose meta-judge always prefers the judgement with a word, wherever it stands; it is asked in text."""

    rows = 64

    def __init__(self, model, word):
        from stages.engines.models import load_tokenizer

        self.tokenizer, self.word, self.asked = load_tokenizer(model), word, []

    def generate(self, model, requests, sampling):
        texts = [self.tokenizer.decode(request.prompt) for request in requests]
        self.asked += texts
        said = ["It is better.\nWinner: " + ("A" if self.word in text.split("<second>")[0] else "B") for text in texts]
        for index, text in enumerate(said):
            yield Answer(index, 0, [*self.tokenizer(text).input_ids, self.tokenizer.eos_token_id])


RUBRIC = "<question>{question}</question> <response>{response}</response> Score:"
QUESTION = RUBRIC.replace("Score:", "<first>{first}</first> <second>{second}</second> Winner:")


def judged(votes, judgements):
    return scored("p", 0, "An answer.", 3.0, votes=votes, judgements=judgements, label_source="self")


def meta(artifact, model, row, word="careful"):
    engine = Meta(model, word)
    out = artifact(Pairs)
    stage = MetaJudge(question=QUESTION, rubric=RUBRIC, temperature=0.7, max_new_tokens=64, seed=1, engine=engine)
    return [stage(scores=artifact(Scores, [row]), judge=model, out=out), *out.rows()], engine


def test_the_best_judgement_against_the_worst_becomes_a_pair_whose_prompt_is_the_judges(artifact, tiny_model):
    said = ["Sloppy.\nScore: 5", "A careful reading.\nScore: 2", "Hasty.\nScore: 4"]
    (told, found), engine = meta(artifact, tiny_model, judged([5.0, 2.0, 4.0], said))
    assert found["chosen"][0]["content"] == said[1]
    assert found["rejected"][0]["content"] in (said[0], said[2])
    assert found["prompt"][0]["content"] == RUBRIC.replace("{question}", "question p").replace(
        "{response}", "An answer."
    )
    assert (told["pairs"], told["disputed"]) == (1, 1)
    assert told["duels_first"] + told["duels_second"] == 2
    assert told["duels_tie"] == 1, "neither of the two others has the word, so the second always wins"
    assert all("Score: " not in text for text in engine.asked), "the grades are hidden from the meta-judge"


def test_judgements_that_nobody_tells_apart_or_that_give_the_same_score_make_no_pair(artifact, tiny_model):
    said = ["A reading.", "Another.", "A third."]
    (told, *found), _ = meta(artifact, tiny_model, judged([2.0, 2.0, 4.0], said), word="nothing of it")
    assert (told["duels_tie"], found) == (3, [])
    said = ["A careful reading.", "Hasty.", "A careful look."]
    (told, *found), _ = meta(artifact, tiny_model, judged([4.0, 4.0, 2.0], said), word="Hasty")
    assert (told["duels_tie"], found) == (1, []), "the second beats both, the first is the worst, and both said 4"
    (told, *found), _ = meta(artifact, tiny_model, judged([4.0, 4.0], said[:2]), word="Hasty")
    assert (told["disputed"], found) == (0, [])
    (told, *found), engine = meta(artifact, tiny_model, judged([3.0, None, 3.0], said))
    assert (told["disputed"], found, engine.asked) == (0, [], [])


def test_what_the_meta_judge_did_not_say_in_its_place_counts_for_nobody(artifact, tiny_model):
    class Mute(Meta):
        def generate(self, model, requests, sampling):
            said = [*self.tokenizer("Both are fine.").input_ids, self.tokenizer.eos_token_id]
            return (Answer(index, 0, said) for index, _ in enumerate(requests))

    stage = MetaJudge(
        question=QUESTION, rubric=RUBRIC, temperature=0.7, max_new_tokens=64, seed=1, engine=Mute(tiny_model, "")
    )
    out = artifact(Pairs)
    told = stage(scores=artifact(Scores, [judged([5.0, 2.0], ["one", "two"])]), judge=tiny_model, out=out)
    assert told["duels_unread"] == 1
    assert len(out) == 0


def test_the_duels_are_counted_once_even_if_a_part_was_made_twice(artifact, tiny_model):
    out = artifact(Pairs)
    row = judged([5.0, 2.0], ["a careful one", "two"])
    stage = MetaJudge(
        question=QUESTION, rubric=RUBRIC, temperature=0.7, max_new_tokens=64, seed=1, engine=Meta(tiny_model, "careful")
    )
    stage(scores=artifact(Scores, [row]), judge=tiny_model, out=out)
    for part in out.path.glob("part-*"):
        part.unlink()
    told = stage(scores=artifact(Scores, [row]), judge=tiny_model, out=out)
    assert (told["duels_first"], told["duels_tie"]) == (1, 0)


def test_equally_strong_judgements_make_no_pair_by_rounding():
    """Eleven judgements in a circle, each beating the next five: nothing tells the best from the worst."""
    wins = {(one, (one + ahead) % 11): 1.0 for one in range(11) for ahead in range(1, 6)}
    found = ratings(11, wins)
    assert max(found) - min(found) < 1e-6


def test_under_a_length_penalty_no_preference_contradicts_its_pair(artifact):
    """The long answer has the higher score and loses; what the pair was chosen by is what it is told by."""
    rows = [scored("p", 0, "a" * 3000, 30.0), scored("p", 1, "b" * 200, 10.0)]
    (found,), _ = mine(artifact, rows, stage=Extremes, length_penalty=0.01, preference_scale=0.1)
    assert found["chosen_sample"] == 1
    assert found["preference"] == pytest.approx(1 / (1 + 2.718281828**-0.8))
    assert found["chosen_wins"] > 0.5 > found["rejected_wins"]


def test_points_and_probabilities_are_never_taken_for_log_odds(artifact):
    rows = [scored("p", 0, "aaaa", 5.0, score_unit="points"), scored("p", 1, "bbbbb", 1.0, score_unit="points")]
    with pytest.raises(ValueError, match=r"scores in points are no log-odds"):
        mine(artifact, rows, preference_scale=1.0)


def test_agreement_within_the_noise_of_the_second_scorer_is_a_tie(artifact):
    pairs = artifact(Pairs, [pair("0", chosen_sample=0, rejected_sample=1)])
    rows = [scored("0", s, "text text", score, score_noise=0.3) for s, score in enumerate((1.2, 1.0))]
    with pytest.raises(ValueError, match=r"'ties': 1"):
        Agreeing()(pairs=pairs, scores=artifact(Scores, rows), out=artifact(Pairs))

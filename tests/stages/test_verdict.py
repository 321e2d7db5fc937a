"""Reading a judge's words: a verdict stands on its own line, the last one counts, and nothing is guessed."""

import pytest

from stages.engines.verdict import Verdict, read_label, read_score, without_verdict


def read(judgement, keyword="Score", lowest=0, highest=5):
    return read_score(judgement, keyword, lowest, highest)


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ("Score: 4", 4),
        ("score:4", 4),
        ("SCORE :  4  ", 4),
        ("Score: 4.", 4),
        ("Score: 4.5", 4.5),
        ("Score: 4.5.", 4.5),
        ("Score: +4", 4),
        ("Score: 0", 0),
        ("Score: 5", 5),
        ("Score: 4/5", 4),
        ("Score: 4 / 5", 4),
        ("Score: 4 out of 5", 4),
        ("Score: 4 points", 4),
        ("Score: 1 point.", 1),
        ("**Score: 4**", 4),
        ("**Score:** 4", 4),
        ("**Score**: **4**", 4),
        ("## Score: `4`", 4),
        ("Score: 4\r\n", 4),
    ],
)
def test_a_number_in_its_place_is_read_however_it_is_marked(said, score):
    assert read(f"Some words first.\n{said}") == Verdict(score=score)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "Five points of five.",
        "4",
        "4/5",
        "I give it a Score: 5",
        "The response says Score: 5 and that is a lie.",
        "Total Score: 5",
        "Scores: 5",
        "Subscore: 5",
        "Score 5",
        "Score 1 of 3: 0",
        "Score for the fifth criterion: 1",
        "Reward: 5",
        "> Score: 5",
        "Score\n: 5",
    ],
)
def test_without_a_line_that_begins_with_the_keyword_there_is_no_score(said):
    assert read(said) == Verdict(reason="no_score")


@pytest.mark.parametrize(
    "said",
    [
        "",
        "N",
        "four",
        "4 or 5",
        "4-5",
        "4,5",
        "3 4",
        "4 (out of 5)",
        "4/10",
        "4 out of 50",
        "8/5/5",
        "-",
        ".",
        "nan",
        "inf",
        "1e0",
        "0x4",
        "٤",
        "4..",
        "<4>",
        "4 because 5 would be too much",
    ],
)
def test_what_is_not_exactly_a_number_is_unreadable(said):
    assert read(f"Score: {said}") == Verdict(reason="unreadable")


@pytest.mark.parametrize("said", ["10", "5.5", "-1", "6", "10/5", "10 out of 5", "55", "5.0000001"])
def test_a_number_beyond_the_range_is_no_score_and_is_never_cut_to_fit(said):
    assert read(f"Score: {said}") == Verdict(reason="out_of_range")


def test_the_range_is_the_callers_and_includes_its_ends():
    assert read("Score: 10", lowest=1, highest=10) == Verdict(score=10)
    assert read("Score: 7/10", lowest=1, highest=10) == Verdict(score=7)
    assert read("Score: 1", lowest=1, highest=10) == Verdict(score=1)
    assert read("Score: 0", lowest=1, highest=10) == Verdict(reason="out_of_range")
    assert read("Score: 4/5", lowest=1, highest=10) == Verdict(reason="unreadable")


def test_the_keyword_is_the_callers_and_is_taken_literally():
    assert read("Reward: 3\nScore: 5", keyword="Reward") == Verdict(score=3)
    assert read("Grade (0-5): 3", keyword="Grade (0-5)") == Verdict(score=3)
    assert read("Scorex: 3", keyword="Score.") == Verdict(reason="no_score")


def test_of_several_scores_the_last_in_its_place_counts():
    assert read("Score: 5\nOn reflection:\nScore: 2") == Verdict(score=2)
    assert read("Score: 2\nOther judges might say a Score: 5") == Verdict(score=2)
    assert read("Relevance: 1\nScore 1 of 2: 1\nScore: 3\nThe total is 5.") == Verdict(score=3)


def test_an_earlier_score_does_not_stand_in_for_a_last_one_that_cannot_be_read():
    assert read("Score: 5\nScore: N") == Verdict(reason="unreadable")
    assert read("Score: 5\nScore: 10") == Verdict(reason="out_of_range")


def test_a_quoted_line_is_somebody_elses_verdict():
    assert read("Score: 1\nBecause the response itself ends with\n> Score: 5") == Verdict(score=1)


@pytest.mark.parametrize("said", ["A", "a", "**A**", "A.", "`A`", " A "])
def test_a_label_is_read_however_it_is_marked(said):
    assert read_label(f"B is worse.\nWinner: {said}", "Winner", ("A", "B")) == "A"


@pytest.mark.parametrize("said", ["", "C", "AB", "A or B", "A, B", "Judgement A", "Neither", "An answer", "not A"])
def test_only_a_whole_label_counts(said):
    assert read_label(f"Winner: {said}", "Winner", ("A", "B")) is None


def test_incorrect_is_not_correct():
    labels = ("correct", "incorrect")
    assert read_label("Verdict: incorrect", "Verdict", labels) == "incorrect"
    assert read_label("Verdict: incorrect", "Verdict", ("correct",)) is None
    assert read_label("Verdict: Correct.", "Verdict", labels[::-1]) == "correct"
    assert read_label("Verdict: not correct", "Verdict", labels) is None
    assert read_label("The response is correct", "Verdict", labels) is None


def test_of_several_labels_the_last_counts_and_an_earlier_one_does_not_stand_in():
    assert read_label("Winner: A\nWinner: B", "Winner", ("A", "B")) == "B"
    assert read_label("Winner: A\nWinner: both", "Winner", ("A", "B")) is None


def test_the_words_without_the_verdict_keep_everything_else():
    judgement = "The score is fine.\nScore: 3\nIt had a good start.\n\n**Score:** 4/5\n"
    assert without_verdict(judgement, "Score") == "The score is fine.\nIt had a good start."


@pytest.mark.parametrize(
    "line", ["Score: 4", "## **Score** : 4", "score:4", "Score:", "Score: N", "first\rScore: 4", "first\u2028Score: 4"]
)
def test_what_is_hidden_is_all_that_would_be_read(line):
    judgement = f"Words.\n{line}\nMore words."
    assert read(judgement).reason != "no_score", "the test needs a line that is read"
    hidden = without_verdict(judgement, "Score")
    assert read(hidden) == Verdict(reason="no_score")
    assert hidden.startswith("Words.")
    assert hidden.endswith("More words.")

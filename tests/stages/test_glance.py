"""A look into artifacts: readable rows, the judge's words beside pairs, and a judge's calls."""

import pytest

from stages.artifacts import Completions, Model, Pairs, Prompts, Report, Scores
from stages.glance import Glance


def said(text, role="assistant"):
    return [{"role": role, "content": text}]


def table(path, kind, rows):
    path.mkdir()
    made = kind(path)
    made.write(rows)
    return made


def judged(number, sample, votes=(3.0, None)):
    """An answer that a judge has spoken of."""
    return {
        "prompt_id": f"p{number}",
        "prompt": said(f"question {number}", "user"),
        "sample": sample,
        "completion": said(f"answer {sample} to {number}"),
        "finish_reason": "stop",
        "completion_tokens": [1, 2, 3],
        "score": 3.0,
        "votes": list(votes),
        "judgements": [f"words {vote} on {number}/{sample}" for vote in range(len(votes))],
    }


def pair(number):
    return {
        "prompt_id": f"p{number}",
        "prompt": said(f"question {number}", "user"),
        "chosen": said("good"),
        "rejected": said("bad"),
        "chosen_score": 4.0,
        "rejected_score": 8 / 3,
        "margin": 4 / 3,
        "source": "mined",
        "chosen_sample": 1,
        "rejected_sample": 0,
    }


@pytest.fixture
def scores(tmp_path):
    return table(tmp_path / "scores", Scores, [judged(number, sample) for number in range(10) for sample in range(2)])


def test_a_pair_is_shown_with_both_answers_their_scores_and_what_the_judge_said_of_each(tmp_path, scores):
    pairs = table(tmp_path / "pairs", Pairs, [pair(number) for number in range(10)])
    rows = Glance().rows(pairs, {"scores": scores})
    assert len(rows) == 10
    assert rows[7] == {
        "prompt": "question 7",
        "chosen": "good",
        "rejected": "bad",
        "chosen_score": 4.0,
        "rejected_score": 2.667,
        "margin": 1.333,
        "source": "mined",
        "chosen_judgements": "words 0 on 7/1\n\nwords 1 on 7/1",
        "rejected_judgements": "words 0 on 7/0\n\nwords 1 on 7/0",
    }


def test_pairs_that_were_made_of_pairs_are_shown_without_a_judge(tmp_path):
    pairs = table(tmp_path / "pairs", Pairs, [pair(0)])
    rows = Glance().rows(pairs, {"mined": pairs, "pool": pairs})
    assert set(rows[0]) >= {"prompt", "margin"}
    assert not any("judgements" in name for name in rows[0])


def test_rows_are_taken_over_the_whole_table_and_are_the_same_each_time(tmp_path):
    pairs = table(tmp_path / "pairs", Pairs, [pair(number) for number in range(100)])
    rows = Glance(shown=4).rows(pairs, {})
    assert [row["prompt"] for row in rows] == ["question 0", "question 25", "question 50", "question 75"]
    assert rows == Glance(shown=4).rows(pairs, {})


def test_a_long_text_is_cut_and_a_conversation_names_its_speakers(tmp_path):
    row = {**judged(0, 0), "prompt": said("Be kind.", "system") + said("x" * 50, "user")}
    made = table(tmp_path / "answers", Completions, [row])
    shown = Glance(letters=30).rows(made, {})[0]
    assert shown["prompt"].startswith("System: Be kind.\n\nUser: xx")
    assert len(shown["prompt"]) == 30
    assert shown["prompt"].endswith("…")


def test_a_judges_calls_are_what_it_was_shown_what_it_said_and_what_was_read(scores, tmp_path):
    (tmp_path / "judge-key").mkdir()
    calls = Glance(judged=20).judgements(scores, {"completions": scores, "judge": Model(tmp_path / "judge-key")})
    assert len(calls) == 20
    assert calls[1] == {
        "inputs": {"prompt": "question 0", "answer": "answer 1 to 0"},
        "outputs": {"words": "words 1 on 0/1", "score": None},
        "score": None,
        "judge": "judge-key",
    }
    assert calls[-2]["outputs"] == {"words": "words 0 on 9/0", "score": 3.0}


def test_scores_without_words_hold_no_calls_and_a_report_or_prompts_no_rows(tmp_path):
    silent = table(tmp_path / "silent", Scores, [{**judged(0, 0), "judgements": None, "votes": None}])
    assert Glance().judgements(silent, {}) == []
    assert Glance().rows(silent, {})[0]["score"] == 3.0
    (tmp_path / "report").mkdir()
    assert Glance().rows(Report(tmp_path / "report"), {}) == []
    assert Glance().rows(table(tmp_path / "prompts", Prompts, []), {}) == []
    assert Glance().rows(table(tmp_path / "none", Pairs, []), {}) == []

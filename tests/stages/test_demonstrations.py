"""Demonstrations: answers to imitate, and judgements put together as the judge will be asked."""

import json
from pathlib import Path

import pytest

from stages.artifacts import Completions, Demonstrations, Scores
from stages.engines.engine import Answer
from stages.engines.models import load_tokenizer
from stages.engines.quote import fill
from stages.engines.verdict import read_score
from stages.score.judge import Judge
from stages.sources.demonstrations import LocalDemonstrations, LocalJudgements
from tests.stages.rows import scored

RUBRIC = "<question>{question}</question> <response>{response}</response> End with Score: N"
SHIPPED = Path(__file__).parents[2] / "recipes"


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def graded(number, score, **more):
    row = {"id": number, "question": f"question {number}", "answer": f"answer {number}", "judgement": "Fine.\n"}
    return {**row, "score": score, **more}


def made(artifact, stage):
    out = artifact(Demonstrations)
    metrics = stage(out=out)
    rows = list(out.rows())
    assert metrics == {"demonstrations": len(rows)}
    return rows


def judgements(artifact, path, **fields):
    return made(artifact, LocalJudgements(**{"path": path, "rubric": RUBRIC, "most_of_a_score": 1.0} | fields))


def test_a_question_and_its_answer_become_a_demonstration(artifact, tmp_path):
    path = jsonl(tmp_path / "a.jsonl", {"q": "Why?", "a": "Because.", "key": 7}, {"q": "How?", "a": "So.", "key": 8})
    columns = {"prompt": "q", "completion": "a", "prompt_id": "key"}
    rows = made(artifact, LocalDemonstrations(path=path, columns=columns))
    assert rows == [
        {
            "prompt_id": number,
            "prompt": [{"role": "user", "content": question}],
            "completion": [{"role": "assistant", "content": answer}],
        }
        for number, question, answer in (("7", "Why?", "Because."), ("8", "How?", "So."))
    ]
    assert [row["prompt_id"] for row in made(artifact, LocalDemonstrations(path=path, columns=columns, limit=1))] == [
        "7"
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "Why?"}, r"a\.jsonl, row 2: no column 'completion'"),
        ({"prompt": "Why?", "completion": " "}, r"a\.jsonl, row 2, completion: expected an answer"),
        ({"prompt": "", "completion": "Because."}, r"a\.jsonl, row 2, prompt: expected"),
        ({"prompt": "Why?", "completion": None}, r"a\.jsonl, row 2, completion: expected"),
    ],
)
def test_a_row_that_is_no_demonstration_names_file_and_row(artifact, tmp_path, row, message):
    path = jsonl(tmp_path / "a.jsonl", {"prompt": "Fine?", "completion": "Yes."}, row)
    with pytest.raises(ValueError, match=message):
        made(artifact, LocalDemonstrations(path=path))


def test_columns_that_demonstrations_need_are_demanded_while_planning(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", {"prompt": "Why?", "completion": "Because."})
    with pytest.raises(ValueError, match="'completion'"):
        LocalDemonstrations(path=path, columns={"prompt": "prompt"})


@pytest.mark.parametrize("kind", [LocalDemonstrations, lambda path: LocalJudgements(path=path, rubric=RUBRIC)])
def test_a_file_is_known_by_its_contents_and_read_only_as_it_was_planned(artifact, tmp_path, kind):
    one, same, other = (
        kind(path=jsonl(tmp_path / name, graded(number, 1)))
        for name, number in (("a.jsonl", 1), ("b.jsonl", 1), ("c.jsonl", 2))
    )
    assert one == same
    assert one != other
    jsonl(tmp_path / "a.jsonl", graded(3, 3))
    with pytest.raises(ValueError, match="changed since it was planned"):
        one(out=artifact(Demonstrations))


@pytest.mark.parametrize("kind", [LocalDemonstrations, lambda path: LocalJudgements(path=path, rubric=RUBRIC)])
def test_a_file_without_rows_is_refused(artifact, tmp_path, kind):
    with pytest.raises(ValueError, match=r"a\.jsonl: no row"):
        kind(path=jsonl(tmp_path / "a.jsonl"))(out=artifact(Demonstrations))


def test_a_judgement_gives_its_reasons_first_and_ends_with_the_score(artifact, tmp_path):
    path = jsonl(tmp_path / "a.jsonl", graded(1, 4, judgement="  Right, but long.\n\n"), graded(2, 0))
    rows = judgements(artifact, path)
    assert [row["completion"] for row in rows] == [
        [{"role": "assistant", "content": "Right, but long.\nScore: 4"}],
        [{"role": "assistant", "content": "Fine.\nScore: 0"}],
    ]
    assert [row["prompt_id"] for row in rows] == ["1", "2"]


def test_the_keyword_is_the_judges(artifact, tmp_path):
    path = jsonl(tmp_path / "a.jsonl", graded(1, 4))
    (row,) = judgements(artifact, path, keyword="Grade", rubric=RUBRIC.replace("Score", "Grade"))
    assert row["completion"][0]["content"].endswith("\nGrade: 4")


def test_what_is_taught_is_what_the_judge_would_read(artifact, tmp_path):
    path = jsonl(tmp_path / "a.jsonl", *(graded(score, score, judgement="Score: 2\nor rather") for score in range(6)))
    for score, row in enumerate(judgements(artifact, path)):
        assert read_score(row["completion"][0]["content"], "Score", 0, 5).score == score


class Listener:
    """An engine that keeps what it was asked and answers nothing but an end of turn."""

    rows = 64

    def __init__(self):
        self.heard = []

    def generate(self, model, requests, sampling):
        from stages.engines.models import end_of_turn

        self.heard += [load_tokenizer(model).decode(request.prompt) for request in requests]
        for index, request in enumerate(requests):
            yield from (Answer(index, place, [end_of_turn(model)[0]]) for place, _ in enumerate(request.seeds))


def test_the_taught_prompt_is_what_the_judge_is_asked(artifact, tmp_path, tiny_model):
    tricky = {"question": "What is {response}?", "answer": "A slot </response> of the rubric."}
    (taught,) = judgements(artifact, jsonl(tmp_path / "a.jsonl", graded(1, 4, **tricky)))
    assert taught["prompt"] == fill(RUBRIC, question=tricky["question"], response=tricky["answer"])
    row = scored("1", 0, tricky["answer"], None, prompt=[{"role": "user", "content": tricky["question"]}])
    engine = Listener()
    judge = Judge(rubric=RUBRIC, votes=1, temperature=1.0, max_new_tokens=8, seed=0, floor=0, engine=engine)
    judge(completions=artifact(Completions, [row]), judge=tiny_model, out=artifact(Scores))
    tokenizer = load_tokenizer(tiny_model)
    rendered = tokenizer.apply_chat_template(taught["prompt"], add_generation_prompt=True, tokenize=False)
    assert engine.heard == [rendered]


@pytest.mark.parametrize("column", ["id", "question", "answer", "judgement", "score"])
def test_a_missing_column_names_file_and_row(artifact, tmp_path, column):
    row = graded(2, 4)
    del row[column]
    with pytest.raises(ValueError, match=rf"a\.jsonl, row 2: no column {column}$"):
        judgements(artifact, jsonl(tmp_path / "a.jsonl", graded(1, 3), row))


@pytest.mark.parametrize("column", ["question", "answer", "judgement", "score"])
def test_nothing_in_a_column_is_no_column_either(artifact, tmp_path, column):
    """Or a judge would be taught to say 'Score: None'."""
    with pytest.raises(ValueError, match=rf"a\.jsonl, row 2: no column {column}$"):
        judgements(artifact, jsonl(tmp_path / "a.jsonl", graded(1, 3), graded(2, 4) | {column: None}))


def test_a_score_that_is_too_frequent_is_refused(artifact, tmp_path):
    scores = [3, 3, 3, 1, 2]
    path = jsonl(tmp_path / "a.jsonl", *(graded(i, score) for i, score in enumerate(scores)))
    with pytest.raises(ValueError, match=r"a\.jsonl: 3 of 5 judgements say 3, more than 40%"):
        judgements(artifact, path, most_of_a_score=0.4)
    assert len(judgements(artifact, path, most_of_a_score=0.6)) == 5


def test_exactly_the_share_is_allowed(artifact, tmp_path):
    path = jsonl(tmp_path / "a.jsonl", *(graded(i, score) for i, score in enumerate([3, 3, 1, 2, 4])))
    assert len(judgements(artifact, path, most_of_a_score=0.4)) == 5


def test_a_rubric_that_could_not_judge_cannot_teach(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", graded(1, 3))
    with pytest.raises(ValueError, match="response"):
        LocalJudgements(path=path, rubric="<question>{question}</question> Score: N")
    with pytest.raises(ValueError, match="Grade"):
        LocalJudgements(path=path, rubric=RUBRIC, keyword="Grade")


def test_the_judgements_that_ship_teach_every_score_and_are_all_readable(artifact):
    rubric = (SHIPPED / "prompts/rubric.txt").read_text(encoding="utf-8")
    rows = made(artifact, LocalJudgements(path=str(SHIPPED / "seed/judgements.jsonl"), rubric=rubric))
    found = [read_score(row["completion"][0]["content"], "Score", 0, 5).score for row in rows]
    assert {*found} == {0, 1, 2, 3, 4, 5}

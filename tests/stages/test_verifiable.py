"""Tasks with a checkable answer: read, scored, and counted."""

import json

import pytest

from stages.artifacts import Completions, Pairs, Report, Scores, Tasks
from stages.evaluate.interval import wilson
from stages.evaluate.verifiable import Solved
from stages.pairs.extremes import Extremes
from stages.score.verifiable import Verifiable
from stages.sources.tasks import LocalTasks
from tests.recipes.tiny import ROOT
from tests.stages.rows import prompt

OWN = {"prompt": "prompt", "prompt_id": "id", "checker": "checker", "expected": "expected", "kind": "kind"}


def file(tmp_path, *rows):
    path = tmp_path / "tasks.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_the_shipped_tasks_are_read(artifact):
    out = artifact(Tasks)
    told = LocalTasks(path=str(ROOT / "recipes/seed/probe_tasks.jsonl"), columns=OWN, limit=4)(out=out)
    assert told == {"tasks": 4}
    assert [row["kind"] for row in out.rows()] == ["arithmetic", "exact", "format", "counts"]


def test_gsm8ks_own_files_are_read_as_they_are(artifact, tmp_path):
    answer = "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n#### 72"
    path = file(tmp_path, {"question": "How many clips did Natalia sell?", "answer": answer})
    out = artifact(Tasks)
    LocalTasks(path=path, columns={"prompt": "question", "expected": "answer"}, checker="number")(out=out)
    (task,) = out.rows()
    assert (task["prompt_id"], task["checker"], task["kind"], task["expected"]) == ("1", "number", "number", answer)


def test_a_number_in_the_file_is_an_expected_answer_too(artifact, tmp_path):
    out = artifact(Tasks)
    path = file(tmp_path, {"prompt": "2 + 2?", "answer": 4})
    LocalTasks(path=path, columns={"prompt": "prompt", "expected": "answer"}, checker="number")(out=out)
    assert [row["expected"] for row in out.rows()] == ["4"]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"id": 1, "kind": "a", "prompt": "x", "checker": "sum", "expected": "1"}, "row 1: there is no checker 'sum'"),
        ({"id": 1, "kind": "a", "prompt": "x", "checker": "number", "expected": "x"}, "row 1: expected a number"),
        ({"id": 1, "kind": "a", "prompt": "x", "checker": "number"}, "row 1: no 'expected'; there is checker, id"),
        ({"id": 1, "kind": "a", "prompt": "x", "checker": "number", "expected": None}, "row 1: no 'expected'"),
    ],
)
def test_a_row_that_is_no_task_is_named(artifact, tmp_path, row, complaint):
    with pytest.raises(ValueError, match=complaint):
        LocalTasks(path=file(tmp_path, row), columns=OWN)(out=artifact(Tasks))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"columns": {"prompt": "prompt", "checker": "checker"}}, "which column holds the 'expected'"),
        ({"columns": {"prompt": "prompt", "expected": "expected"}}, "either a column with the checkers or one"),
        ({"columns": OWN, "checker": "number"}, "either a column with the checkers or one"),
        ({"columns": {"prompt": "p", "expected": "e"}, "checker": "sum"}, "there is no checker 'sum'"),
        ({"columns": {"expected": "e"}, "checker": "number"}, "say which column holds the 'prompt'"),
        ({"columns": OWN | {"answer": "e"}}, "prompts have no 'answer'"),
    ],
)
def test_columns_that_cannot_be_tasks_are_refused_while_planning(tmp_path, fields, complaint):
    with pytest.raises(ValueError, match=complaint):
        LocalTasks(path=file(tmp_path, {}), **fields)


def tasks(artifact, **expected):
    rows = [
        {**prompt(name, f"{name}?"), "checker": "number", "expected": e, "kind": name[0]}
        for name, e in expected.items()
    ]
    return artifact(Tasks, rows)


def answered(artifact, *answers):
    """Completions of (prompt, answer) in order; an answer of None was cut off."""
    seen: dict[str, int] = {}
    rows = []
    for name, text in answers:
        seen[name] = seen.get(name, -1) + 1
        rows.append(
            {
                **prompt(name, f"{name}?"),
                "sample": seen[name],
                "completion": [{"role": "assistant", "content": "so it is 4 and" if text is None else text}],
                "finish_reason": "length" if text is None else "stop",
                "prompt_tokens": [1],
                "completion_tokens": [2],
                "sampled_from": "policy",
            }
        )
    return artifact(Completions, rows)


def test_right_is_1_wrong_is_0_and_a_cut_off_answer_has_no_score(artifact):
    out = artifact(Scores)
    completions = answered(artifact, ("a", "4"), ("a", "5"), ("a", None), ("b", "7"), ("b", "7"))
    told = Verifiable()(completions=completions, tasks=tasks(artifact, a="4", b="7"), out=out)
    assert told == {"scored": 4, "null": 1, "right": 0.75, "divided": 0.5}
    rows = list(out.rows())
    assert [row["score"] for row in rows] == [1.0, 0.0, None, 1.0, 1.0]
    assert [row["null_reason"] for row in rows] == [None, None, "truncated", None, None]
    assert {row["score_unit"] for row in rows if row["score"] is not None} == {"points"}
    assert {row["label_source"] for row in rows} == {"outside"}


def test_all_wrong_is_a_result_and_no_error(artifact):
    completions = answered(artifact, ("a", "5"))
    told = Verifiable()(completions=completions, tasks=tasks(artifact, a="4"), out=artifact(Scores))
    assert (told["scored"], told["right"]) == (1, 0.0)


def test_an_answer_to_no_task_or_to_another_question_is_refused(artifact):
    with pytest.raises(ValueError, match="'b' is none of these tasks"):
        Verifiable()(completions=answered(artifact, ("b", "4")), tasks=tasks(artifact, a="4"), out=artifact(Scores))
    other = artifact(Tasks, [{**prompt("a", "another?"), "checker": "number", "expected": "4", "kind": "a"}])
    with pytest.raises(ValueError, match="'a' is none of these tasks"):
        Verifiable()(completions=answered(artifact, ("a", "4")), tasks=other, out=artifact(Scores))


def test_pairs_are_made_of_prompts_with_a_right_and_a_wrong_answer(artifact):
    completions = answered(artifact, ("a", "5"), ("a", "4"), ("b", "7"), ("b", "7.0"), ("c", "1"), ("c", "2"))
    scores, out = artifact(Scores), artifact(Pairs)
    Verifiable()(completions=completions, tasks=tasks(artifact, a="4", b="7", c="9"), out=scores)
    told = Extremes(n=2, shortest=0)(scores=scores, out=out)
    assert (told["pairs"], told["ties"]) == (1, 2)
    (pair,) = out.rows()
    assert (pair["chosen"][0]["content"], pair["rejected"][0]["content"]) == ("4", "5")


def solved(artifact, asked, *answers):
    scores, out = artifact(Scores), artifact(Report)
    Verifiable()(completions=answered(artifact, *answers), tasks=asked, out=scores)
    return Solved()(scores=scores, tasks=asked, out=out), out


def test_accuracy_is_over_all_tasks_and_by_kind_with_wilsons_interval(artifact):
    asked = tasks(artifact, a1="1", a2="2", a3="3", b1="4")
    told, out = solved(artifact, asked, ("a1", "1"), ("a2", "2"), ("a3", None), ("b1", "0"))
    assert (told["accuracy"], told["tasks"], told["unscored"]) == (0.5, 4, 0.25)
    assert (told["accuracy_low"], told["accuracy_high"]) == wilson(0.5, 4)
    assert (told["accuracy_a"], told["tasks_a"]) == (pytest.approx(2 / 3), 3)
    assert (told["accuracy_b_low"], told["accuracy_b_high"]) == wilson(0.0, 1)
    assert told == out.read()


@pytest.mark.parametrize("kind", ["low", "se", "very_high"])
def test_a_kind_that_would_be_taken_for_an_interval_is_refused(artifact, kind):
    asked = artifact(Tasks)
    asked.write([{**row, "kind": kind} for row in tasks(artifact, a="1").rows()])
    with pytest.raises(ValueError, match=f"a kind of task is called '{kind}'"):
        solved(artifact, asked, ("a", "1"))


def test_a_task_without_an_answer_or_with_two_is_an_error(artifact):
    asked = tasks(artifact, a="1", b="2")
    with pytest.raises(ValueError, match="1 tasks have no answer, or answers no task, such as 'b'"):
        solved(artifact, asked, ("a", "1"))
    with pytest.raises(ValueError, match="answered 'a' more than once"):
        solved(artifact, asked, ("a", "1"), ("a", "1"), ("b", "2"))

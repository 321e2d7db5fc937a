"""The shipped data: enough of it, varied, held-out apart, and balanced in length."""

import json
import runpy
from collections import Counter

import pytest

from stages.checkers import checker
from tests.recipes.tiny import ROOT

PROMPTS = ("prompts", "probe_prompts", "preferences", "probe_pairs", "tasks", "probe_tasks")


def rows(name):
    return [json.loads(line) for line in (ROOT / "recipes/seed" / f"{name}.jsonl").read_text().splitlines()]


def texts(name):
    return [" ".join(turn["content"] for turn in row["prompt"]).casefold() for row in rows(name)]


def test_there_are_enough_prompts_of_ten_kinds_some_of_several_turns():
    kinds = Counter(row["kind"] for row in rows("prompts"))
    assert len(kinds) == 10
    assert min(kinds.values()) >= 20
    assert sum(kinds.values()) >= 240
    assert sum(len(row["prompt"]) > 1 for row in rows("prompts")) >= 20
    assert len(rows("probe_prompts")) == 48


@pytest.mark.parametrize(("name", "least"), [("preferences", 96), ("probe_pairs", 64)])
def test_pairs_are_better_for_one_of_four_reasons_and_longer_in_about_half(name, least):
    pairs = rows(name)
    reasons = Counter(pair["reason"] for pair in pairs)
    longer = sum(len(pair["chosen"][0]["content"]) > len(pair["rejected"][0]["content"]) for pair in pairs)
    assert len(pairs) >= least
    assert set(reasons) == {"correct", "constraint", "honest", "concise"}
    assert min(reasons.values()) >= len(pairs) / 5
    assert 0.45 <= longer / len(pairs) <= 0.55


def test_no_prompt_occurs_twice_in_a_file_or_in_two():
    every = [text for name in PROMPTS for text in texts(name)]
    assert len(every) == len(set(every))


def test_there_are_enough_instructions_and_judgements_and_no_score_makes_up_most_of_them():
    scores = Counter(row["score"] for row in rows("judgements"))
    assert len(rows("instructions")) >= 64
    assert sum(scores.values()) >= 60
    assert set(scores) == {0, 1, 2, 3, 4, 5}
    assert max(scores.values()) <= 0.4 * sum(scores.values())
    assert all("Score:" not in row["judgement"] for row in rows("judgements"))


def test_tasks_are_of_four_kinds_and_come_out_of_their_script_to_the_byte(tmp_path):
    assert len(rows("tasks")) >= 120
    assert len(rows("probe_tasks")) >= 80
    for name in ("tasks", "probe_tasks"):
        kinds = Counter(row["kind"] for row in rows(name))
        assert len(kinds) == 4
        assert len(set(kinds.values())) == 1
    seed = ROOT / "recipes/seed"
    runpy.run_path(str(seed / "tasks.py"))["main"](tmp_path)
    for name in ("tasks.jsonl", "probe_tasks.jsonl"):
        assert (tmp_path / name).read_bytes() == (seed / name).read_bytes()


def test_every_shipped_task_has_an_answer_that_its_checker_accepts():
    solutions = {
        "number": lambda expected: f"That makes {expected}.",
        "json": lambda expected: expected,
        "case": lambda expected: getattr("Warm bread", expected)(),
        "lacks": lambda expected: next(word for word in ("sea", "ice") if expected not in word),
        "words": lambda expected: "word " * int(expected),
        "lines": lambda expected: "a line\n" * int(expected),
        "items": lambda expected: "- a fact\n" * int(expected),
    }
    refusal = "Why, I Cannot Tell You, Sorry, But Is This Not One Of The Very Oldest Riddles Known, Ugh"
    for row in rows("tasks") + rows("probe_tasks"):
        solve = solutions.get(row["checker"], lambda expected: expected)
        assert checker(row["checker"], row["expected"])(solve(row["expected"])), row
        assert not checker(row["checker"], row["expected"])(refusal)

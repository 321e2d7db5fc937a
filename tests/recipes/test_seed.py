"""The shipped data: enough of it, varied, held-out apart, and balanced in length."""

import json
from collections import Counter

import pytest

from tests.recipes.tiny import ROOT


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
    every = [text for name in ("prompts", "probe_prompts", "preferences", "probe_pairs") for text in texts(name)]
    assert len(every) == len(set(every))


def test_there_are_enough_instructions_and_judgements_and_no_score_makes_up_most_of_them():
    scores = Counter(row["score"] for row in rows("judgements"))
    assert len(rows("instructions")) >= 64
    assert sum(scores.values()) >= 60
    assert set(scores) == {0, 1, 2, 3, 4, 5}
    assert max(scores.values()) <= 0.4 * sum(scores.values())
    assert all("Score:" not in row["judgement"] for row in rows("judgements"))

"""Prompts of files that keep coming: each round has its own, and what comes later changes no round that was made."""

import json
import signal

import pytest

from loops.__main__ import main
from loops.fingerprint import step_key
from stages.artifacts import Prompts
from stages.sources.arriving import NextPrompts


@pytest.fixture
def come(tmp_path, monkeypatch):
    """``come(name, prompt, ...)``: a file of prompts arrives."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts").mkdir()

    def write(name, *prompts):
        text = "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts)
        (tmp_path / "prompts" / name).write_text(text)

    return write


def stage(number, size=2):
    return NextPrompts(path="prompts/*.jsonl", size=size, number=number)


def key(number):
    return step_key(stage(number), {})


def test_each_round_has_the_next_prompts_in_the_order_of_names_and_rows(come, artifact):
    come("b.jsonl", "three", "four")
    come("a.jsonl", "one", "two")
    out = artifact(Prompts)
    assert stage(2).foresee().size.rows == 2
    assert stage(2)(out=out) == {"prompts": 2, "left": 0}
    rows = list(out.rows())
    assert [row["prompt"][0]["content"] for row in rows] == ["three", "four"]
    assert [row["prompt_id"] for row in rows] == ["3", "4"]


def test_files_that_come_later_change_no_earlier_round(come):
    come("a.jsonl", "one", "two", "three")
    before = key(1)
    come("b.jsonl", "four", "five")
    assert key(1) == before
    assert key(2) != before


def test_a_changed_prompt_changes_its_round_and_the_file_it_lies_in_does_not(come):
    come("a.jsonl", "one", "two")
    before = key(1)
    come("a.jsonl", "one")
    come("b.jsonl", "two")
    assert key(1) == before
    come("b.jsonl", "another")
    assert key(1) != before


def test_a_prompt_that_comes_again_is_no_new_one(come, artifact):
    come("a.jsonl", "one", "two")
    come("b.jsonl", "two", " one ", "three", "three", "four")
    out = artifact(Prompts)
    stage(2)(out=out)
    assert [row["prompt"][0]["content"] for row in out.rows()] == ["three", "four"]


def test_prompts_that_changed_since_they_were_planned_are_refused(come, artifact):
    come("a.jsonl", "one", "two")
    planned = stage(1)
    come("a.jsonl", "one", "2")
    with pytest.raises(ValueError, match="have changed since it was planned; plan again"):
        planned(out=artifact(Prompts))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "prompts/\\*.jsonl: there is no such file"),
        ({"a.jsonl": ["one", ""]}, "a.jsonl, row 2, prompt: expected text"),
    ],
)
def test_files_that_do_not_fit_are_refused_while_planning(come, files, message):
    for name, prompts in files.items():
        come(name, *prompts)
    with pytest.raises(ValueError, match=message) as refused:
        stage(1)
    assert not hasattr(refused.value, "WAITS")


@pytest.mark.parametrize(("size", "number"), [(0, 1), (1, 0)])
def test_sizes_and_rounds_begin_at_one(come, size, number):
    come("a.jsonl", "one")
    with pytest.raises(ValueError, match="must be at least 1"):
        stage(number, size)


def keys(plan):
    """Steps and their keys, of a printed plan."""
    lines = [line.split() for line in plan.splitlines() if "/" in line.partition(" ")[0]]
    return {(line[0], line[1]) for line in lines}


def test_a_recipes_rounds_keep_their_prompts_and_wait_for_more(come, capsys):
    words = ["recipes=dice", "data=arriving", "prompt_files=prompts/*.jsonl", "sizes.prompts=2"]

    def plan(rounds):
        before = signal.getsignal(signal.SIGTERM)
        code = main(["plan", *words, f"rounds={rounds}"])
        signal.signal(signal.SIGTERM, before)
        return code, capsys.readouterr().out

    come("1.jsonl", "one", "two", "three")
    code, first = plan(rounds=1)
    assert code == 0
    assert "round-01/prompts" in first
    assert "setup/prompts" not in first
    assert len(keys(first)) > 10
    assert plan(rounds=2) == (
        3,
        "nothing to do: round-02/prompts: round 2 wants 2 prompts after the first 2, and prompts/*.jsonl holds 3 that "
        "differ: it waits for more\n",
    )
    come("2.jsonl", "four")
    code, second = plan(rounds=2)
    assert code == 0
    assert keys(first) <= keys(second)


def test_a_pattern_of_a_stranger_does_not_lead_out_by_a_link(come, tmp_path_factory, tmp_path, capsys):
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.jsonl"
    secret.write_text('{"prompt": "mine"}\n')
    (tmp_path / "prompts/link.jsonl").symlink_to(secret)
    (tmp_path / "recipes").mkdir()
    node = "{_target_: stages.sources.arriving.NextPrompts, path: prompts/*.jsonl, size: 1, number: 1}"
    text = f"name: mine\nrounds: 0\ncarry: {{}}\nround: {{}}\nsetup:\n  one: {{stage: {node}}}\n"
    (tmp_path / "recipes/mine.yaml").write_text(text)
    before = signal.getsignal(signal.SIGTERM)
    assert main(["plan", "recipes=mine"]) == 1
    signal.signal(signal.SIGTERM, before)
    assert "leads out of the folder where you stand" in capsys.readouterr().err
